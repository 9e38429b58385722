"""GroupDRO: the worst group first (Sagawa et al. 2020), a comparator.

    python -m skinjax.main --config=configs/group_dro.py
    python -m skinjax.main --config=configs/group_dro.py:isic2017 --config.data.root=FOLDER

Variants: see `unlearning` in skinjax/recipes.py.
"""

from skinjax import recipes


def get_config(variant: str = ''):
    """The experiment on the embedded synthetic lesions, or a variant of it."""
    return recipes.unlearning('group_dro', variant)
