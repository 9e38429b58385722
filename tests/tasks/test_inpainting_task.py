"""A run that learns to fill holes, judged, continued as an editor, and judged again."""

import csv
import json
from typing import Any

import numpy as np
import pytest
from ml_collections import ConfigDict

from skinjax import config as configs
from skinjax import evaluate, train
from skinjax.editors import inpaint
from skinjax.engine.mesh import Mesh
from skinjax.tasks import inpainting
from tests.helpers import shrink, tiny_data

FIELDS = {
    'data.image_size': 16,
    'data.batch_size': 8,
    'data.n_train': 16,
    'data.n_val': 6,
    'data.n_test': 10,
    'train.steps': 2,
    'evaluate.rows': 8,
    'evaluate.batch_size': 4,
    'evaluate.bootstrap': 20,
}


def make_config(**fields) -> Any:
    config = configs.train(
        'inpainting',
        configs.plugin('data', 'synthetic', artefact='none', hair=0.0),
        configs.plugin('models', 'partial_unet', levels=2, width=0.0625),
    )
    config.optimizer.update(name='adam', learning_rate=1e-3, momentum=0.5)
    return configs.resolve(shrink(config, **{**FIELDS, **fields}))


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    work = tmp_path_factory.mktemp('inpainting') / 'w'
    return work, train.run(make_config(), work)


def test_what_a_run_leaves(run):
    work, results = run
    assert (work / 'DONE').exists() and (work / 'report.html').stat().st_size > 10_000
    assert (
        json.loads((work / 'results.json').read_text())['splits'].keys() == results['splits'].keys()
    )
    assert set(results['splits']) == {'val', 'plain'} and results['step'] == 2
    block = results['splits']['plain']
    assert block['n'] == 8 and 0 < block['hole'] < 1  # of ten, as `rows` says
    for name in (
        'psnr_hole',
        'telea_psnr_hole',
        'ns_ssim',
        'psnr_hole_above_telea',
        'ssim_above_ns',
    ):
        found = block[name]
        assert found['low'] <= found['value'] <= found['high']
    difference = block['psnr_hole']['value'] - block['telea_psnr_hole']['value']
    assert block['psnr_hole_above_telea']['value'] == pytest.approx(difference)
    assert block['psnr']['value'] > block['psnr_hole']['value']
    for split in ('val', 'plain'):
        assert (work / 'figures' / f'filled_{split}.png').stat().st_size > 1000
    with (work / 'per_image' / 'plain.csv').open(encoding='utf-8') as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8 and len({row['id'] for row in rows}) == 8
    mean = np.mean([float(row['ours_psnr_hole']) for row in rows])
    assert mean == pytest.approx(block['psnr_hole']['value'], abs=1e-3)


def test_validation_is_what_the_log_has(run):
    work, results = run
    lines = [json.loads(line) for line in (work / 'metrics.jsonl').read_text().splitlines()]
    (found,) = (line for line in lines if line['split'] == 'val')
    assert found['psnr_hole'] == pytest.approx(results['splits']['val']['psnr_hole']['value'])


def test_judged_again_it_is_the_same(run, tmp_path):
    work, results = run
    config = configs.evaluate('inpainting')
    config.init_from = str(work)
    config = configs.override(config, {k: FIELDS[k] for k in FIELDS if k.startswith('evaluate.')})
    again = evaluate.run(configs.resolve(config), tmp_path / 'e')
    assert again['splits'] == results['splits']


def test_the_editor_takes_the_run(run):
    work, _ = run
    edit = inpaint.build(ConfigDict({**inpaint.DEFAULTS, 'init_from': str(work), 'batch_size': 2}))
    rng = np.random.default_rng(0)
    examples = []
    for side in (50, 70, 64, 66):
        image = rng.integers(0, 256, (side, 40, 3)).astype(np.uint8)
        artefact = np.zeros((side, 40), np.uint8)
        artefact[10:14, 5:30] = 255
        examples.append({'image': image, 'artefact': artefact})
    found = edit(examples)
    for one, other in zip(examples, found, strict=True):
        filled = other['artefact'] > 0
        assert filled.sum() > (one['artefact'] > 0).sum()
        np.testing.assert_array_equal(one['image'][~filled], other['image'][~filled])
        assert (one['image'][filled] != other['image'][filled]).any()
    (alone,) = edit(examples[1:2])
    np.testing.assert_array_equal(alone['image'], found[1]['image'])


def test_a_run_of_another_task_is_refused(tmp_path):
    config = configs.train()
    (tmp_path / 'config.json').write_text(json.dumps(configs.to_json(config)))
    with pytest.raises(ValueError, match='is a run of classification'):
        inpaint.build(ConfigDict({**inpaint.DEFAULTS, 'init_from': str(tmp_path)}))


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'evaluate.batch_size': 0}, 'batch_size is 0'),
        ({'evaluate.rows': -1}, 'rows is -1'),
        ({'evaluate.splits': ('testing',)}, "no 'testing'"),
    ],
)
def test_what_would_fail_after_training_is_refused(fields, message):
    config = make_config(**fields)
    task = inpainting.Task(config, tiny_data(), inpainting.network(config), Mesh.create('jit', 1))
    with pytest.raises(ValueError, match=message):
        task.check()


def test_own_artefacts_are_neither_filled_nor_measured():
    """Whatever the image has there, ours and the classical methods measure the same."""
    config = make_config()
    task = inpainting.Task(config, tiny_data(), inpainting.network(config), Mesh.create('jit', 1))
    import jax
    import jax.numpy as jnp

    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (3, 16, 16, 3)).astype(np.uint8)
    artefact = np.zeros((3, 16, 16), np.uint8)
    artefact[:, 4:9, 4:9] = 255
    artefact[2] = 255  # nothing is known of it
    variables = jax.jit(task.objective.init)(jax.random.key(0), {'image': jnp.asarray(image)})
    other = np.where(artefact[..., None] > 0, 255 - image, image)
    found = []
    for pixels in (image, other):
        batch = {'image': pixels, 'artefact': artefact, 'index': np.arange(3)}
        out = jax.device_get(task._run(variables, jax.tree.map(jnp.asarray, batch)))
        assert not (out['hole'] & out['unknown']).any() and out['hole'][:2].any((1, 2)).all()
        np.testing.assert_array_equal(out['ours'][~out['hole']], pixels[~out['hole']])
        found.append([
            inpainting._compare({name: array[k] for name, array in out.items()}) for k in range(3)
        ])  # fmt: skip
    for first, second in zip(*found, strict=True):
        for name in ('ours_psnr_hole', 'telea_psnr_hole', 'ns_psnr_hole', 'ours_psnr'):
            np.testing.assert_equal(first[name], second[name])
    assert np.isnan(found[0][2]['ours_psnr_hole'])
