"""The one training step: phases, weighted means, a ResNet's statistics over devices and slices.

`test_devices.py` has every objective on any number of devices.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from skinjax import config as configs
from skinjax.engine import state
from skinjax.engine.mesh import Mesh
from skinjax.engine.objective import Loss, Objective, Optimizer, Output, Phase
from skinjax.engine.step import example_keys, make_step, weighted_sum
from skinjax.train import build_objective
from tests.helpers import LINEAR, small, small_run, tiny_data


def build(data, **fields):
    config = small_run('baseline', **{'data.batch_size': 16, **fields})
    return build_objective(config, data)[0]


def batches(records, count, size=16):
    rng = np.random.default_rng(0)
    for _ in range(count):
        rows = rng.choice(len(records), size, replace=False)
        yield {
            'image': np.stack([records.read(int(r))['image'] for r in rows]),
            'label': records.labels[rows],
            'valid': np.ones(size, bool),
            **{name: values[rows] for name, values in records.bias.items()},
        }


def train(objective, data, *, devices=1, parallel='jit', steps=3, **options):
    """Metrics and final state of a few steps on `devices` virtual devices."""
    mesh = Mesh.create(parallel, devices)
    step = mesh.compile_step(make_step(objective, axis=mesh.axis, **options), jax.random.key(3))
    found = list(batches(data.splits['train'], steps))
    first = jax.tree.map(jnp.asarray, found[0])
    init = jax.jit(lambda key: state.create(objective, key, first, ema=bool(options.get('ema'))))
    now = mesh.distribute(init(jax.random.key(0)))
    history = []
    for batch in found:
        now, metrics = step(now, mesh.put_batch(batch))
        history.append(jax.device_get(metrics))
    return history, jax.device_get(mesh.collect(now))


def assert_close(a, b, tolerance=5e-5):
    for path, x in jax.tree_util.tree_leaves_with_path(a):
        y = b
        for key in path:
            y = y[key.key] if hasattr(key, 'key') else y[key.idx]
        scale = max(float(np.abs(x).max()), 1e-2)
        assert np.abs(np.asarray(x) - np.asarray(y)).max() <= tolerance * scale, path


@pytest.fixture(scope='module')
def grouped():
    """A network with statistics in every layer, in four norm groups on one device."""
    data = tiny_data(size=16)
    return train(build(data, **{'model.norm_groups': 4}), data)


@pytest.mark.parametrize(
    'how',
    [
        {'devices': 4, 'norm_groups': 4},
        {'devices': 4, 'parallel': 'pmap', 'norm_groups': 1},
        {'accumulate': 4, 'norm_groups': 1},
    ],
)
def test_norm_groups_on_any_devices_and_in_slices(how, grouped):
    data, (first, end) = tiny_data(size=16), grouped
    options = {name: value for name, value in how.items() if name != 'norm_groups'}
    objective = build(data, **{'model.norm_groups': how['norm_groups']})
    other, other_end = train(objective, data, **options)
    for a, b in zip(first, other, strict=True):
        for name in a:
            assert a[name] == pytest.approx(b[name], rel=1e-5, abs=1e-6), name
    assert_close(end.params, other_end.params)
    assert_close(end.model, other_end.model)


def test_accumulation_that_does_not_divide_is_refused():
    data = tiny_data(size=16)
    with pytest.raises(ValueError, match='accumulate = 3 does not divide'):
        train(build(data), data, accumulate=3)


def test_ema_follows_the_parameters():
    data = tiny_data(size=16)
    config = small(configs.train('baseline', model=LINEAR), **{'data.batch_size': 16})
    objective, _ = build_objective(config, data)
    _, end = train(objective, data, steps=1, ema=0.9)
    first = jax.tree.map(jnp.asarray, next(batches(data.splits['train'], 1)))
    create = jax.jit(lambda key: state.create(objective, key, first, ema=True))
    initial = jax.device_get(create(jax.random.key(0)))
    want = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, initial.params, end.params)
    assert_close(want, end.ema)
    assert end.variables()['params'] is end.ema


def test_weighted_sum_ignores_rows_of_weight_zero():
    loss = Loss(jnp.array([1.0, jnp.nan, 3.0]), jnp.array([1.0, 0.0, 0.5]))
    assert weighted_sum(loss).tolist() == [2.5, 1.5]


def test_example_keys_follow_the_place_in_the_global_batch():
    batch = {'label': jnp.zeros(8, jnp.int32)}
    keys = example_keys(jax.random.key(1), 2, batch, None)
    mapped = jax.pmap(lambda b: example_keys(jax.random.key(1), 2, b, 'data'), axis_name='data')(
        {'label': jnp.zeros((4, 2), jnp.int32)}
    )
    assert jnp.array_equal(jax.random.key_data(keys), jax.random.key_data(mapped).reshape(8, -1))


def scalar_objective(phases, momentum=0.9, rate=0.1):
    """One parameter p = 1 in group `a`, one in group `b`."""
    sgd = Optimizer(optax.trace(momentum), ('a', 'b'), optax.constant_schedule(rate))
    init = lambda key, batch: {'params': {'a': {'p': jnp.ones(())}, 'b': {'p': jnp.ones(())}}}  # noqa: E731
    return Objective(init, {'sgd': sgd}, phases, lambda v, x: {'logits': x})


def slope(a, b):
    """A phase loss whose gradient is a for group a and b for group b."""

    def loss(variables, batch, moment):
        params = variables['params']
        value = a * params['a']['p'] + b * params['b']['p']
        return Output(
            {'main': Loss(jnp.full(batch['label'].shape, value), jnp.ones(batch['label'].shape))}
        )

    return loss


def run_scalar(objective, steps=1):
    batch = {'label': jnp.zeros(4, jnp.int32)}
    now = state.create(objective, jax.random.key(0), batch, ema=False)
    step = jax.jit(make_step(objective))
    for _ in range(steps):
        now, _ = step(now, batch, jax.random.key(0))
    return now


def test_momentum_of_a_group_that_is_not_stepped_stands_still():
    phases = (
        Phase('one', slope(1.0, 1.0), {'sgd': ('a', 'b')}),
        Phase('two', slope(0.0, 5.0), {'sgd': ('a',)}),
    )
    now = run_scalar(scalar_objective(phases))
    # a: 1 - .1 = .9, then a phantom step by momentum alone: .9 - .09 = .81
    assert float(now.params['a']['p']) == pytest.approx(0.81)
    # b: its gradient of phase two is never taken
    assert float(now.params['b']['p']) == pytest.approx(0.9)


def test_later_phases_see_the_updated_parameters_and_kept_arrays():
    seen = []

    def first(variables, batch, moment):
        value = variables['params']['a']['p'] * jnp.ones(4)
        return Output({'main': Loss(value, jnp.ones(4))}, keep={'before': value})

    def second(variables, batch, moment):
        seen.append('before' in batch)
        value = (
            variables['params']['a']['p'] * batch['before'] / jax.lax.stop_gradient(batch['before'])
        )
        return Output({'main': Loss(value, jnp.ones(4))})

    phases = (Phase('one', first, {'sgd': ('a',)}), Phase('two', second, {'sgd': ('a',)}))
    objective = scalar_objective(phases, momentum=0.0)
    batch = {'label': jnp.zeros(4, jnp.int32)}
    now = state.create(objective, jax.random.key(0), batch, ema=False)
    now, metrics = jax.jit(make_step(objective))(now, batch, jax.random.key(0))
    assert seen == [True]
    assert float(metrics['one/main']) == pytest.approx(1.0)
    assert float(metrics['two/main']) == pytest.approx(0.9)
    assert float(now.params['a']['p']) == pytest.approx(0.8)


def test_clipping_takes_the_norm_over_the_groups_of_the_phase():
    objective = scalar_objective((Phase('one', slope(3.0, 4.0), {'sgd': ('a', 'b')}),))
    clipped = dataclasses.replace(objective.optimizers['sgd'], clip=1.0)
    now = run_scalar(dataclasses.replace(objective, optimizers={'sgd': clipped}))
    assert float(now.params['a']['p']) == pytest.approx(1 - 0.1 * 0.6)
    assert float(now.params['b']['p']) == pytest.approx(1 - 0.1 * 0.8)


def test_two_optimizers_of_one_group_see_the_same_gradient():
    base = scalar_objective((Phase('one', slope(1.0, 0.0), {'sgd': ('a',), 'second': ('a',)}),))
    second = Optimizer(optax.identity(), ('a',), optax.constant_schedule(0.01))
    now = run_scalar(dataclasses.replace(base, optimizers={**base.optimizers, 'second': second}))
    assert float(now.params['a']['p']) == pytest.approx(1 - 0.1 - 0.01)


def test_a_phase_that_steps_foreign_groups_is_refused():
    objective = scalar_objective((Phase('one', slope(1.0, 1.0), {'sgd': ('head',)}),))
    with pytest.raises(ValueError, match=r"phase 'one' steps \['head'\].*owns \['a', 'b'\]"):
        run_scalar(objective)


def test_a_phase_with_a_condition_runs_on_those_steps_alone():
    phases = (
        Phase('always', slope(0.0, 1.0), {'sgd': ('b',)}),
        Phase('often', slope(1.0, 0.0), {'sgd': ('a',)}, when=lambda step: step % 3 == 0, repeat=2),
    )
    objective = scalar_objective(phases)
    batch = {'label': jnp.zeros(4, jnp.int32)}
    now = state.create(objective, jax.random.key(0), batch, ema=False)
    step, found = jax.jit(make_step(objective)), []
    for _ in range(4):
        now, metrics = step(now, batch, jax.random.key(0))
        found.append(float(now.params['a']['p']))
        assert not [name for name in metrics if name.startswith('often')]
    # Momentum as the updates are counted: 1, 1.9 at the first step, 2.71, 3.439 at the fourth.
    assert found == pytest.approx([1 - 0.29, 1 - 0.29, 1 - 0.29, 1 - 0.29 - 0.6149])
    always = run_scalar(scalar_objective(phases[:1]), steps=4)
    assert float(now.params['b']['p']) == float(always.params['b']['p'])


@pytest.mark.parametrize('how', [{}, {'devices': 4}, {'devices': 4, 'parallel': 'pmap'}])
def test_a_condition_changes_nothing_of_a_network_where_it_holds(how):
    data = tiny_data(size=16)
    plain = build(data, **{'model.norm_groups': 1 if how.get('parallel') else 4})
    (phase,) = plain.phases
    told = dataclasses.replace(phase, when=lambda step: step >= 0)
    _, want = train(plain, data, steps=2, **how)
    _, end = train(dataclasses.replace(plain, phases=(told,)), data, steps=2, **how)
    assert_close(want.params, end.params, 1e-6)
    assert_close(want.model, end.model, 1e-6)
