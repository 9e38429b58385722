"""A run of segmentation from beginning to end: what it writes follows from its probabilities."""

import csv
import dataclasses
import json

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from configs import segment
from skinjax import config as configs
from skinjax import evaluate, rundir, train
from skinjax.engine import optimizers
from skinjax.engine.mesh import Mesh
from skinjax.engine.writer import read_metrics
from skinjax.tasks import segmentation
from tests.helpers import final_state, write_folder
from tests.tasks.lesions import SIZE, disks, run_config, write_disks


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return write_disks(tmp_path_factory.mktemp('disks') / 'data')


@pytest.fixture(scope='module')
def finished(tmp_path_factory, root):
    work = tmp_path_factory.mktemp('segmentation') / 'run'
    return work, train.run(configs.resolve(run_config(root)), work)


def read_table(work, split):
    with (work / 'per_image' / f'{split}.csv').open(encoding='utf-8', newline='') as file:
        return list(csv.DictReader(file))


def chances(work, images):
    """Probabilities of the final model."""
    objective = segmentation.network(rundir.load_run(work))
    variables = final_state(work)[1].variables()
    return np.asarray(objective.predict(variables, jnp.asarray(images))['probability'])


def overlap(records, row, chance, fill=True):
    truth, mask = records.read(row)['mask'] > 0, chance >= 0.4
    mask = ndimage.binary_fill_holes(mask) if fill else mask
    return (truth & mask).sum() / (truth | mask).sum()


def test_every_figure_follows_from_the_probabilities(finished):
    work, results = finished
    records, table = disks(14, 2, 'test'), read_table(work, 'test')
    found = chances(work, np.stack([records.read(i)['image'] for i in range(14)]))
    kept = [i for i in range(14) if i not in (1, 2)]
    want = {i: overlap(records, i, found[i]) for i in kept}
    assert [row['id'] for row in table] == records.ids.tolist()
    for i, value in want.items():
        assert float(table[i]['jaccard']) == pytest.approx(value, abs=1e-5)
    block = results['splits']['test']
    assert (block['n'], block['clipped'], block['without_mask']) == (12, 1, 1)
    assert block['jaccard']['value'] == pytest.approx(np.mean([*want.values()]), abs=1e-6)
    assert block['jaccard']['low'] < block['jaccard']['value'] < block['jaccard']['high']
    ruler = block['groups']['ruler']
    codes = records.bias['ruler']
    for code, name in enumerate(('no', 'yes')):
        rows = [i for i in kept if codes[i] == code]
        assert ruler['values'][name]['count'] == len(rows)
        mean = ruler['values'][name]['jaccard']['value']
        assert mean == pytest.approx(np.mean([want[i] for i in rows]), abs=1e-6)
    assert ruler['unknown'] == 1


def test_what_is_left_out_is_named(finished):
    table = read_table(finished[0], 'val')
    assert [row['left_out'] for row in table[:4]] == ['', 'no mask', 'clipped mask', '']
    assert table[1]['jaccard'] == table[2]['jaccard'] == '' != table[1]['found']
    assert table[1]['lesion'] == '' != table[2]['lesion']
    assert table[0]['ruler'] == '' and table[3]['ruler'] in ('no', 'yes')


def test_it_learns_and_says_so(finished):
    work, results = finished
    assert results['splits']['test']['jaccard']['value'] > 0.6
    assert results == json.loads((work / 'results.json').read_text()) and (work / 'DONE').exists()
    page = (work / 'report.html').read_text()
    assert 'row-wise Jaccard' in page and 'test: values of ruler (1 images unknown)' in page
    for name in ('cases_val', 'cases_test', 'jaccard'):
        drawn = cv2.imread(str(work / 'figures' / f'{name}.png'))
        assert drawn is not None and drawn.std() > 5
    config = rundir.load_run(work)
    assert config.evaluate.threshold == 0.4


def test_checkpoints_are_chosen_by_the_loss(finished, root):
    work, _ = finished
    records = disks(14, 1, 'val')
    rows = [i for i in range(14) if i not in (1, 2)]
    p = chances(work, np.stack([records.read(i)['image'] for i in rows])).astype(np.float64)
    y = np.stack([records.read(i)['mask'] for i in rows]) / 255
    loss = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
    last = [line for line in read_metrics(work / 'metrics.jsonl') if line['split'] == 'val'][-1]
    assert last['loss'] == pytest.approx(loss, rel=1e-4)
    raw = [overlap(records, i, p[k], fill=False) for k, i in enumerate(rows)]
    assert last['jaccard'] == pytest.approx(np.mean(raw), abs=1e-4)
    config = run_config(root)
    trainer = train.Trainer(config, train.load_data(config), Mesh.create('jit', 1))
    score, shown = trainer.task.validate(final_state(work)[1].variables())
    assert score == -shown['loss'] == pytest.approx(-loss, rel=1e-4)


def again(run, **fields):
    config = configs.evaluate('segmentation')
    fields = {'init_from': str(run), 'devices': 1, 'evaluate.bootstrap': 50, **fields}
    return configs.resolve(configs.override(config, fields))


def test_judged_again_it_is_the_same_and_with_flips_their_mean(finished, tmp_path):
    work, results = finished
    same = evaluate.run(again(work, devices=4, **{'evaluate.batch_size': 3}), tmp_path / 'same')
    assert same['splits'] == results['splits']
    fields = {'evaluate.tta': 'on', 'evaluate.splits': ('test',), 'evaluate.fill_holes': False}
    found = evaluate.run(again(work, **fields), tmp_path / 'flipped')
    records, kept = disks(14, 2, 'test'), [i for i in range(14) if i not in (1, 2)]
    images = np.stack([records.read(i)['image'] for i in kept])
    views = [chances(work, images[:, ::a, ::b])[:, ::a, ::b] for a in (1, -1) for b in (1, -1)]
    want = [overlap(records, i, np.mean(views, 0)[k], fill=False) for k, i in enumerate(kept)]
    assert found['splits']['test']['jaccard']['value'] == pytest.approx(np.mean(want), abs=1e-6)
    assert set(found['splits']) == {'test'}


@pytest.mark.parametrize(
    ('fields', 'text'),
    [
        ({'evaluate.splits': ('tset',)}, "no 'tset'"),
        ({'evaluate.batch_size': 0}, 'batch_size is 0, expected at least 1'),
        ({'evaluate.threshold': 0.0}, 'threshold is 0.0, expected a probability above 0'),
        ({'data.with_mask': False}, 'needs its masks'),
        ({'objective.crop': 8}, 'between 0 and 7'),
        ({'train.head_first': True}, 'head_first'),
    ],
)
def test_wrong_options_are_found_before_anything_is_written(root, tmp_path, fields, text):
    with pytest.raises(ValueError, match=text) as caught:
        train.run(run_config(root, **fields), tmp_path / 'w')
    assert '\n' not in str(caught.value) and not (tmp_path / 'w').exists()


def test_a_mask_of_another_size_than_its_image_is_named(root, tmp_path):
    config = run_config(root)
    trainer = train.Trainer(config, train.load_data(config), Mesh.create('jit', 1))
    records = disks(14, 1, 'val')

    def read(row):
        example = records.read(row)
        return {**example, 'mask': np.zeros((SIZE, SIZE + 1), np.uint8)} if row == 3 else example

    trainer.task.data.splits['val'] = dataclasses.replace(records, read=read)  # type: ignore[index]
    with pytest.raises(ValueError, match=r'val-3: expected a mask of \(16, 16\), found \(16, 17\)'):
        trainer.task.validate(trainer.fresh().variables())


def test_data_without_masks_are_refused(tmp_path):
    root = write_folder(tmp_path / 'data')
    fields = {'data.bias': ('ruler',), 'data.classes': ()}
    with pytest.raises(ValueError, match="split 'val' has a whole mask"):
        train.run(run_config(root, **fields), tmp_path / 'w')


def test_small_images_go_through_the_real_network():
    config = segment.get_config()
    config.data.image_size, config.model.width = 50, 1 / 64
    objective = segmentation.network(config)
    images = jnp.zeros((1, 50, 50, 3), jnp.uint8)
    variables = jax.eval_shape(objective.init, jax.random.key(0), {'image': images})
    found = jax.eval_shape(objective.predict, variables, images)['probability']
    assert (found.shape, found.dtype) == ((1, 50, 50), jnp.float32)


def test_the_published_schedule():
    config = segment.get_config('full')
    rate = optimizers.schedule(config.optimizer, 500 * 133)
    epochs = [float(np.asarray(rate(133 * e + 66))) for e in (0, 29, 30, 59, 60)]
    assert epochs == pytest.approx([1e-4, 1e-4, 1e-5, 1e-5, 1e-6])
    sizes = (config.data.image_size - 2 * config.objective.crop, config.data.batch_size)
    assert sizes == (380, 15) and config.model.width == 1 and config.train.select == 'best'
    with pytest.raises(ValueError, match='choose one of isic2017, ham10000, folder, full'):
        segment.get_config('isic2016')


def test_extremes():
    values = np.array([0.5, np.nan, 0.1, 0.9, 0.7, 0.3, 0.8, 0.2])
    found = segmentation.extremes(values, 2)
    assert found == {'best': [3, 6], 'middle': [5, 0], 'worst': [2, 7]}
    assert segmentation.extremes(values[:3], 4) == {'middle': [2, 0]}
    every = segmentation.extremes(np.arange(5.0), 4)
    assert every == {'best': [4], 'middle': [2], 'worst': [0]}


def test_the_crop_is_judged_as_it_was_learned(root, tmp_path):
    config = run_config(root, **{'objective.crop': 2, 'evaluate.splits': ('test',)})
    trainer = train.Trainer(config, train.load_data(config), Mesh.create('jit', 1))
    variables = trainer.fresh().variables()
    trainer.task.judge(variables, tmp_path, 0)
    records, table = disks(14, 2, 'test'), read_table(tmp_path, 'test')
    images = jnp.asarray(records.read(0)['image'][None])
    found = np.asarray(trainer.objective.predict(variables, images)['probability'])[0]
    assert found.shape == (SIZE - 4, SIZE - 4)
    truth = records.read(0)['mask'][2:-2, 2:-2] > 0
    mask = np.asarray(ndimage.binary_fill_holes(found >= 0.4))
    assert float(table[0]['dice']) == pytest.approx(
        2 * (truth & mask).sum() / (truth.sum() + mask.sum()), abs=1e-5
    )
