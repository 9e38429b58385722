"""How predictions respond to an artefact that is laid on ever more strongly."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skinjax import document
from skinjax.auditing import calling, paired, switches
from skinjax.auditing.classifiers import Classifier
from skinjax.auditing.paired import Drawn
from skinjax.auditing.switches import Called, Row
from skinjax.document import Figure, Table
from skinjax.panel_figures import curves_figure

FIGURES = {
    'switched': 'share of predictions that switch',
    'mean_abs': 'mean shift, percentage points',
}


def rows(
    named: Sequence[Classifier],
    called: Sequence[Called],
    section: Any,
    told: Callable[[int], None],
) -> list[Row]:
    """Share of switches and mean size of shifts, with intervals, at each of `section.strengths`.

    An artefact of strength s is s times as opaque; it is the first of the insertions, in the same
    place at all strengths. The full strength is that of `called`.

    Args:
        named: the classifiers.
        called: what they say of their images and of insertions of `section.kinds`.
        section: options of the audit 'counterfactual'.
        told: called with the number of tables made so far.
    """
    edits = {
        kind: [
            edit
            for strength in section.strengths
            if strength != 1
            for edit in calling.insertions(
                [kind], 1, section.seed, strength=strength, templates=section.templates
            )[kind]
        ]
        for kind in section.kinds
    }
    weaker = calling.call(named, edits, told, {one.classifier: one.clean for one in called})
    groups = named[0].records.groups
    drawn = paired.resampled(
        np.zeros(len(groups), np.int64), groups, section.bootstrap, section.seed
    )
    count = len(np.unique(groups))
    found = []
    for one, full in zip(weaker, called, strict=True):
        for kind in section.kinds:
            tables = iter(one.biased[kind])
            for strength in section.strengths:
                table = full.biased[kind][0] if strength == 1 else next(tables)
                found.append(_row(one, kind, strength, table, drawn, count))
    return found


def _row(
    one: Called, kind: str, strength: float, table: Any, drawn: np.ndarray, groups: int
) -> Row:
    at = Called(one.classifier, one.threshold, one.clean, {kind: [table]})
    (switched,), (sizes,) = switches.moved(at, kind)
    return {
        'classifier': one.classifier,
        'artefact': kind,
        'strength': float(strength),
        'n': len(switched),
        'switched': paired.share(switched.astype(np.float64), drawn, groups),
        'mean_abs': Drawn.mean(sizes, drawn).interval(),
    }


def table(found: Sequence[Row]) -> Table:
    """A row for each artefact, classifier and strength."""
    names = dict.fromkeys(row['artefact'] for row in found)
    order = [row for name in names for row in found if row['artefact'] == name]
    keys = ('artefact', 'classifier', 'strength', 'n', 'switched', 'mean_abs')
    header = ('artefact', 'classifier', 'strength', 'n', 'share switched', 'mean shift')
    return Table(
        'Strength of the artefact and response of predictions',
        header,
        [[row[key] for key in keys] for row in order],
    )


def figures(found: Sequence[Row], workdir: Path) -> list[Figure]:
    """Response against strength: a panel for each artefact, a curve for each classifier."""
    return [_figure(found, key, label, workdir) for key, label in FIGURES.items()]


def _figure(found: Sequence[Row], key: str, label: str, workdir: Path) -> Figure:
    panels: dict[str, dict[str, Any]] = {}
    bands: dict[str, dict[str, Any]] = {}
    top = 1e-3
    for row in found:
        names = row['artefact'], row['classifier']
        mine = [other for other in found if (other['artefact'], other['classifier']) == names]
        mine = sorted(mine, key=lambda other: other['strength'])
        strengths = np.array([0.0, *(other['strength'] for other in mine)])
        value, low, high = (
            # Nothing is laid on at strength 0; without bounds the band has no width.
            np.array([0.0, *(_bound(other[key], bound) for other in mine)])
            for bound in ('value', 'low', 'high')
        )
        panels.setdefault(names[0], {})[names[1]] = strengths, value
        bands.setdefault(names[0], {})[names[1]] = low, high
        top = max(top, float(high.max()))
    picture = curves_figure(panels, 'strength', label, (-0.02 * top, 1.05 * top), bands, 3)
    alt = f'{label[0].upper()}{label[1:]}, by the strength of each artefact'
    return document.figure(workdir, f'strength_{key}', picture, alt)


def _bound(block: dict[str, float], bound: str) -> float:
    return block['value'] if np.isnan(block[bound]) else block[bound]
