"""Synthetic skin lesions: a small data set with a known Bayes AUC and artefacts on command.

Nothing is downloaded and nothing is stored: a picture is a function of (seed, index, class,
artefacts, camera), drawn when it is read. An artefact, or the camera, is correlated with the class
in training and validation; test splits hold the same lesions with other correlations.

    artefact        plain (nobody has it), marked (everybody), and selections from these two:
                    balanced (half), reversed (P = 0.9 if benign, 0.05 if malignant), aligned
                    (0.05, 0.9)
    cameras=skewed  aligned (as in training), uniform, reversed, unseen (four other cameras);
                    cameras=unskewed has the same test splits without the skew in training
    tones=light     training on skin of types I and II, tests type_1 to type_6 of all: the same
                    lesions on other skin; tones=even trains on all of them

Training classes are equally frequent, or as in HAM10000 when there are seven; test classes are
always equally frequent, so that balanced accuracy is measured as well on the rare ones.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from skinjax.data import artefacts, cameras, gallery, latents, tones
from skinjax.data.detectors import skin_type
from skinjax.data.population import Population, draw
from skinjax.data.records import UNKNOWN, DataSet, Records, choices
from skinjax.data.rendering import ITA_MEAN, ITA_SD, Picture, compose, render

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
    # Skin: 'normal' with this mean and standard deviation of the typology angle, or 'light': types
    # I and II in training, each type in tests, or 'even': the same tests, every type in training.
    'tones': tones.NORMAL,
    'ita_mean': ITA_MEAN,
    'ita_sd': ITA_SD,
    # Of the test pictures; with this one their own Bayes AUC is 0.9698 for two classes.
    'test_seed': 900006,
}

_BACKGROUND = ('hair', 'bubbles')
_SELECTIONS = {'balanced': (0.5, 0.5), 'reversed': (0.9, 0.05), 'aligned': (0.05, 0.9)}
# Splits in which neither artefact nor camera tells the class.
UNSKEWED = (
    'plain', 'marked', 'balanced', 'uniform', 'unseen', *(tones.split(k) for k in range(1, 7)),
)  # fmt: skip


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
        'train': draw(config, seed, 'train', config.n_train),
        'val': draw(config, seed, 'val', config.n_val),
        'test': draw(config, config.test_seed, 'test', config.n_test),
    }
    lenses = cameras.given_class(config.camera_skew if config.cameras == 'skewed' else 0.0)
    splits = {
        name: _records(config, name, t, t.having(config.skew), t.cameras(lenses))
        for name, t in table.items()
        if name != 'test'
    }
    splits.update(_study(config)(config, table['test']))
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


def _study(config):
    """What makes the test splits."""
    if config.tones != tones.NORMAL:
        return _tone_splits
    return _artefact_splits if config.cameras == 'uniform' else _camera_splits


def _tone_splits(config, table: Population) -> dict[str, Records]:
    """The same lesions on skin of each type."""
    nobody, camera = table.having((0.0, 0.0)), table.cameras(cameras.given_class(0.0))
    splits = {}
    for kind in range(1, 7):
        ita = tones.draw(table.seed, table.indices, (kind,))
        other = dataclasses.replace(table, ita=ita)
        splits[tones.split(kind)] = _records(config, tones.split(kind), other, nobody, camera)
    return splits


def _artefact_splits(config, table: Population) -> dict[str, Records]:
    """Two renderings of the same lesions, and selections that share their pixels."""
    camera = table.cameras(cameras.given_class(0.0))
    nobody, everybody = table.having((0.0, 0.0)), table.having((1.0, 1.0))
    splits = {'plain': _records(config, 'plain', table, nobody, camera)}
    if config.artefact == NONE:
        return splits
    splits['marked'] = _records(config, 'marked', table, everybody, camera)
    if config.cache:
        splits = {name: records.cached() for name, records in splits.items()}
    for name, rates in _SELECTIONS.items():
        present = table.having(rates)
        records = _records(config, name, table, present, camera)
        sources = np.where(present == 1, 'marked', 'plain')
        splits[name] = dataclasses.replace(records, read=_read_from(dict(splits), sources))
    return splits


def _read_from(splits: Mapping[str, Records], sources: np.ndarray):
    """Reads each row from the split that `sources` names for it."""

    def read(row: int) -> dict[str, np.ndarray]:
        return splits[sources[row]].read(row)

    return read


def _camera_splits(config, table: Population) -> dict[str, Records]:
    """The same lesions, photographed by other cameras."""
    skewed = cameras.given_class(config.camera_skew)
    choices = {
        'aligned': table.cameras(skewed),
        'uniform': table.cameras(cameras.given_class(0.0)),
        'reversed': table.cameras(skewed[::-1]),
        'unseen': cameras.SEEN + (table.chance[:, 0] * cameras.UNSEEN).astype(np.int32),
    }
    present = np.zeros_like(table.labels)
    return {name: _records(config, name, table, present, c) for name, c in choices.items()}


def _records(
    config,
    split: str,
    table: Population,
    present: Int[np.ndarray, ' n'],
    camera: Int[np.ndarray, ' n'],
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


def _columns(config, table: Population, camera: Int[np.ndarray, ' n']) -> dict[str, np.ndarray]:
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
    if config.tones not in tones.CHOICES:
        raise ValueError(f'unknown tones {config.tones!r}; {choices(config.tones, tones.CHOICES)}')
    if config.tones != tones.NORMAL and (config.cameras, config.artefact) != ('uniform', NONE):
        raise ValueError(
            f"tones={config.tones!r} studies the skin alone: set artefact='none' and "
            f"cameras='uniform'; found {config.artefact!r} and {config.cameras!r}"
        )
    if config.tones != tones.NORMAL and (config.ita_mean, config.ita_sd) != (ITA_MEAN, ITA_SD):
        raise ValueError(
            f'tones={config.tones!r} draws the angles of its types evenly: ita_mean and ita_sd do '
            f'nothing; found {config.ita_mean:g} and {config.ita_sd:g}'
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
    if config.tones != tones.NORMAL:
        known = 'types I and II' if config.tones == tones.LIGHT else 'every type'
        return f'{text}; in training skin of {known}, in tests of each type'
    if config.artefact == NONE:
        return f'{text}; no artefact depends on the class'
    rates = ' and '.join(f'{p:g}' for p in config.skew)
    return f'{text}; in training P({config.artefact}) is {rates} by class'


def sheet(config, size: int, columns: int) -> list[list[UInt8[np.ndarray, 'h w 3']]]:
    """Rows of the contact sheet that kind 'generate' draws."""
    del config
    return gallery.synthetic_rows(size, columns)
