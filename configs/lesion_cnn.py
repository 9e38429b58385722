"""The five-block network of Debiasing-Melanoma-Images, whose maps also restyle lesions.

    python -m skinjax.main --config=configs/lesion_cnn.py
    python -m skinjax.main --config=configs/lesion_cnn.py:kaggle9 --config.data.root=FOLDER

Variants:

    ''        seven classes of synthetic lesions at 64 pixels, as rare as in HAM10000; ten epochs
    kaggle9   the nine-class ISIC set of Kaggle, 2,357 images, as published: 224 x 224 pixels from 0
              to 1, no augmentation, Adam at 5e-4, batches of 64, 50 epochs; 5,177,649 parameters
    SOURCE    the same for another set of at least seven classes, such as ham10000 or isic2018

Published for the nine classes: accuracy 62 % in training and 44 % in testing (chance: 11 %). That
program normalised by the batch at hand and tested on the last 54 of 118 images; here evaluation
takes running statistics and every image. Neither figure has been measured here.

Measured: '' 6 minutes on two busy cores, mean AUC .61 on fresh images, .72 in validation. That is
the beginning of learning: dropout after every block makes it slow.

As the network of style transfer (--config.style.transfer.weights=RUN) a run serves images of every
size, since the dense layers are left out.
"""

from typing import Any

from skinjax import config as configs

LEAST = 7  # classes


def get_config(variant: str = ''):
    """The network on synthetic lesions, or on a published set."""
    if variant and variant not in (known := sources()):
        raise ValueError(
            f'unknown variant {variant!r} of lesion_cnn: choose one of {", ".join(known)}'
        )
    config = configs.train('baseline', variant or 'synthetic', 'lesion_cnn')
    config.data.update(image_size=224, batch_size=64, mean=(0.0,) * 3, std=(1.0,) * 3)
    config.optimizer.update(name='adam', learning_rate=5e-4, momentum=0.9)
    config.train.epochs = 50
    if variant:
        config.data.positive = ''  # all classes
        config.train.augment = ()
    else:
        config.data.update(classes=7, artefact='none', image_size=64)
        config.train.epochs = 10
    return config


def sources() -> list[str]:
    """The data sources with as many classes, that can be trained on."""
    found: dict[str, Any] = {
        name: getattr(configs.find('data', name), 'ABOUT', None)
        for name in configs.siblings('data')
    }
    return [
        n for n, about in found.items() if about and about.trains and len(about.classes) >= LEAST
    ]
