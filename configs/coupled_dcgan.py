"""One generator for all classes of a data set, which share the layers next to the latents.

    python -m skinjax.main --config=configs/coupled_dcgan.py
    python -m skinjax.main --config=configs/coupled_dcgan.py:ham10000 --config.data.root=FOLDER \
        --config.evaluate.features.pretrained=mobilenet_v2_1.0_224_dequantised_f32.npz
    python -m skinjax.main --config=configs/coupled_dcgan.py:paper --config.data.root=FOLDER \
        --config.evaluate.features.pretrained=mobilenet_v2_1.0_224_dequantised_f32.npz

Variants:

    ''         synthetic lesions of two classes at 64 pixels, half of the published channels
    isic2018   the seven classes of ISIC 2018 at 64 pixels; compared by MobileNetV2
    ham10000   the same of HAM10000
    paper      ISIC 2018 as published (Bisla et al. 2019, supplement): 256 pixels; for a GPU.
               Kind generate wants --config.batch_statistics=True --config.batch_size=50 for it

Every batch has equally many images of each class. The same latents give the same image of another
class as far as there is one: the columns of figures/samples.png.

Measured: 7 to 45 minutes for 3,500 steps on seven classes of synthetic lesions, on two cores of a
busy machine; of 500 images of each rare class 0 to 22 were refused as near-copies
(configs/compare_balancing.py).
"""

from skinjax import gan_recipes

VARIANTS = ('', 'isic2018', 'ham10000', 'paper')
CLASSES = 7


def get_config(variant: str = ''):
    """The experiment, or a variant of it."""
    if variant not in VARIANTS:
        known = ', '.join(VARIANTS[1:])
        raise ValueError(f'unknown variant {variant!r} of coupled_dcgan: choose one of {known}')
    if variant == 'paper':
        config = gan_recipes.published('coupled_dcgan', 'isic2018')
        config.data.batch_size = 7 * CLASSES  # published: 50, which seven do not divide
    elif variant:
        config = gan_recipes.small('coupled_dcgan', variant)
        config.data.batch_size = 8 * CLASSES
        config.train.epochs = 60
    else:
        config = gan_recipes.small('coupled_dcgan', 'synthetic')
    config.data.sampling = 'class'
    return config
