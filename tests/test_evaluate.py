"""Prediction of whole splits, and kind 'evaluate'."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax import config as configs
from skinjax import evaluate, train
from skinjax.data.images import d4
from skinjax.engine import mapping
from skinjax.engine.mesh import Mesh
from skinjax.engine.objective import Objective
from skinjax.predictions import Predictions
from tests.helpers import small_run, tiny_records


def corner_objective(columns: int = 1) -> Objective:
    """A model whose logits are the value of the upper left corner, times 0, 1, ..."""

    def predict(variables, images):
        corner = images[:, 0, 0, :1].astype(jnp.float32) / 64 - 1
        logits = corner if columns == 1 else corner * jnp.arange(columns, dtype=jnp.float32)[None]
        return {'logits': logits, 'features': images.reshape(len(images), -1)[:, :2] / 255}

    return Objective(lambda key, batch: {'params': {}}, {}, (), predict)


TINY = {'data.image_size': 8}


def predict(config, objective, records):
    return evaluate.Predictor(config, objective, Mesh.create('jit'))({'params': {}}, records)


@pytest.mark.parametrize('batch_size', [4, 7, 64])
def test_map_split_keeps_order_and_drops_padding(batch_size):
    records = tiny_records(19)
    config = small_run(**TINY).data
    mesh = Mesh.create('jit')
    run = mapping.compile_map(
        lambda factor, batch: {'twice': factor * batch['label'], 'row': batch['index']}, mesh
    )
    out = mapping.map_split(
        run,
        jnp.asarray(2),
        records,
        config,
        mesh,
        batch_size,
    )
    assert out['row'].tolist() == list(range(19))
    assert np.array_equal(out['twice'], 2 * records.labels)


def test_predict_gives_probabilities():
    records, config = tiny_records(9), small_run(**TINY)
    table, features = predict(config, corner_objective(), records)
    corner = np.array([records.read(i)['image'][0, 0, 0] for i in range(9)])
    assert np.allclose(table.positive, 1 / (1 + np.exp(1 - corner / 64)), atol=1e-6)
    assert features.shape == (9, 2)
    many, _ = predict(config, corner_objective(3), records)
    assert many.scores.shape == (9, 3)
    assert np.allclose(many.scores.sum(1), 1)


def test_test_time_augmentation_averages_probabilities_and_is_invariant():
    records = tiny_records(5)
    config = small_run('baseline', **{'evaluate.tta': True, **TINY})
    table, _ = predict(config, corner_objective(), records)
    images = np.stack([records.read(i)['image'] for i in range(5)])
    views = [np.asarray(d4(jnp.asarray(images), i))[:, 0, 0, 0] for i in range(8)]
    want = np.mean([1 / (1 + np.exp(1 - view / 64)) for view in views], 0)
    assert np.allclose(table.positive, want, atol=1e-6)
    for turn in range(8):
        turned = np.asarray(d4(jnp.asarray(images), turn))
        other = tiny_records(5)
        object.__setattr__(other, 'read', lambda row, t=turned: {'image': t[row]})
        again, _ = predict(config, corner_objective(), other)
        assert np.allclose(again.positive, table.positive, atol=1e-6)


def test_score_is_the_auc():
    ids = np.array(['a', 'b', 'c', 'd'])
    table = Predictions(ids, np.array([0, 0, 1, 1]), np.array([0.1, 0.6, 0.5, 0.9]))
    assert evaluate.score(table) == 0.75


def test_kind_evaluate_reproduces_the_run(tmp_path):
    first = train.run(small_run('clgr', devices=1), tmp_path / 'run')
    config = configs.evaluate()
    config.init_from = str(tmp_path / 'run')
    config.devices = 1
    config.evaluate = configs.load_run(tmp_path / 'run').evaluate
    config.evaluate.splits = ('plain', 'balanced')
    again = evaluate.run(configs.resolve(config), tmp_path / 'again')
    assert set(again['splits']) == {'val', 'plain', 'balanced'}
    assert again['splits']['plain'] == first['splits']['plain']
    assert again['probes'] == first['probes']
    assert json.loads((tmp_path / 'again' / 'results.json').read_text())['step'] == 6
    assert (tmp_path / 'again' / 'report.html').exists()


def test_kind_evaluate_without_a_run(tmp_path):
    config = configs.evaluate()
    config.init_from = str(tmp_path)
    with pytest.raises(FileNotFoundError, match='not the directory of a run'):
        evaluate.run(config, tmp_path / 'work')
    assert jax.device_count() == 4 and not (tmp_path / 'work').exists()
