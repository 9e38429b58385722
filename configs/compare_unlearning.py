"""Methods x seeds on the synthetic lesions: does unlearning remove the ruler shortcut?

    python -m skinjax.main --config=configs/compare_unlearning.py --config.jobs=2
    python -m skinjax.main --config=configs/compare_unlearning.py:isic2017 --config.root=FOLDER

Variants: '' (half of the melanomas and no nevus has a ruler), full (all four cells of class x
ruler occur), paper (published strengths), cameras, isic2017, isic2017_instrument.
"""

from skinjax import recipes


def get_config(variant: str = ''):
    """Baseline, unlearning methods and comparators over five seeds."""
    return recipes.compare_unlearning(variant)
