"""Twelve imagined dermatoscopes: eight for training and four that are only met in tests."""

import functools

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from skinjax.data.canvas import grid

SEEN = 8
UNSEEN = 4
# Columns: gain of red, green and blue, gamma, saturation, vignette, blur, noise. Blur is a standard
# deviation in 64ths of the side, noise one per pixel.
_CAMERAS = np.array(
    [
        [1.02, 1.00, 0.98, 1.00, 1.00, 0.10, 0.30, 0.0075],
        [1.06, 0.97, 0.93, 0.95, 1.12, 0.25, 0.45, 0.0090],
        [0.95, 1.00, 1.08, 1.05, 0.90, 0.05, 0.35, 0.0150],
        [1.00, 1.02, 0.95, 0.85, 1.05, 0.35, 0.60, 0.0060],
        [1.08, 0.95, 1.00, 1.10, 1.15, 0.15, 0.25, 0.0112],
        [0.97, 1.03, 1.00, 0.92, 0.85, 0.20, 0.75, 0.0075],
        [0.92, 0.98, 1.10, 1.12, 1.00, 0.30, 0.30, 0.0188],
        [1.05, 1.02, 0.90, 1.02, 0.95, 0.00, 0.90, 0.0225],
        [0.98, 1.05, 1.05, 0.90, 1.08, 0.30, 0.50, 0.0135],
        [1.10, 0.96, 0.90, 1.06, 0.88, 0.10, 0.80, 0.0165],
        [0.94, 0.98, 1.02, 1.15, 1.10, 0.40, 0.40, 0.0045],
        [1.03, 1.03, 1.00, 0.88, 0.80, 0.05, 0.65, 0.0210],
    ],
    np.float32,
)
_JITTER = np.array([0.035, 0.035, 0.035, 0.05, 0.06, 0.06, 0.15, 0.06], np.float32)
# Of the noise of the three channels: variance 1, correlation 0.64.
_GRAIN = np.full((3, 3), 0.303, np.float32) + 0.6 * np.eye(3, dtype=np.float32)
_ORDER = (3, 6, 0, 5, 2, 7, 1, 4)


def take(
    image: Float[np.ndarray, 's s 3'], rng: np.random.Generator, camera: int | None
) -> UInt8[np.ndarray, 's s 3']:
    """The photograph: gains, gamma, saturation, vignette, exposure, blur and sensor noise.

    Each setting varies a little from picture to picture. Nothing depends on the image's content,
    so what differs between two scenes stays within `reach` of where they differ. The camera None
    only rounds.
    """
    if camera is None:
        return _round(image)
    size = len(image)
    jitter = _jitter(rng)
    factor = np.exp(jitter)
    _, _, _, gamma, saturation, _, blur, grain = _CAMERAS[camera].tolist()
    gain = _CAMERAS[camera, :3] * factor[:3] * factor[7]
    vignette = max(0.0, float(_CAMERAS[camera, 5] + jitter[5]))
    x, y = grid(size)
    light = 1 - 1.6 * vignette * (x * x + y * y - 1 / 6)
    image = np.clip(image * light[..., None] * gain, 1e-4, 1.2) ** (gamma * float(factor[3]))
    grey = image.mean(-1, keepdims=True)
    image = grey + (image - grey) * (saturation * float(factor[4]))
    image = _blur(image, blur * float(factor[6]) * size / 64)
    return _round(image + grain * (rng.standard_normal(image.shape, dtype=np.float32) @ _GRAIN))


def spread(
    share: Float[np.ndarray, 's s'], rng: np.random.Generator, camera: int | None
) -> Float[np.ndarray, 's s']:
    """What the blur of `take`, given a generator in the same state, makes of a map."""
    if camera is None:
        return share
    blur = float(_CAMERAS[camera, 6]) * float(np.exp(_jitter(rng))[6])
    return _blur(share, blur * len(share) / 64)


def _jitter(rng: np.random.Generator) -> Float[np.ndarray, '8']:
    return _JITTER * np.clip(rng.standard_normal(8, dtype=np.float32), -3, 3)


def _round(image) -> UInt8[np.ndarray, 's s 3']:
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def _blur(image, sigma):
    if sigma < 0.2:
        return image
    side = 2 * int(np.ceil(3.5 * sigma)) + 1
    return cv2.GaussianBlur(image, (side, side), sigma)


def reach(size: int) -> int:
    """The furthest in pixels that a camera spreads a change of the scene."""
    largest = _CAMERAS[:, 6].max() * np.exp(3 * _JITTER[6]) * size / 64
    return int(np.ceil(3.5 * largest))


@functools.lru_cache(maxsize=32)
def given_class(skew: float) -> Float[np.ndarray, '2 8']:
    """P(camera | benign) and P(camera | malignant), in proportion to exp(-skew t), exp(skew t).

    The t of the cameras are -1 to 1 in equal steps, in an order unrelated to their quality.
    """
    t = np.linspace(-1, 1, SEEN)[np.array(_ORDER)]
    table = np.exp(skew * np.stack([-t, t]))
    table /= table.sum(1, keepdims=True)
    table.flags.writeable = False
    return table
