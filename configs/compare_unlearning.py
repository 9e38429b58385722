"""Methods x seeds on the synthetic lesions: does unlearning remove the ruler shortcut?

    python -m skinjax.main --config=configs/compare_unlearning.py --config.jobs=2
    python -m skinjax.main --config=configs/compare_unlearning.py:isic2017 --config.root=FOLDER

Variants:

    ''                    half of the melanomas and no nevus has a ruler
    full                  all four cells of class x ruler occur
    paper                 the first with the published strengths
    cameras               eight cameras in place of rulers
    isic2017, isic2017_instrument
                          real images; the flag `ruler`, or the size of the original image
    SOURCE_VARIABLE       another data set and a bias variable of it, see `unlearning` in recipes.py

Measured: 24 minutes on two cores with --config.jobs=2; AUC on reversed: oracle .867, baseline .598,
tabe .732, lntl .838, clgr .846.
"""

from skinjax import recipes


def get_config(variant: str = ''):
    """Baseline, unlearning methods and comparators over five seeds."""
    return recipes.compare_unlearning(variant)
