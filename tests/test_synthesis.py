"""Kind 'generate' from a run: what it writes, and what training makes of it."""

import dataclasses
import hashlib
import signal
import subprocess
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax import config as configs
from skinjax import drawing, generate, kinds, rundir, synthesis, train
from skinjax.data import images, mixing, writing
from skinjax.engine import checkpoint
from skinjax.engine.mesh import Mesh
from skinjax.engine.writer import write_json
from skinjax.objectives import adversaries
from tests.helpers import LINEAR, command, environment, flags, small, wait_for

LESIONS = {'data.n_train': 24, 'data.n_val': 12, 'data.n_test': 12, 'data.image_size': 32}
PLAIN = configs.plugin('models', 'tests.objectives.small_gan')
COUPLED = configs.plugin('models', 'coupled_dcgan', width=0.04, latent=5)


def save_run(work: Path, model: Any, **fields: Any) -> Path:
    """A run with the weights that training begins with."""
    config = configs.train('gan', model=model)
    common: dict[str, Any] = {'data.mean': (0.5,) * 3, 'data.std': (0.5,) * 3, 'train.augment': ()}
    config = configs.override(
        config, {**LESIONS, **common, 'data.batch_size': 8, 'seed': 3, **fields}
    )
    trainer = train.Trainer(config, train.load_data(config), Mesh.create('jit', 1))
    with rundir.lock(work):
        rundir.claim(config, work)
        saver = checkpoint.Checkpointer(work, keep=1)
        saver.save(trainer.fresh(), 0.5)
        saver.close()
    return work


@pytest.fixture(scope='module')
def melanomas(tmp_path_factory):
    work = tmp_path_factory.mktemp('one') / 'run'
    save_run(work, PLAIN, **{'data.only': 'melanoma'})
    write_json(work / 'results.json', {'alarms': ['it has collapsed']})
    return work


@pytest.fixture(scope='module')
def coupled(tmp_path_factory):
    work = tmp_path_factory.mktemp('coupled') / 'run'
    return save_run(work, COUPLED, **{'data.image_size': 64, 'data.sampling': 'class'})


def settings(run: Path, **fields: Any) -> Any:
    given = {'init_from': str(run), 'count': '20', 'batch_size': 8, **fields}
    return configs.resolve(configs.override(kinds.generate('gan'), given))


@pytest.fixture(scope='module')
def written(melanomas, tmp_path_factory):
    work = tmp_path_factory.mktemp('written') / 'w'
    return work, generate.run(settings(melanomas), work)


def test_the_work_directory_is_a_data_set_that_tells_where_it_comes_from(
    written, melanomas, capsys
):
    work, results = written
    assert {path.name for path in work.iterdir()} == {
        'config.json', 'results.json', 'images', 'records.csv', 'dataset.json', 'trained_on.csv',
        'drawn.json', 'figures', 'report.html', 'DONE', '.lock',
    }  # fmt: skip
    assert {path.stem for path in (work / 'figures').iterdir()} == {
        'contact_sheet',
        'closest_pairs',
    }
    assert results['data']['classes'] == ['melanoma'] and results['data']['rows'] == {'train': 20}
    about = writing.read_facts(work)['info']['generated']
    assert about == results['data']['generated'] and about['image_size'] == 32
    assert 'geometry' not in about  # of the synthetic lesions
    assert results['memorisation']['made']['n'] == 20 + results['refused']['melanoma']
    rows = writing.read_rows(work)
    config = rundir.load_run(melanomas)
    learned = train.load_data(config).splits['train']
    for row in rows:
        assert row['id'] == row['group'] and row['label'] == 'melanoma' and row['split'] == 'train'
        assert (row['synthetic'], row['run'], row['seed']) == ('1', str(melanomas), '0')
        made = images.decode(work / row['image'], 32) / 255
        every = [((made - learned.read(k)['image'] / 255) ** 2).mean() for k in range(len(learned))]
        assert float(row['mse']) == pytest.approx(min(every), abs=1e-6)
        assert row['nearest'] == learned.ids[np.argmin(every)]
        assert float(row['mse']) > results['least_mse']
    table = (work / mixing.TRAINED_ON).read_text().splitlines()
    assert table == ['id,group', *(f'{name},{name}' for name in learned.ids)]
    assert generate.run(settings(melanomas), work) == results
    assert 'is done' in capsys.readouterr().out


def test_the_geometry_that_the_model_knows_is_told(melanomas):
    config = settings(melanomas)
    model = synthesis.Model.of(config)
    near = drawing.near(model.data, model.trained, '0')
    folder = configs.train('gan', configs.plugin('data', 'folder', geometry='crop'), PLAIN)
    model = dataclasses.replace(model, trained=folder)
    found = synthesis._data(config, model, {'melanoma': []}, {'melanoma': drawing.Drawn()}, near)
    assert found.info['generated']['geometry'] == 'crop'


def test_images_are_those_of_the_run(written, melanomas):
    """The first latents of the seed, by the weights of the checkpoint."""
    work, _ = written
    config = rundir.load_run(melanomas)
    trainer = train.Trainer(config, train.load_data(config), Mesh.create('jit', 1))
    net, variables = adversaries.create(config, 1), trainer.fresh().variables()
    for row in writing.read_rows(work)[::7]:
        key = jax.random.fold_in(jax.random.key(0), int(row['number']))
        z = jax.random.normal(key, (1, net.latent))
        made = net.predict(variables, z, jnp.zeros(1, jnp.int32))['image'][0]
        found = images.decode(work / row['image'], 32).astype(int)
        assert np.abs(found - np.asarray(made, int)).max() <= 1


def test_a_training_set_takes_them(written, tmp_path):
    work, _ = written
    fields = {**LESIONS, 'data.add_generated': str(work), 'train.steps': 2, 'seed': 3}
    config = configs.resolve(small(configs.train(model=LINEAR), **fields))
    data = train.load_data(config)
    half = {'originals': 12, 'purified': 0, 'generated': 0, 'mirrored': 0, 'rows': 12}
    more = {**half, 'generated': 20, 'rows': 32}
    assert data.info['mixed'] == {'nevus': half, 'melanoma': more}
    results = train.run(config, tmp_path / 'run')
    assert results['data']['rows']['train'] == 44
    assert results['data']['mixed'] == data.info['mixed']
    with pytest.raises(ValueError, match=r"has learned from [0-9]+ rows that are now in 'val'"):
        train.load_data(configs.override(config, {'data.folds': 2}))
    root = {'data.root': str(work), 'data.image_size': 32}
    with pytest.raises(ValueError, match="there is no split 'val'"):
        train.load_data(configs.override(configs.train(data='folder'), root))


def test_generated_images_are_not_tested_on(melanomas, tmp_path, capsys):
    results = generate.run(settings(melanomas, split='test', count='3'), tmp_path / 'w')
    assert results['alarms'] == ['it has collapsed']
    assert f'{melanomas} ended with an alarm: it has collapsed' in capsys.readouterr().out
    fields = {'data.root': str(tmp_path / 'w'), 'data.image_size': 32}
    config = configs.override(kinds.generate('folder'), fields)
    with pytest.raises(ValueError, match=r"'test' has 3 generated images .*allow_synthetic=True"):
        generate.run(configs.resolve(config), tmp_path / 'again')
    config.data.allow_synthetic = True
    assert generate.run(configs.resolve(config), tmp_path / 'again')['data']['rows'] == {'test': 3}


@pytest.mark.parametrize('batch_statistics', [False, True])
def test_every_class_of_a_coupled_network(coupled, tmp_path, batch_statistics):
    fields = {'count': 'melanoma=9,nevus=2', 'batch_statistics': batch_statistics, 'seed': 5}
    results = generate.run(settings(coupled, least_mse='0', **fields), tmp_path / 'w')
    rows = writing.read_rows(tmp_path / 'w')
    labels = [row['label'] for row in rows]
    assert labels == ['nevus'] * 2 + ['melanoma'] * 9 and results['refused']['nevus'] == 0
    assert [row['number'] for row in rows] == [*'01', *'012345678']
    pictures = [images.decode(tmp_path / 'w' / row['image'], 64) for row in rows]
    assert len({one.tobytes() for one in pictures}) == 11


def digests(work: Path) -> dict[str, str]:
    files = [f for f in work.rglob('*') if f.suffix in ('.png', '.csv') or f.name == 'drawn.json']
    return {str(f.relative_to(work)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def test_a_stopped_run_continues_and_is_the_same(melanomas, tmp_path):
    fields = {'init_from': str(melanomas), 'count': '300', 'batch_size': 2}
    work = tmp_path / 'w'
    call = command('--config=configs/generate.py:gan', f'--workdir={work}', *flags(fields))
    process = subprocess.Popen(call, env=environment(), stdout=subprocess.PIPE, text=True)
    wait_for(lambda: len(list(work.glob('images/*.png'))) > 3 or process.poll() is not None)
    process.send_signal(signal.SIGTERM)
    told, _ = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert 'the same command continues' in told and not (work / 'records.csv').exists()
    config = settings(melanomas, **fields)
    generate.run(config, work)
    generate.run(config, tmp_path / 'whole')
    assert digests(work) == digests(tmp_path / 'whole')


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'count': ''}, "config.count is ''; expected a number of images for each class, such as"),
        ({'count': '0'}, "config.count is '0'; expected .* melanoma=350"),
        ({'count': 'nevus=3'}, "config.count: no class 'nevus'; known: 'melanoma'"),
        ({'count': 'melanoma=x'}, "config.count is 'melanoma=x'"),
        ({'batch_size': 0}, 'batch_size must be at least 1'),
        ({'split': ''}, 'config.split is empty'),
        ({'init_from': ''}, 'config.init_from is empty'),
        ({'init_from': 'nowhere'}, 'nowhere/config.json does not exist'),
        ({'least_mse': 'some'}, "least_mse is 'some'"),
    ],
)
def test_impossible_options_write_nothing(melanomas, tmp_path, fields, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        generate.run(settings(melanomas, **fields), tmp_path / 'w')
    assert not (tmp_path / 'w').exists()


def test_runs_that_cannot_give_images_of_known_classes(tmp_path):
    both = save_run(tmp_path / 'both', PLAIN)
    with pytest.raises(
        ValueError, match=r'has learned from 2 classes \(nevus, melanoma\), and tests'
    ):
        generate.run(settings(both), tmp_path / 'w')
    rundir.claim(configs.train(model=LINEAR), tmp_path / 'other')
    with pytest.raises(ValueError, match='is a run of classification; expected one of generation'):
        generate.run(settings(tmp_path / 'other'), tmp_path / 'w')


def test_a_run_that_stays_too_close_is_refused(melanomas, tmp_path):
    with pytest.raises(ValueError, match=r"8 of 8 images of 'melanoma' .*\(1\), 0 of them"):
        generate.run(settings(melanomas, least_mse='1'), tmp_path / 'w')
    assert not (tmp_path / 'w' / 'DONE').exists()


def test_counts():
    assert synthesis.counts(' 7 ', ('a', 'b')) == {'a': 7, 'b': 7}
    assert synthesis.counts('b=3', ('a', 'b')) == {'a': 0, 'b': 3}
