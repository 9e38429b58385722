"""Recolouring: worked statistics, tones that are reached, structures that are kept."""

import csv

import cv2
import numpy as np
import pytest

from skinjax import quality, skin
from skinjax.data import images, rendering
from skinjax.styling import recolour
from tests.helpers import ISIC2017
from tests.test_skin import scene

TONES = [float(np.mean(ends)) for ends in skin.TYPES.values()]


@pytest.fixture(scope='module')
def picture():
    found = rendering.render(5, 3, 1, 128, (), None, 48.0)
    return found.image, found.mask


@pytest.fixture(scope='module')
def dark():
    found = rendering.render(5, 4, 0, 128, (), None, 0.0)
    return recolour.statistics(found.image, found.mask)


def test_gains_turn_one_colour_into_another():
    before, after = (np.array(lab, np.float32) for lab in ((70.0, 12.0, 15.0), (45.0, 12.0, 18.0)))
    factors = recolour.gains(before, after)
    assert (factors < 1).all() and factors[0] > factors[2]  # melanin takes most of the blue
    image = skin.rgb(np.tile(before, (4, 4, 1)))
    found = skin.lab(recolour.multiply(image, factors))
    np.testing.assert_allclose(found[0, 0], after, atol=0.6)
    np.testing.assert_array_equal(recolour.multiply(image, np.ones(3, np.float32)), image)


def test_ratios_of_light_stay(picture):
    """Contrast in optical density, which is what melanin in front of skin leaves alone."""
    image, mask = picture
    result = recolour.recolour(image, mask, 20.0)
    old, new = (np.log(skin.linear(one) + 1e-4) for one in (image, result))
    moved = (old - new)[(image > 40).all(-1) & (image < 220).all(-1)]
    assert moved.std(axis=0).max() < 0.05 < moved.mean(axis=0).min()


@pytest.mark.parametrize('ita', [*TONES, -45.0])
def test_the_tone_is_reached(picture, ita):
    image, mask = picture
    before = image.copy()
    result = recolour.recolour(image, mask, ita)
    assert skin.median_ita(result, mask) == pytest.approx(ita, abs=1.5)
    colour = skin.median_lab(result, mask)
    assert skin.is_skin(colour), colour
    np.testing.assert_array_equal(image, before)


def test_casts_do_not_become_the_colour_of_skin():
    for tone in ((75.0, 25.0, -8.0), (70.0, 38.0, 10.0), (80.0, -3.0, 12.0)):
        image, mask = scene(tone=tone)
        for ita in TONES:
            _, a, b = skin.median_lab(recolour.recolour(image, mask, ita), mask)
            _, line_a, line_b = recolour.on_the_line(ita)
            assert abs(a - line_a) < 4 and abs(b - line_b) < 4


def test_the_line_has_the_angles_it_is_asked_for():
    for ita in np.linspace(-55, 70, 26).tolist():
        L, _, b = recolour.on_the_line(ita).tolist()
        assert skin.ita(L, b) == pytest.approx(ita, abs=0.01)
        assert 25 < L < 85


def test_reinhard_gives_mean_and_deviation(picture, dark):
    values = skin.lab(skin.skin_pixels(*picture))
    source = recolour.statistics_of(values[:, 0])
    found = recolour.reinhard(values, source, dark)[:, 0]
    np.testing.assert_allclose(found.mean(axis=0), dark.mean, atol=1e-3)
    np.testing.assert_allclose(found.std(axis=0), dark.std, atol=1e-3)
    same = recolour.reinhard(values, source, source)
    np.testing.assert_allclose(same, values, atol=1e-3)


@pytest.mark.parametrize(('match', 'moment'), [('reinhard', 'mean'), ('histogram', 'median')])
def test_a_channel_without_spread_only_moves(dark, match, moment):
    flat = np.tile(np.array([[60, 40, 30]], np.uint8), (20, 1))[:, None]
    source = recolour.statistics_of(skin.lab(flat)[:, 0])
    found = getattr(recolour, match)(skin.lab(flat), source, dark)
    np.testing.assert_allclose(found[:, 0], np.tile(getattr(dark, moment), (20, 1)), atol=1e-3)


def test_histogram_gives_the_histogram_once_and_for_all(dark):
    values = np.random.default_rng(0).normal((70, 12, 15), (4, 2, 2), (5000, 1, 3))
    values = values.astype(np.float32)
    source = recolour.statistics_of(values[:, 0])
    found = recolour.histogram(values, source, dark)
    matched = recolour.quantiles_of(found[:, 0])
    np.testing.assert_allclose(matched, dark.quantiles, atol=0.01)
    again = recolour.statistics_of(found[:, 0])
    np.testing.assert_allclose(recolour.histogram(found, again, dark), found, atol=0.02)
    assert (np.diff(found[np.argsort(values[:, 0, 0]), 0, 0]) >= -1e-4).all()  # ranks stay
    beyond = np.full((1, 1, 3), 200, np.float32)
    moved = recolour.histogram(beyond, source, dark)[0, 0] - 200
    np.testing.assert_allclose(moved, dark.quantiles[-1] - source.quantiles[-1], atol=1e-2)


def test_quantiles_are_those_of_numpy():
    values = np.random.default_rng(0).normal(size=(1000, 3)).astype(np.float32)
    shares = np.linspace(0, 1, recolour.LEVELS)
    expected = np.quantile(values, shares, axis=0)
    np.testing.assert_allclose(recolour.quantiles_of(values), expected, atol=1e-5)
    assert (recolour.quantiles_of(values[:1], 5) == values[0]).all()


@pytest.mark.parametrize('match', recolour.MATCHES)
def test_a_photograph_gives_its_tone(picture, dark, match):
    image, mask = picture
    result = recolour.recolour(image, mask, dark, match)
    assert skin.median_ita(result, mask) == pytest.approx(dark.ita, abs=3)
    inside = mask > 0
    assert quality.ssim(result, recolour.recolour(image, mask, dark), inside) > 0.98
    if match != 'tone':
        with pytest.raises(ValueError, match=f"match='{match}' needs a photograph"):
            recolour.recolour(image, mask, 0.0, match)


def test_a_kept_lesion_keeps_its_bits(picture):
    image, mask = picture
    result = recolour.recolour(image, mask, 0.0, lesion='keep')
    np.testing.assert_array_equal(result[mask > 0], image[mask > 0])
    assert skin.median_ita(result, mask) == pytest.approx(0, abs=2)
    hard = recolour.recolour(image, mask, 0.0, lesion='keep', feather=0.0)
    plain = recolour.recolour(image, mask, 0.0)
    np.testing.assert_array_equal(hard[mask == 0], plain[mask == 0])


@pytest.mark.parametrize('match', ['reinhard', 'histogram'])
def test_the_seam_of_what_is_matched(picture, dark, match):
    image, mask = picture
    plain = recolour.recolour(image, mask, dark)
    hard, wide = (recolour.recolour(image, mask, dark, match, feather=x) for x in (0.0, 48.0))
    for result in (hard, wide):
        np.testing.assert_array_equal(result[mask > 0], plain[mask > 0])
    distance = cv2.distanceTransform((mask == 0).astype(np.uint8), cv2.DIST_L2, 5)
    ring = (distance > 0) & (distance < 4)
    moved = [np.abs(one[ring].astype(float) - plain[ring]).mean() for one in (hard, wide)]
    assert moved[1] < 0.6 * moved[0]
    far = distance > 30
    np.testing.assert_array_equal(hard[far], wide[far])


def test_a_shifted_lesion_moves_with_the_skin():
    image, mask = scene(tone=(75.0, 10.0, 14.0))
    result = recolour.recolour(image, mask, 25.0, lesion='shift')
    inside, around = mask > 0, skin.skin_mask(image, mask)
    moved = [(skin.lab(result) - skin.lab(image))[part].mean(axis=0) for part in (inside, around)]
    np.testing.assert_allclose(moved[0], moved[1], atol=0.6)
    assert moved[0][0] < -5


def test_composites_are_exact_at_both_ends(picture):
    image, mask = picture
    other = 255 - image
    weight = recolour.feathered(mask, 8.0)
    result = recolour.composite(image, other, weight)
    for value, source in ((255, image), (0, other)):
        np.testing.assert_array_equal(result[weight == value], source[weight == value])
    share = weight[..., None] / 255
    np.testing.assert_allclose(result, share * image + (1 - share) * other, atol=0.51)
    assert (weight[mask > 0] == 255).all()
    width = cv2.distanceTransform((mask == 0).astype(np.uint8), cv2.DIST_L2, 5)
    assert (weight[width > 6] == 0).all() and len(np.unique(weight)) > 10


def test_glare_stays_white_and_bright_skin_is_no_glare():
    image, mask = scene(128)
    image[10:14, 10:14] = 255
    result = recolour.recolour(image, mask, -20.0)
    assert (result[11:13, 11:13] == 255).all()
    bright, mask = scene(128, (95.0, 2.0, 4.0))
    bright[10:14, 10:14] = 255
    result = recolour.recolour(bright, mask, -20.0)
    assert (result[11:13, 11:13] < 150).all()


def test_no_skin_no_tone():
    image, mask = scene()
    with pytest.raises(recolour.NoSkinError, match='no bare skin found'):
        recolour.recolour(image, np.full_like(mask, 255), 0.0)
    with pytest.raises(recolour.NoSkinError):
        recolour.statistics(np.repeat(image[..., :1], 3, axis=2), mask)


def photographs(n):
    with (ISIC2017 / 'labels.csv').open(encoding='utf-8', newline='') as file:
        rows = [row for row in csv.DictReader(file) if row['mask']]
    for row in rows[:: len(rows) // n][:n]:
        files = (str(ISIC2017 / row[name]) for name in ('image', 'mask'))
        yield images.decode(next(files), 256), images.decode_mask(next(files), 256)


@pytest.mark.skipif(not ISIC2017.is_dir(), reason='needs ../shared/data/isic2017')
def test_real_pictures():
    """Tones are reached, no cast is left, and the lesion is what it was."""
    errors, structure = [], []
    for image, mask in photographs(12):
        for ita in (48.0, 14.0, -30.0):
            result = recolour.recolour(image, mask, ita)
            errors.append(abs(skin.median_ita(result, mask) - ita))
            L, a, b = skin.median_lab(result, mask)
            assert skin.is_skin(np.array([L, a, b]))
            inside = (mask > 0) & (skin.lab(image)[..., 0] > 20)
            if inside.any():
                old, new = (np.log(skin.linear(one)[inside, 1] + 1e-3) for one in (image, result))
                structure.append(np.corrcoef(old, new)[0, 1])
    assert np.percentile(errors, 90) < 3 and min(structure) > 0.95
