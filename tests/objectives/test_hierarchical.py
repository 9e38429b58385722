"""The objective of classes as paths: its errors, its predictions, and a run of it."""

import json
import re
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from skinjax import config as configs
from skinjax import evaluate, pictures, taxonomy, train
from skinjax.engine.mesh import Mesh
from skinjax.engine.objective import Moment
from skinjax.models.hierarchy import Hierarchical
from skinjax.objectives import hierarchical, levels, losses
from skinjax.predictions import Predictions
from skinjax.tables import format_value
from tests.helpers import ROOT, SHARED, shrink
from tests.objectives.made import KEY, build, compiled, made_batch, made_data, make_config, start
from tests.objectives.test_hierarchical_loss import seven
from tests.test_configs import load

FILE = load(ROOT / 'configs' / 'hierarchical.py')
HAM10000 = SHARED / 'data' / 'ham10000'
CODES, ORIGIN = (
    taxonomy.renamed(tree, taxonomy.CODES) for tree in (taxonomy.LESIONS, taxonomy.ORIGIN)
)


@pytest.fixture(autouse=True, scope='module')
def quick_compilation():
    """Compiling costs far more here than the few steps."""
    jax.config.update('jax_disable_most_optimizations', True)
    yield
    jax.config.update('jax_disable_most_optimizations', False)


class Pixels(nn.Module):
    """An encoder whose map is linear in the pixels."""

    @nn.compact
    def __call__(self, images, train, keys=None):
        del train, keys
        maps = nn.Dense(4, name='out')(images)
        return maps.mean((1, 2)), [maps]


class TestAttention:
    def test_the_figure_follows_the_called_class(self):
        """Calls that are not those of the images themselves, as with evaluate.tta."""
        data, config = seven(tuple(range(7)) * 2), make_config('hierarchical')
        config.data.image_size = 2
        tree = taxonomy.read(CODES, data.classes)
        model: Any = Hierarchical(Pixels(), tree, {'hidden': 4, 'embedding': 6})
        net, records = hierarchical.Network(model, config), data.splits['train']
        variables = compiled(lambda: model.init(KEY, jnp.zeros((1, 2, 2, 3)), False))()
        variables = jax.tree.map(lambda leaf: 5 * leaf, variables)
        images = np.stack([records.read(k)['image'] for k in range(7)])
        looked = compiled(net.looked)
        calls = np.arange(7), (np.arange(7) + 2) % 7
        maps = [np.asarray(looked(variables, images, jnp.asarray(called))) for called in calls]
        np.testing.assert_allclose(maps[0].sum((2, 3)), 1, atol=1e-5)
        np.testing.assert_array_equal(maps[0][:, 0], maps[1][:, 0])  # before any node
        assert np.abs(maps[0] - maps[1])[:, 1:].max() > 1e-3
        for called, want in zip(calls, maps, strict=True):
            table = Predictions(records.ids, records.labels, np.eye(7)[np.tile(called, 2)])
            tiles, titles = levels.attention_panels(
                net, data, 'train', variables, table, Mesh.create('jit', 1)
            )
            assert len(tiles) == len(titles) == 7 * 4
            for k in range(7):
                image, *lit = tiles[4 * k : 4 * k + 4]
                np.testing.assert_array_equal(image, images[k])
                for tile, weights in zip(lit, want[k], strict=True):
                    np.testing.assert_allclose(tile, pictures.lit(image, weights), atol=1)
        # The last ones: calls that are two classes further.
        nevus, keratosis = titles[:4], titles[8:12]
        assert nevus == ['nv (image-0)', 'non-melanocytic, wrong', 'benign', 'bkl, wrong']
        assert keratosis == ['bkl (image-2)', 'non-melanocytic', 'benign', 'vasc, wrong']


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

    def test_two_classes_made_of_seven(self):
        objective = configs.plugin('objectives', 'hierarchical', taxonomy=taxonomy.LESIONS)
        config = configs.train(objective, 'ham10000')
        text = r"'nevus' .* do not have; .*config.data.positive = 'melanoma' has left two classes"
        with pytest.raises(ValueError, match=text):
            hierarchical.create(config, made_data())

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
    objective = build('hierarchical', gamma=0.0, attention_dropout=0.0)
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
    assert {'level_1', 'path'} <= set(terms) and found['logits'].shape == (8, 1)
    want = losses.classification(found['logits'], batch['label'])
    np.testing.assert_allclose(terms['level_1'].values, want, rtol=1e-4)
    assert not [name for name in found if name.startswith('column')]


@pytest.mark.parametrize('decoding', ['paths', 'greedy'])
def test_predictions_are_chances_and_columns(decoding):
    """Of seven classes; greedy ones are of the children of one node alone."""
    data = seven(tuple(range(7)))
    objective = build('hierarchical', data, taxonomy=CODES, decoding=decoding, hidden=4)
    now = start(objective)
    found = compiled(objective.predict)(now.variables(), made_batch()['image'])
    chances = np.asarray(jax.nn.softmax(found['logits']))
    np.testing.assert_allclose(chances.sum(1), 1, atol=1e-5)
    tree = taxonomy.read(CODES, data.classes)
    below = {tuple(np.flatnonzero(row > 0).tolist()) for row in chances}
    families = {tuple(np.flatnonzero(tree.paths[:, 1] == k).tolist()) for k in tree.level(1)}
    assert below <= families if decoding == 'greedy' else below == {tuple(range(7))}
    assert all(found[f'column:free_{k}'].shape == (8,) for k in (1, 2, 3))


@pytest.fixture(scope='module')
def finished(tmp_path_factory) -> Any:
    """(work directory, results, config) of a run with two levels."""
    objective = configs.plugin(
        'objectives', 'hierarchical', taxonomy=ORIGIN, hidden=8, weights='cb'
    )
    config = configs.train(objective, 'synthetic')
    config.data.update(classes=7, artefact='none')
    config = shrink(config, linear=True)
    work = tmp_path_factory.mktemp('hierarchical') / 'w'
    return work, train.run(configs.resolve(config), work), config


def test_a_run_tells_its_levels_and_shows_where_it_looked(finished):
    work, results, _ = finished
    assert set(results['hierarchy']) == {'val', 'plain'} == set(results['splits'])
    for name, block in results['hierarchy'].items():
        assert [len(level['nodes']) for level in block['levels'].values()] == [2, 7]
        last = block['levels']['level_2']
        assert last['accuracy'] == pytest.approx(results['splits'][name]['accuracy'])
        table = Predictions.read_csv(work / 'predictions' / f'{name}.csv')
        free = np.stack([table.columns[f'free_{k}'] for k in (1, 2)], 1)
        tree = taxonomy.read(ORIGIN, results['data']['classes'])
        share = 1 - taxonomy.consistent(tree, free).mean()
        assert block['inconsistent']['value'] == pytest.approx(share)
    assert (work / 'figures' / 'attention_plain.png').read_bytes()[:4] == b'\x89PNG'
    report = (work / 'report.html').read_text()
    for text in ('accuracy by level', 'Figure attention plain', 'Figures by level'):
        assert text in report
    cells = re.findall(r'<t[hd][^>]*>(.*?)</t[hd]>', report)
    at = next(k for k in range(len(cells)) if cells[k : k + 3] == ['plain', '2', '7'])
    last = results['hierarchy']['plain']['levels']['level_2']
    shown = [format_value(last[key]) for key in ('accuracy', 'balanced_accuracy')]
    assert cells[at + 3 : at + 5] == shown
    assert list(results['weights']) == results['data']['classes']
    assert (work / 'weights_history.csv').read_text().count('\n') == 1 + 32


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
    assert len(data.classes) == 7 and tree.levels == (2 if variant == 'published' else 3)
    assert config.model.pretrained  # statistics that stand still are those of these weights


def test_every_variant_of_the_config_resolves():
    found = {}
    for variant in FILE.VARIANTS:
        config = configs.resolve(FILE.get_config(variant))
        module = configs.find('data', config.data.name)
        classes = module.ABOUT.classes if variant in FILE.REAL else tuple(taxonomy.CODES.values())
        found[variant] = taxonomy.read(config.objective.taxonomy.to_dict(), classes).levels
    assert found == dict.fromkeys(FILE.VARIANTS, 3) | {'two_levels': 2, 'published': 2, 'flat': 1}
    options = FILE.get_config('published').objective
    found = (options.decoding, options.constrained, options.weights, options.context)
    assert found == ('greedy', False, '', False)
    with pytest.raises(ValueError, match=r"unknown variant 'three' of hierarchical: .*two_levels"):
        FILE.get_config('three')
