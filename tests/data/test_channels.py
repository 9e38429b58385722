"""The seven channels, against Pillow, OpenCV and the formulas a pixel at a time."""

import colorsys

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from skinjax.data.channels import COUNT, channels, hsv, luminance


@pytest.fixture(scope='module')
def colours() -> np.ndarray:
    """Random colours, all greys, dark ones, and the corners of the cube; two images."""
    rng = np.random.default_rng(0)
    grey = np.repeat(np.arange(256)[:, None], 3, 1)
    corners = np.array([[r, g, b] for r in (0, 255) for g in (0, 255) for b in (0, 255)])
    dark = rng.integers(0, 12, (1000, 3))
    rest = rng.integers(0, 256, (2 * 48 * 48 - len(grey) - len(corners) - len(dark), 3))
    return np.concatenate([grey, corners, dark, rest]).astype(np.uint8).reshape(2, 48, 48, 3)


def test_hsv_is_that_of_pillow(colours):
    want = np.stack([np.asarray(Image.fromarray(image).convert('HSV')) for image in colours])
    apart = np.abs(np.asarray(hsv(jnp.asarray(colours))) - want)
    apart[..., 0] = np.minimum(apart[..., 0], 255 - apart[..., 0])
    assert apart.max() <= 1
    assert (apart > 0).mean() < 0.01


def slow_hsv(pixel: np.ndarray) -> np.ndarray:
    return np.floor(255 * np.array(colorsys.rgb_to_hsv(*(pixel / 255))) + 1e-4)


def test_hsv_by_the_standard_library(colours):
    pixels = colours.reshape(-1, 3)[::23]
    found = np.asarray(hsv(jnp.asarray(pixels[None, None])))[0, 0]
    apart = np.abs(found - np.stack([slow_hsv(pixel) for pixel in pixels]))
    assert np.minimum(apart, 255 - apart).max() <= 1


def test_luminance_is_that_of_opencv(colours):
    floats = colours.astype(np.float32) / 255
    want = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2Lab)[..., 0] for image in floats])
    found = np.asarray(luminance(jnp.asarray(colours)))
    assert np.abs(found - want).max() < 0.25  # of 100: OpenCV interpolates in a table
    assert found.min() == 0 and found.max() == pytest.approx(100, abs=1e-3)


def slow_luminance(pixel: np.ndarray) -> float:
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in pixel / 255]
    y = float(np.dot(linear, (0.212671, 0.715160, 0.072169)))
    return 116 * y ** (1 / 3) - 16 if y > (6 / 29) ** 3 else y * (29 / 3) ** 3


def test_luminance_by_its_formula(colours):
    pixels = colours.reshape(-1, 3)[::23]
    found = np.asarray(luminance(jnp.asarray(pixels[None, None])))[0, 0]
    np.testing.assert_allclose(found, [slow_luminance(pixel) for pixel in pixels], atol=1e-3)


def test_channels_span_the_range_and_compat_does_not(colours):
    images = jnp.asarray(colours)
    full, old = (np.asarray(channels(images, compat=compat)) for compat in (False, True))
    assert full.shape == (2, 48, 48, COUNT) and full.dtype == np.float32
    assert full.min() == -1 and full.max() == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(full[..., :6], old[..., :6])
    np.testing.assert_allclose(full[..., :3], colours / 127.5 - 1, atol=1e-6)
    assert old[..., 6].min() == -1
    assert -0.224 <= old[..., 6].max() <= -0.215  # 100 or, where white is a little less, 99
    np.testing.assert_allclose(
        old[..., 6], np.floor(np.asarray(luminance(images))) / 127.5 - 1, atol=1e-6
    )


def test_channels_compile_and_take_any_size():
    for shape in ((1, 1, 1, 3), (2, 5, 50, 3)):
        found = jax.jit(channels)(jnp.full(shape, 128, jnp.uint8))
        assert found.shape == (*shape[:3], COUNT) and bool(jnp.isfinite(found).all())
