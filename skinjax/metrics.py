"""Evaluation of a prediction table: one block of figures per split, as `results.json` holds it.

A split is scored once into a `Predictions` table, and everything follows from that table, never
from averaged batches. The formulas are in `skinjax.measures`, the intervals in
`skinjax.bootstrap`; both are offered here as well, so that `metrics` is all a caller imports.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from skinjax.bootstrap import (
    RESAMPLES,
    Interval,
    bootstrap_auc,
    bootstrap_mean_auc,
    bootstrap_specificity_at,
    interval,
    proportion,
    resample_confusions,
)
from skinjax.engine.writer import jsonable
from skinjax.measures import (
    BINS,
    at_threshold,
    brier,
    class_means,
    confusion,
    ece,
    fold_aucs,
    micro_auc,
    per_class,
)
from skinjax.predictions import Predictions

SENSITIVITIES = (0.82, 0.89, 0.95)
UNKNOWN = -1


def _auc_interval(table: Predictions, resamples: int, seed: int) -> Interval:
    if table.binary:
        return bootstrap_auc(table.labels, table.positive, resamples, seed)
    return bootstrap_mean_auc(table.labels, table.scores, resamples, seed)[0]


def group_metrics(
    table: Predictions,
    variable: str,
    names: Sequence[str],
    classes: Sequence[str],
    threshold: float = 0.5,
    *,
    min_count: int = 10,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Figures for each value of a bias variable and for each (class, value) cell.

    The worst cell is the one of lowest accuracy among those with at least `min_count` rows
    (Sagawa et al. 2020); smaller ones are listed, but an unlucky handful cannot be the worst.
    Likewise the value of lowest AUC is one with that many rows of every class. The equalised-odds
    gap is max over true class y and called class k of max_s P(k | y, s) − min_s P(k | y, s) over
    the cells that are large enough (Hardt et al. 2016); for two classes it is the larger of the
    gaps in sensitivity and in specificity, and nan when no class has two such cells.

    Returns:
        values: value -> count, positives (two classes), auc, accuracy and, for two classes,
        sensitivity and specificity, each {value, low, high}; cells: class, value, count,
        accuracy; worst: one of the cells, or None; worst_auc: value, auc, count, or None;
        equalised_odds_gap; unknown: rows without the variable; min_count. Intervals are
        Wilson's, those of the AUC bootstrapped.
    """
    bias, predicted, least = table.bias[variable], table.predicted(threshold), max(min_count, 1)
    values: dict[str, Any] = {}
    cells, shares = [], []
    for s, name in enumerate(names):
        inside = bias == s
        own = [_cell(table, predicted, inside & (table.labels == k)) for k in range(len(classes))]
        values[name] = _value_block(table.select(inside), predicted[inside], own, resamples, seed)
        for k, cell in enumerate(own):
            cells.append({'class': classes[k], 'value': name, **cell})
            if cell['count'] >= least:
                called = predicted[inside & (table.labels == k)]
                shares.append((k, np.bincount(called, minlength=len(classes)) / cell['count']))
    large = [cell for cell in cells if cell['count'] >= least]
    ranked = [
        {'value': name, 'auc': values[name]['auc'], 'count': values[name]['count']}
        for name in names
        if min(cell['count'] for cell in cells if cell['value'] == name) >= least
    ]
    return {
        'values': values,
        'cells': cells,
        'worst': min(large, key=lambda cell: cell['accuracy']['value'], default=None),
        'worst_auc': min(ranked, key=lambda entry: entry['auc']['value'], default=None),
        'equalised_odds_gap': _odds_gap(shares),
        'unknown': int((bias == UNKNOWN).sum()),
        'min_count': min_count,
    }


def _cell(table: Predictions, predicted: np.ndarray, rows: np.ndarray) -> dict[str, Any]:
    count = int(rows.sum())
    hits = int((predicted[rows] == table.labels[rows]).sum())
    return {'count': count, 'accuracy': proportion(hits, count)}


def _value_block(
    part: Predictions, predicted: np.ndarray, cells: list[dict], resamples: int, seed: int
) -> dict[str, Any]:
    block = _cell(part, predicted, np.ones(len(part), bool))
    block['auc'] = _auc_interval(part, resamples, seed)
    if part.binary:
        block['positives'] = cells[1]['count']
        block['sensitivity'], block['specificity'] = cells[1]['accuracy'], cells[0]['accuracy']
    return block


def _odds_gap(shares: list[tuple[int, Float[np.ndarray, ' c']]]) -> float:
    gaps = []
    for label in {k for k, _ in shares}:
        rates = np.stack([share for k, share in shares if k == label])
        if len(rates) > 1:
            gaps.append(np.ptp(rates, axis=0).max())
    return float(max(gaps)) if gaps else float('nan')


def evaluate_table(
    table: Predictions,
    classes: Sequence[str],
    bias: Mapping[str, Sequence[str]],
    threshold: float = 0.5,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    min_count: int = 10,
    bins: int = BINS,
    sensitivities: Sequence[float] = SENSITIVITIES,
    mean_over: Sequence[str] = (),
) -> dict[str, Any]:
    """All figures of one split as plain JSON values (nan is None).

    Entries {value, low, high} carry a 95 % interval: Wilson's for proportions, a stratified
    bootstrap over rows for AUCs, F1, means over classes and specificities at a sensitivity. With
    more than two classes, `mean_auc` is over the classes `mean_over`, or all where it is empty.

    Returns:
        n, ece, brier, groups: variable -> `group_metrics` (variables that the table carries),
        folds (`fold_aucs`, for two classes with a column `fold`), and
        for two classes: positives, threshold, auc, accuracy, sensitivity, specificity,
        precision, f1, specificity_at: sensitivity -> {value, low, high};
        for more: mean_auc, micro_auc, accuracy, balanced_accuracy, mean_precision, mean_f1,
        confusion (rows are true classes), classes: name -> n, auc, precision, recall, f1,
        specificity_at.

    Raises:
        ValueError: no rows, scores that are not finite, or labels, score columns or bias values
            that do not match `classes` and `bias`.
    """
    _check(table, classes, bias)
    options = {'resamples': resamples, 'seed': seed}
    block: dict[str, Any] = {'n': len(table)}
    if table.binary:
        block |= _binary(table, threshold, sensitivities, resamples, seed)
    else:
        over = [classes.index(name) for name in mean_over]
        block |= _many(table, classes, sensitivities, resamples, seed, over)
    block['ece'] = ece(table.labels, table.scores, bins)
    block['brier'] = brier(table.labels, table.scores)
    block['groups'] = {
        name: group_metrics(table, name, names, classes, threshold, min_count=min_count, **options)
        for name, names in bias.items()
        if name in table.bias
    }
    if table.binary and 'fold' in table.columns:
        block['folds'] = fold_aucs(table.labels, table.positive, table.columns['fold'])
    return jsonable(block)


def _check(table: Predictions, classes: Sequence[str], bias: Mapping[str, Sequence[str]]) -> None:
    if not len(table):
        raise ValueError('a split without rows cannot be evaluated; leave it out of the splits')
    bad = np.flatnonzero(~np.isfinite(table.scores).all(axis=1))
    if bad.size:
        raise ValueError(
            f'{bad.size} of {len(table)} rows have scores that are not finite, the first is '
            f'{str(table.ids[bad[0]])!r}: the model has diverged; lower the learning rate'
        )
    columns = table.scores.shape[1]
    if columns != (1 if len(classes) == 2 and table.binary else len(classes)):
        raise ValueError(f'expected scores of {len(classes)} classes, found {columns} columns')
    checks = {'label': (table.labels, classes, 0)}
    checks |= {name: (table.bias[name], bias[name], UNKNOWN) for name in bias if name in table.bias}
    for name, (values, names, least) in checks.items():
        off = np.flatnonzero((values < least) | (values >= len(names)))
        if off.size:
            raise ValueError(
                f'row {str(table.ids[off[0]])!r}: {name} is {values[off[0]]}, expected {least} to '
                f'{len(names) - 1} ({", ".join(names)})'
            )


def _binary(
    table: Predictions, threshold: float, sensitivities: Sequence[float], resamples: int, seed: int
) -> dict[str, Any]:
    labels, scores = table.labels, table.positive
    called = table.predicted(threshold)
    matrix = confusion(labels, called, 2)
    positives, negatives = int(matrix[1].sum()), int(matrix[0].sum())
    drawn = per_class(resample_confusions(labels, called, 2, resamples, seed))['f1'][:, 1]
    found = at_threshold(labels, scores, threshold)
    return {
        'positives': positives,
        'threshold': float(threshold),
        'auc': bootstrap_auc(labels, scores, resamples, seed),
        'accuracy': proportion(int(np.trace(matrix)), len(table)),
        'sensitivity': proportion(int(matrix[1, 1]), positives),
        'specificity': proportion(int(matrix[0, 0]), negatives),
        'precision': found['precision'],
        'f1': interval(found['f1'], drawn),
        'specificity_at': _specificities(labels, scores, sensitivities, resamples, seed),
    }


def _specificities(
    labels: np.ndarray, scores: np.ndarray, at: Sequence[float], resamples: int, seed: int
) -> dict[str, Interval]:
    return {str(s): bootstrap_specificity_at(labels, scores, s, resamples, seed) for s in at}


def _many(
    table: Predictions,
    classes: Sequence[str],
    sensitivities: Sequence[float],
    resamples: int,
    seed: int,
    over: Sequence[int],
) -> dict[str, Any]:
    labels, called, c = table.labels, table.predicted(), len(classes)
    matrix = confusion(labels, called, c)
    drawn = resample_confusions(labels, called, c, resamples, seed)
    means, drawn_means = class_means(matrix), class_means(drawn)
    mean_auc, aucs = bootstrap_mean_auc(labels, table.scores, resamples, seed, over=over)
    each, drawn_each = per_class(matrix), per_class(drawn)
    count = matrix.sum(axis=1)
    return {
        'mean_auc': mean_auc,
        'micro_auc': micro_auc(labels, table.scores),
        **{name: interval(float(means[name]), drawn_means[name]) for name in means},
        'accuracy': proportion(int(np.trace(matrix)), len(table)),
        'confusion': matrix,
        'classes': {
            name: {
                'n': count[k],
                'auc': aucs[k],
                'precision': each['precision'][k],
                'recall': proportion(int(matrix[k, k]), int(count[k])),
                'f1': interval(float(each['f1'][k]), drawn_each['f1'][:, k]),
                'specificity_at': _specificities(
                    (labels == k).astype(int), table.scores[:, k], sensitivities, resamples, seed
                ),
            }
            for k, name in enumerate(classes)
        },
    }
