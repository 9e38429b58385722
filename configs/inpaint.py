"""A network of partial convolutions that fills holes: what hair, rulers and ink have hidden.

    python -m skinjax.main --config=configs/inpaint.py
    python -m skinjax.main --config=configs/inpaint.py:second --config.model.pretrained=RUN
    python -m skinjax.main --config=configs/inpaint.py:isic2017 --config.data.root=FOLDER \
        --config.objective.features.pretrained=mobilenet_v2_1.0_224_dequantised_f32.npz
    python -m skinjax.main --config=configs/inpaint.py:paper --config.data.root=FOLDER \
        --config.objective.features.pretrained=vgg16.pth

Variants:

    ''         synthetic lesions without hair and rulers at 64 pixels; a small network and the terms
               that need no other network
    second     the second stage of training, from the weights of the run RUN: SGD, statistics of the
               encoder fixed
    isic2017   real images at 128 pixels, compared by MobileNetV2 too
    folder     the same on what kind 'purify' wrote: the hair that it found in one image is a hole
               in another, and where an image had hair itself nothing is learned
    paper      the published network, rates and VGG-16, on ISIC 2017 at 256 pixels: for a GPU

Measured: '' 25 minutes on two busy cores, 31.0 dB in the holes of fresh images (Telea 30.4,
Navier-Stokes 31.0).
"""

from skinjax import config as configs
from skinjax import recipes
from skinjax.objectives import perceptual

VARIANTS = ('', 'second', 'isic2017', 'folder', 'paper')


def get_config(variant: str = ''):
    """The experiment, or a variant of it."""
    if variant not in VARIANTS:
        known = ', '.join(VARIANTS[1:])
        raise ValueError(f'unknown variant {variant!r} of inpaint: choose one of {known}')
    real = variant in ('isic2017', 'folder', 'paper')
    source = 'folder' if variant == 'folder' else 'isic2017'
    features = {'features': _features(variant)} if real else {}
    config = configs.train(
        configs.plugin('objectives', 'inpainting', **features),
        data=source if real else configs.plugin('data', 'synthetic', artefact='none', hair=0.0),
        model=configs.plugin('models', 'partial_unet', levels=3, width=0.375),
    )
    config.optimizer.update(
        name='adam', learning_rate=3e-3, momentum=0.9, schedule='cosine', warmup=0.05, clip=1.0
    )
    config.train.update(ema=0.99, evaluate_every=4.0, checkpoint_every=4.0)
    if real:
        config.data.update(image_size=128, batch_size=8)
        config.model.levels, config.train.epochs = 5, 30
        config.optimizer.learning_rate = 2e-3
    else:
        config.data.update(n_train=2000, n_val=100, n_test=500, image_size=64, batch_size=8)
        config.data.update(mean=(0.62, 0.47, 0.42), std=(0.2, 0.2, 0.2))
        config.train.epochs = 28
    if variant == 'second':
        _second(config)
        config.train.epochs = 8
    if variant == 'paper':
        config.data.image_size, config.data.batch_size = 256, 16
        config.model.update(levels=7, width=1.0)
        config.optimizer.update(
            learning_rate=2e-4, momentum=0.5, schedule='constant', warmup=0.0, clip=0.0
        )
        config.train.epochs = 100
    return config


def _second(config: configs.Config) -> None:
    """Liu et al. 2018, section 4.1: statistics that holes have a part in are left alone."""
    config.model.frozen_encoder_norm = True
    config.optimizer.update(
        name='sgd', learning_rate=1e-4, momentum=0.9, schedule='constant', warmup=0.0, clip=0.0
    )


def _features(variant: str) -> dict:
    if variant == 'paper':
        return perceptual.section('vgg', top='mean', pretrained='vgg16.pth')
    grey = (128 / 255,) * 3
    return perceptual.section(
        'mobilenet', padding='tf', mean=grey, std=grey, pretrained=recipes.WEIGHTS
    )
