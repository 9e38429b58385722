"""How many predictions switch over several insertions of each kind ("masks").

Figures are means over the masks, their intervals a bootstrap over images (whole groups: patients,
lesions), which keeps what the classifiers say of one image together, so that differences are
paired.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Integer, Num

from skinjax.auditing import paired, switches
from skinjax.auditing.paired import Drawn
from skinjax.auditing.switches import Called, Row

# Shifts over the masks; largest and least are those of all of them.
SHIFTS = {'mean_abs': np.mean, 'max_abs': np.max, 'mean': np.mean, 'median': np.mean, 'min': np.min}
QUALITIES = ('precision', 'recall', 'f1')


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
    shifts, `mean_abs_sd` its standard deviation over the masks, `shifts` SHIFTS over the masks.
    `f1_clean` and `f1_biased` are F1 before and with the artefact, `f1_change` the second less the
    first, `f1_sd` the standard deviation of the second over the masks; likewise for the other
    QUALITIES. `p` is that of right and wrong over the masks (`combined`), `p_calls` that of calls;
    `q` and `q_calls` are these after Benjamini and Hochberg (1995).

    Resamples for precision, recall and F1 keep the number of images of each class, those for shares
    and shifts do not.

    Args:
        called: what the classifiers say.
        rows: `mask_rows` of the same.
        groups: what the bootstrap does not divide, of each image.
        classes: their names.
        resamples: of the bootstrap.
        seed: of the same.
    """
    labels = called[0].clean.labels
    draws = _Draws(
        paired.resampled(np.zeros_like(labels), groups, resamples, seed),
        paired.resampled(labels, groups, resamples, seed),
        len(np.unique(groups)),
    )
    found: list[Row] = []
    first: dict[str, Drawn] = {}
    for one in called:
        was = [one.clean.predicted(one.threshold)]
        before = paired.mean_quality(labels, was, len(classes), draws.stratified)
        for artefact in one.biased:
            names = one.classifier, artefact
            mine = [row for row in rows if (row['classifier'], row['artefact']) == names]
            row, share = _means(one, artefact, mine, before, draws, classes)
            base = first.setdefault(artefact, share)
            more = Drawn(share.value - base.value, share.replicates - base.replicates)
            found.append(row | {'more': more.interval()})
    paired.correct(found)
    return found


class _Draws(NamedTuple):
    """How often each image is in each resample, of any and of the same counts of the classes."""

    free: Float[np.ndarray, 'b n']
    stratified: Float[np.ndarray, 'b n']
    groups: int


def _means(
    one: Called,
    artefact: str,
    rows: Sequence[Row],
    before: Mapping[str, Drawn],
    draws: _Draws,
    classes: Sequence[str],
) -> tuple[Row, Drawn]:
    """The row of `summary` but for comparisons, and the share that switches."""
    labels, was = one.clean.labels, one.clean.predicted(one.threshold)
    now = [table.predicted(one.threshold) for table in one.biased[artefact]]
    after = paired.mean_quality(labels, now, len(classes), draws.stratified)
    switched, sizes = switches.moved(one, artefact)
    each = switched.mean(axis=0)
    row = {
        'classifier': one.classifier,
        'artefact': artefact,
        'n': len(labels),
        'switched': paired.share(each, draws.free, draws.groups),
        'switched_images': float(switched.sum(axis=1).mean()),
        'switched_sd': _sd(switched.sum(axis=1)),
        'mean_abs': Drawn.mean(sizes.mean(axis=0), draws.free).interval(),
        'mean_abs_sd': _sd(sizes.mean(axis=1)),
        'shifts': _over(rows),
        **_changes(before, after, rows),
        'p': paired.combined([row['right_p'] for row in rows]),
        'p_calls': paired.combined([row['calls_p'] for row in rows]),
        'by_class': _by_class(switched, was, labels, classes, rows),
    }
    return row, Drawn.mean(each, draws.free)


def _over(rows: Sequence[Row], of: str = '') -> dict[str, float]:
    """SHIFTS over the masks, of all images or of those of a class."""
    return {name: float(over([row[name + of] for row in rows])) for name, over in SHIFTS.items()}


def _changes(
    before: Mapping[str, Drawn], after: Mapping[str, Drawn], rows: Sequence[Row]
) -> dict[str, Any]:
    """QUALITIES before and after, the change, and the standard deviation over the masks."""
    found: dict[str, Any] = {}
    for name in QUALITIES:
        old, new = before[name], after[name]
        change = Drawn(new.value - old.value, new.replicates - old.replicates)
        found |= {
            f'{name}_clean': old.interval(),
            f'{name}_biased': new.interval(),
            f'{name}_change': change.interval(),
            f'{name}_sd': _sd(np.array([row[f'{name}_biased'] for row in rows])),
        }
    return found


def _sd(values: Num[np.ndarray, ' m']) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else float('nan')


def _by_class(
    switched: Bool[np.ndarray, 'm n'],
    was: Integer[np.ndarray, ' n'],
    labels: Integer[np.ndarray, ' n'],
    classes: Sequence[str],
    rows: Sequence[Row],
) -> dict[str, dict[str, int | float]]:
    """Mean number of switches away from each called class, and of images of each true class, and
    SHIFTS of these."""
    each = switched.mean(axis=0)
    return {
        name: {
            'called': int((was == k).sum()),
            'switched_from': float(each[was == k].sum()),
            'are': int((labels == k).sum()),
            'switched_of': float(each[labels == k].sum()),
            **_over(rows, f' of {name}'),
        }
        for k, name in enumerate(classes)
    }
