"""How well a classifier does: over all images, and where other things are equal but one."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int
from scipy.stats import chi2_contingency, false_discovery_control, fisher_exact, norm

from skinjax import metrics, report_sections
from skinjax.auditing.said import Real
from skinjax.auditing.seen import Flags
from skinjax.bootstrap import (
    LEVEL,
    Interval,
    bootstrap_auc,
    bootstrap_mean_auc,
    interval,
    proportion,
)
from skinjax.document import Section, Table
from skinjax.engine.writer import jsonable, write_atomic
from skinjax.predictions import Predictions

_HARD = (
    'The model says nothing but 0 and 1: these are calls and no probabilities. AUC, threshold, '
    'calibration, shifts of probabilities and maps by covering mean little; let it give '
    'probabilities.'
)
_Z = float(norm.ppf((1 + LEVEL) / 2))
LEAST = 10  # images below which a group is not compared
Row = dict[str, Any]


def measured(
    real: Mapping[str, Real],
    classes: Sequence[str],
    bias: Mapping[str, Sequence[str]],
    threshold: float,
    resamples: int,
) -> dict[str, Any]:
    """`metrics.evaluate_table` of the real images of each split that has some; of the AUC (or its
    mean), accuracy, sensitivity and specificity with intervals that know the patients.
    """
    found = {}
    for name, (table, groups, _) in real.items():
        if not len(table):
            continue
        found[name] = metrics.evaluate_table(table, classes, bias, threshold, resamples=resamples)
        if len(np.unique(groups)) < len(groups):
            found[name] |= jsonable(_grouped(table, groups, threshold, resamples))
    return found


def _grouped(
    table: Predictions, groups: np.ndarray, threshold: float, resamples: int
) -> dict[str, Interval]:
    labels, scores = table.labels, table.scores
    right = table.predicted(threshold) == labels
    block = {'accuracy': share(right, groups)}
    if not table.binary:
        block['mean_auc'], _ = bootstrap_mean_auc(labels, scores, resamples, groups=groups)
        return block
    for name, k in (('sensitivity', 1), ('specificity', 0)):
        block[name] = share(right[labels == k], groups[labels == k])
    return block | {'auc': bootstrap_auc(labels, scores[:, 0], resamples, groups=groups)}


def recognised(real: Real, classes: Sequence[str], threshold: float) -> dict[str, dict[str, Any]]:
    """Of each class n images and how many are called so, and the `share` of the n that is."""
    table = real.table
    called = table.predicted(threshold)
    found = {}
    for k, name in enumerate(classes):
        mine = table.labels == k
        counts = {'n': int(mine.sum()), 'called': int((called == k).sum())}
        found[name] = {**counts, **share(called[mine] == k, real.groups[mine])}
    return found


def gaps(
    table: Predictions,
    flags: Flags,
    classes: Sequence[str],
    threshold: float,
    groups: np.ndarray,
    least: int = LEAST,
) -> list[Row]:
    """How much more often one class is recognised with one value of a flag than with another.

    For each class and flag the two values, of those with `least` images of the class, of highest
    and lowest accuracy, so that the diagnosis is the same on both sides.

    Returns:
        Rows of flag, class, best and worst (value, n, accuracy: `share`), gap (their
        difference with Newcombe's interval), p (Fisher's exact test of two values, chi-squared of
        more, all values together) and q (p after Benjamini and Hochberg, over all rows). The
        interval of the gap does not know that the two were chosen among more values; p does. Counts
        of the tests are divided by `_inflation`, too.
    """
    right = table.predicted(threshold) == table.labels
    rows = []
    for flag, codes in flags.codes.items():
        for k, name in enumerate(classes):
            mine = table.labels == k
            cells = [mine & (codes == code) for code in range(len(flags.names[flag]))]
            large = [(code, cell) for code, cell in enumerate(cells) if cell.sum() >= least]
            if len(large) > 1:
                rows.append(
                    {'flag': flag, 'class': name} | _gap(flags.names[flag], right, groups, large)
                )
    adjusted = false_discovery_control([row['p'] for row in rows]) if rows else ()
    return [row | {'q': float(q)} for row, q in zip(rows, adjusted, strict=True)]


def _gap(
    names: Sequence[str],
    right: Bool[np.ndarray, ' n'],
    groups: np.ndarray,
    cells: Sequence[tuple[int, Bool[np.ndarray, ' n']]],
) -> Row:
    entries, counts = [], np.zeros((len(cells), 2), int)
    for k, (code, cell) in enumerate(cells):
        mine, own = right[cell], groups[cell]
        entries.append({'value': names[code], 'n': len(mine), 'accuracy': share(mine, own)})
        counts[k] = np.rint(np.array([mine.sum(), (~mine).sum()]) / _inflation(mine, own))
    best = max(entries, key=lambda entry: entry['accuracy']['value'])
    worst = min(reversed(entries), key=lambda entry: entry['accuracy']['value'])
    gap = difference(best['accuracy'], worst['accuracy'])
    return {'best': best, 'worst': worst, 'gap': gap, 'p': _independent(counts)}


def share(hits: Bool[np.ndarray, ' n'], groups: np.ndarray) -> Interval:
    """The share of hits with Wilson's interval, of as many independent images as these are worth:
    n / `_inflation`; without bounds where all are of one patient.
    """
    n = len(hits)
    if n > 1 and len(np.unique(groups)) == 1:
        return interval(float(hits.mean()), np.empty(0))
    factor = _inflation(hits, groups)
    if factor == 1:
        return proportion(int(hits.sum()), n)
    p, n, z = float(hits.mean()), n / factor, _Z
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return {'value': p, 'low': max(0.0, middle - half), 'high': min(1.0, middle + half)}


def _inflation(hits: Bool[np.ndarray, ' n'], groups: np.ndarray) -> float:
    """By how much the variance of a share is larger than that of independent images (Rao and
    Scott, Biometrics 1992), at least 1:

        n² Var(p) / (n p (1 - p)),  n² Var(p) = m / (m - 1) Σ_g (hits_g - n_g p)²

    over m groups; where p is 0 or 1, images in a group.
    """
    n, p = len(hits), float(hits.mean()) if len(hits) else 0.0
    _, unit = np.unique(groups, return_inverse=True)
    m = int(unit.max(initial=-1)) + 1
    if m == n:
        return 1.0
    if m == 1 or p in (0, 1):
        return n / m
    sums = np.bincount(unit, hits - p)
    return max(1.0, m / (m - 1) * float((sums**2).sum()) / (n * p * (1 - p)))


def difference(a: Interval, b: Interval) -> Interval:
    """a - b of two independent proportions, with Newcombe's interval (1998, method 10).

        low  = d - √((a - a_low)² + (b_high - b)²),  high = d + √((a_high - a)² + (b - b_low)²)

    where the inner limits are Wilson's.
    """
    d = a['value'] - b['value']
    low = d - math.hypot(a['value'] - a['low'], b['high'] - b['value'])
    high = d + math.hypot(a['high'] - a['value'], b['value'] - b['low'])
    return {'value': d, 'low': low, 'high': high}


def _independent(counts: Int[np.ndarray, 'k 2']) -> float:
    """p of: being right does not depend on the value."""
    if (counts.sum(axis=0) == 0).any():
        return 1.0
    result: Any
    if len(counts) == 2:
        result = fisher_exact(counts)
        return float(result.pvalue)
    result = chi2_contingency(counts)
    return float(result.pvalue)


def sections(
    results: Mapping[str, Any], real: Mapping[str, Real], workdir: Path
) -> Iterator[Section]:
    """Figures of all splits, then those of groups.

    Args:
        results: with `splits`, `threshold`, `flag_split`, `gaps` and `hard`.
        real: predictions of the splits.
        workdir: where figures go.
    """
    tables = {name: one.table for name, one in real.items() if len(one.table)}
    curves = dict(report_sections.curves(tables, results['splits']))
    for name, figure in curves.items():
        write_atomic(workdir / 'figures' / f'{name}.png', figure.image)
    first, *more = report_sections.by_split(results, list(curves.values()))
    text = f'{first.text}\n\n{_HARD}'.strip() if results['hard'] else first.text
    yield from (dataclasses.replace(first, text=text), *more)
    yield _gap_section(results)
    main = results['flag_split']
    yield from report_sections.groups({'splits': {main: results['splits'][main]}})


def _gap_section(results: Mapping[str, Any]) -> Section:
    rows = sorted(results['gaps'], key=lambda row: row['p'])
    heading = 'Is the same diagnosis recognised as often everywhere?'
    if not rows:
        text = (
            f'No flag of {results["flag_split"]} has two values with at least {LEAST} images of '
            'one class each, so this cannot be said.'
        )
        return Section(heading, text)
    header = ['flag', 'true class', 'gap', 'q', 'recognised least with', 'images', 'share']
    header += ['most with', 'images', 'share']
    cells = [
        [
            row['flag'],
            row['class'],
            row['gap'],
            row['q'],
            *(row['worst'][key] for key in ('value', 'n', 'accuracy')),
            *(row['best'][key] for key in ('value', 'n', 'accuracy')),
        ]
        for row in rows
    ]
    text = (
        f'Images of {results["flag_split"]} with one diagnosis, divided by a flag: the share that '
        'is called rightly where it is lowest and where it is highest. Groups of less than '
        f'{LEAST} images are left out. Intervals are Wilson’s and Newcombe’s, q is that of '
        'Fisher’s or the chi-squared test, after Benjamini and Hochberg; images of one patient '
        'count as so many independent ones as they are worth (Rao and Scott 1992). A gap does not '
        'say why: images with the flag may be harder.'
    )
    return Section(heading, text, [Table('Gaps', header, cells)])
