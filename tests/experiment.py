"""Experiments of seconds for tests that start the program.

--config=tests/experiment.py:folder    a folder of images
--config=tests/experiment.py:compare   three runs, of which the second takes its time
--config=tests/experiment.py:gan       two networks and all that makes their training stable
"""

from skinjax import config as configs
from skinjax import kinds, recipes
from skinjax.objectives import perceptual
from tests.helpers import LINEAR, TINY, has, shrink

GAN = {
    'train.epochs': 75,
    'train.checkpoint_every': 5.0,
    'train.evaluate_every': 50.0,
    'train.log_every': 5,
    'train.ema': 0.9,
    'optimizer.name': 'adam',
    'optimizer.learning_rate': 2e-4,
    'data.batch_size': 8,
    'data.artefact': 'none',
    'data.mean': (0.5, 0.5, 0.5),
    'data.std': (0.5, 0.5, 0.5),
    'evaluate.count': 24,
    'evaluate.val_count': 24,
    'evaluate.splits': ('val',),
}
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
    if variant == 'gan':
        return gan()
    config = configs.train('clgr', 'folder', LINEAR)
    fields = {**TINY, **FIELDS, 'data.image_size': 16, 'train.steps': 0}
    return configs.override(config, {n: v for n, v in fields.items() if has(config, n)})


def gan():
    """300 steps; every other epoch has extra steps of the generator."""
    extra = {'every': 2, 'n': 1, 'unit': 'epoch'}
    method = configs.plugin(
        'objectives', 'gan', augment=('cutout',), instance_noise=0.1, extra_generator=extra
    )
    config = configs.train(method, model=configs.plugin('models', 'tests.objectives.small_gan'))
    fields = {**TINY, 'train.steps': 0, 'data.image_size': 64, **GAN}
    config = configs.override(config, {n: v for n, v in fields.items() if has(config, n)})
    with config.unlocked():
        config.evaluate.features = perceptual.section('tests.objectives.linear_encoder')
    return config
