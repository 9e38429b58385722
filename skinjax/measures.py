"""Figures of merit as functions of labels and scores: arrays in, numbers out, no state.

A score is a number that rises with the class; where a function says probability, it must lie in
[0, 1]. What cannot be computed (an AUC with one class, a sensitivity without positives) is nan,
never an error or a warning. Means over batches are not supported on purpose: a figure such as
the AUC belongs to a whole table.
"""

import contextlib
import re
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Integer, Num
from scipy.stats import rankdata

BINS = 15

Labels = Integer[np.ndarray, ' n'] | Bool[np.ndarray, ' n']
Scores = Num[np.ndarray, ' n']


def ratio(part: float | int, whole: float | int) -> float:
    """part / whole, nan when there is nothing to divide by."""
    return float(part) / float(whole) if whole else float('nan')


def auc(labels: Labels, scores: Scores) -> float:
    """Area under the ROC curve from ranks; ties count half.

    With R the sum of the (average) ranks of the P positives among all scores and N negatives,
    AUC = (R − P(P+1)/2) / (P·N), which is the Mann-Whitney statistic. nan when there is one
    class only.
    """
    labels = np.asarray(labels).astype(bool)
    positives = int(labels.sum())
    negatives = labels.size - positives
    if not positives or not negatives:
        return float('nan')
    ranks = rankdata(scores)
    excess = ranks[labels].sum() - positives * (positives + 1) / 2
    return float(excess / (positives * negatives))


def roc(
    labels: Labels, scores: Scores
) -> tuple[Float[np.ndarray, ' k'], Float[np.ndarray, ' k'], Float[np.ndarray, ' k']]:
    """False positive rates, true positive rates and thresholds of every operating point.

    A row is called positive when its score is at least the threshold. Points run from (0, 0),
    whose threshold is infinite, to (1, 1); equal scores make one point. The rate of a class
    without rows is nan.
    """
    scores = np.asarray(scores, np.float64)
    order = np.argsort(-scores, kind='stable')
    ranked, hits = scores[order], np.asarray(labels).astype(bool)[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))[: len(ranked)]
    tp = np.concatenate([[0.0], np.cumsum(hits)[last]])
    fp = np.concatenate([[0.0], last + 1 - tp[1:]])
    positives, negatives = tp[-1] or np.nan, fp[-1] or np.nan
    return fp / negatives, tp / positives, np.concatenate([[np.inf], ranked[last]])


def at_threshold(labels: Labels, scores: Scores, threshold: float = 0.5) -> dict[str, float]:
    """Accuracy, sensitivity, specificity, precision and F1 when score >= threshold is positive.

    sensitivity = TP/(TP+FN), specificity = TN/(TN+FP), precision = TP/(TP+FP) (0 when nothing is
    called positive), F1 = 2TP/(2TP+FP+FN).
    """
    labels = np.asarray(labels).astype(bool)
    called = np.asarray(scores) >= threshold
    tp, fp = int((called & labels).sum()), int((called & ~labels).sum())
    fn, tn = int((~called & labels).sum()), int((~called & ~labels).sum())
    return {
        'accuracy': ratio(tp + tn, labels.size),
        'sensitivity': ratio(tp, tp + fn),
        'specificity': ratio(tn, tn + fp),
        'precision': ratio(tp, tp + fp) if tp + fp or not labels.size else 0.0,
        'f1': ratio(2 * tp, 2 * tp + fp + fn),
    }


def specificity_at(labels: Labels, scores: Scores, sensitivity: float) -> float:
    """Specificity at the first (highest) threshold whose sensitivity reaches the one wanted.

    Nothing is interpolated: it is an operating point that exists, as in the ISIC 2017 challenge
    tables (82, 89 and 95 %).
    """
    fpr, tpr, _ = roc(labels, scores)
    reached = np.flatnonzero(tpr >= sensitivity)
    return float(1 - fpr[reached[0]]) if reached.size else float('nan')


def choose_threshold(labels: Labels, scores: Scores, rule: str = 'youden') -> float:
    """The operating threshold that a rule picks; use it on the validation split only.

    Rules: 'youden' maximises sensitivity + specificity − 1 (Youden 1950), 'balanced' brings
    sensitivity and specificity closest together, 'sensitivity=0.9' is the highest threshold
    reaching that sensitivity, and a number such as '0.5' is itself. Of equal candidates the
    highest wins. The threshold lies midway between the score that it accepts and the next
    lower one.

    Raises:
        ValueError: an unknown rule, or labels of one class only.
    """
    with contextlib.suppress(ValueError):
        return float(rule)
    found = re.fullmatch(r'youden|balanced|sensitivity=(\d*\.?\d+)', rule)
    if not found:
        raise ValueError(
            f'unknown threshold rule {rule!r}; expected youden, balanced, sensitivity=NUMBER '
            'or a number'
        )
    if len(np.unique(np.asarray(labels).astype(bool))) < 2:
        raise ValueError(
            f'threshold rule {rule!r} needs rows of both classes in the validation split, found '
            f'{len(labels)} rows of one class; use a number such as 0.5'
        )
    fpr, tpr, thresholds = (values[1:] for values in roc(labels, scores))
    if rule == 'youden':
        best = int(np.argmax(tpr - fpr))
    elif rule == 'balanced':
        best = int(np.argmin(np.abs(tpr - (1 - fpr))))
    else:
        best = int(np.argmax(tpr >= min(float(found[1]), 1.0)))
    below = thresholds[min(best + 1, len(thresholds) - 1)]
    return float((thresholds[best] + below) / 2)


def _top_label(
    labels: Labels, probabilities: Float[np.ndarray, 'n *c']
) -> tuple[Float[np.ndarray, ' n'], Float[np.ndarray, ' n']]:
    """What calibration compares: a stated probability and whether the event took place."""
    labels, p = np.asarray(labels), np.asarray(probabilities, np.float64)
    if p.ndim == 2 and p.shape[1] == 1:
        p = p[:, 0]
    if p.size and not (p.min() >= 0 and p.max() <= 1):
        raise ValueError(
            f'calibration needs probabilities in [0, 1], found [{p.min():g}, {p.max():g}]; '
            'apply the sigmoid or softmax first'
        )
    if p.ndim == 1:
        return p, labels.astype(np.float64)
    return p.max(axis=1), (p.argmax(axis=1) == labels).astype(np.float64)


def reliability(
    labels: Labels, probabilities: Float[np.ndarray, 'n *c'], bins: int = BINS
) -> dict[str, np.ndarray]:
    """Reliability table over equal-width bins (lower, upper]; the first one contains 0.

    For [n] or [n, 1] the stated probability is that of the positive class; for [n, c] it is that
    of the top class and the event is that the top class is right (Guo et al. 2017).

    Returns:
        lower, upper, count, confidence (mean probability) and frequency (of the event) per bin;
        the last two are nan in empty bins.

    Raises:
        ValueError: values outside [0, 1].
    """
    p, event = _top_label(labels, probabilities)
    edges = np.linspace(0.0, 1.0, bins + 1)
    where = np.digitize(p, edges[1:-1], right=True)
    count = np.bincount(where, minlength=bins)
    filled = np.where(count, count, np.nan)
    return {
        'lower': edges[:-1],
        'upper': edges[1:],
        'count': count,
        'confidence': np.bincount(where, p, bins) / filled,
        'frequency': np.bincount(where, event, bins) / filled,
    }


def ece(labels: Labels, probabilities: Float[np.ndarray, 'n *c'], bins: int = BINS) -> float:
    """Expected calibration error Σ_b (n_b/n)·|frequency_b − confidence_b| (Guo et al. 2017).

    It is biased upwards on small tables: noise in a bin counts as miscalibration.
    """
    table = reliability(labels, probabilities, bins)
    gap = np.abs(table['frequency'] - table['confidence'])
    return ratio(float(np.nansum(table['count'] * gap)), len(labels))


def brier(labels: Labels, probabilities: Float[np.ndarray, 'n *c']) -> float:
    """Mean squared error of the probabilities: (p − y)², or its sum over c > 1 classes."""
    labels, p = np.asarray(labels), np.asarray(probabilities, np.float64)
    if p.ndim == 1 or p.shape[1] == 1:
        return float(np.mean((p.reshape(-1) - labels) ** 2)) if labels.size else float('nan')
    truth = labels[:, None] == np.arange(p.shape[1])
    return float(np.mean(((p - truth) ** 2).sum(axis=1))) if labels.size else float('nan')


def confusion(labels: Labels, predicted: Labels, classes: int) -> Integer[np.ndarray, 'c c']:
    """Counts; rows are the true classes, columns the predicted ones."""
    cells = np.asarray(labels) * classes + np.asarray(predicted)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def per_class(matrix: Num[np.ndarray, '*b c c']) -> dict[str, Float[np.ndarray, '*b c']]:
    """Precision, recall and F1 of each class of one or many confusion matrices.

    Precision is 0 for a class that is never predicted; recall is nan for one without rows; all
    three are nan for a class that is neither present nor predicted.
    """
    matrix = np.asarray(matrix)
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    actual, called = matrix.sum(axis=-1), matrix.sum(axis=-2)
    seen = (actual + called) > 0
    return {
        'precision': np.where(seen, hits / np.maximum(called, 1), np.nan),
        'recall': np.where(actual > 0, hits / np.maximum(actual, 1), np.nan),
        'f1': np.where(seen, 2 * hits / np.maximum(actual + called, 1), np.nan),
    }


def mean_of(values: Float[np.ndarray, '*b c']) -> Float[np.ndarray, '*b']:
    """Mean over the last axis of the entries that are defined; nan where none is."""
    values = np.asarray(values, np.float64)
    known = ~np.isnan(values)
    count = known.sum(axis=-1)
    return np.asarray(np.where(known, values, 0).sum(axis=-1) / np.where(count, count, np.nan))


def class_means(matrix: Num[np.ndarray, '*b c c']) -> dict[str, Float[np.ndarray, '*b']]:
    """Accuracy, balanced accuracy (mean recall), mean precision and mean F1.

    The mean F1 is the mean of the F1 of each class, not the F1 of the mean precision and recall:
    classes with (precision, recall) of (1, ½) and (½, 1) give ⅔ and not ¾.
    """
    matrix, each = np.asarray(matrix), per_class(matrix)
    hits, total = np.trace(matrix, axis1=-2, axis2=-1), matrix.sum(axis=(-2, -1))
    return {
        'accuracy': np.asarray(hits / np.where(total, total, np.nan)),
        'balanced_accuracy': mean_of(each['recall']),
        'mean_precision': mean_of(each['precision']),
        'mean_f1': mean_of(each['f1']),
    }


def one_vs_rest_aucs(labels: Labels, scores: Num[np.ndarray, 'n c']) -> Float[np.ndarray, ' c']:
    """AUC of each class against all others; nan for a class with no row or with all of them.

    Logits and their softmax can rank rows differently, because the softmax divides by a sum of
    its own in each row: state which one a published figure used.
    """
    labels = np.asarray(labels)
    return np.array([auc(labels == k, scores[:, k]) for k in range(scores.shape[1])])


def micro_auc(labels: Labels, scores: Num[np.ndarray, 'n c']) -> float:
    """AUC over all (row, class) pairs at once."""
    truth = np.asarray(labels)[:, None] == np.arange(scores.shape[1])
    return auc(truth.ravel(), np.asarray(scores).ravel())


def rank_within(scores: Scores, folds: Num[np.ndarray, ' n']) -> Float[np.ndarray, ' n']:
    """Percentile rank of each score inside its fold, in (0, 1]; ties share their mean rank."""
    ranks = np.empty(len(scores))
    for fold in np.unique(folds):
        rows = np.asarray(folds) == fold
        ranks[rows] = rankdata(np.asarray(scores)[rows]) / rows.sum()
    return ranks


def fold_aucs(labels: Labels, scores: Scores, folds: Num[np.ndarray, ' n']) -> dict[str, float]:
    """AUCs of cross-validated scores, where each fold was scored by a model of its own.

    'pooled' takes the scores as they are and suffers when the models are calibrated unlike;
    'ranked' first replaces them by their percentile rank inside the fold; 'mean' is the plain
    mean of the AUCs of the folds.
    """
    labels, scores, folds = np.asarray(labels), np.asarray(scores), np.asarray(folds)
    each = [auc(labels[folds == fold], scores[folds == fold]) for fold in np.unique(folds)]
    return {
        'pooled': auc(labels, scores),
        'ranked': auc(labels, rank_within(scores, folds)),
        'mean': float(mean_of(np.array(each))),
    }


def insertion(
    p_without: Scores, p_with: Scores, labels: Labels, threshold: float = 0.5
) -> dict[str, Any]:
    """How far predictions move when an artefact is put into the same images.

    p_without and p_with are probabilities of the positive class for the same rows in the same
    order. Shifts are in percentage points: 100·(p_with − p_without).

    Returns:
        n; mean_abs and max_abs of the size of the shift; mean, median and min of the signed one;
        switched: rows whose call (p >= threshold) changes, to_positive and to_negative by the
        call without the artefact, and all as a percentage of n; clean and biased: precision,
        sensitivity and F1 either way; by_class: the same block for each true class.

    Raises:
        ValueError: arrays of different lengths.
    """
    before, after = np.asarray(p_without, np.float64), np.asarray(p_with, np.float64)
    labels = np.asarray(labels)
    if not before.shape == after.shape == labels.shape:
        raise ValueError(
            f'insertion compares the same rows twice: expected equal lengths, found {len(before)} '
            f'without, {len(after)} with the artefact and {len(labels)} labels'
        )
    block: dict[str, Any] = dict(_shift(before, after, threshold))
    for name, values in (('clean', before), ('biased', after)):
        found = at_threshold(labels, values, threshold)
        block[name] = {key: found[key] for key in ('precision', 'sensitivity', 'f1')}
    block['by_class'] = {
        str(k): _shift(before[labels == k], after[labels == k], threshold)
        for k in np.unique(labels)
    }
    return block


def _shift(
    before: Float[np.ndarray, ' n'], after: Float[np.ndarray, ' n'], threshold: float
) -> dict[str, Any]:
    shift = 100 * (after - before)
    was, now = before >= threshold, after >= threshold
    empty = not shift.size
    shift = np.array([np.nan]) if empty else shift
    switched = int((was != now).sum())
    return {
        'n': len(before),
        'mean_abs': float(np.abs(shift).mean()),
        'max_abs': float(np.abs(shift).max()),
        'mean': float(shift.mean()),
        'median': float(np.median(shift)) if not empty else float('nan'),
        'min': float(shift.min()),
        'switched': switched,
        'to_positive': int((~was & now).sum()),
        'to_negative': int((was & ~now).sum()),
        'switched_percent': 100 * ratio(switched, len(before)),
    }
