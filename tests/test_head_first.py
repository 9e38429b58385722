"""`train.head_first`: the main head fitted to frozen features, without and before training."""

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax import train
from skinjax.engine.mesh import Mesh
from skinjax.models import linear_head
from tests.helpers import TINY, final_state, has, small_run

N = 64


def settings(method: str = 'baseline', **fields):
    sizes = {name: value for name, value in TINY.items() if has(small_run(method), name)}
    sizes |= {'data.n_train': N, 'train.steps': 0, 'train.epochs': 0, 'train.head_first': True}
    sizes |= {'evaluate.splits': ('plain',), 'evaluate.probe_split': 'plain'}
    return small_run(method, **{**sizes, **fields})


@pytest.fixture(scope='module')
def fitted(tmp_path_factory):
    """The directory and the results of a run of no epochs."""
    work = tmp_path_factory.mktemp('fitted') / 'w'
    return work, train.run(settings(), work)


def test_without_epochs_the_fitted_head_is_saved_and_evaluated(fitted, capsys):
    work, results = fitted
    assert results['step'] == 0
    assert json.loads((work / 'results.json').read_text()) == results
    assert (work / 'checkpoints' / '0').is_dir() and (work / 'DONE').exists()
    assert set(results['splits']) == {'val', 'plain'}
    assert (work / 'metrics.jsonl').read_text() == ''
    assert train.run(settings(), work) == results
    assert 'is done' in capsys.readouterr().out


def test_the_head_is_the_one_that_fits_the_training_features(fitted):
    """Features by the network in evaluation mode, all at once; labels and groups row by row."""
    config = settings()
    data = train.load_data(config)
    records = data.splits['train']
    _, state = final_state(fitted[0])
    objective, _ = train.build_objective(config, data)
    images = np.stack([records.read(row)['image'] for row in range(N)])
    features = np.asarray(objective.predict(state.variables(), jnp.asarray(images))['features'])
    want = linear_head.fit(features, records.labels, records.groups, 2)
    assert np.ptp(features, axis=0).max() > 0
    for name, value in want.items():
        assert np.abs(value).max() > 0
        for held in (state.params, state.ema):
            np.testing.assert_allclose(held['head'][name], value, rtol=1e-3, atol=1e-5)


def test_training_starts_from_exactly_this_head(fitted, tmp_path):
    """A learning rate of zero shows the start of a whole run at its end."""
    still: dict[str, Any] = {'train.epochs': 1}
    still |= {'optimizer.learning_rate': 0.0, 'optimizer.weight_decay': 0.0}
    results = train.run(settings(**still), tmp_path / 'w')
    assert results['step'] == 4
    (_, first), (_, last) = final_state(fitted[0]), final_state(tmp_path / 'w')
    for name, value in first.params['head'].items():
        np.testing.assert_array_equal(value, last.params['head'][name])
    still['train.head_first'] = False
    config = settings(**still)
    plain = train.Trainer(config, train.load_data(config), Mesh.create('jit', 1)).fresh()
    assert (plain.params['head']['kernel'] != first.params['head']['kernel']).all()
    jax.tree.map(np.testing.assert_array_equal, plain.params['encoder'], first.params['encoder'])


def test_the_bias_heads_of_a_method_start_as_ever():
    config = settings('clgr', **{'train.epochs': 1})
    starts = []
    for head_first in (True, False):
        config.train.head_first = head_first
        trainer = train.Trainer(config, train.load_data(config), Mesh.create('jit', 1))
        starts.append(trainer.fresh())
    one, other = starts
    jax.tree.map(
        np.testing.assert_array_equal, one.params['bias_ruler'], other.params['bias_ruler']
    )
    assert (one.params['head']['kernel'] != other.params['head']['kernel']).any()
