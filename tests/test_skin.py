"""Colours of skin against the definitions, and where skin is found."""

import itertools

import cv2
import numpy as np
import pytest

from skinjax import skin
from skinjax.data import rendering, synthetic, tones

MATRIX = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)


def defined_lab(image):
    """CIE Lab of sRGB (IEC 61966-2-1, CIE 15), in double precision."""
    x = image.astype(np.float64) / 255
    light = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    xyz = light @ MATRIX.T / (MATRIX @ np.ones(3))
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    return np.stack(
        [116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1
    )


def colour(lab):
    """A flat colour as sRGB."""
    return skin.rgb(np.array([[lab]], np.float32))[0, 0]


def scene(size=96, tone=(70.0, 12.0, 15.0), seed=0):
    """Flat skin with noise and a round lesion, and its mask."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    inside = np.hypot(x - size / 2, y - size / 2) < size / 5
    values = np.where(inside[..., None], (35.0, 14.0, 12.0), tone)
    values = values + rng.normal(0, (1.0, 0.5, 0.5), values.shape)
    image = skin.rgb(values.astype(np.float32))
    return image, np.where(inside, 255, 0).astype(np.uint8)


def test_lab_is_the_definition_and_comes_back():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (64, 64, 3)).astype(np.uint8)
    found = skin.lab(image)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, defined_lab(image), atol=0.05)
    np.testing.assert_array_equal(skin.rgb(found), image)
    white = skin.lab(np.full((1, 1, 3), 255, np.uint8))
    np.testing.assert_allclose(white[0, 0], (100, 0, 0), atol=0.02)


def test_what_no_screen_shows_is_clipped():
    for lab, expected in (((150, 0, 0), 255), ((-20, 0, 0), 0)):
        assert (colour(lab) == expected).all()


@pytest.mark.parametrize(('L', 'b', 'angle'), [(70.0, 15.0, 53.13), (60.0, 20.0, 26.57)])
def test_worked_angles(L, b, angle):
    assert skin.ita(L, b) == pytest.approx(angle, abs=0.005)


def test_one_definition_of_types():
    for number, (low, high) in enumerate(skin.TYPES.values(), 1):
        assert skin.skin_type(np.array([low + 1e-6, high])).tolist() == [number, number]
    assert synthetic.skin_type is skin.skin_type
    ends = list(skin.TYPES.values())
    assert all(one[0] == other[1] for one, other in itertools.pairwise(ends))


def test_synthetic_types_have_the_same_limits():
    for own, (low, high) in zip(tones.RANGES, skin.TYPES.values(), strict=True):
        assert own[1] == high or high == skin.TYPES['I'][1]
        assert own[0] == low or low == skin.TYPES['VI'][0]


def test_the_scale_of_monk():
    found = [skin.monk_ita(tone) for tone in range(1, 11)]
    for angle, tone in zip(found, skin.MONK, strict=True):
        L, _, b = defined_lab(np.array([[list(bytes.fromhex(tone))]], np.uint8))[0, 0]
        assert angle == pytest.approx(np.degrees(np.arctan2(L - 50, b)), abs=0.3)
    assert found == sorted(found, reverse=True)


def test_skin_is_what_lies_around_the_lesion():
    image, mask = scene()
    found = skin.skin_mask(image, mask)
    assert found.shape == mask.shape and not (found & (mask > 0)).any()
    assert found[mask == 0].mean() > 0.6  # not the seam around it
    L, _, b = skin.median_lab(image, mask)
    assert (L, b) == (pytest.approx(70, abs=0.5), pytest.approx(15, abs=0.5))
    assert skin.median_ita(image, mask) == pytest.approx(53.13, abs=2)


def stained():
    """A scene with a black rim, glare, ink and a hair, and where they are."""
    image, mask = scene(128)
    y, x = np.mgrid[:128, :128]
    parts = {
        'rim': np.hypot(x - 63.5, y - 63.5) > 75,
        'glare': (np.abs(x - 100) < 4) & (np.abs(y - 60) < 4),
        'ink': (np.abs(x - 25) < 4) & (np.abs(y - 60) < 6),
        'hair': np.abs(y - 20) < 1,
    }
    for part, shade in zip(
        parts.values(), ((5, 4, 4), (250, 250, 250), (70, 40, 140), (60, 40, 35)), strict=True
    ):
        image[part] = shade
    return image, mask, parts


def test_what_is_no_skin_is_left_out():
    image, mask, parts = stained()
    found = skin.skin_mask(image, mask)
    for name, part in parts.items():
        assert not (found & part).any(), name
    clean, _ = scene(128)
    expected = skin.median_ita(clean, mask)
    assert skin.median_ita(image, mask) == pytest.approx(expected, abs=1)


def test_larger_pictures_are_looked_at_smaller():
    image, mask = scene(96)
    wide = (400, 300)
    large = cv2.resize(image, wide), cv2.resize(mask, wide, interpolation=cv2.INTER_NEAREST)
    found = skin.skin_mask(*large)
    assert found.shape == (300, 400) and not (found & (large[1] > 0)).any()
    assert len(skin.skin_pixels(*large)) < 128 * 128
    assert skin.median_ita(*large) == pytest.approx(skin.median_ita(image, mask), abs=1)


def test_no_skin():
    image, mask = scene()
    grey = np.repeat(image[..., :1], 3, axis=2)
    for picture, lesion in ((grey, mask), (image, np.full_like(mask, 255)), (0 * image, mask)):
        assert not skin.skin_mask(picture, lesion).any()
        assert np.isnan(skin.median_ita(picture, lesion))
        assert np.isnan(skin.median_lab(picture, lesion)).all()


@pytest.mark.parametrize('noise', [0.5, 2.0])
def test_a_grey_picture_with_noise_of_its_colours_has_no_skin(noise):
    rng = np.random.default_rng(0)
    image, mask = scene(128, (70.0, 0.0, 0.0))
    values = skin.lab(image) * np.array([1, 0, 0], np.float32)
    values[..., 1:] += rng.normal(0, noise, (128, 128, 2)).astype(np.float32)
    noisy = skin.rgb(values)
    noisy[:20, :20] = (180, 60, 60)  # a sticker
    _, file = cv2.imencode('.jpg', noisy[..., ::-1])
    stored = cv2.imdecode(file, cv2.IMREAD_COLOR_RGB)
    assert stored is not None
    for picture in (noisy, stored):
        assert not skin.skin_mask(picture, mask).any()
    pale, mask = scene(128, (92.0, 2.0, 3.0))
    assert skin.skin_mask(pale, mask).any()


def test_colours_that_may_be_skin():
    assert skin.is_skin(np.array([68.0, 12.0, 14.0])) and skin.is_skin(np.array([32.0, 11.0, 14.0]))
    for other in ((60, 0, 1), (50, -20, 20), (40, 10, -25), (98, 5, 8), (50, 50, 30)):
        assert not skin.is_skin(np.array(other, np.float64))


@pytest.mark.parametrize('ita', [60.0, 30.0, 0.0, -25.0])
def test_angles_of_rendered_skin(ita):
    """Of pictures of known tone, without a camera between: to a few degrees."""
    errors = []
    for index in range(4):
        picture = rendering.render(3, index, index % 2, 96, (), None, ita)
        errors.append(skin.median_ita(picture.image, picture.mask) - ita)
    assert abs(np.median(errors)) < 8, errors
