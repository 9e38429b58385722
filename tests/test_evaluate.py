"""Prediction of whole splits, and kind 'evaluate'."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax import config as configs
from skinjax import evaluate, generate, kinds, recipes, rundir, train
from skinjax.data.augment_device import d4
from skinjax.engine import mapping
from skinjax.engine.mesh import Mesh
from skinjax.engine.objective import Objective
from skinjax.objectives import network
from skinjax.predictions import Predictions
from skinjax.tasks import classification
from tests.helpers import final_state, shrink, small_run, tiny_records, write_folder


def corner_objective(columns: int = 1) -> Objective:
    """A model whose logits are the value of the upper left corner, times 0, 1, ..."""

    def predict(variables, images):
        corner = images[:, 0, 0, :1].astype(jnp.float32) / 64 - 1
        logits = corner if columns == 1 else corner * jnp.arange(columns, dtype=jnp.float32)[None]
        return {'logits': logits, 'features': images.reshape(len(images), -1)[:, :2] / 255}

    return Objective(lambda key, batch: {'params': {}}, {}, (), predict)


TINY = {'data.image_size': 8}


def predict(config, objective, records):
    return classification.Predictor(config, objective, Mesh.create('jit'))({'params': {}}, records)


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


def test_what_takes_long_to_predict_is_told(monkeypatch, capsys):
    records, config = tiny_records(9), small_run(**TINY)
    predict(config, corner_objective(), records)
    assert capsys.readouterr().err == ''
    monkeypatch.setattr(mapping, 'DELAY', 0.0)
    predict(config, corner_objective(), records)
    assert capsys.readouterr().err.startswith('image 9/9, ')


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
    assert classification.score(table) == 0.75


def test_kind_evaluate_reproduces_the_run(tmp_path):
    first = train.run(small_run('clgr', devices=1), tmp_path / 'run')
    config = configs.evaluate()
    config.init_from = str(tmp_path / 'run')
    config.devices = 1
    section = rundir.load_run(tmp_path / 'run').evaluate.to_dict()
    config.evaluate.update({**section, 'tta': 'run', 'splits': ('plain', 'balanced')})
    again = evaluate.run(configs.resolve(config), tmp_path / 'again')
    assert set(again['splits']) == {'val', 'plain', 'balanced'}
    assert again['splits']['plain'] == first['splits']['plain']
    assert again['probes'] == first['probes']
    assert again['threshold'] == first['threshold']
    assert json.loads((tmp_path / 'again' / 'results.json').read_text())['step'] == 6
    assert (tmp_path / 'again' / 'report.html').exists()


def test_a_network_whose_bias_head_alone_has_statistics(tmp_path):
    config = shrink(recipes.unlearning('clgr'), linear=True)
    first = train.run(configs.resolve(config), tmp_path / 'run')
    found = evaluate.run(again(tmp_path / 'run'), tmp_path / 'again')
    assert found['splits']['plain']['auc']['value'] == first['splits']['plain']['auc']['value']


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    run = tmp_path_factory.mktemp('evaluate') / 'run'
    train.run(small_run('baseline', devices=1), run)
    return run


def again(run, source='', **fields):
    config = configs.evaluate(source)
    fields = {'init_from': str(run), 'devices': 1, 'evaluate.bootstrap': 20, **fields}
    fields = {'evaluate.probes': ('linear',), 'evaluate.probe_folds': 2, **fields}
    return configs.resolve(configs.override(config, fields))


@pytest.mark.parametrize(
    ('fields', 'text'),
    [
        ({'evaluate.splits': ('plian',)}, "no 'plian'"),
        ({'evaluate.probes': ('svm',)}, "no 'svm'"),
        ({'evaluate.probe_split': 'train'}, 'not evaluated'),
        ({'evaluate.threshold': 'yuden'}, 'unknown threshold rule'),
    ],
)
def test_wrong_options_are_found_before_anything_is_written(finished, tmp_path, fields, text):
    with pytest.raises(ValueError, match=text):
        evaluate.run(again(finished, **fields), tmp_path / 'w')
    assert not (tmp_path / 'w').exists()


def test_other_data_are_probed_for_the_bias_of_the_run(finished, tmp_path):
    sizes = {'data.n_train': 16, 'data.n_val': 16, 'data.n_test': 24, 'data.batch_size': 8}
    config = again(finished, 'synthetic', **sizes, **{'evaluate.threshold': 'sensitivity=0.9'})
    found = evaluate.run(config, tmp_path / 'w')
    assert found['data']['rows']['plain'] == 24 and set(found['probes']) == {'ruler'}
    assert found['threshold']['rule'] == 'sensitivity=0.9'
    run = json.loads((finished / 'results.json').read_text())
    assert run['threshold']['rule'] == 'youden'
    plain = run['splits']['plain']
    assert plain['share_of_bayes'] == pytest.approx(plain['auc']['value'] / 0.97)
    other = again(finished, 'synthetic', **{**sizes, 'data.artefact': 'marking'})
    assert evaluate.run(other, tmp_path / 'marking')['probes'] == {}


def test_images_are_made_square_as_in_training_where_both_sources_can_be_told():
    kept = evaluate.kept_fields({'image_size': 8, 'geometry': 'crop'}, {'image_size': 6})
    assert kept == {'image_size': 8}
    kept = evaluate.kept_fields({'geometry': 'crop'}, {'geometry': 'squash'})
    assert kept == {'geometry': 'crop'}


def views(run, images) -> np.ndarray:
    """Probabilities [8, n] of the final model of a run: one forward pass for each symmetry."""
    config, (_, state) = rundir.load_run(run), final_state(run)
    net = network.create(config, train.load_data(config))
    objective = net.objective({}, ())
    found = []
    for i in range(8):
        turned = images.swapaxes(1, 2) if i >= 4 else images
        turned = turned[:, ::-1] if i % 2 else turned
        turned = turned[:, :, ::-1] if i % 4 >= 2 else turned
        out = objective.predict(state.variables(), jnp.asarray(turned))
        found.append(1 / (1 + np.exp(-np.asarray(out['logits'], np.float64)[:, 0])))
    return np.stack(found)


def test_tta_and_a_fixed_threshold_on_another_source_by_hand(finished, tmp_path):
    """Probabilities averaged over the eight views, and what follows from them at 0.3."""
    root = write_folder(tmp_path / 'data', size=32)
    fields = {'data.root': str(root), 'data.bias': ('ruler',), 'evaluate.tta': 'on'}
    with pytest.raises(ValueError, match='knows the classes nevus, melanoma, the data have mel'):
        evaluate.run(
            again(finished, 'folder', **fields, **{'data.positive': 'nevus'}), tmp_path / 'o'
        )
    seen = views(finished, np.stack([tiny_records(24, 2, 32).read(i)['image'] for i in range(24)]))
    want = seen.mean(0)
    # Halfway between two predictions: rounding changes no call.
    cut = float(np.sort(want)[11:13].mean())
    config = again(finished, 'folder', **fields, **{'evaluate.threshold': str(cut)})
    found = evaluate.run(config, tmp_path / 'w')
    table = Predictions.read_csv(tmp_path / 'w' / 'predictions' / 'test.csv')
    assert np.ptp(seen, axis=0).max() > 1e-3, 'the views must differ'
    np.testing.assert_allclose(table.positive, want, atol=1e-5)
    assert found['threshold']['value'] == pytest.approx(cut)
    truth, called = tiny_records(24, 2, 32).labels == 1, want >= cut
    block = found['splits']['test']
    assert block['sensitivity']['value'] == pytest.approx((called & truth).sum() / truth.sum())
    assert block['specificity']['value'] == pytest.approx((~called & ~truth).sum() / (~truth).sum())
    assert block['accuracy']['value'] == pytest.approx((called == truth).mean())
    wins = want[truth][:, None] - want[~truth][None]
    assert block['auc']['value'] == pytest.approx((wins > 0).mean())


def test_a_threshold_needs_a_validation_split(finished, tmp_path):
    folder = tmp_path / 'lesions'
    sizes = {'data.n_train': 8, 'data.n_val': 8, 'data.n_test': 8, 'data.artefact': 'none'}
    generate.run(configs.override(kinds.generate(), sizes), folder)
    table = (folder / 'records.csv').read_text().replace(',val,', ',holdout,')
    (folder / 'records.csv').write_text(table)
    config = again(finished, 'folder', **{'data.root': str(folder)})
    assert 'holdout' in evaluate.run(config, tmp_path / 'w')['splits']
    config.evaluate.threshold = 'balanced'
    with pytest.raises(ValueError, match="to be chosen on a split 'val'"):
        evaluate.run(config, tmp_path / 'other')


def test_kind_evaluate_without_a_run(tmp_path):
    config = configs.evaluate()
    config.init_from = str(tmp_path)
    with pytest.raises(FileNotFoundError, match='not the directory of a run'):
        evaluate.run(config, tmp_path / 'work')
    assert jax.device_count() == 4 and not (tmp_path / 'work').exists()
