"""The colour of bare skin in a photograph: CIE Lab, where the skin is, its typology angle.

Everything is numpy and OpenCV, for one RGB picture at a time. An angle (ITA) depends on light and
camera as well as on skin: see docs/data.md before calling it a skin type.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from skinjax.data.detectors import ITA_LIMITS, angle, skin_type
from skinjax.data.detectors import ita as patch_ita
from skinjax.editors import elongated

__all__ = [
    'ITA_LIMITS',
    'MONK',
    'TYPES',
    'is_skin',
    'ita',
    'lab',
    'linear',
    'median_ita',
    'median_lab',
    'monk_ita',
    'patch_ita',
    'rgb',
    'skin_mask',
    'skin_pixels',
    'skin_type',
    'types',
]

Image = UInt8[np.ndarray, 'h w 3']
Mask = Bool[np.ndarray, 'h w']
Colour = Float[np.ndarray, '3']
NAMES = ('I', 'II', 'III', 'IV', 'V', 'VI')


def types(lightest: float, darkest: float) -> dict[str, tuple[float, float]]:
    """Range of ITA in degrees of each Fitzpatrick type: ITA_LIMITS, and two outer ends."""
    ends = (lightest, *map(float, ITA_LIMITS), darkest)
    return {name: (ends[k + 1], ends[k]) for k, name in enumerate(NAMES)}


TYPES = types(70.0, -55.0)  # as far as photographs of skin go: what recolouring may ask for
# Monk, "The Monk Skin Tone Scale" (2023), doi 10.31235/osf.io/pdf4c: tones 1 to 10 in sRGB.
MONK = (
    'f6ede4', 'f3e7db', 'f7ead0', 'eadaba', 'd7bd96', 'a07e56', '825c43', '604134', '3a312a',
    '292420',
)  # fmt: skip

WORKING = 128  # side at which skin is looked for
AROUND = 10.0  # 256ths of the side around a lesion that do not count as skin
HAIR = 10  # grey levels by which hair is darker than a closing
LEAST = 0.01  # share of the picture that skin must have
SPREAD = 3.0  # robust standard deviations from the median colour that still are skin
FLOORS = (6.0, 4.0, 4.0)  # of those distances, in L, a and b
GREY = 1.0  # chroma of the median colour: 16 of 2,679 pictures of ISIC 2017 have less, and no hue

_values = np.arange(256) / 255
_LINEAR = np.where(_values <= 0.04045, _values / 12.92, ((_values + 0.055) / 1.055) ** 2.4)
_LINEAR = _LINEAR.astype(np.float32)


def linear(image: UInt8[np.ndarray, 'h w 3']) -> Float[np.ndarray, 'h w 3']:
    """Light, 0 to 1, of sRGB (IEC 61966-2-1)."""
    return cv2.LUT(image, _LINEAR)


def lab(image: UInt8[np.ndarray, 'h w 3']) -> Float[np.ndarray, 'h w 3']:
    """CIE Lab (L 0 to 100; D65) of sRGB, float32, within 0.03 of the definition.

    OpenCV's own way from sRGB interpolates in a coarse table and is up to 0.4 off.
    """
    return cv2.cvtColor(linear(image), cv2.COLOR_LRGB2Lab)


def rgb(values: Float[np.ndarray, 'h w 3']) -> UInt8[np.ndarray, 'h w 3']:
    """sRGB of CIE Lab; what a screen cannot show is clipped. Undoes `lab` without a loss."""
    colours = cv2.cvtColor(np.asarray(values, np.float32), cv2.COLOR_Lab2RGB)
    return cv2.convertScaleAbs(np.clip(colours, 0, 1), alpha=255)


def ita(lightness: float, yellowness: float) -> float:
    """Individual typology angle atan2(L - 50, b) · 180/π in degrees (`data.detectors.angle`)."""
    return float(angle(np.array([lightness]), np.array([yellowness]))[0])


def monk_ita(tone: int) -> float:
    """ITA in degrees of a tone of the Monk scale, 1 (lightest) to 10."""
    lightness, _, b = lab(np.array([[list(bytes.fromhex(MONK[tone - 1]))]], np.uint8))[0, 0]
    return ita(float(lightness), float(b))


def skin_mask(image: Image, mask: UInt8[np.ndarray, 'h w'] | None = None) -> Mask:
    """Pixels of bare skin: neither lesion nor black rim, hair, glare, ink, sticker or shadow.

    Skin is what most of the picture outside the lesion shows: within 3 robust standard deviations
    (1.4826 median absolute deviations) of the median colour, in each of L, a and b. Found at 128
    pixels a side; where less than 1 % is left, or that colour is grey (chroma below 1: noise and
    JPEG give a grey picture some), there is no skin.

    Args:
        image: RGB.
        mask: of the lesion, 0 and 255; None: there is none, or it is small.
    """
    _, found = _find(image, mask)
    full = cv2.resize(found.astype(np.uint8), image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    return full > 0


def skin_pixels(
    image: Image, mask: UInt8[np.ndarray, 'h w'] | None = None
) -> UInt8[np.ndarray, 'n 1 3']:
    """The pixels of `skin_mask` at 128 pixels a side, which is enough for statistics."""
    small, found = _find(image, mask)
    return small[found][:, None]


def median_lab(image: Image, mask: UInt8[np.ndarray, 'h w'] | None = None) -> Colour:
    """The median L, a and b of the skin; nan: there is none."""
    pixels = skin_pixels(image, mask)
    return np.median(lab(pixels)[:, 0], axis=0) if len(pixels) else np.full(3, np.nan)


def median_ita(image: Image, mask: UInt8[np.ndarray, 'h w'] | None = None) -> float:
    """ITA in degrees of the skin's median L and b; nan: there is no skin."""
    lightness, _, b = median_lab(image, mask).tolist()
    return ita(lightness, b)


def is_skin(colour: Colour) -> bool:
    """Whether a colour (L, a, b) may be skin under white light: hue 15 to 85 degrees, not grey."""
    lightness, a, b = (float(value) for value in colour)
    hue = np.degrees(np.arctan2(b, a))
    return bool(12 < lightness < 96 and 15 < hue < 85 and 6 < np.hypot(a, b) < 45)


def _find(
    image: Image, mask: UInt8[np.ndarray, 'h w'] | None
) -> tuple[UInt8[np.ndarray, 'y x 3'], Bool[np.ndarray, 'y x']]:
    """The picture at 128 pixels a side, and where its skin is."""
    scale = min(1.0, WORKING / elongated.side(image.shape))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
    outside = ~elongated.frame(small)
    if mask is not None:
        lesion = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
        reach = 2 * max(1, round(AROUND * elongated.side(small.shape) / 256)) + 1
        outside &= cv2.dilate(lesion, np.ones((reach, reach), np.uint8)) == 0
    green = np.ascontiguousarray(small[..., 1])
    outside &= cv2.morphologyEx(green, cv2.MORPH_BLACKHAT, np.ones((9, 9), np.uint8)) <= HAIR
    return small, _like_most(lab(small), outside)


def _like_most(values: Float[np.ndarray, 'h w 3'], outside: Mask) -> Mask:
    """The part of `outside` whose colour is near its median."""
    chosen = values[outside]
    least = max(16, LEAST * outside.size)
    if len(chosen) < least:
        return np.zeros_like(outside)
    sample = chosen[:: max(1, len(chosen) // 4096)]
    middle = np.median(sample, axis=0)
    spread = 1.4826 * np.median(np.abs(sample - middle), axis=0)
    reach = SPREAD * np.maximum(spread, np.array(FLOORS, np.float32) / SPREAD)
    low, high = (np.asarray(limit, np.float64) for limit in (middle - reach, middle + reach))
    found = outside & (cv2.inRange(values, low, high) > 0)
    grey = np.hypot(middle[1], middle[2]) < GREY
    return np.zeros_like(outside) if grey or found.sum() < least else found
