"""Adversarial training computes the same on any devices and in any slices.

What is of a whole batch (normalisation, feature matching, diversity) is so in groups: four.
"""

import functools

import jax
import numpy as np
import pytest

from skinjax import config as configs
from skinjax.objectives import gan
from tests.engine.test_devices import assert_same_training, quick_compilation, train  # noqa: F401
from tests.objectives.adversarial import EVERY, advance, make_batch, make_config
from tests.objectives.made import made_data

EXTRA = {'every': 1, 'n': 1, 'unit': 'step'}


def build(groups, **fields):
    config = make_config(**fields)
    config.data.sampling = 'class'
    config.model.norm_groups = groups
    return gan.build(config, made_data(), 10)


def everything(groups):
    return build(groups, extra_generator=EXTRA, **EVERY)


@pytest.fixture(scope='module')
def whole():
    return train(everything(4))


@pytest.mark.parametrize(
    ('groups', 'how'),
    [
        (4, {'devices': 4}),
        pytest.param(2, {'parallel': 'pmap', 'devices': 2}, marks=pytest.mark.slow),
        pytest.param(2, {'accumulate': 2}, marks=pytest.mark.slow),
        (1, {'parallel': 'pmap', 'devices': 2, 'accumulate': 2}),
    ],
)
def test_the_losses_are_those_of_one_device(groups, how, whole):
    assert_same_training(whole, train(everything(groups), **how))


def test_every_slice_of_coupled_networks_has_its_share_of_every_class():
    model = configs.plugin('models', 'coupled_dcgan', width=0.02, latent=4)
    grouped, plain = (build(groups, model=model, size=64) for groups in (2, 1))
    now, one, metrics = advance(grouped, batch=make_batch(size=64))
    _, other, others = advance(plain, now, make_batch(size=64), accumulate=2)
    for name in set(metrics) - {'generator/diversity'}:
        assert float(metrics[name]) == pytest.approx(float(others[name]), rel=1e-4), name
    for part in ('params', 'model'):
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5),
            getattr(one, part),
            getattr(other, part),
        )
