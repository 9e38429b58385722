"""Lesion masks by the dilated U-Net of Bisla et al. 2019 (section 4.1).

    python -m skinjax.main --config=configs/segment.py
    python -m skinjax.main --config=configs/segment.py:isic2017 --config.data.root=FOLDER

Variants:

    ''           synthetic lesions with exact masks, an eighth of the published channels
    isic2017     real images and masks (clipped ones are learned from, but not judged by)
    ham10000     real images and masks; the images of a lesion are in one split
    folder       images, masks and records.csv in --config.data.root
    full         ISIC 2017 as published: all channels, 400 x 400 pixels less 10 a side, batches of
                 15, at most 500 epochs of which the best by validation loss counts

The network sees at least 228 x 228 pixels, whatever the images have: 236 is the least that it takes
without padding. Each split is judged by `skinjax/tasks/segmentation.py`.

Measured: mean Jaccard .841 on synthetic lesions (22 minutes on two cores shared by eight
processes), .675 on ISIC 2017, .836 on HAM10000 (three epochs, half an hour on two busy cores).
"""

from skinjax import config as configs

VARIANTS = ('', 'isic2017', 'ham10000', 'folder', 'full')
EPOCHS, DECAY = 500, 30  # published: the rate is divided by ten every 30 epochs


def get_config(variant: str = ''):
    """The small network on synthetic lesions, or a variant of it."""
    if variant not in VARIANTS:
        raise ValueError(
            f'unknown variant {variant!r} of segment: choose one of {", ".join(VARIANTS[1:])}'
        )
    source = {'': 'synthetic', 'full': 'isic2017'}.get(variant, variant)
    model = configs.plugin('models', 'dilated_unet', width=1.0 if variant == 'full' else 0.125)
    config = configs.train('segmentation', source, model)
    config.data.update(image_size=236, batch_size=8, with_mask=True)
    config.optimizer.update(name='adam', momentum=0.9, second=0.999)
    config.train.update(augment=('flip',), select='best')
    if variant == 'full':
        config.data.update(image_size=400, batch_size=15)
        config.objective.crop = 10
        config.optimizer.update(learning_rate=1e-4, schedule='step')
        config.optimizer.decay_at = tuple(at / EPOCHS for at in range(DECAY, EPOCHS, DECAY))
        config.train.epochs = EPOCHS
        return config
    config.optimizer.update(learning_rate=2e-3, schedule='cosine', warmup=0.05, clip=1.0)
    config.train.epochs = 4 if variant == 'ham10000' else 12
    if variant == '':
        config.data.update(n_train=400, n_val=60, n_test=100, hair=0.5, bubbles=0.3)
        config.data.update(artefact='ruler', skew=(0.25, 0.25))
        config.train.epochs = 10
        config.evaluate.splits = ('plain', 'marked')
    return config
