"""Checkpoints: what is kept, ranked, and refused."""

import contextlib
import math
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax.engine import checkpoint, integrity
from skinjax.engine.mesh import Mesh
from skinjax.engine.state import TrainState
from tests.helpers import restore_state


def state_at(step: int, width: int = 3) -> TrainState:
    weights = jnp.full((width,), float(step))
    return TrainState(jnp.asarray(step), {'a': {'w': weights}}, {}, {'sgd': {'a': weights}}, {})


def abstract(width: int = 3):
    shapes = jax.eval_shape(lambda: state_at(0, width))
    return checkpoint.with_sharding(shapes, Mesh.create('jit', 1).replicated)


def save_all(path, scores, keep=2):
    saver = checkpoint.Checkpointer(path, keep)
    for step, score in enumerate(scores, 1):
        saver.save(state_at(step), score)
        saver.wait()
    return saver


@pytest.mark.parametrize(
    ('scores', 'kept', 'best'),
    [
        ([0.5, 0.9, 0.7, 0.95, 0.6], {4, 5}, 4),
        ([0.99, 0.9, 0.7, 0.8, 0.6], {1, 4, 5}, 1),
        ([0.9, 0.5, math.nan, 0.3], {1, 3, 4}, 1),
        ([None, 0.9, None, None], {2, 3, 4}, 2),
    ],
)
def test_the_newest_two_and_the_best_are_kept(tmp_path, scores, kept, best):
    saver = save_all(tmp_path, scores)
    assert {int(p.name) for p in (tmp_path / 'checkpoints').iterdir() if p.name.isdigit()} == kept
    assert saver.best() == best and saver.latest() == len(scores)
    saver.close()


def test_restore_is_exact_and_onto_the_asked_devices(tmp_path):
    saver = save_all(tmp_path, [0.5])
    saver.close()
    step, found = restore_state(tmp_path, abstract())
    assert step == 1 and int(found.step) == 1
    assert np.asarray(found.opt['sgd']['a']).tolist() == [1.0] * 3
    assert len(found.params['a']['w'].devices()) == 1


def test_best_is_selected(tmp_path):
    save_all(tmp_path, [0.9, 0.5]).close()
    assert restore_state(tmp_path, abstract(), 'best')[0] == 1
    assert restore_state(tmp_path, abstract(), 'last')[0] == 2


def test_another_shape_is_refused_by_name(tmp_path):
    save_all(tmp_path, [0.5]).close()
    with pytest.raises(ValueError, match=r'checkpoints/1 does not fit this model'):
        restore_state(tmp_path, abstract(4))


def test_no_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match='train it first'):
        restore_state(tmp_path, abstract())


def test_a_torn_save_is_passed_over(tmp_path):
    save_all(tmp_path, [0.5]).close()
    (tmp_path / 'checkpoints' / '2.orbax-checkpoint-tmp').mkdir()
    saver = checkpoint.Checkpointer(tmp_path, 2)
    assert saver.latest() == 1
    saver.save(state_at(2), 0.6)
    saver.wait()
    assert saver.latest() == 2
    saver.close()


def damage(path, how):
    """`path` cut to its first half, emptied, gone, or with one other bit."""
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[len(whole) // 3] ^= 1
    if how == 'gone':
        path.unlink()
    else:
        path.write_bytes({'cut': whole[: len(whole) // 2], 'empty': b'', 'flip': changed}[how])


def largest(folder):
    files = (path for path in folder.rglob('*') if path.is_file())
    return max(files, key=lambda path: path.stat().st_size)


@pytest.mark.parametrize(
    ('name', 'how'),
    [
        ('values', 'flip'),
        ('values', 'cut'),
        ('values', 'gone'),
        ('state/_METADATA', 'cut'),
        ('state/_METADATA', 'gone'),
        ('state/manifest.ocdbt', 'empty'),
        ('metrics/metrics', 'cut'),
        ('metrics/metrics', 'empty'),
    ],
)
def test_a_damaged_checkpoint_is_passed_over(name, how, tmp_path, capsys):
    width = 5000
    saver = checkpoint.Checkpointer(tmp_path, 5)
    for step in (1, 2):
        saver.save(state_at(step, width), 0.5)
    saver.close()
    folder = tmp_path / 'checkpoints' / '2'
    damage(largest(folder) if name == 'values' else folder / name, how)
    with contextlib.closing(checkpoint.Checkpointer(tmp_path, 5)) as saver:
        found = saver.restore_newest(abstract(width))
        assert found is not None and int(found.step) == saver.latest() == 1
        np.testing.assert_array_equal(found.params['a']['w'], np.ones(width))
        saver.save(state_at(2, width), 0.6)
        saver.wait()
        assert saver.latest() == 2
    warning = capsys.readouterr().err
    assert warning.startswith('warning: ') and str(folder) in warning
    assert 'is damaged' in warning and 'set aside as damaged-2' in warning
    assert (tmp_path / 'checkpoints' / 'damaged-2').is_dir()
    assert int(restore_state(tmp_path, abstract(width))[1].step) == 2


@pytest.mark.parametrize('name', ['state/_METADATA', 'metrics/metrics'])
def test_where_no_checkpoint_can_be_read_nothing_is_changed(name, tmp_path):
    save_all(tmp_path, [0.5, 0.6]).close()
    for step in ('1', '2'):
        damage(tmp_path / 'checkpoints' / step / name, 'empty')
    with (
        pytest.raises(ValueError, match=r'checkpoints/2.* is damaged'),
        contextlib.closing(checkpoint.Checkpointer(tmp_path, 2)) as saver,
    ):
        saver.restore_newest(abstract())
    assert sorted(path.name for path in (tmp_path / 'checkpoints').iterdir()) == ['1', '2']


def test_one_of_another_model_is_not_taken_for_damaged(tmp_path):
    saver = save_all(tmp_path, [0.5, 0.6])
    with pytest.raises(ValueError, match=r'checkpoints/2 does not fit this model'):
        saver.restore_newest(abstract(4))
    saver.close()
    assert sorted(path.name for path in (tmp_path / 'checkpoints').iterdir()) == ['1', '2']


def test_nothing_to_restore(tmp_path):
    with contextlib.closing(checkpoint.Checkpointer(tmp_path, 2)) as saver:
        assert saver.restore_newest(abstract()) is None


def test_the_checksum_depends_on_every_bit_and_on_order():
    one = {'a': np.arange(3, dtype=np.float32), 'b': np.int32(7), 'c': np.zeros((0, 2))}
    assert integrity.crc32(one) == zlib.crc32(one['a'].tobytes() + one['b'].tobytes())
    assert integrity.crc32({**one, 'b': np.int32(6)}) != integrity.crc32(one)
    assert integrity.crc32(jax.tree.map(jnp.asarray, one)) == integrity.crc32(one)


def test_a_disk_that_is_full_is_an_error_with_the_place(tmp_path):
    with contextlib.closing(checkpoint.Checkpointer(tmp_path, 2)) as saver:
        (tmp_path / 'checkpoints').rmdir()
        (tmp_path / 'checkpoints').touch()
        with pytest.raises(OSError, match=r'could not be written to .*checkpoints \(.*continues'):
            saver.save(state_at(1), 0.5)
            saver.wait()
