"""PSNR and SSIM against slow twins, hand values and their limits."""

import math

import numpy as np
import pytest

from skinjax import quality


@pytest.fixture(scope='module')
def pair():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (19, 23, 3)).astype(np.uint8)
    other = np.clip(image + rng.normal(0, 20, image.shape), 0, 255).astype(np.uint8)
    return image, other


def slow_ssim_map(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """One channel, window by window, with mirrored borders."""
    offsets = np.arange(-5, 6)
    weights = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    x, y = (np.pad(a.astype(np.float64), 5, mode='symmetric') for a in (x, y))
    height, width = x.shape[0] - 10, x.shape[1] - 10
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    result = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            a, b = (z[row : row + 11, column : column + 11] for z in (x, y))
            ma, mb = (weights * a).sum(), (weights * b).sum()
            va, vb = (weights * (a - ma) ** 2).sum(), (weights * (b - mb) ** 2).sum()
            both = (weights * (a - ma) * (b - mb)).sum()
            top = (2 * ma * mb + c1) * (2 * both + c2)
            result[row, column] = top / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    return result


def test_ssim_is_that_of_the_windows(pair):
    image, other = pair
    twin = np.mean([slow_ssim_map(image[..., c], other[..., c]) for c in range(3)], axis=0)
    np.testing.assert_allclose(quality.ssim_map(image, other), twin, atol=1e-9)
    mask = np.zeros(image.shape[:2], bool)
    mask[3:9, 4:20] = True
    assert quality.ssim(image, other, mask) == pytest.approx(twin[mask].mean(), abs=1e-9)
    grey = quality.ssim(image[..., :1], other[..., :1])
    assert grey == pytest.approx(slow_ssim_map(image[..., 0], other[..., 0]).mean(), abs=1e-9)


def test_psnr_by_hand(pair):
    black, ten = np.zeros((4, 5, 3), np.uint8), np.full((4, 5, 3), 10, np.uint8)
    assert quality.psnr(ten, black) == pytest.approx(20 * math.log10(25.5))
    assert quality.psnr(black, 255 - black) == pytest.approx(0)
    half = np.zeros((4, 5), bool)
    half[:2] = True
    ten[2:] = 0
    assert quality.psnr(ten, black) == pytest.approx(10 * math.log10(255**2 / 50))
    assert quality.psnr(ten, black, half) == pytest.approx(20 * math.log10(25.5))
    assert quality.psnr(ten, black, ~half) == math.inf
    image, other = pair
    slow = 10 * math.log10(255**2 / np.mean((image.astype(float) - other.astype(float)) ** 2))
    assert quality.psnr(image, other) == pytest.approx(slow)


def test_constant_pictures_by_hand():
    """Without any variance SSIM is the luminance term alone."""
    a, b = np.full((12, 12, 3), 100, np.uint8), np.full((12, 12, 3), 200, np.uint8)
    c1 = 2.55**2
    expected = (2 * 100 * 200 + c1) / (100**2 + 200**2 + c1)
    assert quality.ssim(a, b) == pytest.approx(expected)
    assert quality.ssim(a, a) == pytest.approx(1)
    assert math.isnan(quality.ssim(a, b, np.zeros((12, 12), bool)))
    assert math.isnan(quality.psnr(a, b, np.zeros((12, 12), bool)))


def test_sizes_must_agree(pair):
    image, _ = pair
    with pytest.raises(ValueError, match=r'\[19, 23, 3\] and \[18, 23, 3\]'):
        quality.psnr(image, image[1:])
    with pytest.raises(ValueError, match=r'\[19, 23\].*found \[23, 19\]'):
        quality.ssim(image, image, np.zeros((23, 19), bool))
