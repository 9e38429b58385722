"""Tiled pictures for looking at data."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import UInt8

from skinjax.data import artefacts, cameras, rendering

_PAIRED = ('ruler', 'marking', 'hair')


def sheet(
    rows: Sequence[Sequence[np.ndarray]], gap: int = 2, background: int = 255
) -> UInt8[np.ndarray, 'h w 3']:
    """Pictures in rows, `gap` pixels apart; shorter rows end with background.

    All cells are as large as the first picture. Grey pictures [h, w] are shown as such.

    Raises:
        ValueError: if a picture is not uint8 or has another size.
    """
    height, width = rows[0][0].shape[:2]
    columns = max(len(row) for row in rows)
    shape = (len(rows) * (height + gap) - gap, columns * (width + gap) - gap, 3)
    page = np.full(shape, background, np.uint8)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            if picture.dtype != np.uint8 or picture.shape[:2] != (height, width):
                raise ValueError(
                    f'row {i}, column {j}: expected uint8 of {height} x {width} pixels, '
                    f'found {picture.dtype} of shape {picture.shape}'
                )
            top, left = i * (height + gap), j * (width + gap)
            if picture.ndim == 2:
                picture = cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)
            page[top : top + height, left : left + width] = picture
    return page


def synthetic_sheet(size: int = 96, columns: int = 12, seed: int = 0) -> UInt8[np.ndarray, 'h w 3']:
    """The synthetic lesions at a glance.

    Rows: nevi, melanomas (both with the odd artefact), pairs without and with a ruler, ink and
    hair, one lesion through every camera, and one artefact at a time on two lesions.
    """
    rows = []
    kinds = list(artefacts.ARTEFACTS)
    for label in (0, 1):
        for first in (0, columns):
            rows.append(
                [
                    rendering.render(
                        seed, i, label, size, kinds[i % 6 : i % 6 + 1] * (i % 3 == 0), i % 8
                    ).image
                    for i in range(first, first + columns)
                ]
            )
    for name in _PAIRED:
        pairs = [(i, shown) for i in range(100, 100 + columns // 2) for shown in ((), (name,))]
        rows.append([rendering.render(seed, i, i % 2, size, s, i % 8).image for i, s in pairs])
    lenses = range(min(columns, cameras.SEEN + cameras.UNSEEN))
    rows.append([rendering.render(seed, 203, 1, size, (), camera).image for camera in lenses])
    single = [(i, (name,)) for i in range(300, 300 + columns // len(kinds)) for name in kinds]
    rows.append([rendering.render(seed, i, i % 2, size, s).image for i, s in single])
    return sheet(rows)
