"""The losses of style transfer: worked values, invariances, masks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax.styling import losses as losses

F = jnp.asarray([[1.0, 2.0], [3.0, 4.0]]).reshape(2, 1, 2)  # 2 positions, 2 channels
ALL = jnp.ones((2, 1))
RNG = np.random.default_rng(0)
MAP = jnp.asarray(RNG.normal(size=(4, 6, 5)), jnp.float32)


def everywhere(x):
    return jnp.ones(x.shape[:2])


def energy(x, target, norm):
    return losses.style([x], [target], [everywhere(x)], (1.0,), norm)


def test_worked_values():
    p = losses.gram(F, ALL)
    np.testing.assert_allclose(p, [[5, 7], [7, 10]])  # F^T F is [[10, 14], [14, 20]]
    none = jnp.zeros((2, 2))
    assert float(energy(F, none, 'gatys')) == 13.9375
    assert float(energy(F, none, 'report')) == 3.484375
    assert float(energy(F, none, 'mean')) == (25 + 49 + 49 + 100) / 4
    assert float(energy(F, 2 * p, 'relative')) == pytest.approx(0.25)
    ones = jnp.ones((2, 1, 5))
    weights = [jnp.ones((2, 1))]
    found = [
        float(losses.content([ones + MAP[:2, :1]], [MAP[:2, :1]], weights, norm))
        for norm in ('gatys', 'report', 'mean')
    ]
    assert found == pytest.approx([5, 5, 1])
    assert float(losses.content([3 * ones], [ones], weights, 'relative')) == pytest.approx(4)


def test_gram_matrices_are_symmetric_positive_and_blind_to_places():
    p = np.asarray(losses.gram(MAP, everywhere(MAP)))
    np.testing.assert_allclose(p, p.T, atol=1e-7)
    assert np.linalg.eigvalsh(p).min() > -1e-6
    shuffled = RNG.permutation(np.asarray(MAP).reshape(-1, 5)).reshape(MAP.shape)
    np.testing.assert_allclose(losses.gram(jnp.asarray(shuffled), everywhere(MAP)), p, rtol=1e-5)
    np.testing.assert_allclose(losses.gram(3 * MAP, everywhere(MAP)), 9 * p, rtol=1e-5)
    zero = jnp.zeros((5, 5))
    for norm in ('gatys', 'report', 'mean'):
        assert float(energy(3 * MAP, zero, norm)) == pytest.approx(
            81 * float(energy(MAP, zero, norm)), rel=1e-5
        )


@pytest.mark.parametrize('norm', losses.NORMS)
def test_distances_against_a_slow_twin(norm):
    other = jnp.asarray(RNG.normal(size=(3, 3, 5)), jnp.float32)  # a style of another size
    target = losses.gram(other, everywhere(other))
    x, y = (np.asarray(m, np.float64).reshape(-1, 5) for m in (MAP, other))
    n, m = x.shape
    g, a = x.T @ x, y.T @ y * n / len(y)
    size = {'gatys': 4 * n**2 * m**2, 'report': 4 * n**4 * m**2, 'mean': n**2 * m**2}
    want = np.square(g - a).sum() / size.get(norm, np.square(a).sum())
    assert float(energy(MAP, target, norm)) == pytest.approx(want, rel=1e-5)


def test_gradient_of_the_energy():
    """F (G - A) / (N^2 M^2) of raw Gram matrices."""
    n, m = 24, 5
    target = losses.gram(MAP[:, :3], jnp.ones((4, 3)))
    gradient = jax.grad(lambda x: energy(x, target, 'gatys'))(MAP)
    flat = np.asarray(MAP, np.float64).reshape(n, m)
    want = flat @ (flat.T @ flat - n * np.asarray(target)) / (n * m) ** 2
    np.testing.assert_allclose(np.asarray(gradient).reshape(n, m), want, rtol=2e-4, atol=1e-6)


def test_only_seen_positions_have_a_part():
    seen = jnp.asarray(RNG.integers(0, 2, MAP.shape[:2]), jnp.float32)
    flat = np.asarray(MAP)[np.asarray(seen) > 0]
    np.testing.assert_allclose(losses.gram(MAP, seen), flat.T @ flat / len(flat), rtol=1e-4)
    assert not losses.gram(MAP, jnp.zeros((4, 6))).any()
    gradient = jax.grad(lambda x: losses.gram(x, seen).sum())(MAP)
    assert not np.asarray(gradient)[np.asarray(seen) == 0].any()


@pytest.mark.parametrize(('size', 'cells'), [(8, 4), (7, 3), (5, 5), (9, 2)])
def test_area_averages_against_a_slow_twin(size, cells):
    region = RNG.random((size, size)).astype(np.float32)
    fine = region.repeat(cells, 0).repeat(cells, 1)  # cells of size x size whole pixels
    want = fine.reshape(cells, size, cells, size).mean((1, 3))
    np.testing.assert_allclose(losses.share(jnp.asarray(region), cells, cells), want, rtol=1e-5)


def test_positions_of_a_lesion_are_left_out():
    lesion = jnp.zeros((8, 8)).at[2:5, 2:4].set(1)
    seen = np.asarray(losses.skin(lesion, 4, 4))
    assert seen.sum() == 14 and not seen[1:3, 1].any()
    assert losses.skin(jnp.zeros((8, 8)), 4, 4).all()
    crowded = jnp.ones((8, 8)).at[0, 0].set(0)
    assert float(losses.skin(crowded, 4, 4).sum()) == 1  # the one with some skin
    weights = losses.emphasis(lesion, 4, 4, 5.0)
    assert float(weights.mean()) == pytest.approx(1)
    assert float(weights[1, 1] / weights[0, 0]) == pytest.approx(5)
    assert float(weights[2, 1] / weights[0, 0]) == pytest.approx(3)  # half of it


def test_total_variation():
    image = jnp.zeros((2, 2, 3)).at[0, 0].set(1)
    assert float(losses.variation(image)) == pytest.approx(2 * 3 / 12)
