"""A source chosen by name and root: by configs, in training, and to judge the result."""

import json

import jax
import pytest

from skinjax import config as configs
from skinjax import evaluate, experiments, recipes, train
from tests.data import layouts
from tests.data.test_sources import ABOUTS
from tests.helpers import ROOT, shrink


@pytest.fixture
def quick_compilation():
    jax.config.update('jax_disable_most_optimizations', True)
    yield
    jax.config.update('jax_disable_most_optimizations', False)


def test_train_on_one_source_and_evaluate_on_another(tmp_path, quick_compilation):
    layouts.ham10000(tmp_path / 'ham10000', 280)
    layouts.mclass(tmp_path / 'mclass')
    fields = {
        'data.root': str(tmp_path / 'ham10000'),
        'data.image_size': 8,
        'data.batch_size': 16,
        'evaluate.tta': False,
    }
    config = shrink(recipes.unlearning('baseline', 'ham10000'), linear=True, **fields)
    first = train.run(configs.resolve(config), tmp_path / 'run')
    assert first['data']['classes'] == ['not melanoma', 'melanoma']
    assert first['data']['licence'] == 'CC BY-NC 4.0'
    assert set(first['probes']) == {'sex'}
    judged = configs.evaluate('mclass')
    judged.init_from, judged.data.root = str(tmp_path / 'run'), str(tmp_path / 'mclass')
    judged.evaluate.bootstrap = 5
    results = evaluate.run(configs.resolve(judged), tmp_path / 'judged')
    assert results['threshold'] == first['threshold']
    assert set(results['splits']) == {'test'} and results['splits']['test']['n'] == 4
    assert results['probes'] == {}
    header = (tmp_path / 'judged/predictions/test.csv').read_text().splitlines()[0]
    assert 'width' in header and 'class' in header
    assert json.loads((tmp_path / 'judged/config.json').read_text())['data']['name'] == 'mclass'


def test_the_study_of_both_years_unlearns_the_instrument():
    assert recipes.unlearning('clgr', 'isic2017_2020').objective.bias == 'instrument'
    marked = recipes.unlearning('clgr', 'isic2017_2020_marking')
    assert (marked.data.name, marked.data.bias) == ('isic2017_2020', ('marking',))


@pytest.mark.parametrize('name', sorted(ABOUTS))
def test_configs_choose_a_source_by_its_name(name):
    about = ABOUTS[name]
    if not about.trains:
        with pytest.raises(ValueError, match=f'{name} is only tested on.*evaluate.py:{name}'):
            recipes.unlearning('clgr', name)
        assert configs.resolve(with_run(configs.evaluate(name))).data.name == name
        return
    config = recipes.unlearning('clgr', name)
    assert config.data.name == name
    if not about.bias:
        with pytest.raises(ValueError, match=f'clgr needs a bias variable, and {name} has none'):
            configs.resolve(config)
        config.data.bias = ('site',)
        assert configs.resolve(config).objective.bias == 'site'
    else:
        assert configs.resolve(config).data.bias == (about.bias,)
        assert config.objective.bias == about.bias
        other = recipes.unlearning('lntl', f'{name}_sex')
        assert (other.data.name, other.objective.bias) == (name, 'sex')
        assert experiments.load(f'skinjax:compare_unlearning:{name}').runs.tabe.data.name == name
    assert configs.resolve(recipes.unlearning('baseline', name)).data.name == name


def with_run(config):
    config.init_from = 'run'
    return config


def test_docs_tell_of_every_source():
    lines = (ROOT / 'docs' / 'data.md').read_text(encoding='utf-8').splitlines()
    rows = {line.split('`')[1]: line for line in lines if line.startswith('| `')}
    for name, about in ABOUTS.items():
        row = rows[name]
        assert f'{about.images:,}' in row and about.licence in row
        assert not about.bias or f'**{about.bias}**' in row
        command = 'clgr' if about.trains else 'evaluate'
        assert f'configs/{command}.py:{name}' in row
