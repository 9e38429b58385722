"""A trained network, whose maps the tests of style transfer take."""

import pytest

from skinjax import config as configs
from skinjax import train
from tests.helpers import SMALL


@pytest.fixture(scope='session')
def trained(tmp_path_factory):
    """A run of the five blocks on images of 32 pixels."""
    config = configs.train('baseline', 'synthetic', 'lesion_cnn')
    config = configs.override(
        config,
        {
            **SMALL,
            'devices': 1,
            'train.steps': 2,
            'data.mean': (0.0,) * 3,
            'data.std': (1.0,) * 3,
            'evaluate.splits': ('val',),
            'evaluate.probes': (),
        },
    )
    work = tmp_path_factory.mktemp('run') / 'w'
    train.run(configs.resolve(config), work)
    return work
