"""How much each training image counts: losses and weights side by side, over three seeds.

    python -m skinjax.main --config=configs/weighting.py
    python -m skinjax.main --config=configs/weighting.py:ham10000 --config.root=FOLDER \
        --config.pretrained=mobilenet_v2_1.0_224_dequantised_f32.npz --config.jobs=2
    python -m skinjax.main --config=configs/weighting.py:focal_cb+ohem

Variants:

    ''              seven classes of synthetic lesions, as rare as in HAM10000: cross-entropy and
                    focal loss, each with no weights, cb, es, spl and ohem (Barata's comparison)
    beyond          what was proposed since, under cross-entropy: class-balanced sampling, balanced
                    softmax (which is logit_adjustment with tau 1), LDAM, LDAM-DRW, cb+ohem, and
                    spl among the images of each class by itself
    noise           a tenth of the training labels is wrong, the test is clean: no weights, cb, spl,
                    ohem, and ohem that leaves out the hardest tenth of each batch
    ham10000, ham10000_beyond, ham10000_noise
                    the same on HAM10000: MobileNetV2 with ImageNet weights, 96 x 96 pixels
    LOSS_SCHEME     one run on the synthetic lesions: ce or focal, and none, sampling or schemes of
                    `objectives/schemes.py` joined by +, such as ce_ldam_drw or focal_cb+ohem

A recall is followed by the number of test images of its class. On synthetic lesions it is measured
on the split `plain`, where all classes are equally frequent, as is the balanced accuracy; accuracy,
precision and F1 on validation images, which are as rare as in training and by which nothing is
chosen. With wrong labels, `flipped, weight` is what an image with such a label has counted (1: as
much as in the plain mean), `flipped, chosen` how often a curriculum has taken it where it could
decide, and `right, chosen` the same of the others. Every run has a table of its training images,
`weights_history.csv`.

Measured: balanced accuracy of '': ce_none .169, ce_cb .289, ce_es .268, ce_spl .146, ce_ohem .161;
32 minutes on two cores with --config.jobs=2. noise: 5 minutes. ham10000: ce_none .497, ce_cb .626,
ce_es .612, ce_spl .305, ce_ohem .479; 88 minutes of two cores.
"""

from skinjax import config as configs
from skinjax import kinds, recipes
from skinjax.data import ham10000, latents
from skinjax.objectives import schemes

LOSSES, PLAIN = ('ce', 'focal'), ('none', 'sampling')  # without weights
HAM = 'ham10000'
TABLES = {  # rows: a loss, a scheme, and fields of the objective
    '': [(loss, name, {}) for loss in LOSSES for name in ('none', 'cb', 'es', 'spl', 'ohem')],
    'beyond': [
        *(('ce', name, {}) for name in ('none', 'cb', 'sampling', 'balanced_softmax', 'ldam')),
        *(('ce', name, {}) for name in ('ldam_drw', 'cb+ohem')),
        ('ce', 'spl', {'stratified': True}),
    ],
    'noise': [
        *(('ce', name, {}) for name in ('none', 'cb', 'spl', 'ohem')),
        ('ce', 'ohem', {'ohem.drop_top': 0.1}),
    ],
}
VARIANTS = ('', 'beyond', 'noise', HAM, f'{HAM}_beyond', f'{HAM}_noise')
NOISE = 0.1
MEANS = {
    'accuracy': 'accuracy', 'balanced accuracy': 'balanced_accuracy',
    'mean precision': 'mean_precision', 'mean F1': 'mean_f1',
}  # fmt: skip
COUNTED = {
    'flipped, weight': 'flipped.mean_weight',
    'flipped, chosen': 'flipped.chosen',
    'right, chosen': 'right.chosen',
}


def get_config(variant: str = ''):
    """Kind 'compare' over the rows of a table, or one run of kind 'train'."""
    if variant not in VARIANTS:
        return _row(_lesions(), *_named(variant), {})
    real = variant.startswith(HAM)
    table = variant.removeprefix(HAM).removeprefix('_')
    runs = {}
    for loss, scheme, fields in TABLES[table]:
        run = _row(_photographs() if real else _lesions(), loss, scheme, fields)
        run.data.label_noise = NOISE if table == 'noise' else 0.0
        runs['_'.join([loss, scheme, *(name.rpartition('.')[2] for name in fields)])] = run
    means, recalls = _columns(real)
    support = {name: path.replace('recall.value', 'n') for name, path in recalls.items()}
    counted = {name: f'label_noise.{path}' for name, path in COUNTED.items()}
    columns = {**means, **recalls, **(counted if table == 'noise' else {})}
    return kinds.compare(
        runs,
        seeds=(0, 1, 2),
        reference='ce_none',
        columns=tuple(columns.items()),
        support=tuple(support.items()),
        drawn=tuple(means),
    )


def _named(variant: str) -> tuple[str, str]:
    """Loss and scheme of a variant LOSS_SCHEME; ValueError if it is none."""
    loss, _, scheme = variant.partition('_')
    known = loss in LOSSES and scheme in PLAIN
    if loss in LOSSES and scheme not in ('', *PLAIN):
        try:
            known = bool(schemes.parse(scheme))
        except ValueError:
            known = False
    if not known:
        raise ValueError(
            f'unknown variant {variant!r} of weighting: choose one of {", ".join(VARIANTS[1:])}; '
            f'or LOSS_SCHEME, such as focal_cb+ohem, with {" or ".join(LOSSES)} and none, '
            f'sampling or some of {", ".join(schemes.SCHEMES)} joined by +'
        )
    return loss, scheme


def _row(config, loss, scheme, fields):
    """`config` with a loss, a scheme and further fields of the objective."""
    named = '' if scheme in PLAIN else scheme
    objective = configs.plugin('objectives', 'weighting', loss=loss, weights=named)
    with config.unlocked():
        config.objective = objective
    config.data.sampling = 'class' if scheme == 'sampling' else 'uniform'
    return configs.override(config, {f'objective.{name}': v for name, v in fields.items()})


def _lesions():
    config = recipes.rare_lesions()
    config.data.n_val = 2000
    return config


def _photographs():
    """HAM10000, with the rates of configs/compare_balancing.py and smaller images.

    The head starts at random, as published: one fitted first would be the same in every row.
    """
    config = recipes.finetuned(HAM, positive='')
    config.data.image_size = 96
    config.train.update(epochs=4, evaluate_every=0.0, head_first=False)
    config.evaluate.tta = False
    return config


def _columns(real: bool):
    """Heading -> path in results.json, of means and of the recall of each class."""
    shares = ('balanced accuracy',) if not real else tuple(MEANS)
    own, other = ('test', 'test') if real else ('plain', 'val')
    means = {
        heading: f'splits.{own if heading in shares else other}.{path}.value'
        for heading, path in MEANS.items()
    }
    names = {code: ham10000.DIAGNOSES[code] if real else code for code in latents.CLASSES[7]}
    recalls = {
        f'recall {code}': f'splits.{own}.classes.{name}.recall.value'
        for code, name in names.items()
    }
    return means, recalls
