"""MobileNetV2 fine-tuned on ISIC 2017 in the balance of Bisla et al. (2019, Fig. 7).

    python -m skinjax.main --config=configs/purify.py:isic2017 --config.data.root=FOLDER \
        --workdir=purified/isic2017
    python -m skinjax.main --config=configs/dcgan.py:isic2017 --config.data.root=FOLDER \
        --workdir=runs/melanoma --config.evaluate.features.pretrained=...
    python -m skinjax.main --config=configs/generate.py:gan --config.init_from=runs/melanoma \
        --config.count=141 --workdir=generated/melanoma

and in the same way runs/keratosis (--config.data.only=seborrheic_keratosis) and 350 images of it.

    python -m skinjax.main --config=configs/balance_isic2017.py --config.data.root=FOLDER \
        --config.data.add_purified=purified/isic2017 \
        --config.data.add_generated=generated/melanoma,generated/keratosis \
        --config.model.pretrained=mobilenet_v2_1.0_224_dequantised_f32.npz

To the 370 melanomas, 1,355 nevi and 254 seborrheic keratoses of the training split come the
published shares: 397 purified copies, 141 and 350 generated images; melanomas and keratoses that
are no copies are mirrored, and every image counts six times, upside down or not and cropped at
random: 6,486, 9,648 and 7,758 rows. (The published numbers of originals give the published 16,110,
17,928 and 16,632.) These flips are the only ones: with the usual train.augment of ('d4',), which
shows every image in all eight symmetries, mirrored rows would be no more than a weight.

One epoch is 1.2 times as long as the ten of configs/finetune_isic2017.py, with which it is to be
compared, and which has the eight symmetries. With --config.data.folds=5 the shares are those of
each fold, and the generated images must come from a run on the same fold.
"""

from skinjax import recipes


def get_config(variant: str = ''):
    """The fine-tuning of real images, on the balanced training set."""
    if variant:
        raise ValueError(f'unknown variant {variant!r}: balance_isic2017 has none')
    config = recipes.finetuning()
    config.data.balance = 'bisla'
    config.train.update(epochs=1, evaluate_every=0.2, augment=())
    return config
