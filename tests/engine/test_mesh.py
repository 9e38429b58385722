"""How batches and states lie on devices, in both parallel modes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax.engine.mesh import Mesh, is_main

BATCH = {'image': np.arange(8 * 3, dtype=np.float32).reshape(8, 3), 'label': np.arange(8)}


@pytest.mark.parametrize(('asked', 'got'), [(0, 4), (1, 1), (3, 3)])
def test_the_first_devices_are_taken(asked, got):
    assert Mesh.create('jit', asked).devices == tuple(jax.devices()[:got])


def test_too_many_devices():
    with pytest.raises(ValueError, match=r'config.devices = 5, but there are 4 devices'):
        Mesh.create('jit', 5)


def test_a_batch_must_divide_over_the_devices():
    mesh = Mesh.create('jit', 4)
    mesh.check(8)
    with pytest.raises(ValueError, match=r'batch of 10 does not divide over 4 devices.*batch_size'):
        mesh.check(10)


@pytest.mark.parametrize('count', [1, 2, 4])
def test_jit_gives_each_device_its_rows_of_the_global_batch(count):
    mesh = Mesh.create('jit', count)
    batch = mesh.put_batch(BATCH)
    assert mesh.axis is None
    for name, whole in BATCH.items():
        np.testing.assert_array_equal(batch[name], whole)
        shards = batch[name].addressable_shards
        assert [shard.device for shard in shards] == list(mesh.devices)
        for i, shard in enumerate(shards):
            rows = slice(i * 8 // count, (i + 1) * 8 // count)
            np.testing.assert_array_equal(shard.data, whole[rows])


def test_pmap_gives_each_device_its_rows_of_the_global_batch():
    mesh = Mesh.create('pmap', 2)
    batch = mesh.put_batch(BATCH)
    assert mesh.axis == 'data'
    assert batch['image'].shape == (2, 4, 3)
    np.testing.assert_array_equal(batch['image'][1], BATCH['image'][4:])
    np.testing.assert_array_equal(batch['label'], [[0, 1, 2, 3], [4, 5, 6, 7]])


@pytest.mark.parametrize('parallel', ['jit', 'pmap'])
def test_states_are_copied_to_all_devices_and_come_back(parallel):
    mesh = Mesh.create(parallel, 2)
    state = {'w': jnp.arange(6.0).reshape(2, 3), 'step': jnp.asarray(7)}
    spread = mesh.distribute(state)
    assert {d for x in jax.tree.leaves(spread) for d in x.devices()} == set(mesh.devices)
    assert spread['w'].shape == ((2, 2, 3) if parallel == 'pmap' else (2, 3))
    back = mesh.collect(spread)
    for name, value in state.items():
        assert back[name].sharding.is_equivalent_to(mesh.replicated, value.ndim)
        assert back[name].dtype == value.dtype
        np.testing.assert_array_equal(back[name], value)


@pytest.mark.parametrize('parallel', ['jit', 'pmap'])
def test_a_compiled_step_sums_over_the_global_batch(parallel):
    mesh = Mesh.create(parallel, 4)

    def step(state, batch, key):
        total = batch['image'].sum()
        total = jax.lax.psum(total, mesh.axis) if mesh.axis else total
        noise = jax.random.uniform(key)
        return {'w': state['w'] + total}, {'total': total, 'noise': noise}

    run = mesh.compile_step(step, jax.random.key(3))
    state, metrics = run(mesh.distribute({'w': jnp.asarray(1.0)}), mesh.put_batch(BATCH))
    assert float(mesh.collect(state)['w']) == 1 + BATCH['image'].sum()
    assert metrics['total'].shape == () and float(metrics['total']) == BATCH['image'].sum()
    assert float(metrics['noise']) == float(jax.random.uniform(jax.random.key(3)))


def test_one_process_is_the_main_one():
    assert is_main()
