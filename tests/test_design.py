"""The parts that docs/design.md and README.md add work as they stand there, together."""

import importlib
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax import audit, editing, kinds, train
from skinjax import config as configs
from skinjax.engine import startup
from skinjax.engine.mesh import Mesh
from skinjax.engine.writer import read_metrics, write_json
from skinjax.explainers import compiled
from skinjax.objectives import network
from skinjax.relevance.subject import subject
from tests.helpers import LINEAR, ROOT, tiny_data

PAGE = (ROOT / 'docs' / 'design.md').read_text(encoding='utf-8')
README = (ROOT / 'README.md').read_text(encoding='utf-8')
FILES = dict(re.findall(r'```python\n# lab/(\w+)\.py\n(.*?)```', PAGE + README, re.S))
FIELDS = {
    'devices': 1, 'data.batch_size': 16, 'data.image_size': 8, 'train.steps': 2,
    'train.log_every': 1, 'train.augment': (),
}  # fmt: skip


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """The files of the page, where Python finds them; the folder of them and of their data."""
    (tmp_path / 'lab').mkdir()
    for name, code in FILES.items():
        (tmp_path / 'lab' / f'{name}.py').write_text(code, encoding='utf-8')
    arrays = {}
    for split, records in tiny_data(48, 16).splits.items():
        arrays[f'{split}_image'] = np.stack([records.read(k)['image'] for k in range(48)])
        arrays[f'{split}_label'], arrays[f'{split}_camera'] = records.labels, records.bias['ruler']
    np.savez(tmp_path / 'lesions.npz', **arrays)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.split('.')[0] == 'lab']:
        del sys.modules[name]


def made_trainer(objective, model, lab, **fields):
    """Of the data set `lab.arrays` through the editor `lab.grey`."""
    config = configs.train(objective, 'lab.arrays', model)
    config.data.update(root=str(lab), bias=('camera',), purify='lab.grey')
    config = configs.resolve(configs.override(config, {**FIELDS, **fields}))
    return train.Trainer(config, train.load_data(config), Mesh.create('jit', 1))


def test_every_part_is_one_file_and_they_work_together(lab):
    """What `train.run` adds to this run is its report, which takes longer than all of it."""
    assert len(FILES) == (PAGE + README).count('```python') == 8
    config = importlib.import_module('lab.mine').get_config()
    assert config.objective.strength == 0.5
    trainer = made_trainer(config.objective.to_dict(), LINEAR, lab)
    config, data, work = trainer.config, trainer.data, lab / 'run'
    trainer.check()
    with startup.hold(config, work):
        now, _ = trainer.fit(work)
    write_json(work / 'results.json', {'threshold': {'value': 0.5}})
    assert 'main/size' in read_metrics(work / 'metrics.jsonl')[0]

    net = network.create(config, data)
    made = configs.find('explainers', 'lab.steep')
    run = compiled(made.build(kinds.explain('lab.steep').explainer), subject(net))
    image = net.images(jnp.asarray(data.splits['val'].read(0)['image'])[None])
    maps = run(now.variables(), image, np.zeros(1, int))
    assert maps.shape == (1, 8, 8, 1)
    assert (np.asarray(maps) > 0).all()

    asked = importlib.import_module('lab.brightness_config').get_config()
    asked = configs.override(asked, {'init_from': str(work), 'devices': 1})
    said = audit.run(configs.resolve(asked), lab / 'brightness')['brightness']
    assert [name for name, _, _ in said] == ['nevus', 'melanoma']
    assert all(-1 <= rank <= 1 for _, _, rank in said)


def test_the_encoder_has_every_common_option(lab):
    """One step in bfloat16 with dropout, and statistics of each half of a batch."""
    options = {'model.dtype': 'bfloat16', 'model.dropout': 0.5, 'model.norm_groups': 2}
    model = configs.plugin('models', 'lab.mynet', width=2)
    trainer = made_trainer('baseline', model, lab, **options)
    before = trainer.fresh()
    batch = next(trainer.batches(0))
    net = network.create(trainer.config, trainer.data)
    images = net.images(jnp.asarray(batch['image']))
    maps = jax.eval_shape(lambda x: net.apply(before.variables(), x, method='maps'), images)
    assert [(x.shape[-1], x.dtype) for x in maps] == [(2 * 2**k, jnp.bfloat16) for k in range(4)]

    encoder = jax.tree.map(np.asarray, before.params['encoder'])  # the step takes its buffers
    now, metrics = trainer.step(trainer.mesh.distribute(before), trainer.mesh.put_batch(batch))
    assert np.isfinite(metrics['main/main'])
    after = now.params['encoder']
    assert all(x.dtype == np.float32 and np.isfinite(x).all() for x in jax.tree.leaves(after))
    moved = jax.tree.map(lambda old, new: bool((old != new).any()), encoder, after)
    assert any(jax.tree.leaves(moved))


def test_the_editor_takes_colour_away_and_leaves_its_input(lab):
    image = np.random.default_rng(0).integers(0, 256, (4, 4, 3)).astype(np.uint8)
    (made,) = editing.named('lab.grey')([{'image': image.copy()}])
    assert np.ptp(made['image'], axis=-1).max() == 0
    half = configs.override(kinds.purify('', ('lab.grey',)), {'editors.lab_grey.share': 0.0})
    (same,) = editing.chain(half)([{'image': image}])
    np.testing.assert_array_equal(same['image'], image)
