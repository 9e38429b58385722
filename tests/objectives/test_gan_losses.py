"""The terms of adversarial training: worked values and slow twins."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax.objectives import gan_losses as terms
from tests.objectives.made import KEY

LOGITS = jnp.asarray([0.0, 2.0, -3.0])


def test_worked_values():
    np.testing.assert_allclose(terms.real(jnp.zeros(1)), [0.693147], rtol=1e-5)
    np.testing.assert_allclose(terms.fake(jnp.zeros(1)), [0.693147], rtol=1e-5)
    # 0.9 log(1 + e^-2) + 0.1 log(1 + e^2)
    np.testing.assert_allclose(terms.real(LOGITS[1:2], 0.1), [0.326928], rtol=1e-5)


@pytest.mark.parametrize('smoothing', [0.0, 0.1])
def test_cross_entropies(smoothing):
    p = 1 / (1 + np.exp(-np.float64(LOGITS)))
    want = -(1 - smoothing) * np.log(p) - smoothing * np.log(1 - p)
    np.testing.assert_allclose(terms.real(LOGITS, smoothing), want, rtol=1e-5)
    np.testing.assert_allclose(terms.fake(LOGITS), -np.log(1 - p), rtol=1e-5)


def test_they_are_finite_for_every_logit():
    far = jnp.asarray([-1e9, 1e9])
    assert bool(jnp.isfinite(terms.real(far, 0.1)).all() & jnp.isfinite(terms.fake(far)).all())


def test_squared_norm():
    g = np.random.default_rng(0).normal(size=(3, 2, 2, 3)).astype(np.float32)
    want = [sum(float(v) ** 2 for v in row.ravel()) for row in g]
    np.testing.assert_allclose(terms.squared_norm(jnp.asarray(g)), want, rtol=1e-5)


@pytest.mark.parametrize('groups', [1, 2])
def test_feature_distance(groups):
    a, b = np.random.default_rng(0).normal(size=(2, 6, 5)).astype(np.float32)
    want = []
    for part in np.split(np.arange(6), groups):
        apart = [np.mean(a[part, k]) - np.mean(b[part, k]) for k in range(5)]
        want += [sum(v**2 for v in apart)] * len(part)
    found = terms.feature_distance(jnp.asarray(a), jnp.asarray(b), groups)
    np.testing.assert_allclose(found, want, rtol=1e-5)


@pytest.mark.parametrize('groups', [1, 2])
def test_diversity(groups):
    a, b = np.random.default_rng(0).normal(size=(2, 6, 2, 2, 3)).astype(np.float32)
    want = []
    for part in np.split(np.arange(6), groups):
        both = [
            np.mean([np.std([x[row][i] for row in part]) for i in np.ndindex(2, 2, 3)])
            for x in (a, b)
        ]
        want += [both[0] / both[1]] * len(part)
    found = terms.diversity(jnp.asarray(a), jnp.asarray(b), groups)
    np.testing.assert_allclose(found, want, rtol=1e-5)


def test_diversity_of_images_that_are_all_the_same():
    images = jax.random.normal(KEY, (4, 2, 2, 3))
    same = jnp.broadcast_to(images[:1], images.shape)
    np.testing.assert_allclose(terms.diversity(same, images), np.zeros(4), atol=1e-6)
    assert bool((terms.diversity(images, same) > 50).all())
    gradient = jax.grad(lambda x: terms.diversity(x, same).sum())(same)
    assert not bool(gradient.any())
