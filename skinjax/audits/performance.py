"""How well a classifier does: over all images, and where other things are equal but one."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int
from scipy.stats import chi2_contingency, false_discovery_control, fisher_exact

from skinjax import metrics, report_sections
from skinjax.audits.flags import Flags
from skinjax.bootstrap import Interval, proportion
from skinjax.document import Section, Table
from skinjax.engine.writer import write_atomic
from skinjax.predictions import Predictions

LEAST = 10  # images below which a group is not compared
Row = dict[str, Any]


def measured(
    tables: Mapping[str, Predictions],
    classes: Sequence[str],
    bias: Mapping[str, Sequence[str]],
    threshold: float,
    resamples: int,
) -> dict[str, Any]:
    """`metrics.evaluate_table` of each split that has images."""
    return {
        name: metrics.evaluate_table(table, classes, bias, threshold, resamples=resamples)
        for name, table in tables.items()
        if len(table)
    }


def gaps(
    table: Predictions, flags: Flags, classes: Sequence[str], threshold: float, least: int = LEAST
) -> list[Row]:
    """How much more often one class is recognised with one value of a flag than with another.

    For each class and flag the two values, of those with `least` images of the class, of highest
    and lowest accuracy, so that the diagnosis is the same on both sides.

    Returns:
        Rows of flag, class, best and worst (value, n, accuracy with Wilson's interval), gap (their
        difference with Newcombe's interval), p (Fisher's exact test of two values, chi-squared of
        more, all values together) and q (p after Benjamini and Hochberg, over all rows). The
        interval of the gap does not know that the two were chosen among more values; p does.
    """
    right = table.predicted(threshold) == table.labels
    rows = []
    for flag, codes in flags.codes.items():
        for k, name in enumerate(classes):
            mine = table.labels == k
            cells = [mine & (codes == code) for code in range(len(flags.names[flag]))]
            large = [(code, cell) for code, cell in enumerate(cells) if cell.sum() >= least]
            if len(large) > 1:
                rows.append({'flag': flag, 'class': name} | _gap(flags.names[flag], right, large))
    adjusted = false_discovery_control([row['p'] for row in rows]) if rows else ()
    return [row | {'q': float(q)} for row, q in zip(rows, adjusted, strict=True)]


def _gap(
    names: Sequence[str],
    right: Bool[np.ndarray, ' n'],
    cells: Sequence[tuple[int, Bool[np.ndarray, ' n']]],
) -> Row:
    entries = [
        {'value': names[code], 'n': int(cell.sum()), 'hits': int(right[cell].sum())}
        for code, cell in cells
    ]
    counts = np.array([[entry['hits'], entry['n'] - entry['hits']] for entry in entries])
    for entry in entries:
        entry['accuracy'] = proportion(entry.pop('hits'), entry['n'])
    best = max(entries, key=lambda entry: entry['accuracy']['value'])
    worst = min(reversed(entries), key=lambda entry: entry['accuracy']['value'])
    gap = difference(best['accuracy'], worst['accuracy'])
    return {'best': best, 'worst': worst, 'gap': gap, 'p': _independent(counts)}


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
    results: Mapping[str, Any], tables: Mapping[str, Predictions], workdir: Path
) -> Iterator[Section]:
    """Figures of all splits, then those of groups.

    Args:
        results: with `splits`, `threshold`, `flag_split` and `gaps`.
        tables: predictions of the splits.
        workdir: where figures go.
    """
    curves = dict(report_sections.curves(tables, results['splits']))
    for name, figure in curves.items():
        write_atomic(workdir / 'figures' / f'{name}.png', figure.image)
    yield from report_sections.by_split(results, list(curves.values()))
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
        f'{LEAST} images are left out. Intervals are Wilson’s and Newcombe’s; q: Fisher’s or '
        'the chi-squared test, after Benjamini and Hochberg. A gap does not say why: images with '
        'the flag may be harder.'
    )
    return Section(heading, text, [Table('Gaps', header, cells)])
