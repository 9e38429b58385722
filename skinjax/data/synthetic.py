"""Synthetic skin lesions: a small data set with a known Bayes AUC and artefacts on command.

Nothing is downloaded and nothing is stored: a picture is a function of (seed, index, class,
artefacts, camera), drawn when it is read. An artefact, or the camera, can be correlated with the
class in training and validation; test splits hold the same lesions without it, with it, and with
other correlations.

    artefact != 'none'    plain (nobody has it), marked (everybody), balanced (half),
                          reversed (P = 0.9 if benign, 0.05 if malignant), aligned (0.05, 0.9)
    cameras == 'skewed'   aligned (as in training), uniform, reversed, unseen (four new cameras)
"""

import csv
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from skinjax.data import artefacts as artefact_drawings
from skinjax.data import cameras, latents, lesions
from skinjax.data.canvas import STREAMS, generator
from skinjax.data.records import UNKNOWN, DataSet, Records

DEFAULTS: dict[str, Any] = {
    'n_train': 3000,
    'n_val': 500,
    'n_test': 2000,
    'classes': 2,
    'bayes_auc': 0.97,
    'artefact': 'ruler',
    'skew': (0.0, 0.5),
    'hair': 0.2,
    'bubbles': 0.1,
    'cameras': 'uniform',
    'camera_skew': 1.5,
    'ita_mean': 45.0,
    'ita_sd': 13.0,
    'test_seed': 900001,
}
NONE = 'none'
_CLASSES = {2: ('nevus', 'melanoma')}
_OFFSETS = {'train': 0, 'val': 1 << 32, 'test': 2 << 32}
_BACKGROUND = ('hair', 'bubbles')
_SELECTIONS = {'balanced': (0.5, 0.5), 'reversed': (0.9, 0.05), 'aligned': (0.05, 0.9)}
_ITA_LIMITS = (10.0, 19.0, 28.0, 41.0, 55.0)


@dataclasses.dataclass(frozen=True)
class Picture:
    """One rendered lesion.

    Attributes:
        image: as photographed.
        mask: 255 where there is lesion.
        artefacts: name -> 255 where it changes the scene, before the camera's blur.
        latents: what the class was allowed to influence.
        ita: individual typology angle of the skin before the camera, in degrees.
    """

    image: UInt8[np.ndarray, 's s 3']
    mask: UInt8[np.ndarray, 's s']
    artefacts: Mapping[str, UInt8[np.ndarray, 's s']]
    latents: Float[np.ndarray, ' l']
    ita: float


def render(
    seed: int,
    index: int,
    label: int,
    size: int,
    artefacts: Sequence[str] = (),
    camera: int = 0,
    ita: float | None = None,
    bayes_auc: float = 0.97,
    classes: int = 2,
) -> Picture:
    """One picture. Each argument changes only what it names: chance is keyed by (seed, index).

    `ita` None draws the skin tone; `camera` is 0 to 11, of which the last four are unseen.
    """
    z = latents.sample(seed, index, latents.class_means(classes, bayes_auc)[label])
    if ita is None:
        ita = _ita(seed, index, DEFAULTS['ita_mean'], DEFAULTS['ita_sd'])
    return compose(seed, index, z, ita, size, artefacts, camera)


def compose(
    seed: int,
    index: int,
    z: Float[np.ndarray, ' l'],
    ita: float,
    size: int,
    artefacts: Sequence[str] = (),
    camera: int = 0,
) -> Picture:
    """The picture of a lesion with the given latents on skin of the given tone."""
    skin = generator(seed, index, STREAMS['skin'])
    lesions.sample_ita(skin, 0.0, 1.0)
    colour = lesions.skin_colour(skin, ita)
    scene = lesions.draw(z, generator(seed, index, STREAMS['detail']), colour, size)
    image, masks = artefact_drawings.add(scene, tuple(artefacts), seed, index)
    return Picture(
        cameras.take(image, generator(seed, index, STREAMS['camera']), camera),
        _as_mask(scene.mask > 0.5),
        {name: _as_mask(mask) for name, mask in masks.items()},
        z,
        ita,
    )


def _as_mask(where: np.ndarray) -> UInt8[np.ndarray, 's s']:
    return np.where(where, 255, 0).astype(np.uint8)


def _ita(seed, index, mean, sd) -> float:
    return lesions.sample_ita(generator(seed, index, STREAMS['skin']), mean, sd)


def build(config, seed: int) -> DataSet:
    """The data set. `seed` makes the training and validation pictures, `config.test_seed` the rest.

    Validation pictures have the correlation of the training pictures.

    Raises:
        ValueError: for an impossible option or an unknown bias variable.
    """
    _check(config, seed)
    study = _camera_splits if config.cameras == 'skewed' else _artefact_splits
    splits = {}
    for split, n in (('train', config.n_train), ('val', config.n_val)):
        table = _table(config, seed, split, n)
        rates = config.skew if config.artefact != NONE else (0.0, 0.0)
        present = _choose(table, rates)
        camera_rates = cameras.given_class(
            config.camera_skew if config.cameras == 'skewed' else 0.0
        )
        splits[split] = _records(config, split, table, present, _cameras(table, camera_rates))
    splits.update(study(config, _table(config, config.test_seed, 'test', config.n_test)))
    return DataSet(
        name='synthetic',
        classes=_CLASSES[config.classes],
        bias=_bias_names(config),
        splits=splits,
        pairs={config.artefact: ('plain', 'marked')} if 'marked' in splits else {},
        info={
            'bayes_auc': config.bayes_auc,
            'bayes_balanced_accuracy': latents.bayes_balanced_accuracy(
                config.classes, config.bayes_auc
            ),
            'description': _describe(config),
        },
    )


@dataclasses.dataclass(frozen=True)
class _Table:
    """What is decided about the pictures of a split before they are drawn."""

    name: str
    seed: int
    indices: np.ndarray
    labels: np.ndarray
    malignant: np.ndarray
    latents: np.ndarray
    ita: np.ndarray
    chance: np.ndarray  # [n, 4] uniform: camera, artefact, hair, bubbles


def _table(config, seed: int, name: str, n: int) -> _Table:
    indices = np.arange(n) + _OFFSETS[name]
    labels = (np.arange(n) % config.classes).astype(np.int32)
    generator(seed, _OFFSETS[name], STREAMS['table']).shuffle(labels)
    means = latents.class_means(config.classes, config.bayes_auc)
    z = [latents.sample(seed, int(i), means[y]) for i, y in zip(indices, labels, strict=True)]
    ita = [_ita(seed, int(i), config.ita_mean, config.ita_sd) for i in indices]
    chance = [generator(seed, int(i) + 1, STREAMS['table']).random(4) for i in indices]
    return _Table(
        name,
        seed,
        indices,
        labels,
        labels == 1,
        np.array(z).reshape(n, -1),
        np.array(ita),
        np.array(chance).reshape(n, 4),
    )


def _choose(table: _Table, rates: Sequence[float]) -> Int[np.ndarray, ' n']:
    """Who gets the artefact, with P = rates[0] if benign and rates[1] if malignant."""
    return (table.chance[:, 1] < np.where(table.malignant, rates[1], rates[0])).astype(np.int32)


def _cameras(table: _Table, rates: Float[np.ndarray, '2 8']) -> Int[np.ndarray, ' n']:
    limits = np.cumsum(rates, 1)[:, :-1][table.malignant.astype(int)]
    return (table.chance[:, :1] >= limits).sum(1).astype(np.int32)


def _artefact_splits(config, table: _Table) -> dict[str, Records]:
    """Two renderings of the same lesions, and selections from them."""
    camera = _cameras(table, cameras.given_class(0.0))
    plain = _records(config, 'plain', table, np.zeros_like(table.labels), camera)
    if config.artefact == NONE:
        return {'plain': plain}
    marked = _records(config, 'marked', table, np.ones_like(table.labels), camera)
    splits = {'plain': plain, 'marked': marked}
    for name, rates in _SELECTIONS.items():
        splits[name] = _records(config, name, table, _choose(table, rates), camera)
    return splits


def _camera_splits(config, table: _Table) -> dict[str, Records]:
    """The same lesions, photographed by other cameras."""
    absent, skewed = np.zeros_like(table.labels), cameras.given_class(config.camera_skew)
    choices = {
        'aligned': _cameras(table, skewed),
        'uniform': _cameras(table, cameras.given_class(0.0)),
        'reversed': _cameras(table, skewed[::-1]),
        'unseen': cameras.SEEN + (table.chance[:, 0] * cameras.UNSEEN).astype(np.int32),
    }
    return {name: _records(config, name, table, absent, c) for name, c in choices.items()}


def _records(config, split: str, table: _Table, present: np.ndarray, camera: np.ndarray) -> Records:
    has = {
        name: (table.chance[:, 2 + i] < config[name]).astype(np.int32)
        for i, name in enumerate(_BACKGROUND)
    }
    if config.artefact != NONE:
        has[config.artefact] = present
    size = config.image_size

    def read(row: int) -> dict[str, np.ndarray]:
        names = [name for name, values in has.items() if values[row]]
        picture = compose(
            table.seed,
            int(table.indices[row]),
            table.latents[row],
            float(table.ita[row]),
            size,
            names,
            int(camera[row]),
        )
        return {'image': picture.image, 'mask': picture.mask}

    lesion = [f'{table.name}-{table.seed}-{i:05d}' for i in range(len(table.labels))]
    seen = np.where(camera < cameras.SEEN, camera, UNKNOWN).astype(np.int32)
    means = latents.class_means(config.classes, config.bayes_auc)
    posterior = latents.log_posterior(table.latents, means)
    return Records(
        ids=np.array([f'{split}-{table.seed}-{i:05d}' for i in range(len(lesion))]),
        labels=table.labels,
        bias={**has, 'camera': seen},
        groups=np.array(lesion),
        read=read,
        columns={
            'llr': posterior[:, 1] - posterior[:, 0],
            'ita': table.ita,
            'skin_type': 6 - np.searchsorted(_ITA_LIMITS, table.ita),
            'camera_used': camera,
        },
    )


def _bias_names(config) -> dict[str, tuple[str, ...]]:
    names = {name: (f'no {name}', name) for name in _BACKGROUND}
    if config.artefact != NONE:
        names[config.artefact] = (f'no {config.artefact}', config.artefact)
    names['camera'] = tuple(f'camera {i + 1}' for i in range(cameras.SEEN))
    return names


def _check(config, seed: int) -> None:
    kinds = (NONE, *artefact_drawings.ARTEFACTS)
    if config.artefact not in kinds:
        raise ValueError(f'artefact must be one of {", ".join(kinds)}; found {config.artefact!r}')
    if config.cameras not in ('uniform', 'skewed'):
        raise ValueError(f"cameras must be 'uniform' or 'skewed'; found {config.cameras!r}")
    if config.cameras == 'skewed' and config.artefact != NONE:
        raise ValueError(
            f"cameras='skewed' needs artefact='none', so that one thing is studied at a time; "
            f'found artefact={config.artefact!r}'
        )
    unknown = set(config.bias) - set(_bias_names(config))
    if unknown:
        raise ValueError(
            f'unknown bias variables {sorted(unknown)}; there are {", ".join(_bias_names(config))}'
        )
    if seed < 0 or config.test_seed < 0:
        raise ValueError(f'seeds must be at least 0; found {seed} and test_seed={config.test_seed}')


def _describe(config) -> str:
    text = f'Synthetic lesions, Bayes AUC {config.bayes_auc:g}'
    if config.cameras == 'skewed':
        return f'{text}; the camera depends on the class (skew {config.camera_skew:g}).'
    if config.artefact == NONE:
        return f'{text}; no artefact depends on the class.'
    benign, malignant = config.skew
    return (
        f'{text}; in training {benign:.0%} of the benign and {malignant:.0%} of the malignant '
        f'lesions have a {config.artefact}.'
    )
