"""Destroys the lesion, to see what a classifier still knows without it.

Bissoto et al., "(De)Constructing Bias on Skin Lesion Datasets" (2019): networks are trained and
tested on images with less and less of the lesion. What they still tell above chance is in the skin,
in artefacts and in how the images were taken.

    traditional    nothing is destroyed
    only_skin      the lesion's pixels are black; its outline is left
    bbox           so is the rectangle around it
    bbox70         so are 70 % of the image

The published sets with additional information (a map of dermoscopic attributes, alone, as a fourth
channel or as colours) are not made here.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from skinjax.data.records import choices
from skinjax.editors import Editor, Example

WHAT = ('traditional', 'only_skin', 'bbox', 'bbox70')
DEFAULTS: dict[str, Any] = {
    'what': 'only_skin',  # one of WHAT
    'compat': False,  # 'bbox70' as in the published code, whose square is cut off by the edges
}
VARIANTS: dict[str, dict[str, Any]] = {
    **{what: {'what': what} for what in WHAT},
    'bbox70_compat': {'what': 'bbox70', 'compat': True},
}
SHARE = 0.7  # of the image, of 'bbox70'
LEAST = 3  # rows and columns of a mask within which something lies
PUBLISHED = (250, 299)  # pixels of its square's side and of the image's

Mask = UInt8[np.ndarray, 'h w']


def build(config: Any) -> Editor:
    """Examples with black pixels, and 'artefact': 255 where they are, or where one was before.

    'mask' stays as it is. All of WHAT need one that 'bbox' can be made of, so that they are sets of
    the same images.

    Raises:
        ValueError: an unknown option. Later, from the editor: an image without a lesion mask, with
            one of less than three rows or columns, within which nothing lies, or of another size.
    """
    if config.what not in WHAT:
        raise ValueError(f'destroy.what {config.what!r} is unknown; {choices(config.what, WHAT)}')

    def edit(examples: Sequence[Example]) -> list[Example]:
        return [_edit(config, example) for example in examples]

    return edit


def _edit(config: Any, example: Example) -> Example:
    image = example['image']
    mask = example.get('mask')
    if mask is None:
        raise ValueError(
            "there is no lesion mask to destroy by: set data.with_mask=True, and data.on_error='"
            "skip' to leave out the images that have none"
        )
    if mask.shape != image.shape[:2]:
        found = f'{list(mask.shape)}, its image {list(image.shape[:2])}'
        raise ValueError(f'the lesion mask is {found}')
    if not mask.any():
        raise ValueError('the lesion mask is empty: nothing is there to destroy')
    rows, columns = (last - first + 1 for first, last in _ends(mask))
    if min(rows, columns) < LEAST:
        raise ValueError(
            f'the lesion mask is {rows} x {columns} pixels: nothing lies strictly within it, and '
            "'bbox' would leave the whole lesion"
        )
    black = destroyed(mask, config.what, compat=config.compat)
    artefact = np.where(black, np.uint8(255), example.get('artefact', 0 * mask))
    return {
        **example,
        'image': np.where(black[..., None], np.uint8(0), image),
        'artefact': artefact,
    }


def destroyed(mask: Mask, what: str, *, compat: bool = False) -> Bool[np.ndarray, 'h w']:
    """Which pixels are blacked, for a mask that is not empty.

    With top, bottom, left and right the first and last rows and columns of the mask:

        only_skin   mask > 0
        bbox        top < row < bottom and left < column < right, as published: strictly
        bbox70      as bbox if (right - left) (bottom - top) is at least 0.7 of the image's area,
                    else a rectangle (of a square image a square) in the middle of these four

    The square of the published code has 250 of 299 pixels of each side, of which strict
    comparisons leave 249 or 250 (69.4 or 69.9 % of the area), and is cut off where it leaves the
    image. Without `compat` its sides are sqrt(0.7) of the image's, rounded, and it is moved
    inside.
    """
    black = np.zeros(mask.shape, bool)
    if what == 'traditional':
        return black
    if what == 'only_skin':
        return mask > 0
    ends = _ends(mask)
    area = math.prod(last - first for first, last in ends)
    parts = [slice(first + 1, last) for first, last in ends]
    if what == 'bbox70' and area < SHARE * mask.size:
        square = _published if compat else _moved
        parts = [square(*end, side) for end, side in zip(ends, mask.shape, strict=True)]
    black[tuple(parts)] = True
    return black


def _ends(mask: Mask) -> list[tuple[int, int]]:
    """The first and last row and the first and last column of a mask that is not empty."""
    inside = [np.flatnonzero((mask > 0).any(axis=axis))[[0, -1]] for axis in (1, 0)]
    return [(int(first), int(last)) for first, last in inside]


def _published(first: int, last: int, side: int) -> slice:
    """middle - 125 < k < middle + 125, at a side of 299."""
    middle, half = (first + last) / 2, PUBLISHED[0] * side / PUBLISHED[1] / 2
    return slice(max(0, math.floor(middle - half) + 1), min(side, math.ceil(middle + half)))


def _moved(first: int, last: int, side: int) -> slice:
    length = round(math.sqrt(SHARE) * side)
    start = min(max(0, (first + last + 1 - length) // 2), side - length)
    return slice(start, start + length)
