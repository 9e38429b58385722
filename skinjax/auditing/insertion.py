"""What insertions do to predictions: tables, files and figures of audits that insert artefacts."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skinjax import document
from skinjax.auditing import calling, pages, switch_summary, switch_tables, switches
from skinjax.auditing.classifiers import Classifier
from skinjax.auditing.switches import Called, Row
from skinjax.data.records import Records, choices
from skinjax.document import Figure, Section
from skinjax.editors import insert, overlays
from skinjax.figures import image_grid, interval_bars
from skinjax.predictions import Predictions

HEADING = 'Predictions that switch'
TEXT = (
    'Figures are means over the insertions, sd is between them; largest and least are those of '
    'all. Intervals: 95 %, bootstrap over images (groups undivided), paired; of shares that are 0 '
    "or 1 Wilson's, of as many groups; none where no resample differs. Tests flip the signs of "
    "groups (patients, lesions; where each is one image that is McNemar's exact test), over the "
    'insertions: "p right" asks whether more calls turn wrong than right, "p calls" whether more '
    "turn to one class than away from it (of more than two classes Bowker's statistic, among "
    '10,000 random signs); q is p after Benjamini and Hochberg. Shifts are changes of a '
    'probability in percentage points, mean shift and largest their size. Precision, recall and F1 '
    'are those of the positive class, or the mean over more than two.'
)
_INSERTED = (
    'Every artefact was inserted {} times into each of {} images, by the editor `insert`: what is '
    'said of an image with it and without differs by the artefact alone.'
)


def check_kinds(kinds: Sequence[str], field: str = 'config.audit.kinds') -> None:
    """ValueError for an artefact that the editor 'insert' does not know, or one named twice."""
    if unknown := [kind for kind in kinds if kind not in overlays.KINDS]:
        raise ValueError(f'{field}: no {unknown[0]!r}; {choices(unknown[0], overlays.KINDS)}')
    once(kinds, field)


def once(values: Sequence[Any], field: str) -> None:
    """ValueError for a value that stands there twice."""
    if twice := [value for k, value in enumerate(values) if value in values[:k]]:
        raise ValueError(f'{field} names {twice[0]!r} twice: it would be counted twice')


def inserted(
    named: Sequence[Classifier],
    section: Any,
    workdir: Path,
    told: Callable[[int], None] = lambda done: None,
    clean: Mapping[str, Predictions] | None = None,
    **options: Any,
) -> tuple[list[Called], list[Row]]:
    """What the classifiers say of their images with each artefact, and the rows of
    `switch_summary.summary`.

    Writes predictions/CLASSIFIER/*.csv and switches.csv.

    Args:
        named: the classifiers; all judge the same images.
        section: with `kinds`, `masks`, `seed` and `bootstrap`.
        workdir: to write into.
        told: called with the number of tables made so far.
        clean: classifier -> what it says of the images as they are, where that is known.
        options: of the editor 'insert', beside its kind, seed and spread.
    """
    edits = calling.insertions(tuple(section.kinds), section.masks, section.seed, **options)
    called = calling.call(named, edits, told, clean)
    calling.write(called, workdir / 'predictions')
    if not edits:
        return called, []
    return called, summarised(called, named[0], section, workdir / 'switches.csv')


def summarised(called: Sequence[Called], first: Classifier, section: Any, path: Path) -> list[Row]:
    """`switch_summary.summary`, after writing `switches.mask_rows` to `path`."""
    classes = first.data.classes
    groups = first.records.groups
    rows = switches.mask_rows(called, classes, groups, section.seed)
    pages.write(path, rows)
    return switch_summary.summary(called, rows, groups, classes, section.bootstrap, section.seed)


def section_of(
    found: Sequence[Row], first: Classifier, section: Any, workdir: Path, **options: Any
) -> Section:
    """The section of a report."""
    shown = switch_tables.tables(found)
    text = f'{_INSERTED.format(section.masks, len(first.records))}\n\n{TEXT}'
    drawn = _figures(found, first.records, section, workdir, **options)
    return Section(HEADING, text, shown, drawn)


def bars(found: Sequence[Row]) -> Mapping[str, Any]:
    """'ARTEFACT, CLASSIFIER' -> share of switches, the classifiers of an artefact together."""
    kinds = dict.fromkeys(row['artefact'] for row in found)
    return {
        f'{row["artefact"]}, {row["classifier"]}': row['switched']
        for kind in kinds
        for row in found
        if row['artefact'] == kind
    }


def _figures(
    found: Sequence[Row], records: Records, section: Any, workdir: Path, **options: Any
) -> list[Figure]:
    """Shares of switches with intervals, and two images with each artefact."""
    shares = interval_bars(bars(found), None, 'share of predictions that switch')
    kinds = tuple(dict.fromkeys(row['artefact'] for row in found))
    pictures, titles = [], []
    for row in np.unique(np.linspace(0, len(records) - 1, 2).astype(int)).tolist():
        for kind in ('identity', *kinds):
            fields = {'kind': kind, 'seed': section.seed, 'spread': calling.SPREAD, **options}
            one = insert.inserted(records, insert.options(**fields))
            pictures.append(one.read(row)['image'])
            titles.append(kind if kind != 'identity' else str(records.ids[row]))
    grid = image_grid(pictures, titles, 1 + len(kinds))
    alt = 'Share of predictions that switch with each artefact, for each classifier'
    return [
        document.figure(workdir, 'switched', shares, alt),
        document.figure(workdir, 'insertions', grid, 'Two images with each of the artefacts'),
    ]
