"""Every config file runs from beginning to end on tiny data; a new file needs no new test."""

import dataclasses
import importlib
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from skinjax import config as configs
from skinjax import kinds, recipes, rundir
from skinjax.data import groups, latents, writing
from skinjax.data.isic2017 import TASKS
from skinjax.data.records import DataSet
from tests.audits.generated import write_generated
from tests.helpers import (
    ISIC2017,
    ROOT,
    SHARED,
    sample_isic2017,
    shrink,
    tiny_records,
    write_folder,
)
from tests.tasks.lesions import write_disks


def load(path: Path) -> Any:
    """The module of a config file."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FILES = {path.stem: path for path in sorted((ROOT / 'configs').glob('*.py'))}
SOURCES = ('isic2017', 'folder', 'prepared')  # of real data, which have a fixture each
KINDS = ('train', 'compare')  # of the files that run by themselves
STUDIES = load(FILES['compare_unlearning']).VARIANTS
VARIANTS = {  # besides ''; a comparison runs CLGR in all of its variants
    'clgr': tuple(name for name in recipes.VARIANTS if name not in STUDIES),
    'double': ('lntl_tabe',),
    'compare_unlearning': STUDIES[1:],
    'compare_finetuning': ('ruler',),
    'compare_purification': ('hair', 'isic2017'),
    'compare_balancing': ('isic2017',),
    'compare_targeted': ('isic2017',),
    'compare_destruction': ('isic2017',),
    'weighting': ('ce_ldam_drw',),
    'segment': ('isic2017', 'folder', 'full'),
    'inpaint': ('folder',),
    'finetune': ('clgr_folder',),
    'finetune_isic2017': (*recipes.PLAIN_FINETUNING[1:], 'clgr_dark_corner'),
}
FOLDERS = {('segment', 'folder'): 'masks', ('inpaint', 'folder'): 'purified'}  # their fixtures
JUDGED = {  # by task: folder of tables, and a figure of each split
    'classification': ('predictions', 'auc'),
    'segmentation': ('per_image', 'jaccard'),
    'inpainting': ('per_image', 'psnr_hole'),
    'generation': ('per_image', 'kid'),
}
RANGES = {'auc': (0, 1), 'mean_auc': (0, 1), 'jaccard': (0, 1), 'psnr_hole': (1, 60)}
RANGES['kid'] = (-1000, 1000)
WHOLE = ('', 'head')  # variants that keep their network: the others differ in data and strengths
LIGHT = ('balance_isic2017', 'finetune')  # files with the network of another
SLOW = {  # variants that take the same paths as others
    ('weighting', ''),
    ('compare_unlearning', 'cameras'),
    ('compare_unlearning', 'paper'),
    ('compare_unlearning', 'full'),
    ('compare_unlearning', 'isic2017_instrument'),
    ('compare_finetuning', 'ruler'),
    ('compare_purification', 'hair'),
    ('compare_targeted', ''),
    ('compare_destruction', ''),
    ('compare_destruction', 'isic2017'),
    ('compare_balancing', 'isic2017'),
    ('compare_purification', 'isic2017'),
    ('double', 'lntl_tabe'),
    ('finetune', 'clgr_folder'),
    ('finetune_isic2017', 'head'),
    ('finetune_isic2017', 'melanoma'),
    ('finetune_isic2017', 'scratch'),
    ('clgr', 'oracle'),
    ('clgr', 'resample'),
    ('inpaint', 'folder'),
}
CASES = [
    pytest.param(name, variant, marks=[pytest.mark.slow] if (name, variant) in SLOW else [])
    for name, path in FILES.items()
    if load(path).get_config().kind in KINDS
    for variant in ('', *VARIANTS.get(name, ()))
]


@pytest.fixture(autouse=True, scope='module')
def quick_compilation():
    """Compiling costs far more here than the few steps, in this process and in its workers."""
    os.environ['JAX_DISABLE_MOST_OPTIMIZATIONS'] = '1'
    jax.config.update('jax_disable_most_optimizations', True)
    yield
    jax.config.update('jax_disable_most_optimizations', False)
    del os.environ['JAX_DISABLE_MOST_OPTIMIZATIONS']


@pytest.fixture(scope='module')
def isic2017(tmp_path_factory):
    if not ISIC2017.is_dir():
        pytest.skip('no ../shared/data/isic2017')
    return sample_isic2017(tmp_path_factory.mktemp('isic2017'))


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp('folder') / 'data')


@pytest.fixture(scope='module')
def masks(tmp_path_factory):
    return write_disks(tmp_path_factory.mktemp('masks') / 'data', n=20)


@pytest.fixture(scope='module')
def purified(tmp_path_factory, masks):
    work = tmp_path_factory.mktemp('purified') / 'w'
    config = load(FILES['purify']).get_config('folder')
    run(shrink(config, **{'data.root': str(masks), 'workers': 1}), work)
    return work


@pytest.fixture(scope='module')
def additions(tmp_path_factory, isic2017):
    """Purified copies of `isic2017` and images that pass for generated: fields of config.data."""
    root = tmp_path_factory.mktemp('additions')
    config = load(FILES['purify']).get_config('isic2017')
    source: dict[str, Any] = {'data.root': str(isic2017)}
    run(shrink(config, **source), root / 'purified')
    labels = np.arange(60, dtype=np.int32) % 3
    made = dataclasses.replace(tiny_records(60, size=32), labels=labels, bias={})
    writing.write(DataSet('made', TASKS['three'], {}, {'train': made}), root / 'made')
    folders = {'add_purified': 'purified', 'add_generated': 'made'}
    return {f'data.{field}': str(root / name) for field, name in folders.items()}


@pytest.fixture(scope='module')
def prepared(tmp_path_factory, folder):
    fields: dict[str, Any] = {'data.root': str(folder)}
    config = shrink(load(FILES['prepare']).get_config('folder'), **fields)
    work = tmp_path_factory.mktemp('prepared') / 'w'
    run(config, work)
    return work


def run(config, work):
    """What `main` does with a config."""
    return importlib.import_module(f'skinjax.{config.kind}').run(configs.resolve(config), work)


def assert_whole(work):
    """The files that users rely on are there, and nothing else is left."""
    assert (work / 'DONE').exists()
    assert (work / 'report.html').stat().st_size > 10_000
    assert rundir.load_run(work)
    assert not [path for path in work.rglob('*') if 'tmp' in path.name]


@pytest.mark.parametrize(('name', 'variant'), CASES)
def test_config_runs_to_its_end(name, variant, tmp_path, request):
    config = load(FILES[name]).get_config(variant)
    runs = config.runs.values() if config.kind == 'compare' else [config]
    (source,) = {one.data.name for one in runs}
    fixture = FOLDERS.get((name, source), source)
    fields = {'data.root': str(request.getfixturevalue(fixture))} if source in SOURCES else {}
    if name == 'balance_isic2017':
        fields |= request.getfixturevalue('additions')
    if config.kind == 'compare':
        compare(shrink(config, linear=True, **fields), variant, tmp_path / 'w')
        return
    config = tiny(config, variant not in WHOLE or name in LIGHT, fields)
    results = run(config, tmp_path / 'w')
    assert_whole(tmp_path / 'w')
    assert results['step'] == config.train.steps
    task = configs.task_of('objectives', config.objective.name)
    folder, measure = JUDGED.get(task, ('per_image', ''))
    for split, block in results['splits'].items():
        if task == 'classification' and len(results['data']['classes']) > 2:
            measure = 'mean_auc'
        low, high = RANGES[measure]
        assert low <= block[measure]['value'] <= high
        rows = results['data']['rows'][split]
        assert block['n'] + block.get('clipped', 0) + block.get('without_mask', 0) == rows
        table = (tmp_path / 'w' / folder / f'{split}.csv').read_text().splitlines()
        assert len(table) == 1 + rows
    if task == 'classification':
        assert set(results['probes']) == set(config.data.bias)


def tiny(config: Any, linear: bool, fields: dict[str, Any]) -> Any:
    """A config of kind 'train' that takes seconds, pretrained weights included."""
    if configs.task_of('objectives', config.objective.name) == 'generation':
        return tiny_gan(config, linear, fields)
    if config.objective.get('features', {}).get('pretrained'):
        fields |= {'objective.features.pretrained': weights(config.objective.features.pretrained)}
    if config.model.pretrained and not linear:
        # Eight views of a large network cost minutes; the other files take them.
        fields |= {'model.pretrained': weights(config.model.pretrained), 'evaluate.tta': False}
        fields |= {'data.image_size': 64, 'data.batch_size': 8}
    if not config.train.epochs:
        fields |= {'train.steps': 0, 'train.epochs': 0}
    return shrink(config, linear=linear, **fields)


def tiny_gan(config: Any, linear: bool, fields: dict[str, Any]) -> Any:
    """The same of a config that generates, at the least size of its networks."""
    sizes = {'data.image_size': 64, 'data.batch_size': 8, 'model.width': 0.05}
    sizes |= {'evaluate.count': 12, 'evaluate.val_count': 6}
    sizes |= {'evaluate.features.pretrained': ''}
    return shrink(config, linear=linear, **{**sizes, **fields})


def weights(name: str) -> str:
    """The path of a weights file."""
    path = SHARED / 'weights' / name
    if not path.is_file():
        pytest.skip(f'no ../shared/weights/{name}')
    return str(path)


def compare(config: Any, variant: str, work: Path) -> None:
    """All methods once; a variant with the runs that its table refers to and one method."""
    if variant:
        kept = {config.reference, config.ceiling, 'clgr', 'class_weights', 'generated'}
        kept |= {'always', 'bbox70'}
        for name in set(config.runs) - kept:
            with config.unlocked():
                del config.runs[name]
        config.order = tuple(name for name in config.order if name in config.runs)
    for one in config.runs.values():
        if one.data.add_generated:
            real = one.data.name == 'isic2017'
            classes = TASKS[one.data.task] if real else latents.CLASSES[one.data.classes]
            one.data.add_generated = str(write_generated(work.parent / 'made', classes))
    run(config, work)
    assert_whole(work)
    values = json.loads((work / 'comparison.json').read_text())['values']
    assert set(values) == set(config.runs)
    for columns in values.values():
        assert list(columns) == [column for column, _ in config.columns]
        for column in config.drawn:
            assert np.isfinite(columns[column]).all()
    table = (work / 'table.md').read_text()
    assert all(f'| {name} ' in table for name in config.runs)


@pytest.mark.parametrize('source', ['', 'folder'])
def test_evaluate_runs_to_its_end(source, tmp_path, folder):
    trained = shrink(load(FILES['baseline']).get_config(), linear=True)
    first = run(trained, tmp_path / 'run')
    fields: dict[str, Any] = {'data.bias': ('ruler',)}
    if source:
        fields |= {'data.root': str(folder), 'data.classes': ('nevus', 'melanoma')}
    config = shrink(load(FILES['evaluate']).get_config(source), **fields)
    config.init_from = str(tmp_path / 'run')
    results = run(config, tmp_path / 'w')
    assert_whole(tmp_path / 'w')
    assert results['step'] == 2 and results['threshold'] == first['threshold']
    if source:
        assert results['data']['name'] == 'folder' and set(results['splits']) == {'val', 'test'}
    else:
        assert results['splits'] == first['splits']


@pytest.mark.parametrize('source', ['', 'isic2017'])  # `prepared` has prepared a folder
def test_prepare_runs_to_its_end(source, tmp_path, request):
    root = str(request.getfixturevalue(source)) if source else ''
    fields: dict[str, Any] = {'shard_rows': 20, 'data.root': root}
    config = shrink(load(FILES['prepare']).get_config(source), **fields)
    results = run(config, tmp_path / 'w')
    assert_whole(tmp_path / 'w')
    again = shrink(kinds.generate('prepared'), **{**fields, 'data.root': str(tmp_path / 'w')})
    data = groups.load(configs.find('data', 'prepared').build, again.data, 0, training=False)
    assert data.describe()['rows'] == results['data']['rows']
    assert data.info['prepared']['source'] == (source or 'synthetic')
