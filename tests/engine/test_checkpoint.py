"""Checkpoints: what is kept, ranked, and refused."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax.engine import checkpoint
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
