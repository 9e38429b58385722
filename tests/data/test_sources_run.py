"""A source chosen by name and root is trained on, and a test set judges the result."""

import json

import jax
import pytest

from skinjax import config as configs
from skinjax import evaluate, recipes, train
from tests.data import layouts
from tests.helpers import shrink


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
