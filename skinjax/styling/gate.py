"""Whether a styled image may be used: measures of it beside its original, and their limits.

structure    SSIM of the lesion alone, at its own brightness and contrast: see `structure`
ita_before   typology angle of the skin in degrees, median of its pixels
ita_after    likewise; nan where no skin is found
ita_error    degrees from ita_after to the nearest angle that was asked for
patch_before, patch_after
             typology angle of the lightest of eight patches at the border (data/detectors.py): what
             others call skin, where ita_after is found as recolouring has found it; not judged
boundary     what is new in the steps across the lesion's outline: see `boundary`
novelty      mean squared error (pixels 0 to 1) to the nearest image of the training set
probability_before, probability_after, change
             what a frozen classifier gives the image's class, and the difference
call_before, call_after
             the class that it calls the image
"""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from skinjax import quality, skin

Image = UInt8[np.ndarray, '_ _ 3']
Mask = Bool[np.ndarray, '_ _']

# How each was found is in docs/style.md. What is not measured is not judged; what was to be and
# came out as nan is refused, but where the limit lets all pass.
DEFAULTS: dict[str, Any] = {
    'least_structure': 0.9,
    'ita_tolerance': 5.0,  # degrees
    'most_boundary': 0.3,
    'most_change': 0.5,  # of the probability of the image's class, by config.classifier
    'least_novelty': 0.001,  # 0: no training images are read
}
RANGES = {
    'least_structure': (-1.0, 1.0),
    'ita_tolerance': (0.0, 180.0),
    'most_boundary': (0.0, 1e9),  # JSON, which configs are written as, has no infinity
    'most_change': (0.0, 1.0),
    'least_novelty': (0.0, 1.0),
}
BAND = 0.02  # of the diagonal: how far the outline reaches to either side, at least 2 pixels
BLUR = 0.004  # of the diagonal: standard deviation, at least half a pixel
FLOOR = 0.25  # L for each hundredth of the diagonal: steps of skin without a lesion
_MEAN, _SPREAD = 128, 42  # of luminance inside the lesion, so that three deviations fit in 8 bits


def check(limits: Any) -> None:
    """ValueError if a limit is out of range."""
    for name, (low, high) in RANGES.items():
        if not low <= limits[name] <= high:
            raise ValueError(f'config.gate.{name} is {limits[name]}, expected {low:g} to {high:g}')


def measure(
    before: Image, after: Image, mask: Mask, asked: tuple[float, float] | None
) -> dict[str, float]:
    """What two images of one lesion tell; the other measures need more than them.

    Args:
        before: the original.
        after: what was made of it.
        mask: the lesion; empty where it is unknown.
        asked: least and greatest angle in degrees; None for any.

    Raises:
        ValueError: images or mask of different sizes.
    """
    lesion = np.where(mask, 255, 0).astype(np.uint8)
    angles = [skin.median_ita(image, lesion) for image in (before, after)]
    low, high = asked or (-180.0, 180.0)
    return {
        'structure': structure(before, after, mask),
        'ita_before': angles[0],
        'ita_after': angles[1],
        'ita_error': max(low - angles[1], angles[1] - high, 0.0),
        'patch_before': skin.patch_ita(before),
        'patch_after': skin.patch_ita(after),
        'boundary': boundary(before, after, mask),
    }


def structure(before: Image, after: Image, mask: Mask) -> float:
    """SSIM of the luminance inside the lesion, of mean 0 and deviation 1 there in both images.

    So neither tone nor contrast counts, but what can be seen: lesions that lose their detail, or
    gain what they did not have: 0 where one of them has the same luminance everywhere, 1 where both
    have. nan without a lesion.

    Raises:
        ValueError: images or mask of different sizes.
    """
    _same_size(before, after, mask)
    if not mask.any():
        return float('nan')
    was, now = (_standardised(image, mask) for image in (before, after))
    if was is None or now is None:
        return float(was is now)
    return quality.ssim(now, was, mask)


def _same_size(before: Image, after: Image, mask: Mask) -> None:
    if before.shape != after.shape or before.shape[:2] != mask.shape:
        raise ValueError(
            f'images and mask of one size expected, found {before.shape}, {after.shape} and '
            f'{mask.shape}'
        )


def _standardised(image: Image, mask: Mask) -> UInt8[np.ndarray, 'h w 1'] | None:
    """Luminance of the lesion as 8 bits, the mean elsewhere; None where it is all the same."""
    inside = skin.lab(image)[..., 0][mask]
    spread = float(inside.std())
    if spread < 1e-3:
        return None
    plane = np.full((*mask.shape, 1), _MEAN, np.uint8)
    scaled = _MEAN + _SPREAD * (inside - inside.mean()) / spread
    plane[mask, 0] = np.clip(np.rint(scaled), 0, 255)
    return plane


def boundary(before: Image, after: Image, mask: Mask) -> float:
    """How much of the steps across the outline is new: 0 where all have grown or shrunk alike.

    With g the slope of L (CIE Lab) along the outline's normal in a band around it, before and
    after, and s >= 0 the number for which s g_before is nearest to g_after: mean |g_after - s
    g_before| / mean |g_before|, where FLOOR is the least divisor. Halos, seams and lesions that are
    lighter than their skin raise it; another contrast of the same lesion does not. An own measure.
    nan without an outline.

    Raises:
        ValueError: images or mask of different sizes.
    """
    _same_size(before, after, mask)
    if not mask.any() or mask.all():
        return float('nan')
    diagonal = float(np.hypot(*mask.shape))
    inside, outside = (
        cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, 5) for part in (mask, ~mask)
    )
    signed = outside - inside  # grows from the inside out
    band = np.abs(signed) <= max(2.0, BAND * diagonal)
    normal = _slopes(signed, max(0.5, BLUR * diagonal))
    normal /= np.maximum(np.hypot(*normal), 1e-6)
    blur = max(0.5, BLUR * diagonal)
    was, now = (
        (_slopes(skin.lab(image)[..., 0], blur) * normal).sum(0)[band] * diagonal / 100
        for image in (before, after)
    )
    scale = max(float(was @ now) / max(float(was @ was), 1e-12), 0.0)
    return float(np.abs(now - scale * was).mean() / max(float(np.abs(was).mean()), FLOOR))


def _slopes(plane: Float[np.ndarray, 'h w'], blur: float) -> Float[np.ndarray, '2 h w']:
    """Change for each pixel to the right and downwards, of the blurred plane."""
    smooth = cv2.GaussianBlur(plane.astype(np.float32), (0, 0), blur)
    return np.stack([cv2.Sobel(smooth, cv2.CV_32F, *to, scale=1 / 8) for to in ((1, 0), (0, 1))])


def reasons(found: Mapping[str, Any], limits: Any) -> list[str]:
    """Why an image with these measures is not used; empty where it is.

    Args:
        found: of `measure`, and perhaps `change` and `novelty`.
        limits: as DEFAULTS.
    """
    told = []
    if np.isnan(found['structure']):
        if limits.least_structure > RANGES['least_structure'][0]:
            told.append('structure is unknown: there is no lesion')
    elif found['structure'] < limits.least_structure:
        told.append(f'structure {found["structure"]:.3f} is below {limits.least_structure:g}')
    if np.isnan(found['ita_after']):
        told.append('no skin is found in the styled image')
    elif found['ita_error'] > limits.ita_tolerance:
        told.append(f'ita {found["ita_after"]:.1f} is {found["ita_error"]:.1f} degrees off')
    if np.isnan(found['boundary']):
        if limits.most_boundary < RANGES['most_boundary'][1]:
            told.append('boundary is unknown: the lesion has no outline')
    elif found['boundary'] > limits.most_boundary:
        told.append(f'boundary {found["boundary"]:.3f} is above {limits.most_boundary:g}')
    if not abs(found.get('change', 0.0)) <= limits.most_change:
        told.append(f'change {found["change"]:+.3f} is more than {limits.most_change:g}')
    if found.get('novelty', np.inf) < limits.least_novelty:
        told.append(f'novelty {found["novelty"]:.2g} is below {limits.least_novelty:g}')
    return told
