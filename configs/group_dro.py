"""GroupDRO: the worst group first (Sagawa et al. 2020), a comparator.

    python -m skinjax.main --config=configs/group_dro.py
    python -m skinjax.main --config=configs/group_dro.py:isic2017 --config.data.root=FOLDER

Variants: oracle, cameras, isic2017, isic2017_instrument, folder, prepared, SOURCE, SOURCE_VARIABLE;
see `unlearning` in skinjax/recipes.py.

Measured: AUC plain .862, marked .783, reversed .660 (synthetic lesions, mean of five seeds,
configs/compare_unlearning.py).
"""

from skinjax import recipes


def get_config(variant: str = ''):
    """The experiment on the embedded synthetic lesions, or a variant of it."""
    return recipes.unlearning('group_dro', variant)
