"""Do lesions on recoloured skin help? Trained on light skin, judged on skin of each type.

Synthetic lesions, whose skin tone is a parameter: the test pictures are the same lesions on skin of
types I to VI, and training sees types I and II alone.

    light    those pictures as they are
    jitter   with random brightness, contrast and saturation: the floor
    styled   with a copy of each, recoloured to types III to VI by kind 'generate'
    both     styled, with jitter
    even     pictures of the same lesions truly on skin of every type

All take the same number of steps. 'even' is no ceiling: it has 3,000 pictures, each lesion on skin
of one type, where 'styled' and 'both' have 6,000, each lesion light and dark.

The copies are made of the training rows of the same run, so that every seed has a folder of its own
({seed} stands for it); seed 0:

    python -m skinjax.main --config=configs/stylise.py --config.seed=0 --workdir=styled/lesions0 \
        --config.data.tones=light --config.data.artefact=none --config.data.skew=0,0

Then

    python -m skinjax.main --config=configs/compare_styling.py

Measured: AUC on skin of type VI: light .864, jitter .869, styled .881, both .870, even .879;
15 minutes on two cores, and ten for the recoloured copies.
"""

from skinjax import config as configs
from skinjax import kinds, recipes
from skinjax.data import tones

ROWS = 3000
FOLDER = 'styled/lesions{seed}'


def get_config(variant: str = ''):
    """Kind 'compare' over the five."""
    if variant:
        raise ValueError(f'unknown variant {variant!r} of compare_styling: it has none')
    names = ('light', 'jitter', 'styled', 'both', 'even')
    runs = {name: _run() for name in names}
    for name in ('jitter', 'both'):
        runs[name].train.augment = (*runs[name].train.augment, 'colour')
    for name in ('styled', 'both'):
        runs[name].data.add_generated = FOLDER
    runs['even'].data.tones = tones.EVEN
    splits = {f'type {kind}': tones.split(kind) for kind in range(1, 7)}
    return kinds.compare(
        runs,
        seeds=(0, 1, 2),
        reference='light',
        columns=tuple(
            (f'AUC {name}', f'splits.{split}.auc.value') for name, split in splits.items()
        ),
        drawn=tuple(f'AUC {name}' for name in splits),
        order=names,
    )


def _run():
    config = configs.train(
        'baseline', 'synthetic', configs.plugin('models', 'resnet', variant='narrow')
    )
    recipes.from_scratch(config)
    config.data.update(
        artefact='none', skew=(0.0, 0.0), tones=tones.LIGHT, n_train=ROWS, n_test=1000
    )
    config.train.steps = ROWS // config.data.batch_size * config.train.epochs
    return config
