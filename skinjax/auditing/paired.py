"""Statistics of paired comparisons: resamples of images, tests of switches, precision and F1."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Integer
from scipy.stats import binom, false_discovery_control

from skinjax.bootstrap import Interval, interval, proportion, resample_counts
from skinjax.measures import mean_of, per_class

_BLOCKS, _FLIPS = 10, 1000  # of random signs; no p-value of them is below 1 / 10,001


def sign_flips(turned: Integer[np.ndarray, ' n'], groups: Integer[np.ndarray, ' n']) -> float:
    """Whether as many images turn one way as the other: a p-value, two-sided and exact.

    A group (patient, lesion) as a whole is as likely to have turned the other way, if neither is
    favoured: p is the probability that |Σ_g ±d_g| is at least |Σ_g d_g|, with random signs and d_g
    the sum over group g. Where every group is one image this is McNemar's exact test.

    Args:
        turned: 1, -1 or 0 for each image.
        groups: number of the group of each.
    """
    total = abs(int(turned.sum()))
    if not total:
        return 1.0
    sums = np.abs(np.bincount(groups, turned)).astype(np.int64)
    sizes, counts = np.unique(sums[sums > 0], return_counts=True)
    chances = np.ones(1)  # of the sums from -reach to reach
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        steps = np.zeros(2 * size * count + 1)
        steps[:: 2 * size] = binom.pmf(np.arange(count + 1), count, 0.5)
        chances = np.convolve(chances, steps)
    reach = len(chances) // 2
    return min(1.0, float(chances[np.abs(np.arange(-reach, reach + 1)) >= total].sum()))


def symmetry(
    was: Integer[np.ndarray, ' n'],
    now: Integer[np.ndarray, ' n'],
    classes: int,
    groups: Integer[np.ndarray, ' n'],
    seed: int = 0,
) -> float:
    """Whether as many calls turn from one class to another as the other way: a p-value.

    Of two classes `sign_flips`, of more Bowker's statistic (1948), the sum over pairs of classes of
    (n_ij - n_ji)² / (n_ij + n_ji), among those with random signs of the groups, 10,000 by chance;
    χ², which it follows where counts are large, is not asked.
    """
    if classes == 2:
        return sign_flips(now.astype(np.int64) - was, groups)
    first, second = np.triu_indices(classes, 1)
    away = (was[:, None] == first) & (now[:, None] == second)
    back = (was[:, None] == second) & (now[:, None] == first)
    counts = (away | back).sum(axis=0)
    sums = np.zeros((int(groups.max(initial=-1)) + 1, len(first)))
    np.add.at(sums, groups, away.astype(np.float64) - back)
    sums = sums[sums.any(axis=1)] / np.sqrt(np.maximum(counts, 1))
    least = (1 - 1e-9) * (sums.sum(axis=0) ** 2).sum()
    if not least:
        return 1.0
    rng, hits = np.random.default_rng([seed, classes]), 0
    for _ in range(_BLOCKS):
        signs = 2.0 * rng.integers(0, 2, (_FLIPS, len(sums))) - 1
        hits += int((((signs @ sums) ** 2).sum(axis=1) >= least).sum())
    return (1 + hits) / (1 + _BLOCKS * _FLIPS)


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


def confusions(
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


def correct(rows: Sequence[dict[str, Any]]) -> None:
    """Sets `q` and `q_calls`: `p` and `p_calls` of all rows after Benjamini and Hochberg (1995)."""
    for p, name in (('p', 'q'), ('p_calls', 'q_calls')):
        for row, q in zip(rows, false_discovery_control([r[p] for r in rows]), strict=True):
            row[name] = float(q)


def resampled(
    labels: Integer[np.ndarray, ' n'], groups: np.ndarray, resamples: int, seed: int
) -> Float[np.ndarray, 'b n']:
    """How often each image is in each resample, without dividing groups or mixing labels.

    For shares of all images give the same label to all: nothing keeps their classes at their
    counts.
    """
    blocks = resample_counts(labels, resamples, seed, groups)
    return np.concatenate([np.empty((0, len(labels))), *blocks])


class Drawn(NamedTuple):
    """A figure, and the same of each resample."""

    value: float
    replicates: Float[np.ndarray, ' b']

    @classmethod
    def mean(cls, values: Float[np.ndarray, ' n'], drawn: Float[np.ndarray, 'b n']) -> 'Drawn':
        """The mean over images."""
        return cls(float(values.mean()), drawn @ values / drawn.sum(axis=1))

    def interval(self) -> Interval:
        """The figure with its interval; without bounds where no resample differs from another,
        which says nothing of other images."""
        known = self.replicates[~np.isnan(self.replicates)]
        alike = np.ptp(known) <= 1e-12 * max(1, abs(self.value)) if known.size else True
        return interval(self.value, np.empty(0) if alike else known)


def share(
    values: Float[np.ndarray, ' n'], drawn: Float[np.ndarray, 'b n'], groups: int
) -> Interval:
    """The mean of shares with its interval; of none and of all Wilson's, of so many groups, since
    resamples of these are all the same."""
    found = Drawn.mean(values, drawn)
    if groups and found.value in (0, 1):
        return proportion(round(found.value * groups), groups)
    return found.interval()


def mean_quality(
    labels: Integer[np.ndarray, ' n'],
    calls: Sequence[Integer[np.ndarray, ' n']],
    classes: int,
    drawn: Float[np.ndarray, 'b n'],
) -> dict[str, Drawn]:
    """Mean precision, recall and F1 of several calls of the same images."""
    values = [quality(confusions(labels, each, classes, None)) for each in calls]
    resampled = [quality(confusions(labels, each, classes, drawn)) for each in calls]
    return {
        name: Drawn(
            float(np.mean([one[name][0] for one in values])),
            np.mean([one[name] for one in resampled], axis=0),
        )
        for name in values[0]
    }
