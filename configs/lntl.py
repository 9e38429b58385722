"""LNTL: learning not to learn (Kim et al. 2019).

    python -m skinjax.main --config=configs/lntl.py
    python -m skinjax.main --config=configs/lntl.py:isic2017 --config.data.root=FOLDER

Variants: see `unlearning` in skinjax/recipes.py.
"""

from skinjax import recipes


def get_config(variant: str = ''):
    """The experiment on the embedded synthetic lesions, or a variant of it."""
    return recipes.unlearning('lntl', variant)
