"""Relevance of a model that is only a function: how much less it says so with a part covered."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Integer

from skinjax.data.records import Records
from skinjax.predictions import Predictions

SURE = 1e-6  # probabilities are kept so far from 0 and 1: a float that says 1 has no log-odds

Say = Callable[[Records], tuple[Predictions, Any]]


def occlusion(
    say: Say,
    records: Records,
    targets: Integer[np.ndarray, ' n'],
    cells: int = 8,
    clean: Predictions | None = None,
    told: Callable[[int], None] = lambda done: None,
) -> Float[np.ndarray, 'n cells cells']:
    """Maps of the relevance for class targets[i] of each image, one value a cell of a square grid.

        R[i, y, x] = l(image) - l(image with cell (y, x) in its mean colour)

    where l = log p / (1 - p) and p is the probability of the target: positive where the cell speaks
    for the target (Zeiler and Fergus, ECCV 2014, section 4.2, who cover with grey and keep p; the
    mean colour of the image is less foreign to skin, and log-odds do not vanish where the model is
    sure, up to a probability of 1 - SURE: beyond it, `sure`, a map is zero wherever the model stays
    as sure as that). Cells do not overlap. The model sees every image cells² + 1 times, and each
    time the images are read anew: hand over `records.cached()` where they fit into memory.

    Args:
        say: predictions of records, as `classifiers.Classifier.say`.
        records: the images, of at least `cells` pixels a side.
        targets: class of each.
        cells: of the grid, a side.
        clean: what is said of the images as they are, where that is known.
        told: called with the number of passes done.

    Raises:
        ValueError: fewer than 1 cell, other than one target an image, a target that is no class, or
            an image with fewer pixels than cells.
    """
    if cells < 1:
        raise ValueError(f'{cells} cells a side; expected at least 1')
    if len(targets) != len(records):
        raise ValueError(f'{len(targets)} targets for {len(records)} images')
    before = _log_odds(say(records)[0] if clean is None else clean, targets)
    told(1)
    maps = np.zeros((len(records), cells, cells), np.float32)
    for k in range(cells * cells):
        at = divmod(k, cells)
        maps[:, *at] = before - _log_odds(say(_covered(records, at, cells))[0], targets)
        told(k + 2)
    return maps


def sure(table: Predictions, targets: Integer[np.ndarray, ' n']) -> Bool[np.ndarray, ' n']:
    """Of which rows the target's probability is nearer to 0 or 1 than log-odds can tell."""
    return np.abs(_chance(table, targets) - 0.5) > 0.5 - SURE


def _log_odds(table: Predictions, targets: Integer[np.ndarray, ' n']) -> Float[np.ndarray, ' n']:
    """Of the target of each row."""
    p = np.clip(_chance(table, targets), SURE, 1 - SURE)
    return np.log(p) - np.log1p(-p)


def _chance(table: Predictions, targets: Integer[np.ndarray, ' n']) -> Float[np.ndarray, ' n']:
    p = table.scores
    if table.binary:
        p = np.concatenate([1 - p, p], axis=1)
    if len(targets) and not 0 <= targets.min() <= targets.max() < p.shape[1]:
        found = f'{targets.min()} to {targets.max()}'
        raise ValueError(f'targets are {found}; the model has the classes 0 to {p.shape[1] - 1}')
    return p[np.arange(len(p)), targets]


def _covered(records: Records, cell: tuple[int, int], cells: int) -> Records:
    """The same with one cell of every image in the image's mean colour."""

    def read(row: int) -> dict[str, np.ndarray]:
        example = records.read(row)
        image = example['image'].copy()
        if min(image.shape[:2]) < cells:
            size = ' x '.join(map(str, image.shape[:2]))
            raise ValueError(f'image {records.ids[row]} has {size} pixels for {cells} cells a side')
        top, bottom, left, right = (
            side * (k + more) // cells
            for side, k in zip(image.shape[:2], cell, strict=True)
            for more in (0, 1)
        )
        image[top:bottom, left:right] = image.mean(axis=(0, 1)).round().astype(np.uint8)
        return {**example, 'image': image}

    return dataclasses.replace(records, read=read)
