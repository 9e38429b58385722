"""LNTL: learning not to learn (Kim et al. 2019).

    python -m skinjax.main --config=configs/lntl.py
    python -m skinjax.main --config=configs/lntl.py:isic2017 --config.data.root=FOLDER

Variants: oracle, resample, paper, cameras, isic2017, isic2017_instrument, folder, prepared, SOURCE,
SOURCE_VARIABLE; see `unlearning` in skinjax/recipes.py.

Measured: AUC plain .850, marked .842, reversed .838 (synthetic lesions, mean of five seeds,
configs/compare_unlearning.py).
"""

from skinjax import recipes


def get_config(variant: str = ''):
    """The experiment on the embedded synthetic lesions, or a variant of it."""
    return recipes.unlearning('lntl', variant)
