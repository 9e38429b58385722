"""Plain classifier: what every other method is compared with.

    python -m skinjax.main --config=configs/baseline.py
    python -m skinjax.main --config=configs/baseline.py:isic2017 --config.data.root=FOLDER

Variants: see `unlearning` in skinjax/recipes.py.
"""

from skinjax import recipes


def get_config(variant: str = ''):
    """The experiment on the embedded synthetic lesions, or a variant of it."""
    return recipes.unlearning('baseline', variant)
