"""Weights of training images: rare classes, easy images or hard images first.

    python -m skinjax.main --config=configs/weighting.py
    python -m skinjax.main --config=configs/weighting.py:focal_ohem
    python -m skinjax.main --config=configs/weighting.py:ce_cb+ohem --config.objective.defer=0.8

Variants: LOSS_WEIGHTS, with the loss ce or focal and the weights none, cb, es, spl, ohem or two
joined as cb+ohem; '' is ce_cb. Seven classes of synthetic lesions, as rare as in HAM10000.
`weights_history.csv` of the run tells what each training image has counted.
"""

from skinjax import config as configs
from skinjax import recipes

LOSSES, SCHEMES = ('ce', 'focal'), ('none', 'cb', 'es', 'spl', 'ohem')


def get_config(variant: str = ''):
    """The experiment on the embedded synthetic lesions."""
    loss, _, scheme = (variant or 'ce_cb').partition('_')
    if loss not in LOSSES or not {*scheme.split('+')} <= {*SCHEMES}:
        raise ValueError(
            f'unknown variant {variant!r} of weighting: choose LOSS_WEIGHTS, such as '
            f'focal_cb+ohem, of {", ".join(LOSSES)} and {", ".join(SCHEMES)}'
        )
    objective = configs.plugin(
        'objectives', 'weighting', loss=loss, weights=scheme.replace('none', '')
    )
    model = configs.plugin('models', 'resnet', variant='narrow', dropout=0.5)
    config = configs.train(objective, 'synthetic', model)
    recipes.from_scratch(config)
    config.data.update(classes=7, artefact='none', skew=(0.0,) * 7)
    config.data.mean, config.data.std = (0.62, 0.47, 0.42), (0.2, 0.2, 0.2)
    return config
