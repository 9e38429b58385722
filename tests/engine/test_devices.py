"""Every objective computes the same on 1, 2 and 4 devices, by 'jit' and by 'pmap', in any slices.

The models are linear, and the batches as uneven as they can be: a quarter that is padding, a
quarter whose bias values are unknown, so that a mean of the devices' means would be wrong.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from skinjax import config as configs
from skinjax.data.records import COMMON
from skinjax.engine import state
from skinjax.engine.mapping import compile_map, map_split
from skinjax.engine.mesh import Mesh
from skinjax.engine.step import make_step
from tests.helpers import tiny_records
from tests.objectives.made import PLAIN, made_batch, made_data, make_config

METHODS = configs.siblings('objectives', 'classification')
UNLEARNERS = ('clgr', 'lntl', 'tabe')
SIZE = 16


@pytest.fixture(autouse=True, scope='module')
def quick_compilation():
    """Each program runs a few steps: the least optimised one is the first to finish."""
    jax.config.update('jax_disable_most_optimizations', True)
    yield
    jax.config.update('jax_disable_most_optimizations', False)


def build(method, norm_groups=1, **fields):
    if method in UNLEARNERS:
        fields = {'head_steps': 2, **fields}
    if method == 'hierarchical':  # random weights of a wide state would magnify rounding
        fields = {'hidden': 4, **fields}
    config = make_config(method, rate=0.01, **fields)
    config.model.update(norm_groups=norm_groups, dropout=0.3)
    return configs.find('objectives', method).build(config, made_data(), 100)


def batch(seed: int) -> dict[str, np.ndarray]:
    found = {name: np.array(values) for name, values in made_batch(SIZE, seed).items()}
    found['valid'][12:] = False
    found['ruler'][:4] = found['camera'][:4] = -1
    return found


def train(objective, parallel='jit', devices=1, batches=None, **options):
    """(metrics of each step, final state)."""
    mesh = Mesh.create(parallel, devices)
    step = mesh.compile_step(make_step(objective, axis=mesh.axis, **options), jax.random.key(3))
    now = mesh.distribute(initial(objective))
    history = []
    for found in batches or [batch(0), batch(1)]:
        now, metrics = step(now, mesh.put_batch(found))
        history.append(jax.device_get(metrics))
    return history, jax.device_get(mesh.collect(now))


def initial(objective):
    """Random parameters by shape: quicker than a compiled initialiser."""
    create = functools.partial(state.create, objective, batch=made_batch(SIZE), ema=False)
    shapes, rng = jax.eval_shape(create, jax.random.key(0)), np.random.default_rng(0)

    def fill(path, leaf):
        keys = [getattr(part, 'key', getattr(part, 'name', '')) for part in path]
        if keys[0] == 'params':
            return (rng.normal(size=leaf.shape) / 2).astype(leaf.dtype)
        value = 0.25 if keys[-1] == 'group_weights' else float(keys[-1] == 'var')
        return np.full(leaf.shape, value, leaf.dtype)

    return jax.tree_util.tree_map_with_path(fill, shapes)


def assert_same_training(one, other):
    (first, end), (second, other_end) = one, other
    for a, b in zip(first, second, strict=True):
        assert a.keys() == b.keys() and len(a) > 2
        for name in a:
            assert np.isfinite(a[name])
            assert b[name] == pytest.approx(a[name], rel=1e-5, abs=1e-6), name
    for part in ('params', 'model', 'opt'):
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6),
            getattr(end, part),
            getattr(other_end, part),
        )


def assert_losses_of_one_device(method, *others):
    """`norm_groups` = 4 in 'jit' is 4 / devices of them on each device in 'pmap'."""
    one = train(build(method, 4))
    for parallel, devices in others:
        groups = 4 if parallel == 'jit' else 4 // devices
        assert_same_training(one, train(build(method, groups), parallel, devices))


@pytest.mark.parametrize('method', METHODS)
def test_the_losses_are_those_of_one_device(method):
    assert_losses_of_one_device(method, ('jit', 4), ('pmap', 2))


@pytest.mark.parametrize(
    'method', ['group_dro', *(pytest.param(m, marks=pytest.mark.slow) for m in METHODS)]
)
def test_further_numbers_of_devices(method):
    assert_losses_of_one_device(method, ('jit', 2), ('pmap', 1), ('pmap', 4))


@pytest.mark.parametrize(
    ('method', 'others'),
    [
        ('clgr', [('jit', 2), ('pmap', 2)]),
        ('group_dro', [('pmap', 2)]),
        pytest.param('double', [('jit', 1), ('pmap', 2)], marks=pytest.mark.slow),
    ],
)
def test_accumulated_slices_are_norm_groups(method, others):
    """Four slices: two groups in each of two, or one in each of two on two devices."""
    whole = train(build(method, 4))
    for parallel, devices in others:
        objective = build(method, 2 if parallel == 'jit' else 1)
        assert_same_training(whole, train(objective, parallel, devices, accumulate=2))


def test_norm_groups_matter_to_a_standardising_head():
    one, four = (train(build('clgr', groups))[0][0] for groups in (1, 4))
    assert abs(one['bias/ruler'] - four['bias/ruler']) > 1e-3
    assert one['main/main'] == pytest.approx(four['main/main'], rel=1e-6)


@pytest.mark.parametrize('method', METHODS)
def test_a_padded_last_batch_on_four_devices_is_its_rows_on_one(method):
    """A device that has padding alone included. Without standardisation, which sees all rows."""
    fields: Any = PLAIN if method in UNLEARNERS else {}
    if method == 'unlearning':
        head = configs.find('objectives', method).DEFAULTS['heads']['ruler']
        fields = {'heads': {'ruler': {**head, 'standardize': False}}}
    if method == 'double':
        defaults = configs.find('objectives', method).DEFAULTS
        fields = {k: {**defaults[k], 'standardize': False} for k in ('first', 'second')}
    objective = build(method, **fields)
    padded = batch(0)
    padded['valid'][11:] = False
    rows = {name: values[:11] for name, values in padded.items()}
    one = train(objective, batches=[rows])
    padded['image'][11:] = 255 - padded['image'][11:]
    assert_same_training(one, train(objective, 'pmap', 4, batches=[padded]))


@pytest.mark.parametrize('devices', [1, 2, 4])
def test_a_split_that_does_not_divide_is_mapped_row_by_row(devices):
    records = tiny_records(13, size=4)
    config = ConfigDict({**COMMON, 'image_size': 4, 'batch_size': 8})
    mesh = Mesh.create('jit', devices)
    run = compile_map(
        lambda scale, rows: {'sum': scale * rows['image'].astype(jnp.float32).sum((1, 2, 3))}, mesh
    )
    want = [2.0 * records.read(row)['image'].sum() for row in range(13)]
    for size in (3, 5, 8, 32):
        out = map_split(run, jnp.float32(2), records, config, mesh, size)
        np.testing.assert_allclose(out['sum'], want, rtol=1e-6)
