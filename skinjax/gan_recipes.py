"""What the generative configs share: small GANs for two CPU cores, and the published ones."""

from typing import Any

from skinjax import config as configs
from skinjax import recipes
from skinjax.objectives import perceptual

GREY = (0.5, 0.5, 0.5)  # images of -1 to 1


def small(model: str, source: str) -> configs.Config:
    """64 pixels, with what keeps the discriminator from knowing a small training set by heart.

    All that the discriminator sees is changed at random (DiffAugment), and the weights that are
    judged are moving averages. Images are compared by MobileNetV2; of synthetic lesions by random
    features, unless weights are named.
    """
    config = _base(model, source, 64, 32)
    weights = '' if source == 'synthetic' else recipes.WEIGHTS
    with config.unlocked():
        config.evaluate.features = mobilenet(weights)
    config.objective.extra_generator.n = 0
    config.train.update(ema=0.995, augment=('flip',), select='best')
    config.optimizer.update(learning_rate=4e-4, schedule='linear')
    if source == 'synthetic':
        config.data.update(n_train=4000, n_val=300, n_test=500)
        config.model.width, config.train.epochs = 0.5, 28
        config.objective.augment = ('translation',)  # 4,000 lesions are not few
        return config
    config.objective.augment = ('color', 'translation', 'cutout')
    return config


def published(model: str, source: str) -> configs.Config:
    """Bisla et al. 2019: 256 pixels, 50 images a batch, Adam at 2e-4, 499 epochs.

    Images are normalised by the statistics of their own batch, as the published code leaves it, and
    distances are also those of stretched images. The checkpoint of the least KID by MobileNetV2 is
    judged, for want of a published criterion.

    Departures: geometry 'crop' takes the central square, scaled to 256 pixels, where the paper
    scales the shorter side to 300 and cuts 256 from the middle. Batches of a coupled network are of
    49 images instead of 50, seven of each class. The extra steps of the generator are those of
    epochs 10, 20, ..., counted from 1.
    """
    config = _base(model, source, 256, 50)
    config.data.geometry = 'crop'
    config.train.update(epochs=499, evaluate_every=10.0, checkpoint_every=10.0)
    config.train.update(augment=(), select='best')
    with config.unlocked():
        config.evaluate.features = mobilenet(recipes.WEIGHTS)
    config.evaluate.update(batch_statistics=True, batch_size=50, minmax=True)
    return config


def _base(model: str, source: str, size: int, batch: int) -> configs.Config:
    own: dict[str, Any] = {'synthetic': {'artefact': 'none', 'hair': 0.0, 'bubbles': 0.0}}
    own['isic2017'] = {'task': 'three'}
    own |= {name: {'positive': ''} for name in ('isic2018', 'ham10000')}  # all classes
    data = configs.plugin('data', source, **own.get(source, {}))
    config = configs.train('gan', data, configs.plugin('models', model))
    config.data.update(image_size=size, batch_size=batch, mean=GREY, std=GREY)
    config.optimizer.update(name='adam', learning_rate=2e-4, momentum=0.5, second=0.999)
    return config


def mobilenet(weights: str) -> dict[str, Any]:
    """MobileNetV2 as the encoder that images are compared by, with its published weights."""
    grey = (128 / 255,) * 3
    return perceptual.section('mobilenet', padding='tf', mean=grey, std=grey, pretrained=weights)
