"""Ways to fill the pixels of a mask from what surrounds them, without any learning."""

import math

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from skinjax.data.records import choices
from skinjax.editors.elongated import disk, side

Image = UInt8[np.ndarray, 'h w 3']
Mask = Bool[np.ndarray, 'h w']

_WIDEST = 0.04  # share of the side: larger disks take long, and close lesions
FILLS = ('telea', 'ns', 'closing', 'none')
SPACES = {
    'lab': (cv2.COLOR_RGB2LAB, cv2.COLOR_LAB2RGB),
    'luv': (cv2.COLOR_RGB2LUV, cv2.COLOR_LUV2RGB),
}


def to_space(image: Image, space: str) -> Float[np.ndarray, 'h w 3']:
    """L (0 to 100) and the two chromatic axes of CIE Lab or Luv, D65, float32.

    Raises:
        ValueError: another `space`.
    """
    check_space(space)
    return cv2.cvtColor(image.astype(np.float32) / 255, SPACES[space][0])


def from_space(values: Float[np.ndarray, 'h w 3'], space: str) -> Image:
    """The picture of `to_space`, rounded; colours that no screen shows are clipped."""
    image = cv2.cvtColor(values, SPACES[space][1])
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)


def check_space(space: str) -> None:
    """Refuse what is not in SPACES."""
    if space not in SPACES:
        raise ValueError(f'space {space!r} is unknown; {choices(space, SPACES)}')


def fill(image: Image, mask: Mask, method: str, space: str = 'lab', radius: float = 3.0) -> Image:
    """`image` with the pixels of `mask` replaced; all others keep their values bit for bit.

    'telea' is Telea's fast marching (2004), 'ns' the Navier-Stokes inpainting of Bertalmio et al.
    (2001), 'closing' takes L from the grey closing of the picture (or its opening, where that is
    nearer to what surrounds the mask) with a disk that is wider than the mask, and the other two
    channels from the mean of unmasked neighbours; 'none' changes nothing. Without a pixel outside
    the mask there is nothing to fill from, and nothing is changed.

    Args:
        image: RGB.
        mask: what is replaced.
        method: one of FILLS.
        space: of 'closing': 'lab' or 'luv'.
        radius: in pixels at 400 x 400: of the neighbourhood of 'telea' and 'ns', and the least of
            the disk.

    Raises:
        ValueError: another `method` or `space`.
    """
    if method not in FILLS:
        raise ValueError(f'fill {method!r} is unknown; {choices(method, FILLS)}')
    check_space(space)
    if method == 'none' or not mask.any() or mask.all():
        return image.copy()
    pixels = radius * side(mask.shape) / 400
    if method == 'closing':
        filled = _closed(image, mask, space, max(1, round(pixels)))
    else:
        flag = cv2.INPAINT_TELEA if method == 'telea' else cv2.INPAINT_NS
        filled = cv2.inpaint(image, mask.astype(np.uint8), max(1.0, pixels), flag)
    return np.where(mask[..., None], filled, image)


def _closed(image: Image, mask: Mask, space: str, radius: int) -> Image:
    values = to_space(image, space)
    depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3).max()
    radius = max(radius, min(math.ceil(depth) + 1, math.ceil(_WIDEST * side(mask.shape))))
    around = surroundings(values, mask, 2 * radius + 1)
    light = np.ascontiguousarray(values[..., 0])
    closed = cv2.morphologyEx(light, cv2.MORPH_CLOSE, disk(radius))
    opened = cv2.morphologyEx(light, cv2.MORPH_OPEN, disk(radius))
    nearer = np.abs(closed - around[..., 0]) <= np.abs(opened - around[..., 0])
    around[..., 0] = np.where(nearer, closed, opened)
    return from_space(around, space)


def surroundings(
    values: Float[np.ndarray, 'h w c'], mask: Mask, size: int
) -> Float[np.ndarray, 'h w c']:
    """Mean of the unmasked pixels of a square window, which grows until it holds some."""
    weight = (~mask).astype(np.float32)
    result, known = values.copy(), np.zeros(mask.shape, bool)
    while not known.all():
        share = cv2.blur(weight, (size, size))
        mean = cv2.blur(values * weight[..., None], (size, size))
        new = ~known & (share > 0.5 / size**2)
        result[new] = mean[new] / share[new, None]
        known |= new
        size = 2 * size + 1
    return result
