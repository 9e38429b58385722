"""Methods x seeds on the synthetic lesions: does unlearning remove the ruler shortcut?

    python -m skinjax.main --config=configs/compare_unlearning.py --config.jobs=2
    python -m skinjax.main --config=configs/compare_unlearning.py:isic2017 --config.root=FOLDER

Variants:

    ''                    half of the melanomas and no nevus has a ruler
    full                  all four cells of class x ruler occur
    paper                 the first with the published strengths
    cameras               eight cameras in place of rulers
    isic2017, isic2017_instrument
                          real images; the flag `ruler`, or the size of the original image
    SOURCE_VARIABLE       another data set and a bias variable of it, see `unlearning` in recipes.py

Measured: 24 minutes on two cores with --config.jobs=2; AUC on reversed: oracle .867, baseline .598,
tabe .732, lntl .838, clgr .846.
"""

from skinjax import kinds, recipes

VARIANTS = ('', 'full', 'paper', 'cameras', 'isic2017', 'isic2017_instrument')


def get_config(variant: str = ''):
    """Baseline, unlearning methods and comparators over five seeds."""
    real, bias = recipes.source_of(variant)
    if variant not in VARIANTS and not (real and bias):
        raise ValueError(
            f'unknown variant {variant!r} of the comparison: {recipes.known(VARIANTS)}'
        )
    runs = _runs(variant, bool(real))
    splits = ('plain', 'marked', 'balanced', 'reversed')
    if variant == 'cameras':
        splits = ('aligned', 'uniform', 'reversed', 'unseen')
    if real:
        splits = ('test',)
    return kinds.compare(
        runs,
        seeds=(2, 3, 4, 5, 6),  # 0 and 1 were used to choose the settings
        reference='baseline',
        ceiling='' if real else 'oracle',
        columns=tuple(_columns(runs['baseline'], splits).items()),
        drawn=splits,
        order=tuple(
            name
            for name in ('oracle', 'baseline', 'resample', 'group_dro', *recipes.UNLEARNING)
            if name in runs
        ),
    )


def _runs(variant, real):
    inner = '' if variant == 'full' else variant
    plain = '' if variant == 'paper' else inner
    runs = {name: recipes.unlearning(name, inner) for name in recipes.UNLEARNING}
    runs['baseline'] = recipes.unlearning('baseline', plain)
    if variant != 'paper':
        runs['group_dro'] = recipes.unlearning('group_dro', inner)
        runs['resample'] = recipes.unlearning('baseline', inner)
        runs['resample'].data.sampling = 'group'
    if variant == 'full':
        for run in runs.values():
            run.data.skew = (0.05, 0.9)
    if not real:
        runs['oracle'] = recipes.unlearning('baseline', plain)
        if variant == 'cameras':
            runs['oracle'].data.cameras = 'unskewed'
        else:
            runs['oracle'].data.skew = (0.5, 0.5)
    return runs


def _columns(baseline, splits):
    """Heading -> path in results.json."""
    (bias,) = baseline.data.bias
    columns = {name: f'splits.{name}.auc.value' for name in splits}
    if splits == ('test',):
        split = baseline.evaluate.probe_split or 'test'
        columns['worst group AUC'] = f'splits.{split}.groups.{bias}.worst_auc.auc.value'
        if split == 'test':  # elsewhere the rows have chosen the threshold
            columns['odds gap'] = f'splits.test.groups.{bias}.equalised_odds_gap'
    columns['linear probe'] = f'probes.{bias}.linear.auc'
    columns['mlp probe'] = f'probes.{bias}.mlp.auc'
    if 'marked' in splits:
        columns['shift, pp'] = 'insertion.ruler.mean_abs'
    return columns
