"""Nearest training images: oracles, a slow twin, the control, copies."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from skinjax import embedding, memorisation


def pictures(n: int, size: int = 6, seed: int = 0, low: int = 0, high: int = 256) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, (n, size, size, 3)).astype(np.uint8)


def slow_neighbours(queries, references):
    """Every pair, in float64."""
    apart = queries[:, None].astype(np.float64) / 255 - references[None].astype(np.float64) / 255
    return np.square(apart).mean((2, 3, 4))


def test_a_training_image_has_distance_0_and_black_from_white_1():
    references = pictures(300)
    index, mse = memorisation.nearest(references[[7, 299, 0]], references, chunk=64)
    assert index.tolist() == [7, 299, 0] and (mse == 0).all()
    black, white = np.zeros((1, 6, 6, 3), np.uint8), np.full((1, 6, 6, 3), 255, np.uint8)
    assert memorisation.nearest(black, white)[1].tolist() == [1.0]
    assert memorisation.nearest(white, np.concatenate([black, white]))[0].tolist() == [1]


@pytest.mark.parametrize('chunk', [1, 4, 7, 64])
def test_slow_twin(chunk):
    queries, references = pictures(13), pictures(29, seed=1)
    apart = slow_neighbours(queries, references)
    index, mse = memorisation.neighbours(queries, references, k=3, chunk=chunk)
    np.testing.assert_array_equal(index, np.argsort(apart, 1, kind='stable')[:, :3])
    np.testing.assert_allclose(mse, np.sort(apart, 1)[:, :3], rtol=1e-12)


def test_the_nearest_of_images_that_differ_by_one_grey_level():
    """Closer to each other than the products on the device can tell apart."""
    base = pictures(1, size=64)[0]
    references = np.stack([base] * 8)
    for k in range(8):
        references[k].reshape(-1)[: k + 1] ^= 1
    index, mse = memorisation.nearest(base[None], references[::-1], chunk=3)
    assert index.tolist() == [7] and mse[0] == pytest.approx(1 / (64 * 64 * 3 * 255**2))


def test_less_references_than_neighbours():
    index, mse = memorisation.neighbours(pictures(3), pictures(1, seed=5), k=2)
    assert index.tolist() == [[0, -1]] * 3 and np.isnan(mse[:, 1]).all()
    assert not memorisation.copies(mse).any()
    with pytest.raises(ValueError, match='found 0'):
        memorisation.nearest(pictures(3), pictures(0))
    with pytest.raises(ValueError, match=r'of \(6, 6, 3\) expected, found 2 of \(8, 8, 3\)'):
        memorisation.nearest(pictures(3), pictures(2, size=8))


def test_turned_copies_are_found():
    references = pictures(40, low=60, high=200)
    symmetries = [memorisation.turn(references[:3], i) for i in range(8)]
    assert len({x.tobytes() for x in symmetries}) == 8  # all differ
    for i, queries in enumerate(symmetries):
        for names, count in (((), 1), (('flip',), 4), (('color', 'd4', 'flip'), 8)):
            assert memorisation.turns(names) == range(count)
            index, mse = memorisation.neighbours_turned(queries, references, range(count))
            # The transposed ones are those from 4 on, each undone by a symmetry of the square.
            assert (mse[:, 0] == 0).all() == (i < count)
            if i < count:
                assert index[:, 0].tolist() == [0, 1, 2] and memorisation.copies(mse).all()


def test_the_second_neighbour_is_of_another_lesion():
    """Where a lesion has two photographs, the other one does not hide a copy."""
    rng = np.random.default_rng(3)

    def noisy(images):
        return np.clip(images + rng.normal(0, 3, images.shape), 0, 255).astype(np.uint8)

    lesions = pictures(30, low=60, high=200)
    train, groups = noisy(lesions.repeat(2, 0)), np.arange(30).repeat(2).astype(str)
    made = noisy(train[::2])
    plain = memorisation.neighbours(made, train)
    index, mse = memorisation.neighbours(made, train, groups=groups)
    assert memorisation.copies(plain[1]).mean() == 0 and memorisation.copies(mse).mean() == 1
    np.testing.assert_array_equal(index[:, 0], plain[0][:, 0])
    apart = slow_neighbours(made, train)
    apart[np.arange(30).repeat(2), np.arange(60)] = np.inf  # of each its own lesion
    np.testing.assert_array_equal(index[:, 1], apart.argmin(1))
    np.testing.assert_allclose(mse[:, 1], apart.min(1), rtol=1e-12)
    turned = memorisation.neighbours_turned(memorisation.turn(made, 2), train, range(4), 2, groups)
    np.testing.assert_array_equal(turned[0], index)
    sets = clouds(made, train, pictures(20, seed=8, low=60, high=200))
    found = [memorisation.examine(*sets, groups=g).results['pixels'] for g in (None, groups)]
    assert [one['copies'] for one in found] == [0, 1] and found[1]['heldout_copies'] == 0


def clouds(*sets: np.ndarray) -> Any:
    """Images with features: their first pixels."""
    return [embedding.Pictures(x, x[:, 0, 0].astype(float), np.zeros(len(x), int)) for x in sets]


def test_a_lesion_with_more_photographs_than_candidates():
    lesion, other = pictures(2, low=60, high=200)
    references = np.stack([*[lesion + np.uint8(k) for k in range(40)], other])
    groups = np.array(['one'] * 40 + ['other'])
    index, mse = memorisation.neighbours(lesion[None], references, groups=groups, chunk=7)
    (apart,) = slow_neighbours(lesion[None], other[None])[0]
    assert index.tolist() == [[0, 40]] and mse[0].tolist() == pytest.approx([0, apart])
    index, mse = memorisation.neighbours(lesion[None] + 1, references[2:40], groups=groups[2:40])
    assert index.tolist() == [[0, -1]] and mse[0, 0] > 0 and np.isnan(mse[0, 1])
    assert not memorisation.copies(mse).any()


def test_features():
    rng = np.random.default_rng(0)
    q, r = rng.normal(size=(5, 3)), rng.normal(size=(9, 3))
    index, distance = memorisation.nearest_features(q, r)
    want = np.linalg.norm(q[:, None] - r[None], axis=2)
    np.testing.assert_array_equal(index, want.argmin(1))
    np.testing.assert_allclose(distance, want.min(1))


def test_the_published_stretch():
    images = np.stack([np.full((2, 2, 3), 9, np.uint8), np.full((2, 2, 3), 100, np.uint8)])
    images[1, 0, 0] = (100, 102, 104)
    found = memorisation.minmax(images)
    assert found[1, 0, 0].tolist() == [0, 128, 255] and found[1, 1, 1].tolist() == [0, 0, 0]
    assert (found[0] == 0).all()
    # It can bring black and white as far apart as they were not.
    grey = np.stack([np.full((2, 2, 3), 128, np.uint8)])
    grey[0, 0] = 120
    assert memorisation.nearest(memorisation.minmax(grey), grey)[1] > 0.1


def test_copies_are_told_from_images_that_are_near_to_many():
    train = pictures(200, low=60, high=200)
    noisy = np.clip(train[:40] + np.random.default_rng(1).normal(0, 3, train[:40].shape), 0, 255)
    grey = np.full((40, 6, 6, 3), 130, np.uint8)  # nearer than real ones to every image
    fresh = pictures(40, seed=2, low=60, high=200)
    shares = [
        memorisation.copies(memorisation.neighbours(q.astype(np.uint8), train)[1]).mean()
        for q in (noisy, grey, fresh, train[:40])
    ]
    assert shares == [1, 0, 0, 1]


def test_the_control():
    train, held = pictures(200), pictures(50, seed=3)
    control = memorisation.nearest(held, train)[1]
    fresh = memorisation.nearest(pictures(60, seed=4), train)[1]
    alike = memorisation.against_control(fresh, control)
    assert 0.3 < alike['further'] < 0.7 and abs(alike['z']) < 3 and alike['p'] > 0.01
    assert alike['below_threshold'] <= 0.1 and alike['heldout']['n'] == 50
    copied = memorisation.against_control(memorisation.nearest(train[:60], train)[1], control)
    assert copied['further'] == 0 and copied['z'] < -6 and copied['below_threshold'] == 1
    assert copied['made']['mean'] == copied['made']['least'] == 0
    assert copied['threshold'] == pytest.approx(np.quantile(control, 0.01))


def test_the_statistic_by_hand_and_its_ties():
    """Made 1, 2, 2; held out 2, 3: pairs further 0, ties 2 of 6, so U = 1."""
    found = memorisation.against_control(np.array([1.0, 2, 2]), np.array([2.0, 3]))
    assert found['further'] == pytest.approx(1 / 6)
    # n m / 12 (n + m + 1 - (27 - 3) / (5 * 4)) with one tie of three
    assert found['z'] == pytest.approx((1 - 3) / np.sqrt(6 / 12 * (6 - 24 / 20)))
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=30), rng.normal(0.4, 1, 25)
    found = memorisation.against_control(a, b)
    assert found['p'] == pytest.approx(mannwhitneyu(a, b, method='asymptotic').pvalue)
    same = memorisation.against_control(np.ones(4), np.ones(5))
    assert same['z'] == 0 and same['further'] == 0.5
