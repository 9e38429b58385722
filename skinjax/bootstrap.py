"""Intervals: stratified bootstrap over rows, Student's t over seeds, Wilson for one proportion.

A bootstrap draws as many rows as there are, with replacement, within each class, so that the
class counts stay as they are (Efron and Tibshirani 1993). It speaks about other test rows for
this trained model; only several seeds speak about training again.

Resamples are held as counts [b, n] (how often each row was drawn). A weighted statistic of one
sorted table then serves all resamples at once, which is what makes 1,000 AUCs take a second.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Integer, Num, Shaped
from scipy.stats import binomtest, t

from skinjax.measures import Labels, Scores, auc, mean_of, one_vs_rest_aucs, specificity_at

RESAMPLES = 1000
LEVEL = 0.95
# Entries of one block of counts: 2 million float64 are 16 MB.
_BLOCK = 2_000_000

Interval = dict[str, float]
Groups = Shaped[np.ndarray, ' n']


def interval(value: float, replicates: np.ndarray, level: float = LEVEL) -> Interval:
    """Percentile interval of the replicates that are defined, beside the value itself."""
    replicates = np.asarray(replicates, np.float64)
    replicates = replicates[~np.isnan(replicates)]
    if not replicates.size or np.isnan(value):
        return {'value': float(value), 'low': float('nan'), 'high': float('nan')}
    low, high = np.quantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    return {'value': float(value), 'low': float(low), 'high': float(high)}


def resample_counts(
    labels: Labels, n: int = RESAMPLES, seed: int = 0, groups: Groups | None = None
) -> Iterator[Integer[np.ndarray, 'b rows']]:
    """Blocks of counts that together hold n resamples; each class is drawn by its own stream.

    With `groups` (patients, lesions) whole groups are drawn instead of rows, within the classes
    of their highest label: rows of one patient are not independent observations.
    """
    labels = np.asarray(labels)
    if groups is None:
        unit, stratum = np.arange(len(labels)), labels
    else:
        _, unit = np.unique(groups, return_inverse=True)
        stratum = np.full(unit.max(initial=-1) + 1, -1)
        np.maximum.at(stratum, unit, labels)
    classes = [np.flatnonzero(stratum == k) for k in np.unique(stratum)]
    streams = [np.random.default_rng([seed, k]) for k in range(len(classes))]
    step = max(1, _BLOCK // max(len(labels), 1))
    for start in range(0, n, step):
        size = min(step, n - start)
        counts = np.zeros((size, len(stratum)), np.int64)
        for members, stream in zip(classes, streams, strict=True):
            m = len(members)
            drawn = stream.integers(0, m, (size, m)) + m * np.arange(size)[:, None]
            counts[:, members] = np.bincount(drawn.ravel(), minlength=size * m).reshape(size, m)
        yield counts[:, unit]


def _joined(blocks: list[np.ndarray], empty: tuple[int, ...] = (0,)) -> np.ndarray:
    """All replicates; no resamples at all are allowed and make no interval."""
    return np.concatenate([np.empty(empty), *blocks])


def weighted_auc(
    labels: Labels, scores: Scores, counts: Num[np.ndarray, 'b n']
) -> Float[np.ndarray, ' b']:
    """AUC of each weighting of the same rows; ties count half.

    With positive and negative weight P_g, N_g of each distinct score g in rising order,
    AUC = Σ_g P_g (Σ_{h<g} N_h + N_g/2) / (ΣP ΣN); nan where a class has no weight.
    """
    order = np.argsort(scores, kind='stable')
    ranked, positive = np.asarray(scores)[order], np.asarray(labels).astype(bool)[order]
    starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))[: len(ranked)]
    weights = np.asarray(counts, np.float64)[:, order]
    P = np.add.reduceat(weights * positive, starts, axis=1)
    N = np.add.reduceat(weights * ~positive, starts, axis=1)
    wins = (P * (np.cumsum(N, axis=1) - N / 2)).sum(axis=1)
    pairs = P.sum(axis=1) * N.sum(axis=1)
    return wins / np.where(pairs > 0, pairs, np.nan)


def weighted_specificity_at(
    labels: Labels, scores: Scores, counts: Num[np.ndarray, 'b n'], sensitivity: float
) -> Float[np.ndarray, ' b']:
    """`specificity_at` of each weighting of the same rows; nan where a class has no weight."""
    order = np.argsort(-np.asarray(scores, np.float64), kind='stable')
    ranked, positive = np.asarray(scores)[order], np.asarray(labels).astype(bool)[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))[: len(ranked)]
    weights = np.asarray(counts, np.float64)[:, order]
    tp = np.cumsum(weights * positive, axis=1)[:, last]
    fp = np.cumsum(weights * ~positive, axis=1)[:, last]
    positives, negatives = (np.where(x[:, -1] > 0, x[:, -1], np.nan) for x in (tp, fp))
    first = np.argmax(tp / positives[:, None] >= sensitivity, axis=1)
    return 1 - fp[np.arange(len(fp)), first] / negatives + 0 * positives


def bootstrap_auc(
    labels: Labels,
    scores: Scores,
    n: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
    groups: Groups | None = None,
) -> Interval:
    """AUC with its interval."""
    draws = resample_counts(labels, n, seed, groups)
    blocks = [weighted_auc(labels, scores, counts) for counts in draws]
    return interval(auc(labels, scores), _joined(blocks), level)


def bootstrap_mean_auc(
    labels: Labels,
    scores: Num[np.ndarray, 'n c'],
    n: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
    groups: Groups | None = None,
    over: Sequence[int] = (),
) -> tuple[Interval, list[Interval]]:
    """Mean one-vs-rest AUC and the AUC of each class, all from the same resamples.

    The mean is taken over the classes `over`; over all if there are none.
    """
    labels, values = np.asarray(labels), one_vs_rest_aucs(labels, scores)
    known = np.flatnonzero(~np.isnan(values))
    averaged = [k for k in known if not over or k in over]
    blocks: list[list[np.ndarray]] = [[] for _ in values]
    for counts in resample_counts(labels, n, seed, groups):
        for k in known:
            blocks[k].append(weighted_auc(labels == k, scores[:, k], counts))
    drawn = [_joined(block) for block in blocks]
    means = np.mean([drawn[k] for k in averaged], axis=0) if averaged else np.array([])
    each = [interval(value, block, level) for value, block in zip(values, drawn, strict=True)]
    return interval(float(mean_of(values[averaged])), means, level), each


def bootstrap_mean(
    values: Float[np.ndarray, ' n'],
    n: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
    groups: Groups | None = None,
) -> Interval:
    """Mean of the values with its interval; nan without values."""
    values = np.asarray(values, np.float64)
    if not values.size:
        return interval(float('nan'), np.empty(0), level)
    draws = resample_counts(np.zeros(len(values), int), n, seed, groups)
    blocks = [counts @ values / counts.sum(axis=1) for counts in draws]
    return interval(float(values.mean()), _joined(blocks), level)


def bootstrap_specificity_at(
    labels: Labels,
    scores: Scores,
    sensitivity: float,
    n: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """`specificity_at` with its interval."""
    blocks = [
        weighted_specificity_at(labels, scores, counts, sensitivity)
        for counts in resample_counts(labels, n, seed)
    ]
    return interval(specificity_at(labels, scores, sensitivity), _joined(blocks), level)


def resample_confusions(
    labels: Labels, predicted: Labels, classes: int, n: int = RESAMPLES, seed: int = 0
) -> Integer[np.ndarray, 'b c c']:
    """The confusion matrix of each resample; every count-based figure follows from them."""
    cells = np.asarray(labels) * classes + np.asarray(predicted)
    member = (cells[:, None] == np.arange(classes * classes)).astype(np.float64)
    blocks = [counts @ member for counts in resample_counts(labels, n, seed)]
    return (
        np.rint(_joined(blocks, (0, classes * classes)))
        .astype(np.int64)
        .reshape(n, classes, classes)
    )


def proportion(hits: int, n: int, level: float = LEVEL) -> Interval:
    """hits / n with the Wilson score interval, which keeps its width at 0 and 1."""
    if not n:
        return {'value': float('nan'), 'low': float('nan'), 'high': float('nan')}
    found = binomtest(int(hits), int(n)).proportion_ci(level, method='wilson')
    return {'value': hits / n, 'low': float(found.low), 'high': float(found.high)}


def mean_interval(values: Float[np.ndarray, ' n'], level: float = LEVEL) -> dict[str, Any]:
    """Mean over seeds, standard deviation (n − 1 in the denominator) and Student's t interval.

    One value has a mean only: sd, low and high are nan. Values that are nan make all of it nan:
    a seed that failed is not left out in silence.
    """
    values = np.asarray(values, np.float64)
    n = values.size
    mean = float(values.mean()) if n else float('nan')
    sd = float(values.std(ddof=1)) if n > 1 else float('nan')
    half = float(t.ppf((1 + level) / 2, n - 1)) * sd / np.sqrt(n) if n > 1 else float('nan')
    return {'mean': mean, 'sd': sd, 'low': mean - half, 'high': mean + half, 'n': n}


def paired_interval(
    a: Float[np.ndarray, ' n'], b: Float[np.ndarray, ' n'], level: float = LEVEL
) -> dict[str, Any]:
    """`mean_interval` of a − b, where a[i] and b[i] come from the same seed.

    Raises:
        ValueError: different numbers of seeds.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape:
        raise ValueError(f'paired seeds expected, found {a.size} and {b.size} values')
    return mean_interval(a - b, level)
