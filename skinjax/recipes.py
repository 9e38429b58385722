"""Settings that several configs share, so that methods differ in the method alone."""

from collections.abc import Iterable
from typing import Any

from skinjax import config as configs
from skinjax.data import labels

UNLEARNING = ('lntl', 'tabe', 'clgr')
VARIANTS = (
    '', 'oracle', 'resample', 'paper', 'cameras', 'isic2017', 'isic2017_instrument', 'folder',
    'prepared',
)  # fmt: skip
# For large pretrained encoders: 1,280 standardised features let a head run away at the usual rate.
GENTLE = {
    'lntl': {'reversal': 0.3, 'learning_rate': 0.005},
    'tabe': {'learning_rate': 0.005},
    'clgr': {'reversal': 0.3, 'learning_rate': 0.005},
}
MILD = {'lntl': {'reversal': 0.1}, 'tabe': {}, 'clgr': {'confusion': 0.3, 'reversal': 0.1}}
METHODS = ('baseline', 'resample', 'group_dro', *UNLEARNING)
FLAGS = ('ruler', 'ink', 'dark_corner', 'hair')
PLAIN_FINETUNING = ('', 'scratch', 'head', 'melanoma')
WEIGHTS = 'mobilenet_v2_1.0_224_dequantised_f32.npz'  # replaced by --config.model.pretrained


def unlearning(method: str, variant: str = '') -> configs.Config:
    """One method of the unlearning study.

        ''                    synthetic lesions; half of the melanomas and no nevus has a ruler
        oracle                the same lesions with rulers independent of the class
        resample              batches with equal shares of every non-empty class x ruler cell
        paper                 the published strengths and head optimizer
        cameras               synthetic lesions; eight cameras correlated with the class
        isic2017              real images; the flag `ruler` (give --config.data.root)
        isic2017_instrument   real images; the original image size as instrument
        folder                images and records.csv in --config.data.root, with a column `ruler`
                              (of baseline, which needs none, only folder_ruler looks at it)
        prepared              what configs/prepare.py wrote, likewise
        SOURCE                another data set of skinjax/data, such as ham10000, with the bias
                              variable of its `ABOUT`; see docs/data.md
        SOURCE_VARIABLE       the same with another bias variable, such as ham10000_skin_type

    Raises:
        ValueError: unknown variant, or a data set that is only tested on.
    """
    source, bias = source_of(variant)
    if variant not in VARIANTS and not source:
        raise ValueError(f'unknown variant {variant!r} of {method}: {known(VARIANTS)}')
    if (variant == 'paper' and method not in UNLEARNING) or (variant, method) == (
        'resample',
        'group_dro',
    ):
        raise ValueError(f'{method} has no variant {variant!r}')
    if not source:
        source, bias = 'synthetic', 'camera' if variant == 'cameras' else 'ruler'
    if method == 'baseline' and variant in ('folder', 'prepared'):
        bias = ''  # it unlearns nothing, and the table may have no flags
    fields: dict[str, Any] = {} if method == 'baseline' else {'bias': bias}
    if method in UNLEARNING:
        if variant == 'paper':
            fields |= configs.find('objectives', method).PAPER | {'head_steps': 1}
        if bias not in (*labels.FLAGS, 'marked', 'marking'):
            # A variable of many values that goes with the class: within each class, and gently.
            fields |= {'conditional': True} | MILD[method]
    config = configs.train(
        configs.plugin('objectives', method, **fields),
        data=source,
        model=configs.plugin('models', 'resnet', variant='narrow', dropout=0.5),
    )
    config.data.bias = (bias,) if bias else ()
    from_scratch(config)
    if source == 'synthetic':
        _synthetic(config, variant)
    elif source not in ('folder', 'prepared'):
        _real(config)
    if variant == 'resample':
        config.data.sampling = 'group'
    return config


def double(methods: str = '') -> configs.Config:
    """Two heads, for the ruler and the camera, on the synthetic lesions.

    Args:
        methods: of the two heads, such as 'lntl_clgr'; '' is 'clgr_clgr'.

    Raises:
        ValueError: not two known methods.
    """
    names = (methods or 'clgr_clgr').split('_')
    if len(names) != 2 or not set(names) <= set(UNLEARNING):
        raise ValueError(
            f'unknown variant {methods!r} of double: join two of {", ".join(UNLEARNING)} by _'
        )
    model = configs.plugin('models', 'resnet', variant='narrow', dropout=0.5)
    config = configs.train('double', 'synthetic', model)
    config.objective.first.method, config.objective.second.method = names
    config.data.bias = ('ruler', 'camera')
    from_scratch(config)
    _synthetic(config, '')
    return config


def rare_lesions() -> configs.Config:
    """Seven classes of synthetic lesions, as rare as in HAM10000; a small network from scratch."""
    model = configs.plugin('models', 'resnet', variant='narrow', dropout=0.5)
    config = configs.train('baseline', 'synthetic', model)
    from_scratch(config)
    _synthetic(config, '')
    config.data.update(classes=7, artefact='none', skew=(0.0,) * 7)
    return config


def from_scratch(config: configs.Config) -> None:
    """The rates, clipping and averaging with which unlearning from random weights is stable."""
    config.optimizer.update(
        learning_rate=0.1,
        momentum=0.9,
        weight_decay=1e-4,
        clip=1.0,
        schedule='cosine',
        warmup=0.1,
    )
    config.train.epochs = 10
    config.train.ema = 0.98


def _synthetic(config: configs.Config, variant: str) -> None:
    config.data.mean, config.data.std = (0.62, 0.47, 0.42), (0.2, 0.2, 0.2)
    if variant == 'oracle':
        config.data.skew = (0.5, 0.5)
    if variant == 'cameras':
        config.data.artefact, config.data.cameras = 'none', 'skewed'
        config.train.epochs = 9
        config.evaluate.probe_split = 'uniform'


def source_of(variant: str) -> tuple[str, str]:
    """Data source and bias variable of a variant SOURCE or SOURCE_VARIABLE; ('', '') of another."""
    names = [name for name in _sources() if f'{variant}_'.startswith(f'{name}_')]
    if not names:
        return '', ''
    name = max(names, key=len)
    module = configs.find('data', name)
    about = getattr(module, 'ABOUT', None)
    if about and not about.trains:
        raise ValueError(
            f'{name} is only tested on: judge a finished run with configs/evaluate.py:{name}'
        )
    bias = about.bias if about else getattr(module, 'BIAS', 'ruler')
    return name, variant.removeprefix(name).removeprefix('_') or bias


def _sources() -> list[str]:
    return [name for name in configs.siblings('data') if name != 'synthetic']


def known(variants: Iterable[str]) -> str:
    """The end of an error message about an unknown variant."""
    listed = ', '.join(name for name in variants if name)
    about = {name: getattr(configs.find('data', name), 'ABOUT', None) for name in _sources()}
    sets = ', '.join(name for name, facts in about.items() if not facts or facts.trains)
    listed = f'choose one of {listed}; or ' if listed else 'choose '
    return f'{listed}a data set, alone or as SET_VARIABLE: {sets}'


def _real(config: configs.Config) -> None:
    config.train.epochs = 20
    config.evaluate.tta = True
    if config.data.name == 'isic2017' and config.data.bias == ('instrument',):
        # The sizes of the official test images are unknown: hold out a fifth of the others.
        config.data.folds = 5
        config.evaluate.probe_split = 'val'


def finetuning(variant: str = '') -> configs.Config:
    """MobileNetV2 with ImageNet weights on ISIC 2017 (give data.root and model.pretrained).

        ''           melanoma, nevus, seborrheic keratosis
        scratch      the same without the weights
        head         the same weights with a new head and no more training
        melanoma     melanoma against the rest
        METHOD_FLAG  melanoma against the rest; baseline, resample, group_dro, lntl, tabe or clgr
                     for the flag ruler, ink, dark_corner or hair, such as clgr_dark_corner; smaller
                     images and fewer epochs

    Raises:
        ValueError: unknown variant.
    """
    if variant not in PLAIN_FINETUNING:
        method, flag = method_of(variant)
        if not (method and flag in FLAGS):
            raise ValueError(
                f'unknown variant {variant!r}: choose one of {", ".join(PLAIN_FINETUNING[1:])}, '
                f'or METHOD_FLAG with a method of {", ".join(METHODS)} and a flag of '
                f'{", ".join(FLAGS)}'
            )
        return finetuned('isic2017', method, flag)
    config = finetuned('isic2017')
    config.data.bias = FLAGS
    if variant != 'melanoma':
        config.data.task = 'three'
        config.evaluate.mean_over = ('melanoma', 'seborrheic_keratosis')
    if variant == 'head':
        config.train.update(epochs=0, ema=0.0)
    if variant == 'scratch':
        config.model.update(frozen_norm=False, pretrained='', leave_out=())
        config.train.update(head_first=False, epochs=30)
        config.optimizer.learning_rate = 0.1
    return config


def method_of(variant: str) -> tuple[str, str]:
    """The method that a variant METHOD_REST begins with, and the rest; ('', variant) if none."""
    found = [name for name in METHODS if f'{variant}_'.startswith(f'{name}_')]
    return (found[0], variant[len(found[0]) + 1 :]) if found else ('', variant)


def finetuned(
    source: str,
    method: str = '',
    bias: str = '',
    network: dict[str, Any] | None = None,
    **data: Any,
) -> configs.Config:
    """A network with ImageNet weights on a data set: first a new head, then all weights.

    Args:
        source: one of skinjax/data.
        method: one of METHODS, with rates for a bias to be unlearned: lower, without clipping,
            which would make the push on the encoder as large as its gradient; '' for the best
            classifier.
        bias: what the method is for.
        network: another one than MobileNetV2, from `configs.plugin`; its weights are those of
            torchvision or timm, and are named in model.pretrained.
        data: fields of the source.
    """
    plain = method in ('', 'baseline', 'resample')
    config = configs.train(
        'baseline' if plain else configs.plugin('objectives', method, bias=bias),
        data=configs.plugin('data', source, **data),
        model=network or configs.plugin('models', 'mobilenet', padding='tf'),
    )
    config.data.update(image_size=160, batch_size=32, bias=(bias,) if bias else ())
    config.data.augment_host = ('affine', 'colour')
    config.model.update(dropout=0.2, frozen_norm=True, leave_out=('head',))
    if not network:
        config.data.mean = config.data.std = (128 / 255,) * 3
        config.model.pretrained = WEIGHTS
    config.train.update(epochs=10, ema=0.99, head_first=True, evaluate_every=2.0)
    config.evaluate.tta = True
    config.optimizer.update(
        learning_rate=0.01, momentum=0.9, weight_decay=1e-4, clip=1.0, schedule='cosine', warmup=0.1
    )
    config.objective.label_smoothing = 0.05
    if method:
        config.data.image_size, config.train.epochs = 128, 6
        config.optimizer.update(learning_rate=4e-4, clip=0.0)
        config.objective.update(GENTLE.get(method, {}))
    if method == 'resample':
        config.data.sampling = 'group'
    return config
