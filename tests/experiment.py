"""Experiments of seconds for tests that start the program.

--config=tests/experiment.py:folder    a folder of images
--config=tests/experiment.py:compare   two methods, two seeds, 180 steps each
"""

from skinjax import config as configs
from tests.helpers import LINEAR, TINY, has, small_run

FIELDS = {'data.bias': ('ruler',), 'train.epochs': 2, 'evaluate.probe_split': 'test'}


def get_config(variant: str = 'folder'):
    """The experiment of that name."""
    if variant == 'compare':
        sizes = {'devices': 1, 'train.epochs': 30, 'train.evaluate_every': 15.0}
        sizes |= {'data.n_test': 24, 'evaluate.splits': ('plain',), 'evaluate.probe_split': 'plain'}
        runs = {name: small_run(name, **sizes) for name in ('baseline', 'group_dro')}
        return configs.compare(
            runs, seeds=(0, 1), reference='baseline', columns=(('plain', 'splits.plain.auc.value'),)
        )
    config = configs.train('clgr', 'folder', LINEAR)
    fields = {**TINY, **FIELDS, 'data.image_size': 16, 'train.steps': 0}
    return configs.override(config, {n: v for n, v in fields.items() if has(config, n)})
