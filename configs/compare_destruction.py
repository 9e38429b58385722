"""How well do networks tell melanomas from what is left of images whose lesion is destroyed?

After Bissoto et al. (2019): trained and tested on images as they are (`traditional`), with the
lesion's pixels black (`only_skin`), with a black rectangle around it (`bbox`), and with 70 % of the
image black (`bbox70`). What is above an AUC of 0.5 there is not in the lesion: skin, artefacts, how
the image was taken.

    ''         synthetic lesions; half of the melanomas and no nevus has a dark frame, which no hole
               hides. So it is in `val`; in `plain` nobody has one, and what is left there is skin
               and the shape of the hole
    isic2017   melanoma against the rest on real images, MobileNetV2 with ImageNet weights, without
               the test images that have no mask

    python -m skinjax.main --config=configs/compare_destruction.py
    python -m skinjax.main --config=configs/compare_destruction.py:isic2017 --config.root=FOLDER \
        --config.pretrained=mobilenet_v2_1.0_224_dequantised_f32.npz

Measured: AUC on plain: traditional .862, only_skin .720, bbox .733, bbox70 .560; on val .917, .861,
.867, .779 ('', three seeds, 4 minutes on two cores with --config.jobs=2).

Published: Inception-v4 at 299 pixels, 60 epochs, ten random splits, 50 augmented views averaged.
"""

from skinjax import kinds, recipes
from skinjax.editors import destroy

VARIANTS = ('', 'isic2017')
SPLITS, FRAME = ('plain', 'val', 'reversed'), 'frame'


def get_config(variant: str = ''):
    """Kind 'compare' over the four sets."""
    if variant not in VARIANTS:
        raise ValueError(
            f'unknown variant {variant!r} of compare_destruction: choose {VARIANTS[1]}'
        )
    runs = {what: _real() if variant else _synthetic() for what in destroy.WHAT}
    for what, run in runs.items():
        run.data.purify, run.data.with_mask = f'destroy:{what}', True
    splits = ('test',) if variant else SPLITS
    columns = {f'{name} AUC': f'splits.{name}.auc.value' for name in splits}
    if variant:
        columns |= {f'probe of {flag}': f'probes.{flag}.linear.auc' for flag in recipes.FLAGS}
    else:
        columns |= {'linear probe': f'probes.{FRAME}.linear.auc'}
        columns |= {'shift, pp': f'insertion.{FRAME}.mean_abs'}
    return kinds.compare(
        runs,
        seeds=(0, 1, 2),
        reference='traditional',
        columns=tuple(columns.items()),
        drawn=tuple(f'{name} AUC' for name in splits),
        order=destroy.WHAT,
    )


def _synthetic():
    config = recipes.unlearning('baseline')
    config.data.artefact, config.data.bias = FRAME, (FRAME,)
    return config


def _real():
    config = recipes.finetuning('melanoma')
    config.data.update(image_size=128, on_error='skip')
    config.train.epochs = 6
    config.evaluate.tta = False
    return config
