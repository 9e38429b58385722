"""Experiments of seconds for tests that start the program.

--config=tests/experiment.py:folder    a folder of images
--config=tests/experiment.py:compare   three runs, of which the second takes its time
"""

from skinjax import config as configs
from skinjax import kinds, recipes
from tests.helpers import LINEAR, TINY, has, shrink

FIELDS = {'data.bias': ('ruler',), 'train.epochs': 2, 'evaluate.probe_split': 'test'}


def get_config(variant: str = 'folder'):
    """The experiment of that name."""
    if variant == 'compare':
        sizes = {'train.steps': 0, 'evaluate.splits': ('plain',), 'evaluate.probe_split': 'plain'}
        runs = {}
        for name, method, epochs in (
            ('first', 'baseline', 1),
            ('second', 'group_dro', 500),
            ('third', 'baseline', 1),
        ):
            sizes |= {'train.epochs': epochs, 'train.evaluate_every': epochs / 2}
            sizes |= {'train.checkpoint_every': epochs / 2}
            runs[name] = shrink(recipes.unlearning(method), linear=True, **sizes)
        return kinds.compare(
            runs, seeds=(0,), reference='first', columns=(('plain', 'splits.plain.auc.value'),)
        )
    config = configs.train('clgr', 'folder', LINEAR)
    fields = {**TINY, **FIELDS, 'data.image_size': 16, 'train.steps': 0}
    return configs.override(config, {n: v for n, v in fields.items() if has(config, n)})
