"""Fine-tuning on ISIC 2017, over three seeds: weights or none, and unlearning of a flag.

    python -m skinjax.main --config=configs/compare_finetuning.py --config.root=FOLDER \
        --config.pretrained=mobilenet_v2_1.0_224_dequantised_f32.npz --config.jobs=2

Variants: ruler, ink, dark_corner, hair; every unlearning method and comparator against that flag,
melanoma against the rest. '' has three classes: from scratch, head alone, all weights.

Measured: 16 to 29 minutes a run of all weights; mean AUC of melanoma and seborrheic keratosis:
from scratch .706 (half of the epochs), head alone .824, all weights .869. Against the ruler (seed
0, test AUC): baseline .795, lntl .714, tabe .706, clgr .732.
"""

from skinjax import kinds, recipes


def get_config(variant: str = ''):
    """The runs of `configs/finetune_isic2017.py` side by side."""
    if variant not in ('', *recipes.FLAGS):
        raise ValueError(f'unknown flag {variant!r}: choose one of {", ".join(recipes.FLAGS)}')
    test = 'splits.test'
    if variant:
        runs = {name: recipes.finetuning(f'{name}_{variant}') for name in recipes.METHODS}
        group = f'{test}.groups.{variant}'
        columns = {
            'test AUC': f'{test}.auc.value',
            **{k: f'{group}.values.{k}.auc.value' for k in ('absent', 'present')},
            'worst group AUC': f'{group}.worst_auc.auc.value',
            'odds gap': f'{group}.equalised_odds_gap',
            'linear probe': f'probes.{variant}.linear.auc',
            'mlp probe': f'probes.{variant}.mlp.auc',
        }
        drawn = ('test AUC', 'absent', 'present')
    else:
        runs = {
            name: recipes.finetuning(name.replace('all', '')) for name in ('scratch', 'head', 'all')
        }
        classes = f'{test}.classes'
        columns = {
            'melanoma': f'{classes}.melanoma.auc.value',
            'seborrheic keratosis': f'{classes}.seborrheic_keratosis.auc.value',
            'mean': f'{test}.mean_auc.value',
            'accuracy': f'{test}.accuracy.value',
            'ECE': f'{test}.ece',
            'validation mean': 'splits.val.mean_auc.value',
        }
        drawn = ('melanoma', 'seborrheic keratosis', 'mean')
    return kinds.compare(
        runs,
        seeds=(0, 1, 2),
        reference='baseline' if variant else 'scratch',
        columns=tuple(columns.items()),
        drawn=drawn,
        order=tuple(runs),
    )
