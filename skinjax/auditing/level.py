"""What a diagnosis alone tells of a bias variable: the level that a probe of it must pass."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Float, Integer, Num, Shaped
from scipy.stats import rankdata

from skinjax.bootstrap import interval, resample_counts, weighted_auc

Values = Integer[np.ndarray, ' n']


def guesses(
    beside: Values, target: Values, splits: Iterable[tuple[np.ndarray, np.ndarray]]
) -> Float[np.ndarray, 'n k']:
    """For each value the rank of P(value | beside) among the kinds of `beside`, by shares in the
    other folds.

    Args:
        beside: kind of each row, such as its diagnosis.
        target: value of each row, 0 .. k-1.
        splits: rows that are counted, and rows that are guessed, of each fold.

    Ranks and not the shares: a fold with more of a value leaves less of it to the others, so that
    shares would order the rows of one kind against the truth.
    """
    kinds, of = np.unique(beside, return_inverse=True)
    scores = np.zeros((len(target), int(target.max()) + 1))
    for fit, held in splits:
        table = np.zeros((len(kinds), scores.shape[1]))
        np.add.at(table, (of[fit], target[fit]), 1)
        counts = table.sum(axis=1, keepdims=True)
        shares = np.where(
            counts, table / np.maximum(counts, 1), table.sum(axis=0) / max(len(fit), 1)
        )
        scores[held] = rankdata(shares, axis=0)[of[held]]
    return scores


def beyond(
    target: Values,
    scores: Float[np.ndarray, 'n k'],
    guessed: Float[np.ndarray, 'n k'],
    groups: Shaped[np.ndarray, ' n'],
    seed: int,
) -> dict[str, Any]:
    """What a probe knows beyond the guesses, from the same resamples of groups.

    Args:
        target: value of each row, 0 .. k-1.
        scores: of the probe, of each value.
        guessed: `guesses` of the same rows.
        groups: that are drawn whole.
        seed: of the resamples.

    Returns:
        level: AUC of the guesses; more: that of the probe less this one, or less 0.5 where guesses
        are worse than chance; both with intervals. p: twice the share of resamples without more.
    """

    def both(counts: Num[np.ndarray, 'b n']) -> Float[np.ndarray, '2 b']:
        return np.stack([_weighted(target, each, counts) for each in (scores, guessed)])

    (value,), (level,) = both(np.ones((1, len(target))))
    draws = resample_counts(target, seed=seed, groups=groups)
    aucs, levels = np.concatenate([both(counts) for counts in draws], axis=1)
    more = aucs - np.maximum(levels, 0.5)
    known = more[~np.isnan(more)]
    return {
        'level': interval(float(level), levels),
        'more': interval(float(value - max(level, 0.5)), more),
        'p': min(1.0, 2 * (1 + int((known <= 0).sum())) / (1 + known.size)),
    }


def _weighted(
    target: Values, scores: Float[np.ndarray, 'n k'], counts: Num[np.ndarray, 'b n']
) -> Float[np.ndarray, ' b']:
    """The AUC, or the mean of the one-vs-rest AUCs, of each weighting of the rows."""
    values = range(scores.shape[1]) if scores.shape[1] > 2 else (1,)
    each = [weighted_auc(target == k, scores[:, k], counts) for k in values]
    return np.mean(each, axis=0)
