"""Optimizers and schedules from configs."""

import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from skinjax.engine import optimizers


def config(**fields):
    return ConfigDict({**optimizers.DEFAULTS, **fields})


@pytest.mark.parametrize(
    ('fields', 'steps', 'rates'),
    [
        ({'schedule': 'constant'}, (0, 50, 99), (1, 1, 1)),
        ({'schedule': 'cosine'}, (0, 50, 100), (1, 0.5, 0)),
        ({'schedule': 'linear'}, (0, 25, 100), (1, 0.75, 0)),
        ({'schedule': 'cosine', 'warmup': 0.1}, (0, 5, 10, 55, 100), (0, 0.5, 1, 0.5, 0)),
        ({'schedule': 'step', 'decay_at': (0.5, 0.75)}, (49, 51, 76), (1, 0.1, 0.01)),
    ],
)
def test_schedules(fields, steps, rates):
    schedule = optimizers.schedule(config(learning_rate=1.0, **fields), 100)
    assert [float(jnp.asarray(schedule(jnp.asarray(s)))) for s in steps] == pytest.approx(
        rates, abs=1e-6
    )


def run(fields, gradients):
    """A parameter that starts at 1, by the direction times a rate of 0.1."""
    tx = optimizers.direction(config(**fields))
    weight = jnp.ones(())
    opt, path = tx.init(weight), []
    for gradient in gradients:
        update, opt = tx.update(jnp.asarray(gradient), opt, weight)
        weight = weight - 0.1 * jnp.asarray(update)
        path.append(float(weight))
    return path


def test_momentum_coasts():
    assert run({'momentum': 0.9}, [1.0, 0.0]) == pytest.approx([0.9, 0.81])


def test_weight_decay_of_sgd_is_added_to_the_gradient():
    assert run({'momentum': 0.0, 'weight_decay': 0.5}, [1.0]) == pytest.approx([1 - 0.1 * 1.5])


def test_adam_against_its_formula():
    beta, second, weight, m, v = 0.9, 0.999, 1.0, 0.0, 0.0
    want = []
    for t, gradient in enumerate([1.0, -0.5, 2.0], 1):
        m, v = beta * m + (1 - beta) * gradient, second * v + (1 - second) * gradient**2
        weight -= 0.1 * (m / (1 - beta**t)) / (np.sqrt(v / (1 - second**t)) + 1e-8)
        want.append(weight)
    assert run({'name': 'adam'}, [1.0, -0.5, 2.0]) == pytest.approx(want, rel=1e-5)


def test_adamw_decays_the_weight_itself():
    plain = run({'name': 'adam'}, [1.0])[0]
    assert run({'name': 'adamw', 'weight_decay': 0.5}, [1.0])[0] == pytest.approx(plain - 0.05)


def test_unknown_names():
    with pytest.raises(ValueError, match="unknown optimizer 'sdg': choose sgd"):
        optimizers.direction(config(name='sdg'))
    with pytest.raises(ValueError, match="unknown schedule 'cos': choose one of constant, cosine"):
        optimizers.schedule(config(schedule='cos'), 10)
