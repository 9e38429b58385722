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
from tests.helpers import LINEAR, shrink
from tests.objectives.made import assert_same, made_batch, made_data, make_config
from tests.objectives.test_weighting import fields

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
            (HARD, [('jit', 2, 1), ('jit', 4, 1), ('pmap', 2, 1), ('pmap', 4, 1)]),
            (OVER_EPOCHS, [('jit', 4, 1), ('pmap', 4, 1), ('pmap', 2, 2)]),
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
            for name in ('seen', 'ranked', 'chosen'):
                values = (run[1].model[history.NAME][name] for run in (one, other))
                np.testing.assert_array_equal(*values)

    @pytest.mark.parametrize('parallel', ['jit', 'pmap'])
    @pytest.mark.parametrize(
        ('given', 'want'),
        [
            ({'weights': 'ohem', 'ohem__warmup': 0.0, 'ohem__drop_top': 0.125}, slice(1, 5)),
            ({'weights': 'spl', 'spl__first': 0.25}, slice(6, 8)),
            ({'weights': 'ohem', 'ohem__warmup': 0.0, 'ohem__threshold': 1e6}, slice(0, 1)),
        ],
    )
    def test_mapped_devices_choose_among_the_whole_batch(self, parallel, given, want):
        """Where they would take another choice, were each to rank its own share."""
        batch = {**batches(1)[0], 'valid': np.ones(8, bool)}
        batch['label'] = np.array([0, 1, 0, 1, 1, 0, 1, 0], np.int32)  # the first half is hard
        table = run_steps(objective(**given), parallel, 2, [batch])[1].model[history.NAME]
        counted = np.asarray(table['weight'])[:8]
        order = np.argsort(-np.asarray(table['loss'])[:8])
        chosen = np.isin(np.arange(8), order[want])
        assert chosen[:4].sum() != chosen[4:].sum()
        np.testing.assert_allclose(counted, chosen * 8 / chosen.sum(), rtol=1e-5)
        np.testing.assert_array_equal(np.asarray(table['ranked'])[:8], 1)
        np.testing.assert_array_equal(np.asarray(table['chosen'])[:8], chosen)

    def test_the_last_visit_decides_over_epochs(self):
        made = objective(weights='spl', scope='epoch', spl__last=0.5)
        same = [batches(1)[0]] * 2
        first, second = (run_steps(made, batches=same[:n])[1].model[history.NAME] for n in (1, 2))
        np.testing.assert_allclose(np.asarray(first['weight'])[:6], 1, rtol=1e-6)
        order = np.argsort(np.asarray(first['loss'])[:6], kind='stable')
        counted = np.asarray(second['weight'])[:6] - np.asarray(first['weight'])[:6]
        np.testing.assert_allclose(counted[order], [2, 2, 2, 0, 0, 0], atol=1e-5)
        # About rows that it did not know yet nothing was decided.
        assert (np.asarray(first['ranked']) == 0).all()
        np.testing.assert_array_equal(np.asarray(second['ranked'])[:8], [1] * 6 + [0] * 2)
        np.testing.assert_array_equal(np.asarray(second['chosen'])[order], [1, 1, 1, 0, 0, 0])
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
        for name, block in found.results['weights'].items():
            own = [row for row in rows if row['label'] == name]
            assert len(own) == block['images'] > 0
            seen, weight = (sum(float(row[c] or 0) for row in own) for c in ('seen', 'weight'))
            assert block['share_seen'] == pytest.approx(seen / 64)
            assert block['share'] == pytest.approx(weight / 64, rel=1e-4)
            assert block['mean_weight'] == pytest.approx(weight / max(seen, 1), rel=1e-4)
        # Three of the four steps are after the warm-up, and take half of 16.
        assert sum(int(row['ranked']) for row in rows) == 48
        assert sum(int(row['chosen']) for row in rows) == 24
        for name in ('weights_classes', 'weights_images'):
            image = np.frombuffer(found.files[f'figures/{name}.png'], np.uint8)
            assert np.std(np.asarray(cv2.imdecode(image, cv2.IMREAD_COLOR))) > 10

    def test_log(self, finished):
        work = finished[1]
        lines = [json.loads(line) for line in (work / 'metrics.jsonl').read_text().splitlines()]
        lines = [line for line in lines if line['split'] == 'train']
        kept = [line['main/kept'] for line in lines]
        assert kept == [1.0, 0.5, 0.5, 0.5]  # the warm-up is half an epoch of two steps
        train_split = finished[0].data.splits['train']
        for line in lines:
            shares = [
                line[f'main/weight_{name}'] * (train_split.labels == code).mean()
                for code, name in enumerate(finished[0].data.classes)
            ]
            assert sum(shares) == pytest.approx(1, rel=1e-5)

    def test_resumed_it_is_the_same(self, finished, tmp_path):
        trainer, work, variables = finished
        again = tmp_path / 'w'
        shutil.copytree(work, again)
        shutil.rmtree(again / 'checkpoints' / '4')
        assert (again / 'checkpoints' / '2').is_dir()
        resumed = trainer.fit(again)[0].model[history.NAME]
        assert_same(resumed, variables[history.NAME])


def test_without_a_curriculum_nobody_is_chosen_or_left_out(finished):
    trainer, _, variables = finished
    table = {name: np.array(values) for name, values in variables[history.NAME].items()}
    table['ranked'][:], table['chosen'][:] = 0, 0
    found = history.findings(trainer.data, {history.NAME: table}, {}, None)
    assert not any('chosen' in name for name in found.files)
    blocks = found.results['weights'].values()
    assert all(block['never_chosen'] == block['always_chosen'] == 0 for block in blocks)


def test_a_run_without_steps_has_none():
    found = history.findings(TWELVE, {history.NAME: history.empty(12)}, {}, None)
    assert not found.files and not found.results
