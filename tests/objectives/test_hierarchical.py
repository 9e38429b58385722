"""The objective of classes as paths: its losses, its weights, its errors, and a run of it."""

import functools
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from skinjax import config as configs
from skinjax import evaluate, taxonomy, train
from skinjax.engine.mesh import Mesh
from skinjax.engine.objective import Moment
from skinjax.objectives import hierarchical, losses
from skinjax.predictions import Predictions
from tests.helpers import ROOT, SHARED, shrink
from tests.objectives.made import KEY, build, compiled, made_batch, made_data, make_config, start
from tests.test_configs import load

FILE = load(ROOT / 'configs' / 'hierarchical.py')
HAM10000 = SHARED / 'data' / 'ham10000'
PATHS = np.array([[0, 2, 5], [1, 4, 8], [1, 3, 6]])
CODES, ORIGIN = (
    taxonomy.renamed(tree, taxonomy.CODES) for tree in (taxonomy.LESIONS, taxonomy.ORIGIN)
)


@pytest.fixture(autouse=True, scope='module')
def quick_compilation():
    """Compiling costs far more here than the few steps."""
    jax.config.update('jax_disable_most_optimizations', True)
    yield
    jax.config.update('jax_disable_most_optimizations', False)


class TestPathLoss:
    def test_is_0_on_the_path_and_1_off_it(self):
        logits = 60.0 * jax.nn.one_hot(PATHS, 9)
        paths = jnp.asarray(PATHS)
        np.testing.assert_allclose(hierarchical.path_loss(logits, paths), 0, atol=1e-6)
        elsewhere = 60.0 * jax.nn.one_hot((PATHS + 1) % 9, 9)[:1]
        np.testing.assert_allclose(hierarchical.path_loss(elsewhere, paths[:1]), 1, atol=1e-6)

    def test_is_the_cosine_of_sums_within_0_and_1(self):
        rng = np.random.default_rng(0)
        logits = rng.normal(0, 4, (50, 3, 9)).astype(np.float32)
        paths = rng.integers(0, 9, (50, 3))
        found = np.asarray(hierarchical.path_loss(jnp.asarray(logits), jnp.asarray(paths)))
        for k in range(50):
            chances = np.exp(logits[k]) / np.exp(logits[k]).sum(1, keepdims=True)
            true = np.bincount(paths[k], minlength=9)
            cosine = chances.sum(0) @ true / np.linalg.norm(chances.sum(0)) / np.linalg.norm(true)
            assert found[k] == pytest.approx(1 - cosine, abs=1e-5)
        assert (found > 0).all() and (found < 1).all()


class TestWeights:
    def test_count_the_images_below_each_node(self):
        """By hand: of 6 images, 4 below one node and 2 below the other; 3, 1 and 2 by class."""
        data = made_data(labels=(0, 0, 0, 1, 2, 2))
        data = functools.partial(type(data), data.name, ('a', 'b', 'c'))(data.bias, data.splits)
        tree = taxonomy.read({'x': ('a', 'b'), 'y': ('c',)}, data.classes)
        first, second = hierarchical.level_weights('cb', tree, data)
        np.testing.assert_allclose(first, [6 / 4, 6 / 2, 0, 0, 0])
        np.testing.assert_allclose(second, [0, 0, 6 / 3, 6 / 1, 6 / 2])
        plain = hierarchical.level_weights('', tree, data)
        assert [table.tolist() for table in plain] == [[1, 1, 0, 0, 0], [0, 0, 1, 1, 1]]
        effective = hierarchical.level_weights('es', tree, data)[1]
        assert 1 < effective[3] / effective[4] < 2

    def test_a_class_without_training_images_fails_by_name(self):
        with pytest.raises(ValueError, match="class 'malignant' has no training images"):
            build('hierarchical', made_data(labels=(0,) * 6))

    def test_unknown_weights(self):
        with pytest.raises(ValueError, match=r"weights is 'ohem'; known: '', 'cb', 'es'"):
            build('hierarchical', weights='ohem')


class TestErrors:
    @pytest.mark.parametrize(
        ('fields', 'text'),
        [
            ({'decoding': 'beam'}, r"decoding is 'beam'; known: 'paths', 'greedy'"),
            ({'taxonomy': {'x': ('bening', 'malignant')}}, "'bening' .*mean 'benign'"),
            ({'taxonomy': {'x': ('benign',)}}, "no place for class 'malignant'"),
            ({'taxonomy': {'x': ('benign', 'malignant'), 'y': ()}}, "node 'y' .* no children"),
        ],
    )
    def test_by_name(self, fields, text):
        with pytest.raises(ValueError, match=text):
            build('hierarchical', **fields)

    def test_a_head_that_cannot_be_fitted_first(self):
        objective = configs.plugin('objectives', 'hierarchical', hidden=8)
        config = shrink(configs.train(objective, 'synthetic'), linear=True)
        config.train.head_first = True
        data = train.load_data(config)
        with pytest.raises(ValueError, match=r'head_first .* hierarchical has another head'):
            train.Trainer(config, data, Mesh.create('jit', 1)).check()

    def test_dense_layers_on_the_map(self):
        config = make_config('hierarchical')
        with config.unlocked():
            config.model = configs.train(model='vgg').model
        with pytest.raises(ValueError, match=r'objective hierarchical acts .*top to .mean'):
            hierarchical.build(config, made_data(), 10)


@pytest.fixture(scope='module')
def binary() -> Any:
    """(objective of two classes on one level, a state of it)."""
    objective = build('hierarchical', gamma=0.0, pixel_dropout=0.0)
    return objective, start(objective)


def test_a_single_level_has_the_loss_of_the_flat_classifier(binary):
    """Two classes: one column of predictions, whose cross-entropy is that of the only level."""
    objective, now = binary
    batch = made_batch()

    @compiled
    def run(variables):
        moment = Moment(jax.random.split(KEY, 8), jnp.zeros((), jnp.int32))
        out = objective.phases[0].loss(variables, batch, moment)
        return out.losses, objective.predict(variables, batch['image'])

    terms, found = run(now.variables())
    assert set(terms) == {'level_1', 'path'} and found['logits'].shape == (8, 1)
    want = losses.classification(found['logits'], batch['label'])
    np.testing.assert_allclose(terms['level_1'].values, want, rtol=1e-4)
    assert not [name for name in found if name.startswith('column')]


@pytest.mark.parametrize('decoding', ['paths', 'greedy'])
def test_predictions_are_chances_and_columns(decoding):
    """Of seven classes; greedy ones are of the children of one node alone."""
    classes = tuple(taxonomy.CODES.values())
    data = made_data(labels=tuple(range(7)), ruler=(0,) * 7, camera=(0,) * 7)
    data = type(data)(data.name, classes, data.bias, data.splits)
    objective = build('hierarchical', data, taxonomy=CODES, decoding=decoding, hidden=4)
    now = start(objective)
    found = compiled(objective.predict)(now.variables(), made_batch()['image'])
    chances = np.asarray(jax.nn.softmax(found['logits']))
    np.testing.assert_allclose(chances.sum(1), 1, atol=1e-5)
    tree = taxonomy.read(CODES, classes)
    below = {tuple(np.flatnonzero(row > 0).tolist()) for row in chances}
    families = {tuple(np.flatnonzero(tree.paths[:, 1] == k).tolist()) for k in tree.level(1)}
    assert below <= families if decoding == 'greedy' else below == {tuple(range(7))}
    assert all(found[f'column:free_{k}'].shape == (8,) for k in (1, 2, 3))


@pytest.fixture(scope='module')
def finished(tmp_path_factory) -> Any:
    """(work directory, results, config) of a run with two levels."""
    objective = configs.plugin('objectives', 'hierarchical', taxonomy=ORIGIN, hidden=8)
    config = configs.train(objective, 'synthetic')
    config.data.update(classes=7, artefact='none')
    config = shrink(config, linear=True)
    work = tmp_path_factory.mktemp('hierarchical') / 'w'
    return work, train.run(configs.resolve(config), work), config


def test_a_run_tells_its_levels_and_shows_where_it_looked(finished):
    work, results, _ = finished
    assert set(results['hierarchy']) == {'val', 'plain'} == set(results['splits'])
    for name, block in results['hierarchy'].items():
        assert [len(level['nodes']) for level in block['levels']] == [2, 7]
        last = block['levels'][-1]
        assert last['accuracy'] == pytest.approx(results['splits'][name]['accuracy'])
        table = Predictions.read_csv(work / 'predictions' / f'{name}.csv')
        free = np.stack([table.columns[f'free_{k}'] for k in (1, 2)], 1)
        tree = taxonomy.read(ORIGIN, results['data']['classes'])
        share = 1 - taxonomy.possible(tree, free).mean()
        assert block['impossible']['value'] == pytest.approx(share)
    assert (work / 'figures' / 'attention_plain.png').read_bytes()[:4] == b'\x89PNG'
    report = (work / 'report.html').read_text()
    assert 'accuracy by level' in report and 'Figure attention plain' in report


def test_evaluating_again_gives_the_same(finished, tmp_path):
    work, results, _ = finished
    config = shrink(configs.evaluate())
    config.init_from = str(work)
    again = evaluate.run(configs.resolve(config), tmp_path / 'w')
    for name in ('splits', 'hierarchy', 'remarks'):
        assert json.loads(json.dumps(again[name])) == json.loads(json.dumps(results[name]))


def test_the_tree_survives_the_file_of_the_config(finished):
    """JSON has lists for tuples and may order names anew."""
    _, _, config = finished
    again = configs.from_json(json.loads(json.dumps(configs.to_json(config), sort_keys=True)))
    assert isinstance(again.objective.taxonomy, ConfigDict)
    trees = [
        taxonomy.read(one.objective.taxonomy.to_dict(), tuple(taxonomy.CODES.values()))
        for one in (config, again)
    ]
    assert trees[0].nodes == trees[1].nodes


@pytest.mark.skipif(not HAM10000.is_dir(), reason='the HAM10000 images are not in ../shared/data')
@pytest.mark.parametrize('variant', ['ham10000', 'published'])
def test_the_tree_of_real_data_is_that_of_their_classes(variant):
    config = FILE.get_config(variant)
    config.data.root = str(HAM10000)
    data = configs.find('data', config.data.name).build(config.data, 0)
    tree = taxonomy.read(config.objective.taxonomy.to_dict(), data.classes)
    assert len(data.classes) == 7 and tree.levels == 3
    assert config.model.pretrained  # statistics that stand still are those of these weights


def test_every_variant_of_the_config_resolves():
    levels = {}
    for variant in FILE.VARIANTS:
        config = configs.resolve(FILE.get_config(variant))
        module = configs.find('data', config.data.name)
        classes = module.ABOUT.classes if variant in FILE.REAL else tuple(taxonomy.CODES.values())
        levels[variant] = taxonomy.read(config.objective.taxonomy.to_dict(), classes).levels
    assert levels == dict.fromkeys(FILE.VARIANTS, 3) | {'two_levels': 2, 'flat': 1}
    with pytest.raises(ValueError, match=r"unknown variant 'three' of hierarchical: .*two_levels"):
        FILE.get_config('three')
