"""A linear network, its data and its steps, for tests of objectives.

The encoder is one linear layer without offsets, so that gradients can be written down.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from skinjax import config as configs
from skinjax.data.records import DataSet, Records
from skinjax.engine import state
from skinjax.engine.objective import Moment, Objective
from skinjax.engine.step import make_step, weighted_sum

KEY = jax.random.key(0)
LR_BASE = 3e-4
PLAIN = {'cap': 0.0, 'standardize': False, 'head_steps': 1}


def made_records(labels, bias) -> Records:
    names = np.arange(len(labels)).astype(str)
    bias = {name: np.asarray(values, np.int32) for name, values in bias.items()}
    return Records(names, np.asarray(labels, np.int32), bias, names, lambda row: {})


def made_data(labels=(0, 0, 0, 1, 1, 1), ruler=(0, 0, 1, 0, 1, 1), camera=(0, 1, 2, 0, 1, 2)):
    bias = {'ruler': ('no', 'yes'), 'camera': ('a', 'b', 'c')}
    train = made_records(labels, {'ruler': ruler, 'camera': camera})
    return DataSet('made', ('benign', 'malignant'), bias, {'train': train})


def made_batch(n=8, seed=0) -> dict[str, jax.Array]:
    rng = np.random.default_rng(seed)
    batch = {
        'image': rng.integers(0, 256, (n, 2, 2, 3)).astype(np.uint8),
        'label': np.arange(n, dtype=np.int32) % 2,
        'ruler': rng.integers(0, 2, n).astype(np.int32),
        'camera': rng.integers(0, 3, n).astype(np.int32),
        'valid': np.ones(n, bool),
        'index': np.arange(n, dtype=np.int32) % 6,
    }
    return jax.tree.map(jnp.asarray, batch)


def make_config(method, rate=LR_BASE, **fields) -> Any:
    config: Any = configs.train(
        configs.plugin('objectives', method, **fields),
        model=configs.plugin('models', 'tests.objectives.linear_encoder'),
    )
    config.model.dropout = 0.0
    config.optimizer.update(learning_rate=rate, momentum=0.9)
    config.data.mean, config.data.std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
    return config


def build(method, data=None, steps=100, **fields) -> Objective:
    config = make_config(method, **fields)
    return configs.find('objectives', method).build(config, data or made_data(), steps)


def only(objective: Objective, *names: str) -> Objective:
    """The objective with some of its phases."""
    phases = tuple(phase for phase in objective.phases if phase.name in names)
    return dataclasses.replace(objective, phases=phases)


def start(objective: Objective) -> state.TrainState:
    """A random state; no compiled initialiser, which would take longer than the test."""
    create = functools.partial(state.create, objective, batch=made_batch(), ema=False)
    shapes, rng = jax.eval_shape(create, KEY), np.random.default_rng(0)

    def fill(path, leaf):
        keys = [getattr(part, 'key', getattr(part, 'name', '')) for part in path]
        if keys[0] == 'params':
            values = rng.normal(size=leaf.shape) / np.sqrt(max(leaf.shape[0], 4))
        else:
            values = np.full(leaf.shape, 0.25 if keys[-1] == 'group_weights' else keys[-1] == 'var')
        return jnp.asarray(values, leaf.dtype)

    return jax.tree_util.tree_map_with_path(fill, shapes)


# The tests run a step or two: the least optimised program is the first to finish.
compiled = functools.partial(jax.jit, compiler_options={'xla_backend_optimization_level': '0'})


def advance(objective: Objective, now=None, batch=None) -> tuple[state.TrainState, Any]:
    """One step: (state before, state after)."""
    now = start(objective) if now is None else now
    after, _ = stepper(objective)(now, batch or made_batch(), KEY)
    return now, after


def stepper(objective: Objective) -> Any:
    if id(objective) not in _STEPS:
        _STEPS[id(objective)] = objective, compiled(make_step(objective))
    return _STEPS[id(objective)][1]


_STEPS: dict[int, tuple[Objective, Any]] = {}  # objectives are kept, so that ids stay theirs


def gradient(objective: Objective, phase: int, now: state.TrainState, batch=None):
    """Gradient of a phase's loss with respect to all parameters."""

    def total(params, model, step, batch):
        moment = Moment(jax.random.split(KEY, len(batch['label'])), step)
        out = objective.phases[phase].loss({'params': params, **model}, batch, moment)
        sums = {k: weighted_sum(loss) for k, loss in out.losses.items()}
        return sum(out.losses[k].scale * s[0] / s[1] for k, s in sums.items())

    return compiled(jax.grad(total))(now.params, now.model, now.step, batch or made_batch())


def kernel(now: state.TrainState) -> np.ndarray:
    return np.asarray(now.params['encoder']['out']['kernel'])


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def differ(a, b) -> bool:
    return all(bool((x != y).any()) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True))
