"""How many predictions of classifiers switch when an artefact is inserted into every image.

The insertion test of GEBI, over several insertions of each kind ("masks"): figures are means over
the masks, their intervals a bootstrap over images (whole groups: patients, lesions), which keeps
what the classifiers say of one image together, so that differences are paired.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Integer, Num
from scipy.stats import binomtest, false_discovery_control

from skinjax.bootstrap import interval, resample_counts
from skinjax.measures import insertion, mean_of, per_class
from skinjax.predictions import Predictions

Row = dict[str, Any]
SIZES = ('mean_abs', 'max_abs')  # of the shifts of a probability
SHIFTS = (*SIZES, 'mean', 'median', 'min')


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


def mask_rows(called: Sequence[Called], classes: Sequence[str]) -> list[Row]:
    """`mask_row` of every classifier, artefact and mask."""
    return [
        mask_row(one, artefact, mask, classes)
        for one in called
        for artefact, masks in one.biased.items()
        for mask in range(len(masks))
    ]


def mask_row(called: Called, artefact: str, mask: int, classes: Sequence[str]) -> Row:
    """The figures of one mask as plain values.

    `switched` counts the images whose call changes, `from NAME` those that were called NAME, `of
    NAME` those that are NAME. SHIFTS are those of a probability (of the positive class of two, else
    of the class that was called) in percentage points, `mean_abs of NAME` and so on those of the
    images that are NAME (nan without any). Precision, recall and F1 are as in `quality`. McNemar's
    exact test compares `lost` (right before, wrong with the artefact) with `won`.
    """
    clean, biased = called.clean, called.biased[artefact][mask]
    was, now = clean.predicted(called.threshold), biased.predicted(called.threshold)
    switched = was != now
    right, still = was == clean.labels, now == clean.labels
    lost, won = int((right & ~still).sum()), int((~right & still).sum())
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
        'lost': lost,
        'won': won,
        'mcnemar_p': mcnemar(lost, won),
    }


def _shifts(
    clean: Predictions, biased: Predictions, threshold: float, classes: Sequence[str]
) -> dict[str, float]:
    """SHIFTS of all images, and of those of each true class."""
    rows = np.arange(len(clean))
    column = np.zeros_like(rows) if clean.binary else clean.predicted()
    before, after = (one.scores[rows, column] for one in (clean, biased))
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
        for name, value in quality(_confusions(labels, called, classes, None)).items()
    }


def mcnemar(lost: int, won: int) -> float:
    """McNemar's exact test, two-sided: `lost` of lost + won against one half; 1 without either."""
    return float(binomtest(lost, lost + won).pvalue) if lost + won else 1.0


def combined(p: Sequence[float]) -> float:
    """One p-value of n tests that depend on each other in any way: (n / k) p_(k), at most 1.

    k = ⌈n / 2⌉, so that it is about twice the median (Rüger 1978; Meinshausen, Meier and Bühlmann
    2009, eq. 2.2), and p itself for one test.
    """
    k = (len(p) + 1) // 2
    return min(1.0, len(p) / k * sorted(p)[k - 1])


def quality(matrices: Float[np.ndarray, 'b c c']) -> dict[str, Float[np.ndarray, ' b']]:
    """Precision, recall and F1 of the positive class of two, their means over more classes."""
    if matrices.shape[1] == 2:
        return {name: values[:, 1] for name, values in per_class(matrices).items()}
    return {name: np.atleast_1d(mean_of(values)) for name, values in per_class(matrices).items()}


def _confusions(
    labels: Integer[np.ndarray, ' n'],
    called: Integer[np.ndarray, ' n'],
    classes: int,
    counts: Float[np.ndarray, 'b n'] | None,
) -> Float[np.ndarray, 'b c c']:
    """Confusion matrix of each resample, or the one of all rows."""
    cells = labels.astype(np.int64) * classes + called
    member = (cells[:, None] == np.arange(classes * classes)).astype(np.float64)
    drawn = np.ones((1, len(cells))) if counts is None else counts
    return (drawn @ member).reshape(-1, classes, classes)


def summary(
    called: Sequence[Called],
    rows: Sequence[Row],
    groups: np.ndarray,
    classes: Sequence[str],
    resamples: int,
    seed: int,
) -> list[Row]:
    """For each classifier and artefact the means over the masks, with paired intervals.

    `switched` is a share of the images, `switched_sd` its standard deviation over the masks in
    images, `more` the share less that of the first classifier, `mean_abs` the mean size of the
    shifts with its standard deviation over the masks, `f1_change` the biased F1 less the clean one;
    `p` McNemar's over the masks (`combined`), `q` after Benjamini and Hochberg (1995). By class,
    `max_abs` is the largest shift of all masks.

    Args:
        called: what the classifiers say.
        rows: `mask_rows` of the same.
        groups: what the bootstrap does not divide, of each image.
        classes: their names.
        resamples: of the bootstrap.
        seed: of the same.
    """
    labels = called[0].clean.labels
    blocks = resample_counts(labels, resamples, seed, groups)
    drawn = np.concatenate([np.empty((0, len(labels))), *blocks])
    found: list[Row] = []
    first: dict[str, _Drawn] = {}
    for one in called:
        for artefact in one.biased:
            mine = [
                row
                for row in rows
                if (row['classifier'], row['artefact']) == (one.classifier, artefact)
            ]
            row, share = _means(one, artefact, mine, drawn, classes)
            base = first.setdefault(artefact, share)
            row['more'] = interval(share.value - base.value, share.replicates - base.replicates)
            found.append(row)
    for row, q in zip(found, false_discovery_control([r['p'] for r in found]), strict=True):
        row['q'] = float(q)
    return found


class _Drawn(NamedTuple):
    """A figure, and the same of each resample."""

    value: float
    replicates: Float[np.ndarray, ' b']

    def interval(self) -> dict[str, float]:
        return interval(self.value, self.replicates)


def _means(
    one: Called,
    artefact: str,
    rows: Sequence[Row],
    drawn: Float[np.ndarray, 'b n'],
    classes: Sequence[str],
) -> tuple[Row, _Drawn]:
    """The row of `summary` but for comparisons, and the share that switches."""
    labels = one.clean.labels
    was = one.clean.predicted(one.threshold)
    now = [table.predicted(one.threshold) for table in one.biased[artefact]]
    moved = np.array([was != after for after in now])
    each = moved.mean(axis=0)
    share = _Drawn(float(each.mean()), drawn @ each / drawn.sum(axis=1))

    clean, biased = (_mean_f1(labels, calls, len(classes), drawn) for calls in ([was], now))
    change = _Drawn(biased.value - clean.value, biased.replicates - clean.replicates)
    row = {
        'classifier': one.classifier,
        'artefact': artefact,
        'n': len(labels),
        'switched': share.interval(),
        'switched_images': float(moved.sum(axis=1).mean()),
        'switched_sd': _sd(moved.sum(axis=1)),
        'mean_abs': float(np.mean([row['mean_abs'] for row in rows])),
        'mean_abs_sd': _sd(np.array([row['mean_abs'] for row in rows])),
        'f1_clean': clean.interval(),
        'f1_biased': biased.interval(),
        'f1_change': change.interval(),
        'p': combined([row['mcnemar_p'] for row in rows]),
        'by_class': _by_class(moved, was, labels, classes, rows),
    }
    return row, share


def _mean_f1(
    labels: Integer[np.ndarray, ' n'],
    calls: Sequence[Integer[np.ndarray, ' n']],
    classes: int,
    drawn: Float[np.ndarray, 'b n'],
) -> _Drawn:
    """The mean F1 of several calls of the same images."""
    values = [quality(_confusions(labels, each, classes, None))['f1'][0] for each in calls]
    resampled = [quality(_confusions(labels, each, classes, drawn))['f1'] for each in calls]
    return _Drawn(float(np.mean(values)), np.mean(resampled, axis=0))


def _sd(values: Num[np.ndarray, ' m']) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else float('nan')


def _by_class(
    moved: Bool[np.ndarray, 'm n'],
    was: Integer[np.ndarray, ' n'],
    labels: Integer[np.ndarray, ' n'],
    classes: Sequence[str],
    rows: Sequence[Row],
) -> dict[str, dict[str, int | float]]:
    """Mean number of switches away from each called class, and of images of each true class."""
    each = moved.mean(axis=0)
    return {
        name: {
            'called': int((was == k).sum()),
            'switched_from': float(each[was == k].sum()),
            'are': int((labels == k).sum()),
            'switched_of': float(each[labels == k].sum()),
            'mean_abs': float(np.mean([row[f'mean_abs of {name}'] for row in rows])),
            'max_abs': float(np.max([row[f'max_abs of {name}'] for row in rows])),
        }
        for k, name in enumerate(classes)
    }
