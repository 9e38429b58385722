"""Random changes of one example at a time, on the host (OpenCV), named in `config.augment_host`.

A change is a pair: `draw` takes the generator that is given and returns the change's parameters,
`apply` does the work. `augment_device.py` has the same changes, by the same parameters, for whole
batches inside a compiled step.

    flip    upside down and left to right, p = 1/2 each
    vflip   upside down, p = 1/2
    d4      one of the eight symmetries of the square, all alike
    crop    CROP ... 1 of the area, sides 1/ASPECT ... ASPECT to each other (and neither beyond the
            image's), anywhere, enlarged to the size of the whole
    affine  turned by up to ROTATION, scaled by 1 -+ SCALE, shifted by up to SHIFT, about the centre
    colour  saturation 1 -+ SATURATION, contrast 1 -+ CONTRAST about the mean, brightness -+
            BRIGHTNESS
    blur    Gaussian of sigma 0 ... BLUR
    cutout  a rectangle of one size 0 ... CUTOUT, anywhere, takes the mean colour

The first five are geometric and move every array of an example alike: those with channels bilinear,
masks (without channels) to the nearest pixel, mirrored beyond the edges. The others change 'image'
alone. Lengths are shares of the image's sides.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from skinjax.data.records import choices

# Bounds of the random changes: each is drawn uniformly.
ROTATION = 30.0  # degrees, either way
SCALE = 0.1  # 1 - SCALE ... 1 + SCALE
SHIFT = 0.1  # of the side, either way
BRIGHTNESS = 0.1  # of the full range, either way
CONTRAST = 0.2  # 1 - CONTRAST ... 1 + CONTRAST, about the mean
SATURATION = 0.2
CROP = 0.5  # of the area, at least
ASPECT = 4 / 3  # its logarithm is uniform
BLUR = 0.01  # sigma, of the longer side, at most
CUTOUT = 0.3  # of each side, at most
GREY = (0.299, 0.587, 0.114)  # luma of RGB, ITU-R BT.601

GEOMETRIC = ('flip', 'vflip', 'd4', 'crop', 'affine')

Example = dict[str, np.ndarray]


class Change(NamedTuple):
    """How the parameters are drawn and what is done with them.

    Those of 'flip', 'vflip' and 'd4' are a number (see `augment_device.d4`), all others -1 ... 1
    each.
    """

    draw: Callable[[np.random.Generator], Any]
    apply: Callable[[Example, Any], Example]


def blur_radius(height: int, width: int) -> int:
    """Taps on either side of the middle one: three of the largest sigma."""
    return int(np.ceil(3 * BLUR * max(height, width)))


def _draw_flip(rng: np.random.Generator) -> int:
    return int(rng.integers(4))


def _draw_vflip(rng: np.random.Generator) -> int:
    return int(rng.integers(2))


def _draw_d4(rng: np.random.Generator) -> int:
    return 4 * int(rng.integers(2)) + int(rng.integers(4))


def _draw(count: int) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda rng: rng.uniform(-1, 1, count)


def _d4(example: Example, i: int) -> Example:
    """Transposed if i >= 4, then upside down (i & 1) and left to right (i & 2)."""
    down, across = 1 - 2 * (i & 1), 1 - (i & 2)
    if i & 4:
        example = {name: array.swapaxes(0, 1) for name, array in example.items()}
    return {name: array[::down, ::across] for name, array in example.items()}


def _crop(example: Example, draws: np.ndarray) -> Example:
    """draws: area, aspect, place across, place down."""
    height, width = example['image'].shape[:2]
    area = CROP + (1 - CROP) * (draws[0] + 1) / 2
    aspect = ASPECT ** draws[1]
    matrix = np.zeros((2, 3))
    for axis, (side, share) in enumerate(((width, area * aspect), (height, area / aspect))):
        share = min(1.0, np.sqrt(share))
        start = (1 - share) * (draws[2 + axis] + 1) / 2 * side
        # Pixel centres lie at 1/2: output k shows start + share (k + 1/2) - 1/2.
        matrix[axis, axis], matrix[axis, 2] = share, start + (share - 1) / 2
    return _warp(example, matrix, inverse=True)


def _affine(example: Example, draws: np.ndarray) -> Example:
    """draws: angle, scale, shift across, shift down."""
    import cv2

    height, width = example['image'].shape[:2]
    angle, scale, across, down = draws
    centre = ((width - 1) / 2, (height - 1) / 2)
    matrix = cv2.getRotationMatrix2D(centre, angle * ROTATION, 1 + scale * SCALE)
    matrix[:, 2] += across * SHIFT * width, down * SHIFT * height
    return _warp(example, matrix)


def _warp(example: Example, matrix: np.ndarray, *, inverse: bool = False) -> Example:
    """`matrix` [2, 3] takes (x, y, 1) to where it goes or, if `inverse`, comes from."""
    import cv2

    height, width = example['image'].shape[:2]
    flags = cv2.WARP_INVERSE_MAP if inverse else 0
    return {
        name: cv2.warpAffine(
            array,
            matrix,
            (width, height),
            flags=flags | (cv2.INTER_NEAREST if array.ndim == 2 else cv2.INTER_LINEAR),
            borderMode=cv2.BORDER_REFLECT_101,
        ).reshape(array.shape)
        for name, array in example.items()
    }


def _colour(example: Example, draws: np.ndarray) -> Example:
    """draws: saturation, contrast, brightness. All of it is one affine map of RGB."""
    import cv2

    saturation, contrast, brightness = draws
    grey = np.broadcast_to(GREY, (3, 3))
    matrix = (1 + saturation * SATURATION) * np.eye(3) - saturation * SATURATION * grey
    contrast = 1 + contrast * CONTRAST
    mean = float(np.dot(GREY, cv2.mean(example['image'])[:3]))
    offset = (1 - contrast) * mean + 255 * brightness * BRIGHTNESS
    matrix = np.column_stack([contrast * matrix, np.full(3, offset)])
    return {**example, 'image': cv2.transform(example['image'], matrix)}


def _blur(example: Example, draws: np.ndarray) -> Example:
    """draws: sigma."""
    import cv2

    height, width = example['image'].shape[:2]
    sigma = BLUR * max(height, width) * (draws[0] + 1) / 2
    if sigma < 0.1:  # the neighbours' weight would be exp(-50)
        return example
    taps = cv2.getGaussianKernel(2 * blur_radius(height, width) + 1, sigma)
    image = cv2.sepFilter2D(example['image'], -1, taps, taps, borderType=cv2.BORDER_REFLECT_101)
    return {**example, 'image': image}


def _cutout(example: Example, draws: np.ndarray) -> Example:
    """draws: size, place across, place down."""
    image = example['image'].copy()
    share = CUTOUT * (draws[0] + 1) / 2
    where = []
    for side, place in zip(image.shape, (draws[2], draws[1]), strict=False):
        length = round(share * side)
        start = int((side - length) * (place + 1) / 2)
        where.append(slice(start, start + length))
    image[tuple(where)] = np.rint(image.mean((0, 1)))
    return {**example, 'image': image}


HOST: dict[str, Change] = {
    'flip': Change(_draw_flip, _d4),
    'vflip': Change(_draw_vflip, _d4),
    'd4': Change(_draw_d4, _d4),
    'crop': Change(_draw(4), _crop),
    'affine': Change(_draw(4), _affine),
    'colour': Change(_draw(3), _colour),
    'blur': Change(_draw(1), _blur),
    'cutout': Change(_draw(3), _cutout),
}


def augment(names: Sequence[str]) -> Callable[[Example, np.random.Generator], Example]:
    """The host changes `names`, one after the other, of {'image': ..., 'mask': ..., ...}.

    Arrays are uint8, [h, w, 3] or, for masks, [h, w]; all of one height and width.

    Raises:
        ValueError: for an unknown name.
    """
    for name in names:
        if name not in HOST:
            raise ValueError(f'augmentation {name!r} is unknown; {choices(name, HOST)}')
    changes = [HOST[name] for name in names]

    def change(example: Example, rng: np.random.Generator) -> Example:
        for one in changes:
            example = one.apply(example, one.draw(rng))
        return example

    return change
