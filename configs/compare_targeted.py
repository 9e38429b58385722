"""Does a network stop looking at an artefact that is put into training images of every class?

Targeted data augmentation (`data.insert`): the artefact is put into a share of the training images
drawn anew in each epoch, and into none that the network is judged on but the second of each pair.

    ''         synthetic lesions; half of the melanomas and no nevus has a ruler, and such rulers
               are inserted
    published  the same, and rulers are inserted that look otherwise: those of the insertion test
    ink        the same with ink, and such ink is inserted
    isic2017   melanoma against the rest on real images, MobileNetV2 with ImageNet weights; frames
    ham10000   the same

    python -m skinjax.main --config=configs/compare_targeted.py
    python -m skinjax.main --config=configs/compare_targeted.py:isic2017 --config.root=FOLDER \
        --config.pretrained=mobilenet_v2_1.0_224_dequantised_f32.npz

Rows are the share: `none`, `quarter`, `half`, `always`. A column KIND is the mean size of the shift
that this artefact makes in every test image, in percentage points, and `KIND, switched` the share
of calls that switch, in percent. One kind is that trained with; the other, a red circle, shows what
else moves. `shift, pp` is that of the artefact which the synthetic lesions are skewed by. `oracle`
learns from one that says nothing.

Measured: AUC on reversed: none .628, quarter .821, half .835, always .836, oracle .865; shift by
inserted rulers 27.7, 7.1, 5.8, 5.3, 1.9 points ('', three seeds, 7 minutes on two cores with
--config.jobs=2). published: always .731, 14.5 points; 6 minutes.

Published networks (DenseNet-121, EfficientNet-B2, ViT-B/16) were trained for two to five epochs,
with a sampler that shows four melanomas for each benign lesion. Here all is as in the other
comparisons.
"""

from skinjax import kinds, recipes

VARIANTS = ('', 'published', 'ink', 'isic2017', 'ham10000')
SHARES = {'none': 0.0, 'quarter': 0.25, 'half': 0.5, 'always': 1.0}
# The artefact of the synthetic lesions, and the kind that is inserted.
SKEWED = {'': 'ruler', 'published': 'ruler', 'ink': 'marking'}
INSERTED = {
    '': 'ruler_varied',
    'published': 'ruler',
    'ink': 'ink',
    'isic2017': 'frame',
    'ham10000': 'frame',
}
OTHER = 'red_circle'
EPOCHS = {'isic2017': 6, 'ham10000': 3}


def get_config(variant: str = ''):
    """Kind 'compare' over the shares."""
    if variant not in VARIANTS:
        known = ', '.join(VARIANTS[1:])
        raise ValueError(f'unknown variant {variant!r} of compare_targeted: choose one of {known}')
    kind, skewed = INSERTED[variant], SKEWED.get(variant, '')
    splits = ('plain', 'marked', 'reversed') if skewed else ('test',)
    runs = {name: _run(variant) for name in (*SHARES, *(('oracle',) if skewed else ()))}
    for name, run in runs.items():
        run.data.insert, run.data.insert_probability = kind, SHARES.get(name, 0.0)
        run.evaluate.insert, run.evaluate.insert_splits = (kind, OTHER), splits[:1]
    columns = {f'{name} AUC': f'splits.{name}.auc.value' for name in splits}
    for one in (kind, OTHER):
        columns[one] = f'insertion.{one}_in_{splits[0]}.mean_abs'
        columns[f'{one}, switched'] = f'insertion.{one}_in_{splits[0]}.switched_percent'
    if skewed:
        columns['shift, pp'] = f'insertion.{skewed}.mean_abs'
        columns['linear probe'] = f'probes.{skewed}.linear.auc'
        runs['oracle'].data.skew = (0.5, 0.5)
    return kinds.compare(
        runs,
        seeds=(0, 1, 2),
        reference='none',
        ceiling='oracle' if skewed else '',
        columns=tuple(columns.items()),
        drawn=tuple(f'{name} AUC' for name in splits),
        order=tuple(runs),
        note='Columns of artefacts are in percentage points: less is better.',
    )


def _run(source: str):
    if source in SKEWED:
        config = recipes.unlearning('baseline')
        config.data.artefact, config.data.bias = SKEWED[source], (SKEWED[source],)
        config.evaluate.splits = ('plain', 'marked', 'balanced', 'reversed')
        return config
    config = recipes.finetuned(source)
    config.data.image_size = 128
    config.train.epochs = EPOCHS[source]
    config.evaluate.tta = False
    return config
