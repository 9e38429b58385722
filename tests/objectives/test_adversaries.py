"""Statistics of averaged generators."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax import config as configs
from skinjax.objectives import adversaries
from skinjax.objectives.adversaries import BATCHES, ROWS, with_standing_statistics
from tests.objectives.adversarial import build, make_config, make_net, start, variables
from tests.objectives.made import KEY, compiled


def averaged(**fields) -> Any:
    config = make_config(**fields)
    config.train.ema = 0.9
    return config


@pytest.fixture(scope='module')
def known():
    """Parameters whose running statistics are far from theirs."""
    found = variables(start(build()))
    wrong = jax.tree.map(lambda x: x + 5, found['batch_stats'])
    return {**found, 'batch_stats': wrong}


def test_they_are_means_over_batches_of_latents(known):
    found = with_standing_statistics(averaged(), make_net(), known, 2)['batch_stats']['generator'][
        'norm'
    ]
    first = known['params']['generator']['first']
    means, variances = [], []
    for key in jax.random.split(jax.random.key(0), BATCHES):
        latents = np.asarray(make_net().latents(jax.random.split(key, ROWS)), np.float64)
        x = latents @ np.asarray(first['kernel']) + np.asarray(first['bias'])
        means.append(x.mean(0))
        variances.append(x.var(0, ddof=1))
    np.testing.assert_allclose(found['mean'], np.mean(means, 0), atol=1e-5)
    np.testing.assert_allclose(found['var'], np.mean(variances, 0), rtol=1e-4)


def test_images_are_then_those_of_a_large_batch(known):
    net, latents = make_net(), jax.random.normal(KEY, (4096, 3))
    labels = jnp.zeros(4096, jnp.int32)
    images = [
        np.float64(compiled(lambda v, b=b: net.predict(v, latents, labels, b)['image'])(v))
        for v, b in (
            (with_standing_statistics(averaged(), net, known, 2), False),
            (known, True),
            (known, False),
        )
    ]
    assert np.abs(images[0] - images[1]).mean() < 3 < 10 < np.abs(images[2] - images[1]).mean()


def test_nothing_else_changes(known):
    after = with_standing_statistics(averaged(), make_net(), known, 2)
    assert after['params'] is known['params']
    assert after['batch_stats']['discriminator'] is known['batch_stats']['discriminator']


def test_runs_without_averages_keep_theirs(known):
    assert with_standing_statistics(make_config(), make_net(), known, 2) is known
    frozen = averaged()
    with frozen.unlocked():
        frozen.model.frozen_norm = True
    assert with_standing_statistics(frozen, make_net(), known, 2) is known


def test_coupled_networks_have_statistics_of_every_class():
    model = configs.plugin('models', 'coupled_dcgan', width=0.02, latent=4)
    config = averaged(model=model, size=128)
    net = adversaries.create(config, 3)
    image = jnp.zeros((1, 128, 128, 3), jnp.uint8)
    before = compiled(lambda: net.init(KEY, {'image': image}))()
    after = with_standing_statistics(config, net, before, 3)
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, before)
    for x in jax.tree.leaves(after['batch_stats']['generator']['own']):
        assert len(x) == 3 and np.isfinite(x).all() and (x[0] != x[1]).any()


@pytest.mark.parametrize(('classes', 'groups'), [(7, 4), (1, 3)])
def test_batches_divide_into_slices_with_all_classes(classes, groups):
    """Where 64 rows do not; each slice has as many rows of one class as of any other."""
    model = configs.plugin('models', 'coupled_dcgan', width=0.02, latent=4)
    config = averaged(model=model, size=64)
    config.model.norm_groups = groups
    net = adversaries.create(config, classes)
    image = jnp.zeros((1, 64, 64, 3), jnp.uint8)
    before = compiled(lambda: net.init(KEY, {'image': image}))()
    after = with_standing_statistics(config, net, before, classes)['batch_stats']['generator']
    first = before['params']['generator']['shared']['layer1']['conv']['kernel']
    unit = classes * groups
    rows, means, variances = -(-ROWS // unit) * unit, [], []
    assert rows % unit == 0 and ROWS <= rows < ROWS + unit
    for key in jax.random.split(jax.random.key(0), BATCHES):
        z = np.asarray(net.latents(jax.random.split(key, rows)), np.float64)
        x = np.einsum('gbl,hwlf->gbhwf', z.reshape(groups, -1, 4), np.asarray(first)[::-1, ::-1])
        x = x.reshape(groups, -1, x.shape[-1])
        means.append(x.mean(1).mean(0))
        variances.append(x.var(1, ddof=1).mean(0))
    found = after['shared']['layer1']['norm']
    np.testing.assert_allclose(found['mean'], np.mean(means, 0), atol=1e-5)
    np.testing.assert_allclose(found['var'], np.mean(variances, 0), rtol=1e-4)
