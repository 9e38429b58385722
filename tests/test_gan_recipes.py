"""skinjax/gan_recipes.py and its configs: what the documentation says of them."""

import importlib.util
from typing import Any

import pytest

from skinjax import config as configs
from skinjax import recipes, train
from tests.helpers import ROOT


def load(name: str, variant: str = '', **fields: Any) -> Any:
    spec = importlib.util.spec_from_file_location(name, ROOT / 'configs' / f'{name}.py')
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return configs.resolve(configs.override(module.get_config(variant), fields))


@pytest.mark.parametrize('name', ['dcgan', 'coupled_dcgan'])
def test_synthetic_lesions_take_the_steps_that_were_measured(name):
    config = load(name)
    assert train.build_objective(config, train.load_data(config))[1] == 3500


@pytest.mark.parametrize(('name', 'rows'), [('dcgan', 50), ('coupled_dcgan', 49)])
def test_published_networks_are_judged_as_they_generate(name, rows):
    config = load(name, 'paper')
    assert (config.data.image_size, config.data.batch_size, config.train.epochs) == (256, rows, 499)
    options = config.evaluate
    assert options.batch_statistics and options.minmax and options.batch_size == 50
    assert options.features.name == 'mobilenet'
    assert options.features.pretrained == recipes.WEIGHTS  # no checkpoint by random features


def test_a_balanced_set_is_flipped_by_its_plan_alone():
    config = load('balance_isic2017')
    assert config.data.balance == 'bisla' and config.train.augment == ()
    assert not {'d4', 'flip', 'vflip'} & {*config.data.augment_host}
