"""The latents' statistics are exact, and the pictures show nothing else of the class."""

import cv2
import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import multivariate_normal
from sklearn.metrics import roc_auc_score

from skinjax.data import latents, rendering
from skinjax.data.canvas import STREAMS, generator


def draws(n: int, classes: int = 2, auc: float = 0.97) -> tuple[np.ndarray, np.ndarray]:
    means = latents.class_means(classes, auc)
    labels = np.arange(n) % classes
    return np.stack([latents.sample(3, i, means[y]) for i, y in enumerate(labels)]), labels


def reference_ita(image: np.ndarray) -> float:
    """Of the median colour of the four corners."""
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    side = len(image) // 8
    corners = [
        lab[a, b]
        for a in (slice(side), slice(-side, None))
        for b in (slice(side), slice(-side, None))
    ]
    lightness, _, yellow = np.median(np.concatenate(corners).reshape(-1, 3), axis=0)
    return float(np.degrees(np.arctan2(lightness - 50, yellow)))


def test_bayes_auc_is_as_asked_and_no_latent_suffices():
    z, labels = draws(20_000)
    means = latents.class_means(2, 0.97)
    assert roc_auc_score(labels, latents.log_likelihood_ratio(z, means)) == pytest.approx(
        0.97, abs=0.005
    )
    single = [roc_auc_score(labels, np.sign(d) * v) for v, d in zip(z.T, means[1], strict=True)]
    assert max(single) < 0.85
    assert min(single) > 0.55


@pytest.mark.parametrize('auc', [0.5, 0.8, 0.99])
def test_distance_of_two_classes(auc: float):
    means = latents.class_means(2, auc)
    assert ndtr(np.linalg.norm(means[1] - means[0]) / np.sqrt(2)) == pytest.approx(auc)
    np.testing.assert_array_equal(means[0], -means[1])


def test_seven_classes_have_the_mean_pairwise_auc():
    means = latents.class_means(7, 0.97)
    z, labels = draws(7_000, 7)
    pairs = []
    for i in range(7):
        for j in range(i):
            rows = (labels == i) | (labels == j)
            score = latents.log_likelihood_ratio(z[rows], means[[j, i]])
            pairs.append(roc_auc_score(labels[rows] == i, score))
    assert np.mean(pairs) == pytest.approx(0.97, abs=0.005)


@pytest.mark.parametrize('classes', [2, 7])
def test_posterior_against_the_densities(classes: int):
    means = latents.class_means(classes, 0.97)
    z, _ = draws(20, classes)
    densities = np.stack([multivariate_normal(m).pdf(z) for m in means], axis=1)
    expected = densities / densities.sum(1, keepdims=True)
    np.testing.assert_allclose(np.exp(latents.log_posterior(z, means)), expected, rtol=1e-9)
    if classes == 2:
        ratio = np.log(densities[:, 1]) - np.log(densities[:, 0])
        np.testing.assert_allclose(latents.log_likelihood_ratio(z, means), ratio, rtol=1e-9)


@pytest.mark.parametrize('classes', [2, 7])
def test_bayes_balanced_accuracy(classes: int):
    z, labels = draws(7_000, classes)
    guess = latents.log_posterior(z, latents.class_means(classes, 0.97)).argmax(1)
    recalls = [(guess[labels == y] == y).mean() for y in range(classes)]
    assert latents.bayes_balanced_accuracy(classes) == pytest.approx(np.mean(recalls), abs=0.015)


def test_latents_are_unit_normal_around_the_class_mean():
    z, labels = draws(8_000)
    rest = z - latents.class_means(2, 0.97)[labels]
    np.testing.assert_allclose(rest.mean(0), 0, atol=0.04)
    np.testing.assert_allclose(np.cov(rest.T), np.eye(8), atol=0.06)


@pytest.mark.parametrize(('classes', 'auc'), [(3, 0.97), (2, 1.0), (2, 0.4)])
def test_impossible_classes_are_refused(classes: int, auc: float):
    with pytest.raises(ValueError, match='found'):
        latents.class_means(classes, auc)


@pytest.mark.parametrize('classes', [2, 7])
def test_the_class_acts_through_the_latents_alone(classes: int):
    # At a Bayes AUC of 1/2 all classes have the same latents, hence the same picture.
    first, last = (
        rendering.render(1, 5, label, 64, ('hair', 'ruler'), 3, bayes_auc=0.5, classes=classes)
        for label in (0, classes - 1)
    )
    np.testing.assert_array_equal(first.image, last.image)
    np.testing.assert_array_equal(first.mask, last.mask)
    other = rendering.render(1, 5, classes - 1, 64, ('hair', 'ruler'), 3, classes=classes)
    assert (other.image != last.image).mean() > 0.05


def test_a_picture_does_not_depend_on_what_was_drawn_before():
    alone = rendering.render(4, 7, 1, 48, ('marking',), 2).image
    for index in (3, 9):
        rendering.render(4, index, 0, 48, ('hair', 'bubbles'), 5)
    np.testing.assert_array_equal(rendering.render(4, 7, 1, 48, ('marking',), 2).image, alone)
    for seed, index in ((5, 7), (4, 8)):
        other = rendering.render(seed, index, 1, 48, ('marking',), 2).image
        assert np.abs(other.astype(int) - alone).mean() > 3


@pytest.mark.parametrize('count', [8, 13])
@pytest.mark.parametrize('value', [-np.inf, -1e3, 1e3, np.inf])
def test_extreme_latents_make_ordinary_pictures(count: int, value: float):
    with np.errstate(all='raise', under='ignore'):
        picture = rendering.compose(0, 1, np.full(count, value), 45.0, 64, ('ruler',), 0)
    assert 10 < picture.image.mean() < 245
    assert picture.image.std() > 5
    assert 0 < (picture.mask > 0).mean() < 0.9


def change(name: str, low: float, high: float) -> tuple[rendering.Picture, rendering.Picture]:
    """A seven-class lesion with one latent low, then high."""
    names = latents.NAMES[7]
    z = np.zeros(len(names))
    z[names.index('size')] = 1.0
    z[names.index(name)] = low
    first = rendering.compose(2, 3, z.copy(), 50.0, 64, camera=None)
    z[names.index(name)] = high
    return first, rendering.compose(2, 3, z, 50.0, 64, camera=None)


@pytest.mark.parametrize(
    'name',
    [name for name in latents.NAMES[7] if name not in ('size', 'asymmetry', 'border')],
)
def test_each_latent_of_the_pigment_changes_the_lesion_and_only_it(name: str):
    first, second = change(name, -1.5, 2.0)
    np.testing.assert_array_equal(first.mask, second.mask)
    difference = np.abs(first.image.astype(int) - second.image).max(-1)
    inside = cv2.dilate(first.mask, np.ones((9, 9), np.uint8)) > 0
    assert difference[~inside].max() <= 12
    assert difference[first.mask > 0].mean() > 0.5


def test_the_size_latent_is_monotone_in_the_area():
    areas = []
    for value in np.linspace(-3, 3, 7):
        z = np.zeros(8)
        z[latents.SHARED.index('size')] = value
        areas.append((rendering.compose(6, 1, z, 50.0, 64).mask > 0).sum())
    assert np.all(np.diff(areas) > 0)
    assert areas[-1] > 4 * areas[0]


def test_areas_have_a_wide_range():
    masks = [rendering.render(8, i, i % 2, 32).mask for i in range(200)]
    radius = np.sqrt([(mask > 0).mean() / np.pi for mask in masks])
    low, middle, high = np.percentile(radius, (5, 50, 95))
    assert low < 0.16
    assert 0.19 < middle < 0.27
    assert high > 0.33


@pytest.mark.parametrize('camera', [None, 0, 3])
def test_skin_tone_is_as_asked(camera: int | None):
    wanted = np.array([-50, -20, 0, 15, 30, 45, 60, 70])
    measured = [
        np.mean(
            [
                reference_ita(rendering.render(5, i, 0, 32, (), camera, float(t)).image)
                for i in range(12)
            ]
        )
        for t in wanted
    ]
    assert np.all(np.diff(measured) > 0)
    if camera is None:
        np.testing.assert_allclose(measured, wanted, atol=5)


def test_drawn_skin_tones():
    tones = np.array([rendering.skin_tone(0, i) for i in range(4000)])
    assert tones.mean() == pytest.approx(45, abs=1)
    assert tones.std() == pytest.approx(13, abs=0.6)
    assert rendering.render(0, 11, 1, 16).ita == tones[11]


@pytest.mark.parametrize('size', [128, 256])
def test_a_picture_is_the_same_at_every_size(size: int):
    kinds = ('hair', 'ruler', 'marking', 'bubbles', 'frame', 'sticker')
    for i, kind in enumerate(kinds):
        small = rendering.render(3, i, i % 2, 64, (kind,), None)
        large = rendering.render(3, i, i % 2, size, (kind,), None)
        shrunk = cv2.resize(large.image, (64, 64), interpolation=cv2.INTER_AREA)
        # Two different lesions are some 40 levels apart.
        assert np.abs(shrunk.astype(float) - small.image).mean() < 2.5, kind
        agree = cv2.resize(large.mask, (64, 64), interpolation=cv2.INTER_AREA) > 127
        assert (agree != (small.mask > 0)).mean() < 0.01, kind


def test_streams_are_independent():
    numbers = np.stack(
        [generator(1, 2, stream).standard_normal(500) for stream in STREAMS.values()]
    )
    off = np.corrcoef(numbers) - np.eye(len(numbers))
    assert np.abs(off).max() < 0.2
