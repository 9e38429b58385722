"""The default DCGAN, smaller and shorter, learns lesions and copies none."""

import pytest

from skinjax import config as configs
from skinjax.train import run
from tests.helpers import ROOT
from tests.test_every_config import load


@pytest.mark.slow
def test_images_get_nearer_to_real_ones_and_none_is_a_copy(tmp_path):
    config = load(ROOT / 'configs' / 'dcgan.py').get_config()
    config.data.update(n_train=1500, n_test=300)
    config.model.width = 0.25
    config.train.update(epochs=24, evaluate_every=4.0)
    config.evaluate.update(count=300)
    results = run(configs.resolve(config), tmp_path / 'gan')
    validation, plain = results['validation'], results['splits']['plain']
    assert validation['least']['kid'] < 0.5 * validation['first']['kid']
    assert plain['kid']['value'] < 0.5 * results['untrained']['plain']['kid']['value']
    assert plain['diversity'] > 0.5
    assert results['memorisation']['pixels']['copies'] == 0
    assert not results['alarms']
