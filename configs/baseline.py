"""Plain classifier: what every other method is compared with.

    python -m skinjax.main --config=configs/baseline.py
    python -m skinjax.main --config=configs/baseline.py:isic2017 --config.data.root=FOLDER

Variants: oracle, resample, cameras, isic2017, isic2017_instrument, folder, prepared, SOURCE,
SOURCE_VARIABLE; see `unlearning` in skinjax/recipes.py.

Measured: AUC plain .858, marked .759, reversed .598 (synthetic lesions, mean of five seeds,
configs/compare_unlearning.py).
"""

from skinjax import recipes


def get_config(variant: str = ''):
    """The experiment on the embedded synthetic lesions, or a variant of it."""
    return recipes.unlearning('baseline', variant)
