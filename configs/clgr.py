"""CLGR: confusion loss and gradient reversal (Bevan & Atapour-Abarghouei 2022).

    python -m skinjax.main --config=configs/clgr.py
    python -m skinjax.main --config=configs/clgr.py:isic2017 --config.data.root=FOLDER

Variants: see `unlearning` in skinjax/recipes.py.
"""

from skinjax import recipes


def get_config(variant: str = ''):
    """The experiment on the embedded synthetic lesions, or a variant of it."""
    return recipes.unlearning('clgr', variant)
