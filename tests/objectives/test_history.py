"""The history of `weighting`: the same on any devices, after a stop, and what is made of it."""

import csv
import json
import shutil
from typing import Any

import cv2
import jax
import numpy as np
import pytest

from skinjax import config as configs
from skinjax import train
from skinjax.engine.mesh import Mesh
from skinjax.objectives import history
from tests.engine.test_devices import assert_same_training
from tests.engine.test_devices import train as run_steps
from tests.helpers import LINEAR, ROOT, shrink
from tests.objectives.made import assert_same, made_batch, made_data, make_config
from tests.objectives.test_weighting import fields
from tests.test_configs import load

TWELVE = made_data((0,) * 8 + (1,) * 4, (0, 1) * 6, (0, 1, 2) * 4)
HARD: dict[str, Any] = {'weights': 'cb+ohem', 'ohem__warmup': 0.0, 'loss': 'focal'}
OVER_EPOCHS: dict[str, Any] = {
    'weights': 'es+ohem',
    'ohem__warmup': 0.0,
    'scope': 'epoch',
    'stratified': True,
}


@pytest.fixture(autouse=True, scope='module')
def quick_compilation():
    """Each program runs a few steps: the least optimised one is the first to finish."""
    jax.config.update('jax_disable_most_optimizations', True)
    yield
    jax.config.update('jax_disable_most_optimizations', False)


def objective(**given):
    config = make_config('weighting', rate=0.01, **fields(**given))
    config.model.dropout = 0.3
    return configs.find('objectives', 'weighting').build(config, TWELVE, 100)


def batches(count=3, size=8):
    """Of eight of the twelve rows, the last two padding."""
    found = []
    for seed in range(count):
        batch = {name: np.array(values) for name, values in made_batch(size, seed).items()}
        batch['valid'][6:] = False
        batch['index'] = ((np.arange(size) + 5 * seed) % 12).astype(np.int32)
        batch['label'] = TWELVE.splits['train'].labels[batch['index']]
        found.append(batch)
    return found


class TestDevices:
    @pytest.mark.parametrize(
        ('given', 'others'),
        [
            (HARD, [('jit', 4, 1)]),
            (OVER_EPOCHS, [('pmap', 4, 1), ('pmap', 2, 2)]),
        ],
    )
    def test_losses_and_history_are_those_of_one_device(self, given, others):
        made = objective(**given)
        one = run_steps(made, batches=batches())
        seen = np.asarray(one[1].model[history.NAME]['seen'])
        np.testing.assert_array_equal(seen, [2, 2, 2, 2, 1, 2, 1, 1, 1, 1, 2, 1])
        assert one[1].model[history.NAME]['weight'].sum() == pytest.approx(18, rel=1e-5)
        for parallel, devices, slices in others:
            other = run_steps(made, parallel, devices, batches(), accumulate=slices)
            assert_same_training(one, other)
            assert (np.asarray(other[1].model[history.NAME]['seen']) == seen).all()

    def test_mapped_devices_take_the_hardest_of_their_share(self):
        """As documented: half of each half, which is another choice than half of the whole."""
        made = objective(weights='ohem', ohem__warmup=0.0)
        batch = {**batches(1)[0], 'valid': np.ones(8, bool)}
        batch['label'] = np.array([0, 1, 0, 1, 1, 0, 1, 0], np.int32)  # the first half is hard
        kept = {}
        for parallel in ('jit', 'pmap'):
            table = run_steps(made, parallel, 2, [batch])[1].model[history.NAME]
            kept[parallel] = np.asarray(table['weight'])[:8] > 0
            assert kept[parallel].sum() == 4
            losses = np.asarray(table['loss'])[:8]
        shares = losses.reshape(2, 4)
        hardest = (shares >= np.sort(shares, 1)[:, 2:3]).ravel()
        np.testing.assert_array_equal(kept['pmap'], hardest)
        np.testing.assert_array_equal(kept['jit'], losses >= np.sort(losses)[4])
        assert (kept['jit'] != kept['pmap']).any()

    def test_the_last_visit_decides_over_epochs(self):
        made = objective(weights='spl', scope='epoch', spl__last=0.5)
        same = [batches(1)[0]] * 2
        first, second = (run_steps(made, batches=same[:n])[1].model[history.NAME] for n in (1, 2))
        np.testing.assert_allclose(np.asarray(first['weight'])[:6], 1, rtol=1e-6)
        order = np.argsort(np.asarray(first['loss'])[:6], kind='stable')
        counted = np.asarray(second['weight'])[:6] - np.asarray(first['weight'])[:6]
        np.testing.assert_allclose(counted[order], [2, 2, 2, 0, 0, 0], atol=1e-5)
        assert (np.asarray(second['loss'])[:6] != np.asarray(first['loss'])[:6]).all()


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """(trainer, work directory, its final variables) of a run of four steps."""
    config = configs.train(
        configs.plugin('objectives', 'weighting', **fields(weights='cb+ohem', ohem__warmup=0.5)),
        model=LINEAR,
    )
    config.data.classes, config.data.skew = 7, (0.5,) * 7
    sizes = {'train.steps': 4, 'train.checkpoint_every': 1.0, 'train.evaluate_every': 0.0}
    config = shrink(config, linear=True, **sizes, **{'data.image_size': 16})
    trainer = train.Trainer(config, train.load_data(config), Mesh.create('jit', 1))
    trainer.check()
    work = tmp_path_factory.mktemp('weighting') / 'w'
    return trainer, work, trainer.fit(work)[0].variables()


class TestRun:
    def test_what_it_tells_in_the_end(self, finished):
        trainer, _, variables = finished
        found = trainer.objective.conclude(variables, {}, trainer.mesh)
        rows = list(csv.DictReader(found.files['weights_history.csv'].splitlines()))
        train_split = trainer.data.splits['train']
        assert sorted(row['id'] for row in rows) == sorted(train_split.ids)
        assert sum(int(row['seen']) for row in rows) == 4 * 16
        assert sum(float(row['weight']) for row in rows) == pytest.approx(4 * 16, rel=1e-4)
        means = [float(row['mean_weight']) for row in rows]
        assert means == sorted(means, reverse=True) and means[-1] == 0 < means[0]
        classes = found.results['weights']
        assert sum(block['share'] for block in classes.values()) == pytest.approx(1)
        for name, block in classes.items():
            own = [row for row in rows if row['label'] == name]
            assert len(own) == block['images'] > 0
            assert sum(row['weight'] == '0' for row in own) == block['never_counted']
        for name in ('weights_classes', 'weights_images'):
            image = np.frombuffer(found.files[f'figures/{name}.png'], np.uint8)
            assert np.std(np.asarray(cv2.imdecode(image, cv2.IMREAD_COLOR))) > 10

    def test_log(self, finished):
        work = finished[1]
        lines = [json.loads(line) for line in (work / 'metrics.jsonl').read_text().splitlines()]
        lines = [line for line in lines if line['split'] == 'train']
        kept = [line['main/kept'] for line in lines]
        assert kept == [1.0, 0.5, 0.5, 0.5]  # the warm-up is half an epoch of two steps
        names = [name for name in lines[0] if name.startswith('main/weight_')]
        assert len(names) == 7 and all(line[name] >= 0 for line in lines for name in names)

    def test_resumed_it_is_the_same(self, finished, tmp_path):
        trainer, work, variables = finished
        again = tmp_path / 'w'
        shutil.copytree(work, again)
        shutil.rmtree(again / 'checkpoints' / '4')
        assert (again / 'checkpoints' / '2').is_dir()
        resumed = trainer.fit(again)[0].model[history.NAME]
        assert_same(resumed, variables[history.NAME])


def test_a_run_without_steps_has_none():
    variables = {history.NAME: {name: np.zeros(12) for name in ('seen', 'weight', 'loss')}}
    found = history.findings(TWELVE, variables, {}, None)
    assert not found.files and not found.results


@pytest.mark.parametrize('variant', ['cb', 'foo', 'ce_easy', 'ce_cb+none_es'])
def test_the_config_knows_its_variants(variant):
    with pytest.raises(ValueError, match=r'unknown variant .* of weighting: .* spl, ohem'):
        load(ROOT / 'configs' / 'weighting.py').get_config(variant)
