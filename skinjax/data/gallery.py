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


def synthetic_rows(
    size: int = 96, columns: int = 12, seed: int = 0
) -> list[list[UInt8[np.ndarray, 'h w 3']]]:
    """The synthetic lesions at a glance, for `sheet`.

    Rows: two of nevi and the same as melanomas (an artefact on every third), pairs without and
    with a ruler, ink and hair, one lesion through every camera, one artefact at a time.
    """
    kinds = list(artefacts.ARTEFACTS)

    def picture(index: int, label: int, names: Sequence[str] = (), camera: int | None = None):
        camera = index % cameras.SEEN if camera is None else camera
        return rendering.render(seed, index, label, size, names, camera).image

    rows = []
    for label in (0, 1):
        for first in (0, columns):
            some = {i: kinds[i // 3 % len(kinds)] for i in range(first, first + columns, 3)}
            indices = range(first, first + columns)
            rows.append([picture(i, label, [some[i]] if i in some else ()) for i in indices])
    for name in _PAIRED:
        indices = range(100, 100 + columns // 2)
        rows.append([picture(i, i % 2, names) for i in indices for names in ((), (name,))])
    lenses = range(min(columns, cameras.SEEN + cameras.UNSEEN))
    rows.append([picture(203, 1, (), camera) for camera in lenses])
    indices = range(300, 300 + max(1, columns // len(kinds)))
    rows.append([picture(i, i % 2, (name,)) for i in indices for name in kinds])
    return rows
