"""TABE: turning a blind eye (Alvi et al. 2018).

    python -m skinjax.main --config=configs/tabe.py
    python -m skinjax.main --config=configs/tabe.py:isic2017 --config.data.root=FOLDER

Variants: oracle, resample, paper, cameras, isic2017, isic2017_instrument, folder, prepared, SOURCE,
SOURCE_VARIABLE; see `unlearning` in skinjax/recipes.py.

Measured: AUC plain .855, marked .793, reversed .732 (synthetic lesions, mean of five seeds,
configs/compare_unlearning.py).
"""

from skinjax import recipes


def get_config(variant: str = ''):
    """The experiment on the embedded synthetic lesions, or a variant of it."""
    return recipes.unlearning('tabe', variant)
