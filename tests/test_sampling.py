"""Images out of a generator: each by its seed, number and label, whatever is made beside it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax import config as configs
from skinjax.objectives import adversaries
from skinjax.sampling import Sampler, shares, walk


@pytest.fixture(scope='module', params=['dcgan', 'coupled_dcgan'])
def made(request) -> Any:
    """(network of three classes, variables that tell them apart)."""
    config: Any = configs.train(
        'gan', model=configs.plugin('models', request.param, width=0.05, latent=6)
    )
    net = adversaries.create(config, 3)
    batch = {'image': jnp.zeros((1, 64, 64, 3), jnp.uint8)}
    variables = jax.jit(net.init)(jax.random.key(0), batch)
    params = jax.tree.map(lambda x: 8 * x, variables['params'])
    return net, {**variables, 'params': params}


def close(a: np.ndarray, b: np.ndarray) -> bool:
    """Up to a grey level, by which the rounding of another batch size may differ."""
    return int(np.abs(a.astype(int) - b).max()) <= 1 and (a == b).mean() > 0.99


def test_an_image_depends_on_seed_number_and_label_alone(made):
    net, variables = made
    labels = np.array([0, 1, 2, 1, 0, 2, 2])
    whole = Sampler(net, 3, 4)(variables, labels, 5)
    assert whole.shape == (7, 64, 64, 3) and whole.dtype == np.uint8 and whole.std() > 5
    assert close(Sampler(net, 3, 3)(variables, labels[4:6], 5, first=4), whole[4:6])
    other = labels.copy()
    other[:3] = 2
    np.testing.assert_array_equal(Sampler(net, 3, 4)(variables, other, 5)[3:], whole[3:])
    assert not close(Sampler(net, 3, 4)(variables, labels, 6), whole)
    assert not close(whole[:1], whole[4:5])


def test_a_label_matters_to_the_network_that_knows_it(made):
    net, variables = made
    first, second = (Sampler(net, 3, 2)(variables, np.full(2, k), 5) for k in (0, 1))
    assert close(first, second) != net.balanced


def test_statistics_of_the_batch(made):
    """As the network itself makes them, of a batch with every class of the same latents."""
    net, variables = made
    labels = np.array([2, 0, 1, 1])
    sampler = Sampler(net, 3, 4, batch_statistics=True)
    found = sampler(variables, labels, 5)
    z = sampler.latents(5, 0, 4)
    if net.balanced:
        z, every = np.tile(z, (3, 1)), np.repeat(np.arange(3), 4)
    else:
        every = labels
    want = np.asarray(jax.jit(net.predict, static_argnums=3)(variables, z, every, True)['image'])
    if net.balanced:
        want = want.reshape(3, 4, *want.shape[1:])[labels, np.arange(4)]
    assert close(found, want)
    assert not close(found, Sampler(net, 3, 4)(variables, labels, 5))


def test_latents_are_normal_and_numbered(made):
    sampler = Sampler(made[0], 3, 64)
    z = sampler.latents(3, 0, 500)
    assert z.shape == (500, 6) and abs(z.mean()) < 0.1 and abs(z.std() - 1) < 0.05
    np.testing.assert_array_equal(sampler.latents(3, 100, 7), z[100:107])


def test_shares():
    assert np.bincount(shares([2, 1, 1], 8)).tolist() == [4, 2, 2]
    assert np.bincount(shares([1, 1, 1], 8)).tolist() == [3, 3, 2]
    assert shares([0, 5], 3).tolist() == [1, 1, 1]


def test_a_walk_stays_on_the_sphere():
    a, b = np.array([3.0, 0, 0], np.float32), np.array([0, 3.0, 0], np.float32)
    found = walk(a, b, 5)
    np.testing.assert_allclose(
        found[[0, 2, 4]], [a, 3 * np.array([1, 1, 0]) / 2**0.5, b], atol=1e-6
    )
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 3, atol=1e-6)
    np.testing.assert_allclose(walk(a, a, 3), [a, a, a])
