"""Synthetic skin lesions: a small data set with a known Bayes AUC and artefacts on command.

Nothing is downloaded and nothing is stored: a picture is a function of (seed, index, class,
artefacts, camera), drawn when it is read. An artefact, or the camera, is correlated with the class
in training and validation; test splits hold the same lesions with other correlations.

    artefact        plain (nobody has it), marked (everybody), and selections from these two:
                    balanced (half), reversed (P = 0.9 if benign, 0.05 if malignant), aligned
                    (0.05, 0.9)
    cameras=skewed  aligned (as in training), uniform, reversed, unseen (four other cameras);
                    cameras=unskewed has the same test splits without the skew in training

Training classes are equally frequent, or as in HAM10000 when there are seven; test classes are
always equally frequent, so that balanced accuracy is measured as well on the rare ones.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from skinjax.data import artefacts, cameras, gallery, latents
from skinjax.data.canvas import STREAMS, generator
from skinjax.data.records import UNKNOWN, DataSet, Records, choices
from skinjax.data.rendering import ITA_MEAN, ITA_SD, Picture, compose, render, skin_tone

__all__ = ['DEFAULTS', 'Picture', 'build', 'render', 'sheet', 'variables']

NONE = 'none'
DEFAULTS: dict[str, Any] = {
    'n_train': 3000,
    'n_val': 500,
    'n_test': 2000,
    'classes': 2,
    'bayes_auc': 0.97,
    # One of artefacts.ARTEFACTS or 'none', and its probability in training: (benign, malignant),
    # or one for each class.
    'artefact': 'ruler',
    'skew': (0.0, 0.5),
    # Probabilities of what has nothing to do with the class.
    'hair': 0.2,
    'bubbles': 0.1,
    # 'uniform', or 'skewed': P(camera | class) in proportion to exp(-+ camera_skew t), or
    # 'unskewed': as 'skewed' in the test splits alone.
    'cameras': 'uniform',
    'camera_skew': 1.5,
    'ita_mean': ITA_MEAN,
    'ita_sd': ITA_SD,
    # Of the test pictures; with this one their own Bayes AUC is 0.9698 for two classes.
    'test_seed': 900006,
}

_BACKGROUND = ('hair', 'bubbles')
_SELECTIONS = {'balanced': (0.5, 0.5), 'reversed': (0.9, 0.05), 'aligned': (0.05, 0.9)}
# Splits use different indices, so that they differ even with the same seed.
# Splits in which neither artefact nor camera tells the class.
UNSKEWED = ('plain', 'marked', 'balanced', 'uniform', 'unseen')
_OFFSETS = {'train': 0, 'val': 1 << 32, 'test': 2 << 32}
# Chardon et al. 1991: type I above 55 degrees, ..., type VI below 10.
_ITA_LIMITS = (10.0, 19.0, 28.0, 41.0, 55.0)


def build(config, seed: int) -> DataSet:
    """The data set. `seed` makes the training and validation pictures, `config.test_seed` the rest.

    Columns of the records: `ita` (degrees), `skin_type` (1 to 6), `camera_used` (0 to 11),
    `bayes_label` (the best guess of anyone who knows the latents and takes the classes to be
    equally frequent) and, with two classes, `llr`, the exact log likelihood ratio.

    Raises:
        ValueError: for an impossible option or an unknown bias variable.
    """
    _check(config, seed)
    table = {
        'train': _table(config, seed, 'train', config.n_train),
        'val': _table(config, seed, 'val', config.n_val),
        'test': _table(config, config.test_seed, 'test', config.n_test),
    }
    lenses = cameras.given_class(config.camera_skew if config.cameras == 'skewed' else 0.0)
    splits = {
        name: _records(config, name, t, _choose(t, config.skew), _cameras(t, lenses))
        for name, t in table.items()
        if name != 'test'
    }
    study = _artefact_splits if config.cameras == 'uniform' else _camera_splits
    splits.update(study(config, table['test']))
    return DataSet(
        name='synthetic',
        classes=latents.CLASSES[config.classes],
        bias=_bias_names(config),
        splits=splits,
        pairs={config.artefact: ('plain', 'marked')} if 'marked' in splits else {},
        info={
            'description': _describe(config),
            'bayes_auc': config.bayes_auc,
            'bayes_splits': [name for name in UNSKEWED if name in splits],
            'bayes_balanced_accuracy': latents.bayes_balanced_accuracy(
                config.classes, config.bayes_auc
            ),
        },
    )


@dataclasses.dataclass(frozen=True)
class _Table:
    """What is decided about the pictures of a split before they are drawn."""

    name: str
    seed: int
    indices: Int[np.ndarray, ' n']
    labels: Int[np.ndarray, ' n']
    malignant: Int[np.ndarray, ' n']
    latents: Float[np.ndarray, 'n l']
    ita: Float[np.ndarray, ' n']
    chance: Float[np.ndarray, 'n 4']  # uniform, for the camera, the artefact, hair and bubbles


def _table(config, seed: int, name: str, n: int) -> _Table:
    offset, k = _OFFSETS[name], config.classes
    indices = np.arange(n) + offset
    labels = np.repeat(np.arange(k, dtype=np.int32), _counts(n, k, name == 'test'))
    generator(seed, offset, STREAMS['order']).shuffle(labels)
    means = latents.class_means(k, config.bayes_auc)
    z = [latents.sample(seed, int(i), means[y]) for i, y in zip(indices, labels, strict=True)]
    ita = [skin_tone(seed, int(i), config.ita_mean, config.ita_sd) for i in indices]
    chance = [generator(seed, int(i), STREAMS['table']).random(4) for i in indices]
    malignant = np.array(latents.MALIGNANT[k], np.int32)[labels]
    return _Table(
        name,
        seed,
        indices,
        labels,
        malignant,
        np.array(z).reshape(n, means.shape[1]),
        np.array(ita),
        np.array(chance).reshape(n, 4),
    )


def _counts(n: int, classes: int, equal: bool) -> Int[np.ndarray, ' k']:
    """Pictures per class, by largest remainders; no class is left without any if n allows."""
    weights = np.ones(classes) if equal else np.array(latents.PROPORTIONS[classes], float)
    at_least = 1 if n >= classes else 0
    share = (n - at_least * classes) * weights / weights.sum()
    counts = np.floor(share).astype(int)
    first = np.argsort(counts - share, kind='stable')[: n - at_least * classes - counts.sum()]
    counts[first] += 1
    return counts + at_least


def _choose(table: _Table, rates: Sequence[float]) -> Int[np.ndarray, ' n']:
    """Who has the artefact, given its probability: (benign, malignant) or one for each class."""
    which = table.malignant if len(rates) == 2 else table.labels
    return (table.chance[:, 1] < np.array(rates)[which]).astype(np.int32)


def _cameras(table: _Table, rates: Float[np.ndarray, '2 c']) -> Int[np.ndarray, ' n']:
    limits = np.cumsum(rates, 1)[:, :-1][table.malignant]
    return (table.chance[:, :1] >= limits).sum(1).astype(np.int32)


def _artefact_splits(config, table: _Table) -> dict[str, Records]:
    """Two renderings of the same lesions, and selections that share their pixels."""
    camera = _cameras(table, cameras.given_class(0.0))
    nobody, everybody = _choose(table, (0.0, 0.0)), _choose(table, (1.0, 1.0))
    splits = {'plain': _records(config, 'plain', table, nobody, camera)}
    if config.artefact == NONE:
        return splits
    splits['marked'] = _records(config, 'marked', table, everybody, camera)
    if config.cache:
        splits = {name: records.cached() for name, records in splits.items()}
    for name, rates in _SELECTIONS.items():
        present = _choose(table, rates)
        records = _records(config, name, table, present, camera)
        sources = np.where(present == 1, 'marked', 'plain')
        splits[name] = dataclasses.replace(records, read=_read_from(dict(splits), sources))
    return splits


def _read_from(splits: Mapping[str, Records], sources: np.ndarray):
    """Reads each row from the split that `sources` names for it."""

    def read(row: int) -> dict[str, np.ndarray]:
        return splits[sources[row]].read(row)

    return read


def _camera_splits(config, table: _Table) -> dict[str, Records]:
    """The same lesions, photographed by other cameras."""
    skewed = cameras.given_class(config.camera_skew)
    choices = {
        'aligned': _cameras(table, skewed),
        'uniform': _cameras(table, cameras.given_class(0.0)),
        'reversed': _cameras(table, skewed[::-1]),
        'unseen': cameras.SEEN + (table.chance[:, 0] * cameras.UNSEEN).astype(np.int32),
    }
    present = np.zeros_like(table.labels)
    return {name: _records(config, name, table, present, c) for name, c in choices.items()}


def _records(
    config, split: str, table: _Table, present: Int[np.ndarray, ' n'], camera: Int[np.ndarray, ' n']
) -> Records:
    has = {
        name: (table.chance[:, 2 + i] < config[name]).astype(np.int32)
        for i, name in enumerate(_BACKGROUND)
    }
    if config.artefact != NONE:
        has[config.artefact] = present
    size = int(config.image_size)

    def read(row: int) -> dict[str, np.ndarray]:
        picture = compose(
            table.seed,
            int(table.indices[row]),
            table.latents[row],
            float(table.ita[row]),
            size,
            [name for name, values in has.items() if values[row]],
            int(camera[row]),
        )
        return {'image': picture.image, 'mask': picture.mask}

    numbers = [f'{table.seed}-{i:05d}' for i in range(len(table.labels))]
    return Records(
        ids=np.array([f'{split}-{number}' for number in numbers], dtype=np.str_),
        labels=table.labels,
        bias={**has, 'camera': np.where(camera < cameras.SEEN, camera, UNKNOWN).astype(np.int32)},
        groups=np.array([f'{table.name}-{number}' for number in numbers], dtype=np.str_),
        read=read,
        columns=_columns(config, table, camera),
    )


def _columns(config, table: _Table, camera: Int[np.ndarray, ' n']) -> dict[str, np.ndarray]:
    means = latents.class_means(config.classes, config.bayes_auc)
    columns = {
        'ita': table.ita,
        'skin_type': skin_type(table.ita),
        'camera_used': camera,
        'bayes_label': latents.log_posterior(table.latents, means).argmax(1),
    }
    if config.classes == 2:
        columns['llr'] = latents.log_likelihood_ratio(table.latents, means)
    return columns


def skin_type(ita: Float[np.ndarray, ' n']) -> Int[np.ndarray, ' n']:
    """Type 1 (above 55 degrees) to 6 (10 and below) of individual typology angles in degrees."""
    return 6 - np.searchsorted(_ITA_LIMITS, ita)


def variables(config) -> list[str]:
    """Names of the bias variables."""
    return list(_bias_names(config))


def _bias_names(config) -> dict[str, tuple[str, ...]]:
    present = [*_BACKGROUND, config.artefact] if config.artefact != NONE else _BACKGROUND
    names: dict[str, tuple[str, ...]] = {name: (f'no {name}', name) for name in present}
    names['camera'] = tuple(f'camera {i + 1}' for i in range(cameras.SEEN))
    return names


def _check(config, seed: int) -> None:
    kinds = (NONE, *artefacts.ARTEFACTS)
    if config.artefact not in kinds:
        raise ValueError(f'unknown artefact {config.artefact!r}; {choices(config.artefact, kinds)}')
    known = ('uniform', 'skewed', 'unskewed')
    if config.cameras not in known:
        raise ValueError(f'unknown cameras {config.cameras!r}; {choices(config.cameras, known)}')
    if config.cameras != 'uniform' and config.artefact != NONE:
        raise ValueError(
            f"cameras={config.cameras!r} studies the camera alone: set artefact='none'; "
            f'found artefact={config.artefact!r}'
        )
    latents.class_means(config.classes, config.bayes_auc)
    rates = {'skew': config.skew, 'hair': (config.hair,), 'bubbles': (config.bubbles,)}
    for name, values in rates.items():
        if not all(0 <= p <= 1 for p in values):
            raise ValueError(f'{name} must hold probabilities; found {config[name]}')
    if len(config.skew) not in (2, config.classes):
        raise ValueError(
            f'skew must have 2 entries (benign, malignant) or one for each of the '
            f'{config.classes} classes; found {config.skew}'
        )
    unknown = sorted(set(config.bias) - set(_bias_names(config)))
    if unknown:
        raise ValueError(
            f'unknown bias variable {unknown[0]!r}; {choices(unknown[0], _bias_names(config))}'
        )
    if seed < 0 or config.test_seed < 0:
        raise ValueError(f'seeds must be at least 0; found {seed} and test_seed={config.test_seed}')
    if config.image_size < 16:
        raise ValueError(f'image_size must be at least 16; found {config.image_size}')


def _describe(config) -> str:
    text = f'Synthetic lesions of {config.classes} classes, Bayes AUC {config.bayes_auc:g}'
    if config.cameras == 'skewed':
        return f'{text}; the camera depends on the class (skew {config.camera_skew:g})'
    if config.artefact == NONE:
        return f'{text}; no artefact depends on the class'
    rates = ' and '.join(f'{p:g}' for p in config.skew)
    return f'{text}; in training P({config.artefact}) is {rates} by class'


def sheet(config, size: int, columns: int) -> list[list[UInt8[np.ndarray, 'h w 3']]]:
    """Rows of the contact sheet that kind 'generate' draws."""
    del config
    return gallery.synthetic_rows(size, columns)
