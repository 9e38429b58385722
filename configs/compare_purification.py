"""What removing hair, rulers and ink does to a classifier that artefacts have misled.

    python -m skinjax.main --config=configs/compare_purification.py
    python -m skinjax.main --config=configs/compare_purification.py:isic2017 \
        --config.root=FOLDER --config.pretrained=mobilenet_v2_1.0_224_dequantised_f32.npz

    ''         synthetic lesions; half of the melanomas and no nevus has a ruler
    hair       the same with hair
    marking    the same with surgical ink
    isic2017   melanoma against the rest on real images, MobileNetV2 with ImageNet weights

`raw` learns from the images as they are and is judged on them and, in the columns with a +, on
images whose artefacts the editor `hair` has removed (Bisla et al. 2019, table 6); `purified` learns
from such images and is judged on them. `oracle` learns from lesions whose artefact says nothing.

Measured: AUC on reversed, raw, purified and oracle: ruler .641, .813, .866; hair .390, .849, .859.
isic2017: 25 minutes on two cores with --config.jobs=2, test AUC raw .804, purified .796.
"""

from skinjax import kinds, recipes

VARIANTS = ('', 'hair', 'marking', 'isic2017')
EDITOR = 'hair'  # skinjax/editors/hair.py; it finds rulers and ink as well


def get_config(variant: str = ''):
    """Kind 'compare' with and without purification."""
    if variant not in VARIANTS:
        known = ', '.join(VARIANTS[1:])
        raise ValueError(f'unknown variant {variant!r} of compare_purification: {known}')
    return _real() if variant == 'isic2017' else _synthetic(variant or 'ruler')


def _synthetic(artefact: str):
    runs = {name: recipes.unlearning('baseline') for name in ('oracle', 'raw', 'purified')}
    for run in runs.values():
        run.data.artefact = artefact
        run.data.bias = (artefact,)
    runs['oracle'].data.skew = (0.5, 0.5)
    _purify(runs)
    splits = ('plain', 'marked', 'balanced', 'reversed')
    columns = {name: f'splits.{name}.auc.value' for name in splits}
    columns |= {f'{name} +': f'splits.{name}_purified.auc.value' for name in splits}
    columns |= {'linear probe': f'probes.{artefact}.linear.auc'}
    columns |= {'shift, pp': f'insertion.{artefact}.mean_abs'}
    return _compare(runs, columns, splits, 'oracle', (2, 3, 4))


def _real():
    runs = {name: recipes.finetuning('baseline_hair') for name in ('raw', 'purified')}
    for run in runs.values():
        run.data.bias = recipes.FLAGS
    _purify(runs)
    columns = {}
    for split, end in (('test', ''), ('test_purified', ' +')):
        columns[f'test AUC{end}'] = f'splits.{split}.auc.value'
        for flag in ('hair', 'ruler', 'ink'):
            for value, what in (('absent', 'no '), ('present', '')):
                path = f'splits.{split}.groups.{flag}.values.{value}.auc.value'
                columns[f'{what}{flag}{end}'] = path
    columns |= {f'probe of {flag}': f'probes.{flag}.linear.auc' for flag in ('hair', 'ruler')}
    return _compare(runs, columns, ('test AUC',), '', (0, 1, 2))


def _purify(runs) -> None:
    runs['raw'].evaluate.purify = EDITOR
    runs['purified'].data.purify = EDITOR


def _compare(runs, columns, drawn, ceiling, seeds):
    return kinds.compare(
        runs,
        seeds=seeds,
        reference='raw',
        ceiling=ceiling,
        columns=tuple(columns.items()),
        drawn=drawn,
        order=tuple(runs),
        note='Columns with a + are judged on purified images.',
    )
