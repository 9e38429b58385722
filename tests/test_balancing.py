"""configs/compare_balancing.py: what differs between its runs, and folders for every seed."""

import importlib.util
from pathlib import Path

import pytest

from skinjax import compare, rundir, train
from skinjax import config as configs
from tests.audits.generated import write_generated
from tests.helpers import ROOT, shrink

FILE = ROOT / 'configs' / 'compare_balancing.py'


def load(variant: str = ''):
    spec = importlib.util.spec_from_file_location(FILE.stem, FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(variant)


@pytest.mark.parametrize(('variant', 'steps'), [('', 460), ('isic2017', 366), ('ham10000', 657)])
def test_runs_differ_in_the_balancing_alone(variant, steps):
    config = configs.resolve(load(variant))
    assert set(config.runs) == {'plain', 'class_weights', 'oversampling', 'generated'}
    base = configs.to_json(config.runs.plain)
    allowed = {
        'class_weights': 'objective.',
        'oversampling': 'data.sampling',
        'generated': 'data.add_generated',
    }
    for name, start in allowed.items():
        lines = rundir.differences(base, configs.to_json(config.runs[name]))
        assert lines and all(line.startswith(start) for line in lines), lines
        assert config.runs[name].objective.label_smoothing == base['objective']['label_smoothing']
        assert config.runs[name].train.steps == base['train']['steps'] == steps
    assert config.runs.class_weights.objective.weights == 'cb'
    assert config.runs.plain.data.image_size == (128 if variant else 64)
    assert len(config.seeds) == 3 and config.reference == 'plain'


def test_more_rows_are_not_more_steps(tmp_path):
    runs = configs.resolve(load()).runs
    plain, more = runs.plain, runs.generated
    more.data.add_generated = str(write_generated(tmp_path / 'a', ('df', 'vasc'), each=70))
    steps, rows = [], []
    for one in (plain, more):
        data = train.load_data(one)
        rows.append(len(data.splits['train']))
        steps.append(train.build_objective(one, data)[1])
    assert rows == [3000, 3140]
    assert steps == [460, 460]
    plain.train.steps = 0
    assert train.build_objective(plain, train.load_data(plain))[1] == 460
    more.train.steps = 0
    assert train.build_objective(more, train.load_data(more))[1] == 490


@pytest.mark.parametrize(('variant', 'models'), [('', 3), ('isic2017', 1), ('ham10000', 3)])
def test_only_a_published_split_has_one_model_for_all_seeds(variant, models):
    planned = compare.plan(load(variant), Path('w'))
    folders = {planned['generated', seed, 0][0].data.add_generated for seed in (0, 1, 2)}
    assert len(folders) == models


def test_unknown_variant():
    with pytest.raises(
        ValueError, match=r"'isic2018' of compare_balancing: choose one of isic2017"
    ):
        load('isic2018')


def test_every_seed_has_the_folder_of_its_own_generative_model(tmp_path):
    config = load()
    config.runs.generated.data.add_generated = f'{tmp_path}/a{{seed}},{tmp_path}/b'
    planned = compare.plan(config, Path('w'))
    for seed in config.seeds:
        one, _ = planned['generated', seed, 0]
        assert one.data.add_generated == f'{tmp_path}/a{seed},{tmp_path}/b'
        assert planned['plain', seed, 0][0].data.add_generated == ''
    config.folds = 2
    config.runs.plain.data.add_purified = 'p{seed}_{fold}'
    assert compare.plan(config, Path('w'))['plain', 2, 1][0].data.add_purified == 'p2_1'


def test_a_missing_folder_is_told_before_anything_runs(tmp_path):
    write_generated(tmp_path / 'a0', ('mel',), each=1)
    config = shrink(load(), linear=True)
    config.seeds = (0, 1)
    config.runs.generated.data.add_generated = f'{tmp_path}/a{{seed}}'
    with pytest.raises(FileNotFoundError, match=r'runs\.generated\.data\.add_generated: .*a1: no'):
        compare.run(config, tmp_path / 'w')
    assert not (tmp_path / 'w').exists()
