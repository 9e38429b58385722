"""TABE: turning a blind eye (Alvi et al. 2018).

    python -m skinjax.main --config=configs/tabe.py
    python -m skinjax.main --config=configs/tabe.py:isic2017 --config.data.root=FOLDER

Variants: see `unlearning` in skinjax/recipes.py.
"""

from skinjax import recipes


def get_config(variant: str = ''):
    """The experiment on the embedded synthetic lesions, or a variant of it."""
    return recipes.unlearning('tabe', variant)
