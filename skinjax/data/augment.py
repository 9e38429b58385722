"""Random changes of one example at a time, on the host (OpenCV), named in `config.augment_host`.

Everything is drawn from the generator that is given. The same for whole batches inside a compiled
step is `augment_device.py`.
"""

from collections.abc import Callable, Sequence

import numpy as np

from skinjax.data.records import choices

# Bounds of the random changes: each is drawn uniformly.
ROTATION = 30.0  # degrees, either way
SCALE = 0.1  # 1 - SCALE ... 1 + SCALE
SHIFT = 0.1  # of the side, either way
BRIGHTNESS = 0.1  # of the full range, either way
CONTRAST = 0.2  # 1 - CONTRAST ... 1 + CONTRAST, about the mean
SATURATION = 0.2
GREY = (0.299, 0.587, 0.114)  # luma of RGB, ITU-R BT.601

Example = dict[str, np.ndarray]


def _host_flip(example: Example, rng: np.random.Generator) -> Example:
    """Upside down and left to right, p = 1/2 each."""
    bits = int(rng.integers(4))
    down, across = 1 - 2 * (bits & 1), 1 - (bits & 2)
    return {name: array[::down, ::across] for name, array in example.items()}


def _host_d4(example: Example, rng: np.random.Generator) -> Example:
    """One of the eight symmetries of the square: transposed with p = 1/2, then flipped."""
    if rng.integers(2):
        example = {name: array.swapaxes(0, 1) for name, array in example.items()}
    return _host_flip(example, rng)


def _host_affine(example: Example, rng: np.random.Generator) -> Example:
    """Turned, scaled and shifted about the centre; the image is mirrored beyond its edges."""
    import cv2

    height, width = example['image'].shape[:2]
    angle, scale, across, down = rng.uniform(-1, 1, 4)
    centre = ((width - 1) / 2, (height - 1) / 2)
    matrix = cv2.getRotationMatrix2D(centre, angle * ROTATION, 1 + scale * SCALE)
    matrix[:, 2] += across * SHIFT * width, down * SHIFT * height
    how = {'image': cv2.INTER_LINEAR, 'mask': cv2.INTER_NEAREST}
    return {
        name: cv2.warpAffine(
            array, matrix, (width, height), flags=how[name], borderMode=cv2.BORDER_REFLECT_101
        )
        for name, array in example.items()
    }


def _host_colour(example: Example, rng: np.random.Generator) -> Example:
    """Saturation, contrast about the mean and brightness, as one affine map of RGB."""
    import cv2

    saturation, contrast, brightness = rng.uniform(-1, 1, 3)
    grey = np.broadcast_to(GREY, (3, 3))
    matrix = (1 + saturation * SATURATION) * np.eye(3) - saturation * SATURATION * grey
    contrast = 1 + contrast * CONTRAST
    mean = float(np.dot(GREY, cv2.mean(example['image'])[:3]))
    offset = (1 - contrast) * mean + 255 * brightness * BRIGHTNESS
    matrix = np.column_stack([contrast * matrix, np.full(3, offset)])
    return {**example, 'image': cv2.transform(example['image'], matrix)}


HOST: dict[str, Callable[[Example, np.random.Generator], Example]] = {
    'flip': _host_flip,
    'd4': _host_d4,
    'affine': _host_affine,
    'colour': _host_colour,
}


def augment(names: Sequence[str]) -> Callable[[Example, np.random.Generator], Example]:
    """The host changes `names`, one after the other, of {'image': ..., 'mask': ...}.

    'flip', 'd4' (flips and transpose), 'affine' (rotation, scale, shift) and 'colour' (saturation,
    contrast, brightness). Masks move with their image and keep their colours.

    Raises:
        ValueError: for an unknown name.
    """
    for name in names:
        if name not in HOST:
            raise ValueError(f'augmentation {name!r} is unknown; {choices(name, HOST)}')
    changes = [HOST[name] for name in names]

    def change(example: Example, rng: np.random.Generator) -> Example:
        for one in changes:
            example = one(example, rng)
        return example

    return change
