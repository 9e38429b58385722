"""Adversarial training as it is configured: networks, precisions, and what is refused."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax import config as configs
from skinjax.engine import state
from skinjax.engine.step import make_step
from skinjax.objectives import gan
from tests.objectives.adversarial import EVERY, advance, build, make_batch, make_config
from tests.objectives.made import KEY, made_data

COUPLED = configs.plugin('models', 'coupled_dcgan', width=0.02, latent=4)


class TestWhole:
    @pytest.mark.parametrize('model', ['dcgan', 'coupled_dcgan'])
    def test_defaults(self, model):
        config: Any = configs.train('gan', model=model)
        assert configs.resolve(config).objective.extra_generator.n == 2
        assert config.model.name == model

    @pytest.mark.parametrize('model', ['dcgan', 'coupled_dcgan'])
    @pytest.mark.parametrize('fields', [{'dtype': 'bfloat16'}, {'remat': True}])
    def test_options_of_the_networks_go_with_all_of_these(self, model, fields):
        """Traced alone: numbers of two precisions that meet are an error."""
        config = make_config(model=configs.plugin('models', model), size=128, **EVERY)
        config.data.sampling = 'class'
        config.model.update(fields)
        objective, batch = gan.build(config, made_data(), 4), make_batch(size=128)
        create = functools.partial(state.create, objective, batch=batch, ema=False)
        now = jax.eval_shape(create, KEY)
        after, metrics = jax.eval_shape(make_step(objective), now, batch, KEY)
        assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(
            lambda x: (x.shape, x.dtype), now
        )
        assert {x.dtype for x in metrics.values()} == {jnp.dtype('float32')}

    def test_constant_images_do_no_harm(self):
        section = configs.plugin('models', 'dcgan', width=0.02, minibatch=2)
        objective = build(model=section, size=64, **EVERY)
        batch = make_batch(size=64)
        batch['image'] = jnp.full_like(batch['image'], 255)
        _, after, metrics = advance(objective, batch=batch)
        assert all(np.isfinite(v) for v in metrics.values()), metrics
        assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(after))


class TestRefusals:
    @pytest.mark.parametrize(
        ('fields', 'message'),
        [
            ({'label_smoothing': 1.0}, 'label_smoothing is 1.0, expected 0 to below 1'),
            ({'r1': -1.0}, r'objective\.r1 is -1.0, expected at least 0'),
            ({'instance_noise': -0.1}, 'instance_noise is -0.1'),
            ({'feature_matching': -0.1}, 'feature_matching is -0.1'),
            ({'augment': ('colour',)}, "'colour' is unknown.*did you mean 'color'"),
            ({'extra_generator': {'every': 10, 'n': 2, 'unit': 'batch'}}, "unit is 'batch'"),
            ({'extra_generator': {'every': 0, 'n': 2, 'unit': 'step'}}, 'found 0 and 2'),
        ],
    )
    def test_options(self, fields, message):
        with pytest.raises(ValueError, match=message):
            build(**fields)

    def test_other_colours(self):
        config = make_config()
        config.data.std = (0.2, 0.2, 0.2)
        with pytest.raises(ValueError, match=r'std to \(0.5, 0.5, 0.5\), found .* and \(0.2, 0.2'):
            gan.build(config, made_data(), 4)

    def test_other_sizes(self):
        with pytest.raises(ValueError, match='image_size is 32: a DCGAN has images of 64, 128'):
            build(model='dcgan', size=32)

    @pytest.mark.parametrize(
        ('fields', 'labels', 'message'),
        [
            ({}, (0, 1), "sampling to 'class', found 'uniform'"),
            ({'sampling': 'class'}, (0, 0), "class 'malignant' has no training rows"),
            (
                {'sampling': 'class', 'batch_size': 9},
                (0, 1),
                'batch_size is 9: coupled_dcgan needs a multiple of the 2 classes, such as 8',
            ),
            ({'sampling': 'class', 'batch_size': 1}, (0, 1), 'such as 2'),
        ],
    )
    def test_batches_that_coupled_networks_cannot_learn_from(self, fields, labels, message):
        config = make_config(model=COUPLED, size=64)
        config.data.update(fields)
        data = made_data(labels=labels, ruler=(0, 0), camera=(0, 0))
        with pytest.raises(ValueError, match=message):
            gan.build(config, data, 4)
