"""Kind 'explain' from end to end."""

import json
import shutil
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from skinjax import config as configs
from skinjax import evaluate, explain, kinds, rundir, train
from skinjax.data import choosing, images
from skinjax.engine.mesh import Mesh
from skinjax.explainers import compiled
from skinjax.predictions import Predictions
from skinjax.relevance import checks, explained
from skinjax.relevance import parts as parts_of
from tests.helpers import call, flags, shrink, small_run

CONSTANT = 'tests.explainers.constant'
SMALL: dict[str, Any] = {
    'n': 10,
    'batch_size': 4,
    'shown': 4,
    'sanity': 2,
    'faithfulness': 4,
}
PLAIN = {'n': 5, 'batch_size': 8, 'shown': 0, 'sanity': 0, 'faithfulness': 0}


def settings(source: Path, name: str = 'grad_cam', given: Any = None, **fields: Any) -> Any:
    config = kinds.explain(name, **(given or {}))
    return configs.resolve(configs.override(config, {'init_from': str(source), **SMALL, **fields}))


@pytest.fixture(scope='module')
def source(tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp('explain') / 'run'
    train.run(small_run('baseline', devices=1), run)
    return run


@pytest.fixture(scope='module')
def work(source) -> Path:
    folder = source.parent / 'w'
    explain.run(settings(source), folder)
    return folder


def test_the_work_directory(source, work, capsys):
    assert {path.name for path in work.iterdir()} == {
        'config.json', 'maps.npy', 'explained.csv', 'results.json', 'figures', 'report.html',
        'DONE', rundir.LOCK,
    }  # fmt: skip
    drawn = {path.stem for path in (work / 'figures').iterdir()}
    assert drawn == {'maps', 'mean_maps', 'randomisation', 'faithfulness'}
    page = (work / 'report.html').read_text()
    assert page.count('<img') == len(drawn) and 'Grad-CAM (Selvaraju et al. 2017' in page
    results = json.loads((work / 'results.json').read_text())
    assert results['n'] == 10 and not results['signed'] and results['step'] == 6
    assert sum(block['n'] for block in results['classes'].values()) == 10
    assert results['sanity'][0]['down_to'] == 'head'
    assert results['sanity'][-1]['down_to'] == 'encoder/stem_conv'
    assert set(results['faithfulness']['deletion']) >= {'map', 'random', 'over_random'}
    assert explain.run(settings(source, batch_size=3), work) == results
    assert 'is done' in capsys.readouterr().out
    with pytest.raises(ValueError, match="target: 'predicted' -> 'label'"):
        explain.run(settings(source, target='label'), work)


def test_maps_are_those_of_the_explainer(source, work):
    """One image at a time, by the explainer itself."""
    found, setting = explained.read(work), explain.prepare(settings(source))
    assert found.maps.dtype == np.float16 and found.maps.shape == (10, 32, 32)
    plain = train.load_data(rundir.load_run(source)).splits['plain']
    assert set(found.table.ids) <= set(plain.ids)
    build = configs.find('explainers', 'grad_cam').build
    one = compiled(build(setting.config.explainer), setting.mapper.subject)
    for row, (image, target) in enumerate(zip(pixels(found), targets(found), strict=True)):
        images = setting.net.images(jnp.asarray(image[None]))
        want = np.asarray(one(setting.variables, images, target[None]).sum(-1))[0]
        assert np.abs(want).max() == pytest.approx(found.table.columns['scale'][row], rel=1e-4)
        assert want.sum() == pytest.approx(found.table.columns['total'][row], rel=1e-3, abs=1e-5)
        scale = found.table.columns['scale'][row] or 1
        assert np.allclose(found.maps[row], want / scale, atol=2e-3)


def pixels(found: explained.Explained) -> np.ndarray:
    records = found.records()
    assert records.ids.tolist() == found.table.ids.tolist()
    return np.stack([records.read(row)['image'] for row in range(len(records))])


def targets(found: explained.Explained) -> np.ndarray:
    return found.table.columns['target'].astype(np.int32)


def test_maps_of_any_records_and_classes(source):
    """As audits make them: the same whatever batch an image is in, one program for all."""
    config, run = settings(source, 'integrated_gradients', {'steps': 2}), rundir.load_run(source)
    mesh = Mesh.create('jit', 1)
    data, _, _, variables = evaluate.restore(source, run, mesh)
    heat = explain.mapper(config.explainer, run, data, variables, mesh, 4)
    records, classes = data.splits['plain'].select(np.arange(6)), np.array([0, 1, 1, 0, 0, 1])
    maps = heat(records, classes)
    assert maps.shape == (6, 32, 32) and maps.dtype == np.float32
    rows = np.array([5, 2])
    assert np.allclose(heat(records.select(rows), classes[rows]), maps[rows], rtol=1e-4, atol=1e-6)
    # One logit for both classes.
    assert np.allclose(heat(records, 1 - classes), -maps, rtol=1e-4, atol=1e-6)
    assert [*heat.remarks(records, classes)] == []
    taylor = settings(source, 'lrp', {'composite': 'deep_taylor'}).explainer
    heat = explain.mapper(taylor, run, data, variables, mesh, 4)
    both = [[*heat.remarks(records, np.full(6, k))] for k in (0, 1)]
    counts = [int(told[0].split()[0]) if told else 0 for told in both]
    assert sum(counts) == 6 and all('of 6 scores are negative' in told[0] for told in both if told)


def test_the_table_is_that_of_the_predictions(source, work):
    table = explained.read(work).table
    known = Predictions.read_csv(source / 'predictions' / 'plain.csv')
    rows = [known.ids.tolist().index(name) for name in table.ids]
    assert np.allclose(table.scores, known.scores[rows], atol=1e-5)
    assert table.labels.tolist() == known.labels[rows].tolist()
    assert table.bias['ruler'].tolist() == known.bias['ruler'][rows].tolist()
    threshold = rundir.read_results(source)['threshold']['value']
    called = known.predicted(threshold)[rows]
    assert table.columns['predicted'].tolist() == called.tolist()
    assert table.columns['target'].tolist() == called.tolist()
    logit = np.log(table.positive / (1 - table.positive))
    assert np.allclose(table.columns['score'], np.where(called, logit, -logit), atol=1e-4)


def test_checks_run_in_batches_of_the_maps_by_the_same_program(source, work):
    setting = explain.prepare(settings(source, batch_size=4, devices=1, faithfulness=6))
    found = explained.read(work)
    curves = checks.faithfulness(setting, found.table, found.maps)['curves']
    rows = choosing.some_of_each(found.table.labels, 6)
    called = found.table.columns['target'][rows] == 1
    chances = np.where(called, found.table.positive[rows], 1 - found.table.positive[rows])
    for order in ('map', 'random'):
        assert np.allclose(curves['deletion'][order][:, 0], chances, atol=1e-5)
    facts: Any = setting.facts
    assert setting.mapper.batch_size == 4 and facts._cache_size() == 1


def test_what_is_called_is_judged_with_the_test_time_augmentation_of_the_run(source, monkeypatch):
    trained = explained.trained
    with monkeypatch.context() as patch:
        turned = {'evaluate.tta': True}
        patch.setattr(explained, 'trained', lambda c: configs.override(trained(c), turned))
        setting = explain.prepare(settings(source, devices=1))
    images = np.stack([setting.records.read(row)['image'] for row in range(4)])
    one, other = (
        setting.facts(setting.variables, jnp.asarray(x), jnp.zeros(4, jnp.int32))
        for x in (images, images[:, ::-1])
    )
    assert np.allclose(one['chances'], other['chances'], atol=1e-6)
    assert not np.allclose(one['score'], other['score'], atol=1e-4)  # that of the image itself


def test_a_stopped_run_continues_with_what_is_missing(source, work, tmp_path, monkeypatch):
    write, calls = np.savez, []

    def full(*given: Any, **more: Any) -> None:
        if len(calls) == 2:
            raise OSError('no space left')
        calls.append(1)
        write(*given, **more)

    with monkeypatch.context() as patch:
        patch.setattr(np, 'savez', full)
        with pytest.raises(OSError, match='no space left'):
            explain.run(settings(source), tmp_path / 'w')
    parts = tmp_path / 'w' / 'parts'
    assert sorted(p.name for p in parts.glob('*.npz')) == ['000000000.npz', '000000004.npz']
    before = (parts / '000000004.npz').stat().st_mtime_ns

    def late(workdir: Path) -> list[Path]:
        found = sorted((workdir / 'parts').glob('[0-9]*.npz'))
        assert found[1].stat().st_mtime_ns == before
        return found

    monkeypatch.setattr(parts_of, 'found', late)
    explain.run(settings(source), tmp_path / 'w')
    for name in ('maps.npy', 'explained.csv', 'report.html'):
        one, other = ((folder / name).read_bytes() for folder in (work, tmp_path / 'w'))
        assert one == other, name


def test_maps_of_another_checkpoint_are_made_again(source, tmp_path):
    config = settings(source, 'saliency', **PLAIN)
    (parts := tmp_path / 'w' / 'parts').mkdir(parents=True)
    (tmp_path / 'w' / 'config.json').write_text(json.dumps(configs.to_json(config)))
    (parts / 'step.json').write_text('{"step": 1}')
    (parts / '000000000.npz').write_bytes(b'of other weights')
    assert explain.run(config, tmp_path / 'w')['n'] == 5


@pytest.mark.parametrize('target', ['label', 'nevus'])
def test_targets_and_whole_splits(target, source, tmp_path):
    fields = {**PLAIN, 'n': 0, 'split': 'val', 'target': target, 'dtype': 'float32'}
    results = explain.run(settings(source, 'gradient_x_input', **fields), tmp_path / 'w')
    found = explained.read(tmp_path / 'w')
    assert results['signed'] and len(found.maps) == 48 and found.maps.dtype == np.float32
    want = found.table.labels if target == 'label' else np.zeros(48, int)
    assert found.table.columns['target'].tolist() == want.tolist()
    assert np.abs(found.maps).max((1, 2)) == pytest.approx(1)
    total = found.maps.sum((1, 2)) * found.table.columns['scale']
    assert np.allclose(total, found.table.columns['total'], atol=1e-4)


def test_maps_of_zeros(source, tmp_path):
    results = explain.run(settings(source, CONSTANT), tmp_path / 'w')
    assert not np.asarray(explained.read(tmp_path / 'w').maps).any()
    assert results['remarks'][0] == '10 of 10 maps are zero everywhere'
    assert results['remarks'][1].startswith('no map varies with random weights')
    assert images.header(tmp_path / 'w' / 'figures' / 'maps.png')[1] > 400
    page = (tmp_path / 'w' / 'report.html').read_text()
    assert '10 of 10 maps are zero everywhere.' in page


def test_a_map_that_is_not_finite_is_named(source, tmp_path):
    config = settings(source, CONSTANT, {'value': float('nan')}, **PLAIN)
    with pytest.raises(ValueError, match=r"the map of image '.*' is not finite"):
        explain.run(config, tmp_path / 'w')
    assert not (tmp_path / 'w' / 'DONE').exists()


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'target': 'melanom'}, "target is 'melanom'.*did you mean 'melanoma'"),
        ({'split': 'tset'}, "split is 'tset'; known: .*'plain'"),
        ({'n': -1}, 'config.n is -1, expected at least 0'),
        ({'fill': 'grey'}, "fill is 'grey'.*'mean', 'blur'"),
        ({'dtype': 'int8'}, "dtype is 'int8'"),
        ({'init_from': ''}, 'config.init_from is empty'),
        ({'explainer.stage': 9}, 'stage is 9, but the encoder has 4 stages'),
    ],
)
def test_impossible_options(fields, message, source, tmp_path):
    with pytest.raises(ValueError, match=message):
        explain.run(settings(source, **fields), tmp_path / 'w')
    assert not (tmp_path / 'w' / 'DONE').exists()


def test_networks_without_maps_and_with_a_taxonomy(tmp_path):
    config = shrink(configs.train(objective='hierarchical'), linear=True, **{'objective.hidden': 8})
    train.run(configs.resolve(config), tmp_path / 'run')
    source = tmp_path / 'run'
    with pytest.raises(ValueError, match='no stage maps, which the explainer needs'):
        explain.run(settings(source, 'visual_backprop', **PLAIN), tmp_path / 'none')
    results = explain.run(settings(source, 'gradient_x_input'), tmp_path / 'w')
    assert results['n'] == 10 and results['sanity'][-1]['layers'] == 2


def test_more_than_two_classes(tmp_path):
    config = shrink(configs.train(), linear=True, **{'data.classes': 7, 'data.n_train': 70})
    train.run(configs.resolve(config), tmp_path / 'run')
    config = settings(tmp_path / 'run', 'gradient_x_input', target='mel', n=0, sanity=0)
    results = explain.run(config, tmp_path / 'w')
    found = explained.read(tmp_path / 'w')
    assert found.table.scores.shape[1] == 7 and set(targets(found)) == {4}
    assert found.classes[4] == 'mel' and results['classes'].keys() <= set(found.classes)
    # Linear in the pixels: relevance and bias add up to the logit.
    gap = found.table.columns['score'] - found.table.columns['total']
    assert np.allclose(gap, gap[0], atol=1e-3)


def test_what_is_no_finished_explanation_is_not_read(source, work, tmp_path):
    with pytest.raises(ValueError, match=r"kind 'train': give one of kind 'explain'"):
        explained.read(source)
    with pytest.raises(FileNotFoundError, match='is not the directory of a run'):
        explained.read(tmp_path)
    copy = shutil.copytree(work, tmp_path / 'copy')
    (copy / 'DONE').unlink()
    with pytest.raises(ValueError, match='not finished'):
        explained.read(copy)


def test_the_command(source, tmp_path):
    fields = flags({'init_from': source, **PLAIN})
    done = call('--config=configs/explain.py:saliency', f'--workdir={tmp_path / "w"}', *fields)
    assert done.returncode == 0, done.stderr
    assert '5 maps by saliency' in done.stdout
    failed = call('--config=configs/explain.py:saliancy', *fields)
    assert failed.returncode != 0 and "did you mean 'saliency'" in failed.stderr
