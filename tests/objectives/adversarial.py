"""A small GAN, its data and its steps, for tests of adversarial training."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from skinjax import config as configs
from skinjax.engine import state
from skinjax.engine.objective import Moment
from skinjax.engine.step import make_step
from skinjax.objectives import adversaries, gan
from tests.objectives.made import KEY, compiled, made_data

SIDE, ROWS, RATE = 2, 8, 0.1
SMALL = configs.plugin('models', 'tests.objectives.small_gan')
NO_EXTRA = {'every': 1, 'n': 0, 'unit': 'step'}
EVERY = {  # all stabilisers
    'label_smoothing': 0.1,
    'feature_matching': 0.5,
    'instance_noise': 0.3,
    'r1': 2.0,
    'augment': ('color', 'translation', 'cutout'),
}


def make_config(model=SMALL, size=SIDE, sampling='uniform', **fields) -> Any:
    """Plain gradient descent; no extra steps of the generator."""
    fields = {'extra_generator': NO_EXTRA, **fields}
    config: Any = configs.train(configs.plugin('objectives', 'gan', **fields), model=model)
    config.data.update(image_size=size, batch_size=ROWS, mean=(0.5,) * 3, std=(0.5,) * 3)
    config.data.sampling = sampling
    config.optimizer.update(name='sgd', learning_rate=RATE, momentum=0.0)
    return config


def build(rows=24, steps=10, **fields) -> Any:
    """The objective over `rows` training rows of two classes."""
    data = made_data(labels=(0, 1) * (rows // 2), ruler=(0,) * rows)
    return gan.build(make_config(**fields), data, steps)


def make_net() -> adversaries.Adversaries:
    return adversaries.create(make_config(), 2)


def make_batch(seed=0, rows=ROWS, size=SIDE) -> dict[str, jax.Array]:
    rng = np.random.default_rng(seed)
    batch = {
        'image': rng.integers(0, 256, (rows, size, size, 3)).astype(np.uint8),
        'label': np.arange(rows, dtype=np.int32) % 2,
        'valid': np.ones(rows, bool),
    }
    return jax.tree.map(jnp.asarray, batch)


def start(objective, batch=None, ema=False) -> state.TrainState:
    """The initial state."""
    batch = batch or make_batch()
    return compiled(functools.partial(state.create, objective, batch=batch, ema=ema))(KEY)


def advance(objective, now=None, batch=None, **options) -> Any:
    """(state before, state after, metrics) of one step."""
    now = now or start(objective, batch, ema=bool(options.get('ema')))
    after, metrics = compiled(make_step(objective, **options))(now, batch or make_batch(), KEY)
    return now, after, metrics


def only(objective, count):
    """The objective with its first phases."""
    return dataclasses.replace(objective, phases=objective.phases[:count])


def phase(objective, number) -> Any:
    """(variables, batch) -> output of a phase of the first step."""

    def run(variables, batch):
        keys = jax.random.split(KEY, len(batch['label']))
        return objective.phases[number].loss(variables, batch, Moment(keys, jnp.asarray(0)))

    return run


def variables(now: state.TrainState) -> dict[str, Any]:
    return {'params': now.params, **now.model}
