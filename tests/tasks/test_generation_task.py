"""A run that learns to make images: judged, judged again, and what is told when it goes wrong."""

import csv
import json
from typing import Any

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from skinjax import config as configs
from skinjax import embedding, evaluate, fidelity, memorisation, sampling, train
from skinjax import generation_measures as measures
from skinjax.data.records import DataSet, Records
from skinjax.engine.mesh import Mesh
from skinjax.engine.writer import jsonable
from skinjax.objectives import adversaries, perceptual
from skinjax.tasks import generation
from tests.helpers import final_state

FIELDS = {
    'devices': 1,
    'data.image_size': 64,
    'data.batch_size': 8,
    'data.n_train': 24,
    'data.n_val': 12,
    'data.n_test': 10,
    'data.threads': 0,
    'data.mean': (0.5,) * 3,
    'data.std': (0.5,) * 3,
    'train.steps': 4,
    'train.evaluate_every': 1.0,
    'evaluate.count': 16,
    'evaluate.val_count': 10,
    'evaluate.batch_size': 5,
    'evaluate.nearest': 3,
}


def make_config(model: str = 'coupled_dcgan', **fields: Any) -> Any:
    config = configs.train(
        'gan',
        configs.plugin('data', 'synthetic', artefact='none', hair=0.0, bubbles=0.0),
        configs.plugin('models', model, width=0.05, latent=6),
    )
    sampling = 'class' if model == 'coupled_dcgan' else 'uniform'
    config = configs.override(config, {**FIELDS, 'data.sampling': sampling, **fields})
    config.optimizer.update(name='adam', learning_rate=2e-4, momentum=0.5)
    return configs.resolve(config)


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    work = tmp_path_factory.mktemp('generation') / 'w'
    return work, train.run(make_config(), work)


def read_csv(path):
    with path.open(encoding='utf-8', newline='') as file:
        return list(csv.DictReader(file))


def pictures(config):
    """The data of a run, and features of its images."""
    data = train.load_data(config)
    embed = embedding.load(config.evaluate.features)
    images = {name: embedding.images_of(r, 64) for name, r in data.splits.items()}
    return data, images, {name: embed(x) for name, x in images.items()}, embed


def test_every_figure_follows_from_the_images(run):
    work, results = run
    config = make_config()
    data, images, clouds, embed = pictures(config)
    net = adversaries.create(config, 2)
    sampler = sampling.Sampler(net, 2, 5)
    variables = final_state(work)[1].variables()
    made = sampler(variables, sampling.shares([5, 5], 16), generation.JUDGING)
    block = results['splits']['plain']
    want = fidelity.measure(clouds['plain'], embed(made))
    for name in ('fid', 'precision', 'recall', 'density', 'coverage'):
        assert block[name] == pytest.approx(want[name], rel=1e-4, abs=1e-6)
    assert block['kid'] == pytest.approx(want['kid'], rel=1e-4)
    assert block['n'] == 10 and set(results['splits']) == {'val', 'plain'}
    ratio = made.std(0).mean() / images['plain'].std(0).mean()
    assert block['diversity'] == pytest.approx(ratio, rel=1e-4)
    own = clouds['plain'][data.splits['plain'].labels == 1]
    apart = fidelity.measure(own, embed(sampler(variables, np.full(8, 1), generation.JUDGING)))
    second = block['by_class'][data.classes[1]]
    assert second['n'] == 5 and second['fid'] == pytest.approx(apart['fid'], rel=1e-4)
    some = clouds['train'][np.linspace(0, 23, 16).astype(int)]
    real = results['training_images']['plain']
    assert real['kid'] == pytest.approx(fidelity.kid(clouds['plain'], some), rel=1e-4)
    fresh = results['untrained']['plain']
    assert fresh['fid'] > real['fid'] and fresh['diversity'] < 0.2


def test_copies_are_looked_for_among_the_training_images(run):
    work, results = run
    config = make_config()
    data, images, clouds, _ = pictures(config)
    variables = final_state(work)[1].variables()
    sampler = sampling.Sampler(adversaries.create(config, 2), 2, 5)
    counts = np.bincount(data.splits['train'].labels)
    made = sampler(variables, sampling.shares(counts, 16), generation.JUDGING)
    found = [memorisation.neighbours_turned(made, images['train'], range(8))]
    found += [memorisation.neighbours_turned(images['val'], images['train'], range(8))]
    (index, mse), (_, held) = ((a[:, 0], b[:, 0]) for a, b in found)
    table = read_csv(work / 'per_image' / 'generated.csv')
    assert [row['nearest'] for row in table] == data.splits['train'].ids[index].tolist()
    assert [float(row['mse']) for row in table] == pytest.approx(mse.tolist(), rel=1e-4)
    found = results['memorisation']
    assert found['pixels']['heldout']['mean'] == pytest.approx(held.mean())
    assert found['pixels']['made']['mean'] == pytest.approx(mse.mean(), rel=1e-5)
    assert found['training_images'] == 24 and found['pixels']['copies'] == 0
    _, distance = memorisation.nearest_features(clouds['val'], clouds['train'])
    assert found['features']['heldout']['least'] == pytest.approx(distance.min(), rel=1e-4)


def test_what_a_run_leaves(run):
    work, results = run
    assert (work / 'DONE').exists()
    stored = json.loads((work / 'results.json').read_text())
    assert stored['splits'].keys() == results['splits'].keys() and stored['step'] == 4
    for name in ('samples', 'walks', 'closest', 'distances_pixels', 'distances_features'):
        assert (work / 'figures' / f'{name}.png').stat().st_size > 2000
    page = (work / 'report.html').read_text()
    for text in ('untrained', 'training images', 'Classes of plain', 'near-copies', 'Note: class'):
        assert text in page
    rows = read_csv(work / 'per_image' / 'plain.csv')
    assert len(rows) == 10
    covered = np.mean([row['covered'] == '1' for row in rows])
    assert covered == pytest.approx(stored['splits']['plain']['coverage'])
    lines = [json.loads(line) for line in (work / 'metrics.jsonl').read_text().splitlines()]
    curve = [line for line in lines if line['split'] == 'val']
    assert [line['step'] for line in curve] == [3, 4]
    assert stored['validation']['first']['kid'] == curve[0]['kid']
    assert stored['validation']['least']['kid'] == min(line['kid'] for line in curve)


def test_judged_again_it_is_the_same(run, tmp_path):
    work, results = run
    config = configs.evaluate('generation')
    fields = {k: v for k, v in FIELDS.items() if k.startswith('evaluate.')}
    fields |= {'init_from': str(work), 'devices': 1, 'evaluate.minmax': True}
    again = evaluate.run(configs.resolve(configs.override(config, fields)), tmp_path / 'e')
    for part in ('splits', 'untrained', 'training_images'):
        assert jsonable(again[part]) == jsonable(results[part])  # nan is no more than itself
    assert again['features'] == results['features']  # those of the run
    assert again['memorisation']['pixels'] == results['memorisation']['pixels']
    assert again['memorisation']['minmax']['mean'] > 0 and again['validation'] == {}


def test_on_other_data_nothing_is_said_of_copies(run, tmp_path):
    config = configs.evaluate('generation_synthetic')
    fields = {k: v for k, v in FIELDS.items() if k.startswith('evaluate.')}
    fields |= {'init_from': str(run[0]), 'devices': 1, 'data.artefact': 'none', 'data.n_test': 6}
    fields |= {'data.n_train': 8, 'data.n_val': 4, 'data.test_seed': 5, 'data.batch_size': 4}
    found = evaluate.run(configs.resolve(configs.override(config, fields)), tmp_path / 'e')
    assert 'memorisation' not in found and found['splits']['plain']['n'] == 6
    assert not (tmp_path / 'e' / 'per_image' / 'generated.csv').exists()


def make_task(config: Any, data: DataSet) -> generation.Task:
    return generation.Task(config, data, generation.network(config, data), Mesh.create('jit', 1))


def rare(common: int = 30, few: int = 3, val: tuple[int, int] = (6, 6)) -> DataSet:
    """Noise; of the second class there are few training rows."""

    def split(name: str, counts: tuple[int, int], seed: int) -> Records:
        n, rng = sum(counts), np.random.default_rng(seed)
        images = rng.integers(0, 256, (n, 64, 64, 3)).astype(np.uint8)
        ids = np.array([f'{name}-{i}' for i in range(n)])
        labels = np.repeat(np.arange(2, dtype=np.int32), counts)
        return Records(ids, labels, {}, ids, lambda row: {'image': images[row]})

    splits = {'train': split('train', (common, few), 0), 'val': split('val', val, 1)}
    return DataSet('rare', ('nevus', 'melanoma'), {}, splits)


def test_a_class_with_three_images_is_noted(capsys):
    task = make_task(make_config(), rare())
    task.check()
    shown = capsys.readouterr().out
    assert "note: class 'melanoma' has 3 training rows" in shown and "'nevus'" not in shown
    make_task(make_config(), rare(few=20)).check()
    assert capsys.readouterr().out == ''


def test_a_collapsed_generator_is_alarmed(tmp_path, capsys):
    """Weights of 0: every image is the same."""
    task = make_task(make_config(), rare())
    variables = jax.tree.map(np.zeros_like, task.untrained())
    score, shown = task.validate(variables)
    assert shown['diversity'] == 0 and score == -shown['kid'] < 0
    text = capsys.readouterr().out
    assert 'alarm: generated images differ from each other 0.00 times' in text
    assert "of class 'melanoma'" in text
    task.validate(variables)
    assert capsys.readouterr().out == ''  # told once
    results = task.judge(variables, tmp_path, 1)
    assert (
        len(results['alarms']) == 3
        and 'Alarm: generated images' in (tmp_path / 'report.html').read_text()
    )
    assert 'alarm: generated images' in task.summary(results)
    assert results['splits']['val']['recall'] == 0


def test_one_class_alone_can_collapse():
    """Of as many images of it as of the others, though two of the ten of the mix are of it."""
    config = make_config()
    config.evaluate.collapse = 0.7
    task = make_task(config, rare(val=(60, 12)))
    variables = jax.tree.map(np.array, task.untrained())
    variables['params'] = jax.tree.map(lambda x: 8 * x, variables['params'])
    labels, second = np.repeat([0, 1], [8, 2]), task._val.of_class(1).images
    maker = task._maker(variables)
    assert measures.diversity(maker.images(labels)[8:], second) < 0.7  # since two are few
    assert task._alarms(maker, labels, task._val) == []
    variables['params']['generator']['own']['layer5']['conv']['kernel'][1] *= 1e-3
    maker = task._maker(variables)
    (alarm,) = task._alarms(maker, labels, task._val)
    value = measures.diversity(task.sampler(variables, np.full(5, 1), generation.JUDGING), second)
    assert f"class 'melanoma' differ from each other {value:.2f} times" in alarm


def test_a_varied_generator_is_not_alarmed():
    real = make_task(make_config(), rare())._val.images
    found = {'images': measures.diversity(real, real), 'one': measures.diversity(real[:1], real)}
    assert found['images'] == 1 and np.isnan(found['one'])
    assert measures.collapsed(found, 1.0) == []
    (alarm,) = measures.collapsed(found, 1.5)
    assert alarm.startswith('images differ from each other 1.00 times')


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'evaluate.batch_size': 0}, 'batch_size is 0'),
        ({'evaluate.count': 5}, 'count is 5, expected at least 6'),
        ({'evaluate.splits': ('testing',)}, "no 'testing'"),
        ({'evaluate.collapse': -0.1}, r'collapse is -0\.1'),
        ({'evaluate.features_size': -1}, 'features_size is -1'),
        ({'evaluate.features_size': 1}, 'of 1 pixels are too small'),
        (
            {'evaluate.batch_statistics': True, 'model.norm_groups': 2},
            'batch_size is 5: .*norm_groups, 2',
        ),
    ],
)
def test_what_would_fail_after_training_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        make_task(make_config(**fields), rare()).check()


def test_features_that_do_not_exist_are_refused():
    config = make_config('dcgan')
    with config.unlocked():
        config.evaluate.features = {**embedding.NONE, 'pretrained': 'nowhere'}
    with pytest.raises(FileNotFoundError, match='nowhere does not exist'):
        make_task(config, rare()).check()


def test_features_of_the_run_unless_others_are_named(tmp_path):
    def options(**features: Any) -> Any:
        return ConfigDict({**generation.EVALUATE, 'features': {**embedding.NONE, **features}})

    run = options(**perceptual.section('mobilenet', pretrained='a.npz'))
    assert generation.section(options(), run).features == run.features
    other = generation.section(options(pretrained='b.npz'), run).features
    assert (other.name, other.pretrained, other.maps) == ('mobilenet', 'b.npz', run.features.maps)
    vgg = options(**perceptual.section('vgg', pretrained='c.pth'))
    assert generation.section(vgg, run).features == vgg.features
    (tmp_path / 'config.json').touch()  # a run has its own encoder
    assert generation.section(options(pretrained=str(tmp_path)), run).features.name == ''
    run.features_size = 96
    assert generation.section(options(), run).features_size == 96
    assert generation.section(vgg, run).features_size == 0  # of the other encoder
    assert generation.section(options(), run).count == generation.EVALUATE['count']


def test_a_network_of_classes_needs_the_data():
    with pytest.raises(ValueError, match='knows classes'):
        generation.network(make_config(), None)
    assert generation.network(make_config('dcgan'), None).predict
