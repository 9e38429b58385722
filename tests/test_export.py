"""Kind 'export' from end to end, and what its files refuse."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from skinjax import config as configs
from skinjax import evaluate, export, exported, kinds, rundir, serialize, train
from skinjax.data import images
from skinjax.data.records import DataSet
from skinjax.engine.mesh import Mesh
from skinjax.engine.objective import Objective
from skinjax.models.tensor_files import write_safetensors
from skinjax.objectives import network
from skinjax.predictions import Predictions
from skinjax.tasks import classification
from tests.helpers import LINEAR, small, small_run, tiny_data, tiny_records

ROOT = Path(__file__).parents[1]


def call(*arguments: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT)}
    return subprocess.run(
        [python, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True
    )


def export_command(source: Path, workdir: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return call(
        '-m',
        'skinjax.main',
        '--config=configs/export.py',
        f'--config.init_from={source}',
        f'--workdir={workdir}',
        *flags,
    )


@pytest.fixture(scope='module')
def source(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('export') / 'run'
    train.run(small_run('clgr', devices=1), folder)
    return folder


@pytest.fixture(scope='module')
def folder(source) -> Path:
    done = export_command(source, source.parent / 'out')
    assert done.returncode == 0, done.stderr
    assert 'proved equal on 8 images' in done.stdout
    return source.parent / 'out'


def validation(source: Path) -> tuple[np.ndarray, DataSet]:
    trained = rundir.load_run(source)
    data = train.load_data(trained)
    rows = data.splits['val']
    return np.stack([rows.read(row)['image'] for row in range(len(rows))]), data


def test_the_export_holds_what_is_promised(source, folder):
    names = {path.name for path in folder.iterdir()}
    assert names == {*export.FILES, 'config.json', 'DONE', rundir.LOCK}
    assert {path.name for path in folder.parent.iterdir()} == {'run', 'out'}
    facts = json.loads((folder / 'model.json').read_text())
    results = rundir.read_results(source)
    assert facts['labels'] == ['nevus', 'melanoma'] and facts['input']['size'] == 32
    assert facts['threshold'] == {**results['threshold'], 'tta': False}
    assert facts['jax']['platforms'] == ['cpu', 'cuda', 'tpu']
    assert facts['proof']['batch_sizes'] == [1, 3, 8]
    assert max(facts['proof']['largest_difference'].values()) <= 1e-6
    assert facts['run'] == json.loads((folder / 'config.json').read_text())['init_from'] == 'run'
    assert not any(bytes(source.parent) in path.read_bytes() for path in folder.iterdir())
    weights = safetensors.numpy.load_file(folder / 'weights.safetensors')
    assert set(weights) == set(facts['weights'])
    assert not any('bias_' in name for name in weights)
    card = (folder / 'MODEL_CARD.md').read_text()
    assert 'not a medical device' in card and 'Worst cell' in card and '| ruler |' in card
    auc = results['splits']['plain']['auc']['value']
    assert f'| plain | 64 | {auc:.3f} (' in card


def test_a_second_call_says_that_it_is_done(source, folder):
    config = kinds.export(init_from=str(source))
    before = (folder / 'model.json').stat().st_mtime_ns
    assert export.run(configs.resolve(config), folder)['labels'] == ['nevus', 'melanoma']
    assert (folder / 'model.json').stat().st_mtime_ns == before
    with pytest.raises(ValueError, match=r"tta: 'run' -> 'on'"):
        export.run(kinds.export(init_from=str(source), tta='on'), folder)


def test_another_run_of_the_same_name_is_not_done(source, folder, tmp_path):
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'results.json').write_text('{}')
    with pytest.raises(ValueError, match='holds the export of another run'):
        export.run(kinds.export(init_from=str(tmp_path / 'run')), folder)


def test_of_folders_the_name_alone_is_kept():
    kept = export._public(kinds.export(init_from='/home/me/runs/clgr/', root='/home/me/isic'))
    assert (kept.init_from, kept.root) == ('clgr', 'isic')


def test_any_batch_size_gives_the_predictions_of_the_run(source, folder):
    pictures, data = validation(source)
    model = exported.Model(folder)
    table = Predictions.read_csv(source / 'predictions' / 'val.csv')
    for size in (1, 2, 5, len(pictures)):
        out = model(pictures[:size])
        assert out['probabilities'].shape == (size, 2)
        assert np.allclose(out['probabilities'].sum(1), 1, atol=1e-6)
        assert np.allclose(out['probabilities'][:, 1], table.positive[:size], atol=1e-6)
    calls = [model.labels.index(name) for name in model.call(model(pictures)['probabilities'])]
    threshold = rundir.read_results(source)['threshold']['value']
    assert calls == table.predicted(threshold).tolist()
    assert model.labels == data.classes


def test_a_picture_is_classified_without_skinjax(source, folder, tmp_path):
    picture = validation(source)[0][0]
    cv2.imwrite(str(tmp_path / 'one.png'), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    copy = shutil.copytree(folder, tmp_path / 'moved')
    done = call('-B', str(copy / 'predict.py'), str(tmp_path / 'one.png'))
    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout)
    want = exported.Model(folder)(picture[None])['probabilities'][0]
    assert np.allclose([line['probabilities'][k] for k in ('nevus', 'melanoma')], want)
    assert line['positive'] == 'melanoma'
    assert line['threshold'] == rundir.read_results(source)['threshold']['value']
    above = line['probabilities']['melanoma'] >= line['threshold']
    assert line['call'] == ('melanoma' if above else 'nevus')
    failed = call('-B', str(copy / 'predict.py'), str(copy / 'model.json'))
    assert failed.returncode == 1 and 'no readable picture' in failed.stderr
    assert len(failed.stderr.splitlines()) == 1


@pytest.mark.parametrize(('words', 'status'), [((), 2), (('-h',), 0), (('--help',), 0)])
def test_how_a_picture_is_classified_is_told(words, status, capsys):
    with pytest.raises(SystemExit) as left:
        exported.main([*words])
    out, error = capsys.readouterr()
    assert left.value.code == status and (error if status else out) == exported.USAGE + '\n'


@pytest.mark.parametrize('geometry', images.GEOMETRIES)
@pytest.mark.parametrize(
    ('shape', 'suffix'),
    [((300, 200, 3), 'jpg'), ((40, 90, 3), 'png'), ((20, 70, 3), 'png'), ((40, 30, 4), 'png')],
)
def test_pictures_are_read_as_in_training(geometry, shape, suffix, folder, tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / f'picture.{suffix}'
    cv2.imwrite(str(path), rng.integers(0, 256, shape).astype(np.uint8))
    model = exported.Model(folder)
    model.facts['input']['geometry'] = geometry
    assert np.array_equal(model.read(path), images.decode(path, 32, geometry=geometry))


@pytest.mark.parametrize('name', ['model.jax', 'weights.safetensors'])
def test_damaged_files_are_named(name, folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / 'copy')
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(ValueError, match=f'{name} is damaged'):
        exported.Model(copy)
    (copy / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        exported.Model(copy)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{', 'damaged'),
        ('{"format": 2}', 'format 2'),
        ('{"format": 1, "labels": [], "input": {}, "threshold": null}', "has no 'files'"),
    ],
)
def test_another_format_is_refused(text, message, tmp_path):
    (tmp_path / 'model.json').write_text(text)
    with pytest.raises(ValueError, match=message):
        exported.Model(tmp_path)


@pytest.mark.parametrize(
    ('batch', 'message'),
    [
        (np.zeros((1, 32, 32, 3), np.float32), 'uint8.*float32'),
        (np.zeros((1, 16, 16, 3), np.uint8), r'\[b, 32, 32, 3\].*16'),
        (np.zeros((32, 32, 3), np.uint8), r'\(32, 32, 3\)'),
        (np.zeros((0, 32, 32, 3), np.uint8), 'at least 1'),
    ],
)
def test_wrong_images_are_refused(batch, message, folder):
    with pytest.raises(ValueError, match=message):
        exported.Model(folder)(batch)


def test_mistakes_are_one_line_and_leave_nothing_behind(source, tmp_path):
    bare = tmp_path / 'bare'
    bare.mkdir()
    for name in ('config.json', 'results.json'):
        shutil.copy(source / name, bare)
    work = tmp_path / 'work'
    done = export_command(bare, work)
    assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stderr.startswith('error: ') and 'no checkpoints' in done.stderr
    (bare / 'results.json').unlink()
    for fields, message in [
        ({'init_from': str(bare)}, 'finish the run first'),
        ({'init_from': str(tmp_path)}, 'not the directory of a run'),
        ({'init_from': str(source), 'platforms': ('cpu', 'gpu')}, "no 'gpu'"),
        ({'init_from': str(source), 'platforms': ('tpu',)}, "needs 'cpu'"),
        ({'init_from': str(source), 'tta': 'yes'}, 'choose on, off or run'),
    ]:
        with pytest.raises((OSError, ValueError), match=message):
            export.run(kinds.export(**fields), work)
    assert {path.name for path in tmp_path.iterdir()} == {'bare'}


@pytest.mark.parametrize('use', ['in use', 'below a file'])
def test_an_unusable_work_directory_is_found_first(use, source, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate, 'restore', lambda *_: pytest.fail('restored in vain'))
    config, work = kinds.export(init_from=str(source)), tmp_path / 'work'
    if use == 'in use':
        with (
            rundir.lock(work),
            pytest.raises(ValueError, match=f'another process is running in {work}'),
        ):
            export.run(config, work)
    else:
        work.touch()
        with pytest.raises(OSError, match=str(work)):
            export.run(config, work / 'export')


def test_a_model_that_is_not_equal_is_not_exported(source, tmp_path, monkeypatch):
    stored = export.flat_weights
    name = 'params/head/bias'
    monkeypatch.setattr(
        export, 'flat_weights', lambda v: {k: w + 1e-3 * (k == name) for k, w in stored(v).items()}
    )
    message = r'probabilities differ by 2\.\de-04 at batch size 1, allowed are 1e-06'
    with pytest.raises(RuntimeError, match=message):
        export.run(kinds.export(init_from=str(source)), tmp_path / 'work')
    assert not list(tmp_path.iterdir())


def test_weights_that_are_not_contiguous_are_stored_as_they_are(tmp_path):
    kernel = jnp.arange(24.0).reshape(2, 3, 4)
    turned = np.asarray(kernel).transpose(2, 0, 1)
    variables = {'params': {'kernel': turned, 'one': np.float32(3)}, 'other': {'x': turned}}
    for weights in (serialize.flat_weights(variables), {'params/kernel': turned}):
        write_safetensors(tmp_path / 'w.safetensors', weights)
        back = safetensors.numpy.load_file(tmp_path / 'w.safetensors')
        assert set(back) == set(weights) <= {'params/kernel', 'params/one'}
        assert np.array_equal(back['params/kernel'], turned)
        assert all(back[name].shape == value.shape for name, value in weights.items())


def test_weights_that_are_written_otherwise_do_not_appear(tmp_path, monkeypatch):
    save = safetensors.numpy.save_file
    path = tmp_path / 'w.safetensors'
    path.write_bytes(b'before')
    monkeypatch.setattr(
        safetensors.numpy,
        'save_file',
        lambda w, *a: save({k: v + (k == 'b') for k, v in w.items()}, *a),
    )
    with pytest.raises(OSError, match=r"w\.safetensors: 'b' was not written as it is"):
        write_safetensors(path, {'a': np.zeros(2), 'b': np.zeros(2)})
    assert [p.name for p in tmp_path.iterdir()] == ['w.safetensors']
    assert path.read_bytes() == b'before'


NARROW = configs.plugin('models', 'resnet', variant='narrow')


@pytest.mark.parametrize(
    ('model', 'classes', 'tta'), [(LINEAR, 2, True), (LINEAR, 3, True), (NARROW, 7, False)]
)
def test_classes_and_views(model, classes, tta, tmp_path):
    """The proof of a model with random weights and statistics, without training it."""
    names = tuple(f'class {k}' for k in range(classes))
    data = dataclasses.replace(tiny_data(8), classes=names)
    config = configs.train('baseline', data='synthetic', model=model)
    config = small(config, **{'data.image_size': 8, 'evaluate.tta': tta})
    objective = network.create(config, data).objective({}, ())
    variables = random_variables(objective)
    weights = serialize.flat_weights(variables)
    compiled = serialize.compile_model(objective, config, weights, ('cpu', 'cuda', 'tpu'))
    rows = tiny_records(3)
    batch = np.stack([rows.read(row)['image'] for row in range(3)])
    out = jax.jit(compiled.call)(weights, batch)
    table, features = classification.Predictor(
        config, objective, Mesh('jit', tuple(jax.devices()[:1]))
    )(variables, rows)
    assert out['probabilities'].shape == (3, classes)
    assert np.allclose(out['probabilities'][:, -table.scores.shape[1] :], table.scores, atol=1e-6)
    assert np.allclose(out['features'], features, atol=1e-6)
    if tta:
        turned = jax.jit(compiled.call)(weights, batch.swapaxes(1, 2)[:, ::-1])
        assert np.allclose(turned['probabilities'], out['probabilities'], atol=1e-6)


def test_depthwise_convolutions_take_any_batch_in_the_form_for_each_platform():
    """Traced without compiling: the other test holds the numbers of exported models."""
    config = small(configs.train(model='mobilenet'), **{'data.image_size': 32})
    objective = network.create(config, tiny_data(32)).objective({}, ())
    example = {'image': jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.uint8)}
    shapes = jax.eval_shape(objective.init, jax.random.key(0), example)
    weights = serialize.flat_weights(jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes))
    for platform, convolutions in (('cpu', 1), ('cuda', 52), ('tpu', 52)):
        compiled = serialize.compile_model(objective, config, weights, (platform,))
        (features,) = (out for out in compiled.out_avals if out.shape[1] == 1280)
        assert str(features.shape[0]) == 'b'
        assert compiled.mlir_module().count('stablehlo.convolution') == convolutions


# Runs in the environment of launch/onnx: predictions and metadata of an ONNX file.
_ONNX = """
import json, sys
import numpy as np
import onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])
probabilities, features = session.run(None, {session.get_inputs()[0].name: np.load(sys.argv[2])})
kept = json.dumps(session.get_modelmeta().custom_metadata_map)
np.savez(sys.argv[3], probabilities=probabilities, features=features, kept=kept)
"""


@pytest.fixture(scope='module')
def onnx_python() -> str:
    """An interpreter with the packages that launch/onnx/README.md names."""
    python = os.environ.get('SKINJAX_ONNX_PYTHON', sys.executable)
    try:
        found = call('-c', 'import jax2onnx, onnxruntime', python=python)
    except OSError as error:
        pytest.skip(f'SKINJAX_ONNX_PYTHON (docs/export.md): {error}')
    if found.returncode:
        pytest.skip(f'SKINJAX_ONNX_PYTHON (docs/export.md): {found.stderr.splitlines()[-1]}')
    return python


def test_onnx_predicts_the_same(onnx_python, source, folder, tmp_path):
    path, given, returned = (tmp_path / name for name in ('m.onnx', 'images.npy', 'out.npz'))
    done = call('launch/onnx/export_onnx.py', str(folder), str(path), python=onnx_python)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f'{path}: equal to the exported model, largest differences')
    assert [p.name for p in tmp_path.iterdir()] == ['m.onnx']
    np.save(given, validation(source)[0][:5])
    done = call('-c', _ONNX, str(path), str(given), str(returned), python=onnx_python)
    assert done.returncode == 0, done.stderr
    model = exported.Model(folder)
    with np.load(returned) as found:
        for name, value in model(np.load(given)).items():
            np.testing.assert_allclose(found[name], value, atol=1e-5 * max(1, np.abs(value).max()))
        kept = json.loads(found['kept'].item())
    assert json.loads(kept['labels']) == list(model.labels)
    assert json.loads(kept['threshold']) == model.facts['threshold']


@pytest.mark.parametrize('flaw', ['description', 'weights'])
def test_onnx_of_another_model_is_not_written(flaw, onnx_python, folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / 'copy')
    if flaw == 'description':  # the network is made from it; model.jax holds what was trained
        facts = json.loads((copy / 'model.json').read_text())
        facts['input']['mean'] = [0.4, 0.4, 0.4]
        (copy / 'model.json').write_text(json.dumps(facts))
        message = 'probabilities differ by '
    else:
        (copy / 'weights.safetensors').write_bytes(b'')
        message = f'{copy}/weights.safetensors is damaged'
    before = {p.name for p in copy.iterdir()}
    done = call('launch/onnx/export_onnx.py', str(copy), python=onnx_python)
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.splitlines()[-1].startswith(f'error: {message}'), done.stderr
    assert {p.name for p in copy.iterdir()} == before


def random_variables(objective: Objective):
    rng = np.random.default_rng(0)
    example = {'image': jnp.zeros((1, 8, 8, 3), jnp.uint8)}
    variables = jax.jit(objective.init)(jax.random.key(0), example)
    draw = {'var': (0.5, 1.5), 'scale': (0.5, 1.5), 'mean': (-0.1, 0.1), 'bias': (-0.5, 0.5)}

    def value(path, x):
        low_high = draw.get(path[-1].key)
        return x if low_high is None else jnp.asarray(rng.uniform(*low_high, x.shape), x.dtype)

    return jax.tree_util.tree_map_with_path(value, dict(variables))
