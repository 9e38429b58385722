"""How many predictions of classifiers switch when an artefact is inserted into every image.

The insertion test of GEBI, over several insertions of each kind ("masks"): figures are means over
the masks, their intervals a bootstrap over images (whole groups: patients, lesions), which keeps
what the classifiers say of one image together, so that differences are paired.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Integer
from scipy.stats import binomtest, false_discovery_control

from skinjax.bootstrap import interval, resample_counts
from skinjax.document import Table
from skinjax.measures import class_means, insertion, per_class
from skinjax.predictions import Predictions

Row = dict[str, Any]


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


def mask_row(called: Called, artefact: str, mask: int, classes: Sequence[str]) -> Row:
    """The figures of one mask as plain values.

    `switched` counts the images whose call changes, `from NAME` those that were called NAME, `of
    NAME` those that are NAME; `mean_abs` is the mean change of a probability (of the positive class
    of two, else of the class that was called) in percentage points. McNemar's exact test compares
    `lost` (right before, wrong with the artefact) with `won`.
    """
    clean, biased = called.clean, called.biased[artefact][mask]
    was, now = clean.predicted(called.threshold), biased.predicted(called.threshold)
    switched = was != now
    right, still = was == clean.labels, now == clean.labels
    if clean.binary:
        block = insertion(clean.positive, biased.positive, clean.labels, called.threshold)
        moved = {name: block[name] for name in ('mean_abs', 'max_abs', 'mean')}
    else:
        at = np.arange(len(was)), was
        shift = 100 * (biased.scores[at] - clean.scores[at])
        size = np.abs(shift)
        moved = {'mean_abs': size.mean(), 'max_abs': size.max(), 'mean': shift.mean()}
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
        **{name: float(value) for name, value in moved.items()},
        'f1_clean': float(f1(_confusions(clean.labels, was, len(classes), None))[0]),
        'f1_biased': float(f1(_confusions(clean.labels, now, len(classes), None))[0]),
        'lost': lost,
        'won': won,
        'mcnemar_p': mcnemar(lost, won),
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


def f1(matrices: Float[np.ndarray, 'b c c']) -> Float[np.ndarray, ' b']:
    """F1 of the positive class of two, mean F1 over the classes of more."""
    if matrices.shape[1] == 2:
        return per_class(matrices)['f1'][:, 1]
    return np.atleast_1d(class_means(matrices)['mean_f1'])


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
    groups: np.ndarray,
    classes: Sequence[str],
    resamples: int,
    seed: int,
) -> list[Row]:
    """For each classifier and artefact the means over the masks, with paired intervals.

    `switched` is a share of the images, `switched_sd` its standard deviation over the masks in
    images, `more` the share less that of the first classifier, `f1_change` the biased F1 less the
    clean one; `p` McNemar's over the masks (`combined`), `q` after Benjamini and Hochberg (1995).
    """
    labels = called[0].clean.labels
    blocks = resample_counts(labels, resamples, seed, groups)
    drawn = np.concatenate([np.empty((0, len(labels))), *blocks])
    found: list[Row] = []
    first: dict[str, _Drawn] = {}
    for one in called:
        for artefact in one.biased:
            row, share = _means(one, artefact, drawn, classes)
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
    one: Called, artefact: str, drawn: Float[np.ndarray, 'b n'], classes: Sequence[str]
) -> tuple[Row, _Drawn]:
    """The row of `summary` but for comparisons, and the share that switches."""
    labels, masks = one.clean.labels, range(len(one.biased[artefact]))
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
        'f1_clean': clean.interval(),
        'f1_biased': biased.interval(),
        'f1_change': change.interval(),
        'p': combined([mask_row(one, artefact, k, classes)['mcnemar_p'] for k in masks]),
        'by_class': _by_class(moved, was, labels, classes),
    }
    return row, share


def _mean_f1(
    labels: Integer[np.ndarray, ' n'],
    calls: Sequence[Integer[np.ndarray, ' n']],
    classes: int,
    drawn: Float[np.ndarray, 'b n'],
) -> _Drawn:
    """The mean F1 of several calls of the same images."""
    values = [f1(_confusions(labels, each, classes, None))[0] for each in calls]
    resampled = [f1(_confusions(labels, each, classes, drawn)) for each in calls]
    return _Drawn(float(np.mean(values)), np.mean(resampled, axis=0))


def _sd(counts: Integer[np.ndarray, ' m']) -> float:
    return float(counts.std(ddof=1)) if len(counts) > 1 else float('nan')


def _by_class(
    moved: Bool[np.ndarray, 'm n'],
    was: Integer[np.ndarray, ' n'],
    labels: Integer[np.ndarray, ' n'],
    classes: Sequence[str],
) -> dict[str, dict[str, int | float]]:
    """Mean number of switches away from each called class, and of images of each true class."""
    each = moved.mean(axis=0)
    return {
        name: {
            'called': int((was == k).sum()),
            'switched_from': float(each[was == k].sum()),
            'are': int((labels == k).sum()),
            'switched_of': float(each[labels == k].sum()),
        }
        for k, name in enumerate(classes)
    }


def tables(found: Sequence[Row]) -> list[Table]:
    """Switches and F1; and switches by class."""
    first = found[0]['classifier']
    header = ('artefact', 'classifier', 'n', 'switched', 'sd', 'share switched')
    header += (f'more than {first!r}', 'F1 clean', 'F1 biased', 'change', 'p', 'q')
    keys = ('artefact', 'classifier', 'n', 'switched_images', 'switched_sd', 'switched', 'more')
    keys += ('f1_clean', 'f1_biased', 'f1_change', 'p', 'q')
    names = dict.fromkeys(row['artefact'] for row in found)
    order = [row for name in names for row in found if row['artefact'] == name]
    body = [[row[key] for key in keys] for row in order]
    for cells, row in zip(body, order, strict=True):
        if row['classifier'] == first:
            cells[keys.index('more')] = None
    split = [
        [
            *(row['artefact'], row['classifier'], name),
            *_share(block, 'called', 'switched_from'),
            *_share(block, 'are', 'switched_of'),
        ]
        for row in order
        for name, block in row['by_class'].items()
    ]
    head = ('artefact', 'classifier', 'class', 'called so', 'of these switched', '%')
    return [
        Table('Predictions that switch when an artefact is inserted', header, body),
        Table(
            'The same by class: as called before, and as it is',
            (*head, 'are so', 'of these switched ', '% '),
            split,
        ),
    ]


def _share(block: Mapping[str, int | float], whole: str, part: str) -> list[Any]:
    percent = 100 * block[part] / block[whole] if block[whole] else None
    return [block[whole], block[part], percent]
