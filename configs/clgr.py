"""CLGR: confusion loss and gradient reversal (Bevan & Atapour-Abarghouei 2022).

    python -m skinjax.main --config=configs/clgr.py
    python -m skinjax.main --config=configs/clgr.py:isic2017 --config.data.root=FOLDER

Variants: oracle, resample, paper, cameras, isic2017, isic2017_instrument, folder, prepared, SOURCE,
SOURCE_VARIABLE; see `unlearning` in skinjax/recipes.py.

Measured: one to two minutes on two cores; AUC plain .853, marked .847, reversed .846 (synthetic
lesions, mean of five seeds, configs/compare_unlearning.py).
"""

from skinjax import recipes


def get_config(variant: str = ''):
    """The experiment on the embedded synthetic lesions, or a variant of it."""
    return recipes.unlearning('clgr', variant)
