"""Removes hair, rulers and ink without any learning.

'paper' is the procedure of Bisla et al., "Towards Automated Melanoma Detection with Deep Learning:
Data Purification and Augmentation" (2019): CIE Lab (the text says Luv), the grey closing of L with
a disk, and its values wherever they are above L by more than 0.1. That touches most pixels of any
picture. 'robust' finds lines, scale bars and ink (`elongated`, `markings`) and fills only those.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Float, UInt8

from skinjax.data.records import choices
from skinjax.editors import Editor, Example, elongated, filling, markings

MODES = ('robust', 'paper')
DEFAULTS: dict[str, Any] = {
    'mode': 'robust',
    'fill': 'telea',  # telea | ns | closing | none, of 'robust'
    'space': 'lab',  # lab | luv, of 'paper' and of the fill 'closing'
    'radius': 3.0,  # of disks and fills, in pixels at 400 x 400
    # Least contrast, 0 to 100: of the clear pixels of a line ('robust', 0 for 2), or of any pixel
    # ('paper', 0 for 0.1).
    'threshold': 0.0,
    'protect_lesion': True,  # leave pixels of the lesion's mask as they are; 'paper' always does
    'light': True,  # lines that are lighter than the skin as well
    'ruler': True,  # ticks and labels of scale bars as well
    'ink': True,  # strokes of violet pens, outside the lesion's mask
    'compat': False,  # of 'paper': the ball of the original code, which closes across L, a and b
}
_THRESHOLD = {'robust': 2.0, 'paper': 0.1}
_SMALLEST, _LARGEST = 128, 384  # sides that 'robust' looks at
# Of lines: least ratio to the noise of connected and of clear pixels, least contrast of connected
# pixels (grey levels), least length in 256ths of the side, and how many pixels are to be clear.
_DARK = {'weak': 2.0, 'clear': 4.0, 'faint': 3, 'length': 12.0, 'seeds': 3}
_WIDE = {'weak': 2.0, 'clear': 4.5, 'faint': 5, 'length': 16.0, 'seeds': 5}
_LIGHT = {'weak': 2.5, 'clear': 5.0, 'faint': 8, 'length': 20.0, 'seeds': 6}

Image = UInt8[np.ndarray, 'h w 3']
Mask = Bool[np.ndarray, 'h w']
Channel = UInt8[np.ndarray, 'h w']


def build(config: Any) -> Editor:
    """Examples with hair, rulers and ink filled, and 'artefact': 255 where a pixel was replaced.

    An 'artefact' that is there already is filled as well (in 'robust' mode). With
    `protect_lesion`, and always in 'paper' mode, no pixel of 'mask' changes.

    Raises:
        ValueError: an option out of range. Later, from the editor: an image that is not uint8
            [h, w, 3], or a mask of another size or type.
    """
    _check(config)

    def edit(examples: Sequence[Example]) -> list[Example]:
        return [_edit(config, example, k) for k, example in enumerate(examples)]

    return edit


def _edit(config: Any, example: Example, k: int) -> Example:
    image = _image(example['image'], k)
    lesion = _mask(example, 'mask', image, k)
    given = _mask(example, 'artefact', image, k)
    if config.mode == 'paper':
        result, found = paper(image, lesion, config)
    else:
        found = given | detect(image, lesion, config)
        if config.protect_lesion:
            found &= ~lesion
        result = filling.fill(image, found, config.fill, config.space, config.radius)
    return {**example, 'image': result, 'artefact': np.where(found, np.uint8(255), np.uint8(0))}


def paper(image: Image, lesion: Mask, config: Any) -> tuple[Image, Mask]:
    """The published procedure: the picture, and the pixels outside the lesion that changed.

    Δ = closing(L, disk) - L; L' = L_closed where Δ > threshold, else L; a and b are kept. Rounding
    back to RGB leaves all other pixels as they were.
    """
    values = filling.to_space(image, config.space)
    delta = lightness_closing(values, config.radius, config.compat) - values[..., 0]
    found = (delta > (config.threshold or _THRESHOLD['paper'])) & ~lesion
    values[..., 0] += np.where(found, delta, 0)
    result = filling.from_space(values, config.space)
    return np.where(found[..., None], result, image), found


def lightness_closing(
    values: Float[np.ndarray, 'h w 3'], radius: float = 3.0, compat: bool = False
) -> Float[np.ndarray, 'h w']:
    """Grey closing of the first channel with a disk of `radius` pixels at 400 x 400, 1 at least.

    `compat` closes the array [h, w, 3] with a ball, as the published code does by mistake: its
    dilation and erosion then mix L with a and b.
    """
    pixels = max(1, round(radius * elongated.side(values.shape) / 400))
    if not compat:
        light = np.ascontiguousarray(values[..., 0])
        return cv2.morphologyEx(light, cv2.MORPH_CLOSE, elongated.disk(pixels))
    offsets = np.indices((2 * pixels + 1,) * 3) - pixels
    ball = (offsets**2).sum(axis=0) <= pixels**2
    return scipy.ndimage.grey_closing(values, footprint=ball)[..., 0]


def detect(image: Image, lesion: Mask, config: Any) -> Mask:
    """The union of `find`, one pixel wider (at 256 x 256), at the size of the image."""
    unit = elongated.side(image.shape) / 256
    found = np.logical_or.reduce(list(find(image, lesion, config).values()))
    return _wider(found, max(1, round(unit)))


def _wider(mask: Mask, pixels: int) -> Mask:
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * pixels + 1,) * 2, np.uint8)) > 0


def find(image: Image, lesion: Mask, config: Any) -> dict[str, Mask]:
    """Masks of 'hair' (dark lines but scale bars and pen), 'strokes', 'light', 'ruler' and 'ink'.

    Pictures larger than 384 or smaller than 128 pixels a side are looked at in these sizes.
    """
    size = elongated.side(image.shape)
    scale = min(max(size, _SMALLEST), _LARGEST) / size
    if abs(scale - 1) < 0.02:
        return _find(image, lesion, config)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    height, width = (max(1, round(n * scale)) for n in lesion.shape)
    small = cv2.resize(image, (width, height), interpolation=method)
    inside = cv2.resize(lesion.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    back = lesion.shape[::-1]
    return {
        name: cv2.resize(mask.astype(np.float32), back, interpolation=cv2.INTER_LINEAR) > 0.5
        for name, mask in _find(small, inside > 0, config).items()
    }


def _find(image: Image, lesion: Mask, config: Any) -> dict[str, Mask]:
    rim = elongated.frame(image)
    # Red: pigment and vessels are palest there, hair and ink of rulers are not.
    red = np.ascontiguousarray(image[..., 0])
    threshold = (config.threshold or _THRESHOLD['robust']) * 2.55
    unit = elongated.side(image.shape) / 256
    thin, contrast = _lines(red, ~rim, unit, threshold, _DARK)
    dark = thin | _wide_lines(red, ~rim, unit, threshold)
    found = {'hair': dark, 'strokes': elongated.strokes(red, ~rim, unit) & ~dark}
    if config.light:
        # Skin reflects least blue, so that what is lighter stands out most there. Sharpening gives
        # dark lines light seams, which are none.
        within = ~(rim | _wider(dark, 2))
        found['light'], _ = _lines(255 - image[..., 2], within, unit, 4 * threshold, _LIGHT)
    if config.ruler:
        found['ruler'] = markings.ruler(red, thin, dark, contrast)
        found['hair'] = dark & ~found['ruler']
    if config.ink:
        found['ink'] = markings.ink(image, rim | lesion)
        # Strokes of a pen are lines, too, and not all of them as violet as the rest.
        drawn = found['hair'] & _wider(found['ink'], max(1, round(5 * unit)))
        found['hair'] = found['hair'] & ~drawn
        found['ink'] |= drawn
    return found


def _wide_lines(channel: Channel, within: Mask, unit: float, threshold: float) -> Mask:
    """Lines of twice the width, in the picture at half the size."""
    height, width = (max(1, round(n / 2)) for n in channel.shape)
    half = cv2.resize(channel, (width, height), interpolation=cv2.INTER_AREA)
    open_ = cv2.resize(within.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    found, _ = _lines(half, open_ > 0, unit, threshold, _WIDE)
    back = cv2.resize(found.astype(np.float32), channel.shape[::-1]) > 0.5
    return within & _wider(back, round(unit))


def _lines(
    channel: Channel, within: Mask, unit: float, threshold: float, limits: dict[str, Any]
) -> tuple[Mask, Channel]:
    """Hysteresis on ratio to the noise and contrast, and that contrast."""
    contrast = elongated.contrast(channel, unit)
    clear = within & (contrast > threshold)
    if clear.sum() < limits['seeds']:
        return np.zeros_like(clear), contrast
    ratio = elongated.ridges(channel, unit)
    weak = within & (ratio > limits['weak']) & (contrast > min(limits['faint'], threshold))
    strong = weak & clear & (ratio > limits['clear'])
    seeds = max(1, round(limits['seeds'] * unit))
    found = elongated.connected(weak, strong, limits['length'] * unit, seeds)
    return elongated.off_the_border(found), contrast


def _check(config: Any) -> None:
    if config.mode not in MODES:
        raise ValueError(f'hair.mode {config.mode!r} is unknown; {choices(config.mode, MODES)}')
    if config.fill not in filling.FILLS:
        raise ValueError(
            f'hair.fill {config.fill!r} is unknown; {choices(config.fill, filling.FILLS)}'
        )
    filling.check_space(config.space)
    if not 0 < config.radius <= 50 or not 0 <= config.threshold <= 100:
        raise ValueError(
            'hair: radius must be above 0 and at most 50, threshold 0 to 100; found '
            f'{config.radius} and {config.threshold}'
        )
    if config.compat and config.mode != 'paper':
        raise ValueError("hair.compat belongs to mode='paper'")


def _image(image: np.ndarray, k: int) -> Image:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(
            f'hair: image {k} is {image.dtype} {list(image.shape)}; expected RGB, uint8 [h, w, 3]: '
            'repeat a grey channel three times, lay a transparent picture on white'
        )
    return image


def _mask(example: Example, name: str, image: Image, k: int) -> Mask:
    if name not in example:
        return np.zeros(image.shape[:2], bool)
    mask = example[name]
    if mask.shape != image.shape[:2] or mask.dtype != np.uint8:
        raise ValueError(
            f'hair: {name} {k} is {mask.dtype} {list(mask.shape)}; expected uint8 '
            f'{list(image.shape[:2])}, the size of its image'
        )
    return mask > 127
