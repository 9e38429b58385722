"""How many predictions of classifiers switch when an artefact is inserted into every image.

The insertion test of GEBI, for each of several insertions of each kind ("masks");
`switch_summary` takes them together.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Integer, Shaped

from skinjax.auditing import paired
from skinjax.measures import insertion
from skinjax.predictions import Predictions

Row = dict[str, Any]
SHIFTS = ('mean_abs', 'max_abs', 'mean', 'median', 'min')  # of a probability


@dataclasses.dataclass(frozen=True)
class Called:
    """What one classifier says of one split.

    Attributes:
        classifier: its name.
        threshold: of two classes.
        clean: predictions of the images as they are.
        biased: artefact -> predictions with it, one for each mask.
    """

    classifier: str
    threshold: float
    clean: Predictions
    biased: Mapping[str, Sequence[Predictions]]


def mask_rows(
    called: Sequence[Called],
    classes: Sequence[str],
    groups: Shaped[np.ndarray, ' n'] | None = None,
    seed: int = 0,
) -> list[Row]:
    """`mask_row` of every classifier, artefact and mask."""
    return [
        mask_row(one, artefact, mask, classes, groups, seed)
        for one in called
        for artefact, masks in one.biased.items()
        for mask in range(len(masks))
    ]


def mask_row(
    called: Called,
    artefact: str,
    mask: int,
    classes: Sequence[str],
    groups: Shaped[np.ndarray, ' n'] | None = None,
    seed: int = 0,
) -> Row:
    """The figures of one mask as plain values.

    `switched` counts the images whose call changes, `from NAME` those that were called NAME, `of
    NAME` those that are NAME. SHIFTS are those of a probability (of the positive class of two, else
    of the class that was called) in percentage points, `mean_abs of NAME` and so on those of the
    images that are NAME (nan without any). Precision, recall and F1 are as in `quality`. `right_p`
    compares `lost` (right before, wrong with the artefact) with `won` (`sign_flips`), `calls_p`
    calls that turn to one class with those that turn away (`symmetry`); neither divides `groups`,
    which are the images themselves where none are given, and of these it is McNemar's exact test.
    """
    clean, biased = called.clean, called.biased[artefact][mask]
    was, now = clean.predicted(called.threshold), biased.predicted(called.threshold)
    switched = was != now
    right, still = was == clean.labels, now == clean.labels
    lost, won = right & ~still, ~right & still
    codes = np.arange(len(was)) if groups is None else np.unique(groups, return_inverse=True)[1]
    return {
        'classifier': called.classifier,
        'artefact': artefact,
        'mask': mask,
        'n': len(was),
        'switched': int(switched.sum()),
        **{f'from {name}': int((switched & (was == k)).sum()) for k, name in enumerate(classes)},
        **{
            f'of {name}': int((switched & (clean.labels == k)).sum())
            for k, name in enumerate(classes)
        },
        **_shifts(clean, biased, called.threshold, classes),
        **_qualities(clean.labels, {'clean': was, 'biased': now}, len(classes)),
        'lost': int(lost.sum()),
        'won': int(won.sum()),
        'right_p': paired.sign_flips(lost.astype(np.int64) - won, codes),
        'calls_p': paired.symmetry(was, now, len(classes), codes, seed),
    }


def chances(
    clean: Predictions, biased: Predictions
) -> tuple[Float[np.ndarray, ' n'], Float[np.ndarray, ' n']]:
    """The probability that is compared, before and after: of the positive class of two, else of
    the class that was called before."""
    rows = np.arange(len(clean))
    column = np.zeros_like(rows) if clean.binary else clean.predicted()
    return clean.scores[rows, column], biased.scores[rows, column]


def moved(
    called: Called, artefact: str
) -> tuple[Bool[np.ndarray, 'm n'], Float[np.ndarray, 'm n']]:
    """Which predictions each mask switches, and the sizes of the shifts in percentage points."""
    was = called.clean.predicted(called.threshold)
    masks = called.biased[artefact]
    switched = np.array([was != table.predicted(called.threshold) for table in masks])
    pairs = [chances(called.clean, table) for table in masks]
    return switched, np.array([100 * np.abs(after - before) for before, after in pairs])


def _shifts(
    clean: Predictions, biased: Predictions, threshold: float, classes: Sequence[str]
) -> dict[str, float]:
    """SHIFTS of all images, and of those of each true class."""
    before, after = chances(clean, biased)
    block = insertion(before, after, clean.labels, threshold)
    found = {name: block[name] for name in SHIFTS}
    for k, of in enumerate(classes):
        mine = block['by_class'].get(str(k), {})
        found |= {f'{name} of {of}': mine.get(name, float('nan')) for name in SHIFTS}
    return found


def _qualities(
    labels: Integer[np.ndarray, ' n'], calls: Mapping[str, Integer[np.ndarray, ' n']], classes: int
) -> dict[str, float]:
    return {
        f'{name}_{when}': float(value[0])
        for when, called in calls.items()
        for name, value in paired.quality(paired.confusions(labels, called, classes, None)).items()
    }
