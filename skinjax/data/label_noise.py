"""Wrong training labels on purpose: what a method does with the errors of annotators."""

import dataclasses
from typing import Any

import numpy as np

from skinjax.data.records import DataSet

FLIPPED = 'flipped'  # column of the training rows: 1 where the label was replaced
_STREAM = 7  # of the seed: not the one that divides the rows


def with_flipped(dataset: DataSet, share: float, seed: int) -> tuple[DataSet, dict[str, Any]]:
    """The data set with a share of its training labels replaced by another class.

    round(share n) of the n rows, drawn without regard to their class, get each of the other classes
    with equal probability (symmetric noise). Where one class is frequent, most of what is labelled
    as a rare one can then be wrong. Other splits stay as they are.

    Returns:
        The data set, its training rows with a column `FLIPPED`; and 'share', 'rows', and 'flipped':
        how many rows of each (true) class have another label now.

    Raises:
        ValueError: no split 'train', no other class, or a share of less than half a row.
    """
    if 'train' not in dataset.splits or len(dataset.classes) < 2:
        raise ValueError(
            f"data.label_noise={share} needs a split 'train' and two classes; found splits "
            f'{sorted(dataset.splits)} and {len(dataset.classes)} classes'
        )
    train, count = dataset.splits['train'], len(dataset.classes)
    rng = np.random.default_rng((seed, _STREAM))
    rows = rng.permutation(len(train))[: round(share * len(train))]
    if not len(rows):
        raise ValueError(f'data.label_noise={share} is no row of the {len(train)} in training')
    labels, flipped = train.labels.copy(), np.zeros(len(train), np.int32)
    labels[rows] = (labels[rows] + rng.integers(1, count, len(rows))) % count
    flipped[rows] = 1
    changed = dataclasses.replace(train, labels=labels, columns={**train.columns, FLIPPED: flipped})
    of = np.bincount(train.labels[rows], minlength=count).tolist()
    facts = {
        'share': share,
        'rows': len(train),
        'flipped': dict(zip(dataset.classes, of, strict=True)),
    }
    return dataclasses.replace(dataset, splits={**dataset.splits, 'train': changed}), facts
