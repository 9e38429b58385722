"""Results of an audit that a test makes up: rows as the parts of the audit make them of calls."""

from typing import Any

import numpy as np

from skinjax.auditing import advice, performance, switch_summary, switches
from skinjax.auditing.said import Real
from skinjax.auditing.seen import Flags
from skinjax.auditing.switches import Called
from skinjax.discovery import enrichment
from skinjax.engine.writer import jsonable
from skinjax.predictions import Predictions

CLASSES = ('nevus', 'melanoma')
AUC = {'value': 0.87, 'low': 0.81, 'high': 0.92}
LEVEL = {'value': 0.55, 'low': 0.5, 'high': 0.6}


def table(labels, scores) -> Predictions:
    return Predictions(np.arange(len(labels)).astype(str), labels, np.asarray(scores, float))


def switched(
    artefact, away, back=0, n=200, patients=0, scale=1.0, right=True, **more
) -> dict[str, Any]:
    """The row of an insertion by which `away` calls of nevus turn to melanoma, and `back` others
    the other way; all images are of so many patients, 0: as many as images. Calls are right
    before, or by chance."""
    labels = np.arange(n) % 2
    clean = np.where(labels == 1, 0.9, 0.1)
    biased = clean.copy()
    for label, count in enumerate((away, back)):
        turned = np.flatnonzero(labels == label)[:count]
        biased[turned] = 1 - clean[turned]
    labels = labels if right else np.arange(n) // 2 % 2
    one = Called(
        'toy', 0.5, table(labels, scale * clean), {artefact: [table(labels, scale * biased)]}
    )
    groups = np.arange(n) % (patients or n)
    rows = switches.mask_rows([one], CLASSES, groups)
    (row,) = switch_summary.summary([one], rows, groups, CLASSES, 100, 0)
    return jsonable(row) | more


def gaps(arm, back, n=40, flag='site', patients=0) -> list[dict[str, Any]]:
    """The row of melanoma: of `n` images on each site so many are recognised."""
    right = np.concatenate([np.arange(n) < arm, np.arange(n) < back])
    site = np.repeat([0, 1], n).astype(np.int32)
    flags = Flags({flag: site}, {flag: ('arm', 'back')})
    groups = np.arange(2 * n) % (patients or 2 * n)
    whole = table(np.ones(2 * n, int), right)
    return jsonable(performance.gaps(whole, flags, CLASSES, 0.5, groups))


def enriched(inside, outside, n=28, others=60) -> list[dict[str, Any]]:
    """The row of a cluster of n images beside others; so many of them have a ruler."""
    labels = (np.arange(n + others) < n).astype(np.int32)
    ruler = np.concatenate([np.arange(n) < inside, np.arange(others) < outside]).astype(np.int32)
    names = {'ruler': ('no', 'yes')}
    rows = enrichment.corrected(enrichment.rows(labels, {'ruler': ruler}, names))
    return jsonable([{'class': 'melanoma'} | row for row in rows if row['cluster'] == 1])


def known(auc, low, high, q, detected=False) -> dict[str, Any]:
    """The block of a flag that a probe reads, LEVEL by the diagnosis alone."""
    more = {name: value - LEVEL['value'] for name, value in zip(AUC, (auc, low, high), strict=True)}
    linear = {'auc': auc, 'low': low, 'high': high, 'kind': 'linear', 'more': more, 'q': q}
    return {'linear': linear, 'detected': detected, 'by_diagnosis': LEVEL}


def recognised(nevus, melanoma) -> dict[str, Any]:
    """So many of 120 and of 80 are."""
    labels = (np.arange(200) >= 120).astype(np.int64)
    called = np.where(labels == 0, np.arange(200) >= nevus, np.arange(200) - 120 < melanoma)
    real = Real(table(labels, called), np.arange(200), np.arange(200))
    return performance.recognised(real, CLASSES, 0.5)


def of_shortcut() -> dict[str, Any]:
    """Those of a model that uses a ruler."""
    leaks = {
        'diagnosis': {'linear': {'auc': 0.9}, 'detected': False, 'by_diagnosis': None},
        'ruler': known(0.93, 0.9, 0.96, 0.001),
        'hair (detected)': known(0.6, 0.5, 0.7, 0.4, detected=True),
    }
    return {
        'flag_split': 'test',
        'threshold': {'value': 0.4},
        'constant': False,
        'hard': False,
        'flagged': 200,
        'images': {'nevus': 120, 'melanoma': 80},
        'groups': 200,
        'flags': {name: {'detected': False} for name in ('ruler', 'site')},
        'splits': {'test': {'n': 200, 'auc': AUC}},
        'recognised': recognised(100, 64),
        'gaps': gaps(36, 20),
        'leaks': {'reason': None, 'variables': leaks},
        'pairs': [],
        'counterfactual': {'switches': [switched('ruler', 31), switched('hair_dense', 0)]},
        'clusters': {'reason': None, 'enrichment': enriched(24, 20), 'classes': {}},
    }


def told(results, about):
    return [(one.severity, one.text) for one in advice.advise(results) if one.about == about]
