"""Lesions by taxonomy: an attention LSTM says the path to the class, level by level.

    python -m skinjax.main --config=configs/hierarchical.py
    python -m skinjax.main --config=configs/hierarchical.py:ham10000 --config.data.root=FOLDER \
        --config.model.pretrained=mobilenet_v2_1.0_224_dequantised_f32.npz

Variants:

    ''           seven classes of synthetic lesions, as rare as in HAM10000; a narrow ResNet
    two_levels   the same without the level benign or malignant
    flat         the same with one level, that of the classes
    cbam         the same with CBAM after the encoder
    ham10000     MobileNetV2 with ImageNet weights, 224 x 224 pixels; lesions undivided
    isic2018     the same, with the official test images where they are there
    published    HAM10000 as published: VGG-16 (vgg16.pth), 299 x 299 pixels, two levels, greedy
                 decoding without constraint, no weights, Adam at 1e-6, divided by ten after half
                 and three quarters of 120 epochs, batches of 20

What `published` does not take over: label embeddings from co-occurrence (here random), their file
of ImageNet weights and its scaling of the images (here torchvision's), their augmentation (here
flips and transposes), their folds. results.json has the figures of each level under `hierarchy`,
figures/ where the network looked. `--config.objective.weights=cb`, es, spl, ohem or cb+ohem says
how much an image counts (configs/weighting.py).
"""

from skinjax import config as configs
from skinjax import recipes, taxonomy

VARIANTS = ('', 'two_levels', 'flat', 'cbam', 'ham10000', 'isic2018', 'published')
REAL = ('ham10000', 'isic2018', 'published')
TREES = {'two_levels': taxonomy.ORIGIN, 'published': taxonomy.ORIGIN, 'flat': {}}


def get_config(variant: str = ''):
    """The small network on synthetic lesions, or a variant of it."""
    if variant not in VARIANTS:
        raise ValueError(
            f'unknown variant {variant!r} of hierarchical: choose one of {", ".join(VARIANTS[1:])}'
        )
    tree = TREES.get(variant, taxonomy.LESIONS)
    if variant not in REAL:
        tree = taxonomy.renamed(tree, taxonomy.CODES)
    objective = configs.plugin('objectives', 'hierarchical', taxonomy=tree)
    source = {'published': 'ham10000'}.get(variant, variant) if variant in REAL else 'synthetic'
    config = configs.train(objective, source, model(variant))
    if variant == 'published':
        config.objective.update(decoding='greedy', constrained=False)
        config.data.update(image_size=299, batch_size=20)
        config.optimizer.update(name='adam', learning_rate=1e-6, schedule='step')
        config.optimizer.decay_at = (0.5, 0.75)
        config.train.epochs = 120
        config.model.frozen_norm = True
    elif variant in REAL:
        config.data.update(image_size=224, batch_size=32)
        config.data.update(mean=(128 / 255,) * 3, std=(128 / 255,) * 3)  # of these weights
        config.optimizer.update(learning_rate=0.01, schedule='cosine', warmup=0.05, clip=1.0)
        config.train.epochs = 15
        config.model.frozen_norm = True
    else:
        recipes.from_scratch(config)
        config.data.update(classes=7, artefact='none', mean=(0.62, 0.47, 0.42), std=(0.2,) * 3)
        config.objective.hidden = 128
        config.model.attention = 'cbam' if variant == 'cbam' else ''
    if variant in REAL:
        config.data.positive = ''  # all seven classes
    return config


def model(variant: str):
    """The encoder of a variant."""
    if variant == 'published':
        network = configs.plugin('models', 'vgg', variant='vgg16', top='mean')
        return {**network, 'pretrained': 'vgg16.pth', 'leave_out': ('head',)}
    if variant in REAL:
        network = configs.plugin('models', 'mobilenet', padding='tf', dropout=0.5)
        return {**network, 'pretrained': recipes.WEIGHTS, 'leave_out': ('head',)}
    return configs.plugin('models', 'resnet', variant='narrow', dropout=0.5)
