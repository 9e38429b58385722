"""Four ways to learn from rare classes, over three seeds: as they are, weighted, drawn, generated.

    ''         seven classes of synthetic lesions, as rare as in HAM10000
    isic2017   melanoma, nevus, seborrheic keratosis; MobileNetV2 with ImageNet weights, 128 pixels
    ham10000   seven classes; the same network

`plain` takes the rows as they are; `class_weights` weights the loss by 1 / frequency; in the
batches of `oversampling` every class has equal shares; `generated` takes the rows as they are and
those of folders of kind 'generate' (configs/generate.py:gan), which are to hold more of the rare
classes. All four take the same number of steps, so that with more rows each is seen less often.

The generative model may have seen nothing but the training rows of the same run. Where these depend
on the seed, every seed needs a model and a folder of its own ({seed} stands for it). Seed 0 of '':

    python -m skinjax.main --config=configs/coupled_dcgan.py --config.seed=0 --workdir=runs/gan0 \
        --config.data.classes=7 --config.data.batch_size=56 --config.data.n_train=3000 \
        --config.data.hair=0.2 --config.data.bubbles=0.1 --config.train.steps=3500
    python -m skinjax.main --config=configs/generate.py:gan --config.init_from=runs/gan0 \
        --config.count=akiec=500,bcc=500,bkl=500,df=500,mel=500,vasc=500 \
        --workdir=generated/lesions0

and of ham10000:

    python -m skinjax.main --config=configs/coupled_dcgan.py:ham10000 --config.data.root=FOLDER \
        --config.evaluate.features.pretrained=mobilenet_v2_1.0_224_dequantised_f32.npz \
        --config.seed=0 --workdir=runs/ham0
    python -m skinjax.main --config=configs/generate.py:gan --config.init_from=runs/ham0 \
        --config.count='dermatofibroma=500,melanoma=500,vascular lesion=500' \
        --workdir=generated/ham0

The split of ISIC 2017 is the published one. There one model of each rare class serves all seeds, so
that intervals over seeds leave out the variance of the models; and likewise for keratosis:

    python -m skinjax.main --config=configs/dcgan.py:isic2017 --config.data.root=FOLDER \
        --config.evaluate.features.pretrained=mobilenet_v2_1.0_224_dequantised_f32.npz \
        --config.data.only=melanoma --workdir=runs/melanoma
    python -m skinjax.main --config=configs/generate.py:gan --config.init_from=runs/melanoma \
        --config.count=350 --workdir=generated/melanoma

Measured: mean AUC of '': plain .653, class_weights .674, oversampling .735, generated .663; 17
minutes on two cores, and 83 for the three generative models.

Then, with other folders where --config.runs.generated.data.add_generated names them:

    python -m skinjax.main --config=configs/compare_balancing.py
    python -m skinjax.main --config=configs/compare_balancing.py:isic2017 --config.root=FOLDER \
        --config.pretrained=mobilenet_v2_1.0_224_dequantised_f32.npz
    python -m skinjax.main --config=configs/compare_balancing.py:ham10000 --config.root=FOLDER \
        --config.pretrained=mobilenet_v2_1.0_224_dequantised_f32.npz
"""

from skinjax import config as configs
from skinjax import kinds, recipes

VARIANTS = ('', 'isic2017', 'ham10000')
EPOCHS = {'isic2017': 6, 'ham10000': 3}
ROWS = {'': 3000, 'isic2017': 1979, 'ham10000': 7016}  # for training; of ham10000 with seed 0
FOLDERS = {
    '': 'generated/lesions{seed}',
    'isic2017': 'generated/melanoma,generated/keratosis',
    'ham10000': 'generated/ham{seed}',
}
# Columns: heading -> figure of the test split. Of seven classes, two of the rarest have their own.
MEANS = {'mean AUC': 'mean_auc', 'balanced accuracy': 'balanced_accuracy', 'mean F1': 'mean_f1'}
CLASSES = {
    '': {'melanoma': 'mel', 'dermatofibroma': 'df', 'vascular': 'vasc'},
    'isic2017': {'melanoma': 'melanoma', 'keratosis': 'seborrheic_keratosis'},
    'ham10000': {
        'melanoma': 'melanoma', 'dermatofibroma': 'dermatofibroma', 'vascular': 'vascular lesion',
    },
}  # fmt: skip


def get_config(variant: str = ''):
    """Kind 'compare' over the four."""
    if variant not in VARIANTS:
        known = ', '.join(VARIANTS[1:])
        raise ValueError(f'unknown variant {variant!r} of compare_balancing: choose one of {known}')
    names = ('plain', 'class_weights', 'oversampling', 'generated')
    runs = {name: _finetuned(variant) if variant else recipes.rare_lesions() for name in names}
    weighted = configs.plugin('objectives', 'weighting', weights='cb')
    weighted['label_smoothing'] = runs['plain'].objective.label_smoothing
    with runs['class_weights'].unlocked():
        runs['class_weights'].objective = weighted
    runs['oversampling'].data.sampling = 'class'
    runs['generated'].data.add_generated = FOLDERS[variant]
    for run in runs.values():  # epochs of more rows are more steps
        run.train.steps = ROWS[variant] // run.data.batch_size * run.train.epochs
    split = 'splits.test' if variant else 'splits.plain'
    columns = {column: f'{split}.{name}.value' for column, name in MEANS.items()}
    aucs = {
        f'{heading} AUC': f'{split}.classes.{name}.auc.value'
        for heading, name in CLASSES[variant].items()
    }
    return kinds.compare(
        runs,
        seeds=(0, 1, 2),
        reference='plain',
        columns=tuple({**columns, **aucs}.items()),
        drawn=('mean AUC', *aucs),
        order=names,
    )


def _finetuned(source: str):
    """As configs/finetune_isic2017.py, with smaller images, fewer epochs and perhaps other data."""
    if source == 'isic2017':
        config = recipes.finetuning()
    else:
        config = recipes.finetuned(source, positive='')
    config.data.update(image_size=128, bias=())
    config.train.epochs = EPOCHS[source]
    return config
