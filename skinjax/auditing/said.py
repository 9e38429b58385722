"""What a classifier says of the splits of its data."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from skinjax.auditing import classifiers
from skinjax.auditing.classifiers import Classifier
from skinjax.data.records import DataSet
from skinjax.predictions import Predictions


class Real(NamedTuple):
    """What is said of the images of a split that are neither generated nor edited.

    Attributes:
        table: of these images.
        groups: their patients or lesions.
        rows: of the split.
    """

    table: Predictions
    groups: np.ndarray
    rows: Int[np.ndarray, ' k']


def ask(
    one: Classifier, name: str, workdir: Path
) -> tuple[dict[str, Predictions], Float[np.ndarray, 'n d'] | None]:
    """What it says of all splits but the training images, and of split `name`; and its features of
    this one, or None. Writes predictions/SPLIT.csv.
    """
    judged = dict.fromkeys([*(split for split in one.data.splits if split != 'train'), name])
    tables, features = {}, None
    for split in judged:
        tables[split], found = one.say(one.data.splits[split])
        features = found if split == name else features
        tables[split].write_csv(workdir / 'predictions' / f'{split}.csv')
    return tables, features


def real(data: DataSet, tables: Mapping[str, Predictions]) -> dict[str, Real]:
    """The tables without generated and edited images."""
    found = {}
    for name, table in tables.items():
        rows = classifiers.real_rows(data.splits[name])
        found[name] = Real(table.select(rows), data.splits[name].groups[rows], rows)
    return found
