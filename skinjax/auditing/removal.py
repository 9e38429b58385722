"""What removal of artefacts does to predictions: the opposite of inserting them.

The editors change the images in which something is found; what they do to the others is told
beside it, because an editor that damages clean images moves predictions, too.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from skinjax import document, editing
from skinjax.auditing import calling, folders, insertion, paired, switch_tables
from skinjax.auditing.classifiers import Classifier
from skinjax.auditing.switches import Called
from skinjax.data import detectors
from skinjax.data.records import DataSet, Records, present
from skinjax.document import Figure, Section
from skinjax.editors import Editor
from skinjax.figures import interval_bars

HEADING = 'Removal'
# What editors remove -> names that bias variables have for it. The keys are those of detectors.
REMOVED = {'hair': ('hair',), 'ruler': ('ruler',), 'ink': ('ink', 'marking')}
WITH, WITHOUT = 'with', 'without'


def editors(section: Any, field: str = 'config.audit.removal') -> dict[str, Editor]:
    """Name -> editor of `section.removal`; a run is called as its directory, or as in NAME=RUN.

    Raises:
        ValueError, FileNotFoundError: as `editing.named`, or two of one name.
    """
    insertion.once(section.removal, field)
    named = folders.named(section.removal, field, marks=':')
    with folders.naming(field):
        return {name: editing.named(what) for name, what in named.items()}


def something(records: Records, data: DataSet) -> tuple[Bool[np.ndarray, ' n'], dict[str, str]]:
    """Which images have something of REMOVED, and who says so: 'flag NAME', or 'detector'.

    Where the data have no such variable, do not know its value, or have names of values that do not
    say which of them means that it is there, the detector is asked.
    """
    found, source = np.zeros(len(records), bool), {}
    for kind, names in REMOVED.items():
        known = {n: present(n, data.bias.get(n, ())) for n in names if n in records.bias}
        name = next((n for n, value in known.items() if value is not None), '')
        flags = records.bias[name] if name else np.full(len(records), -1)
        found |= flags == known.get(name, 1)
        source[kind] = f'flag {name}' if name else 'detector'
        unknown = np.flatnonzero(flags < 0).tolist()
        if name and unknown:
            source[kind] += f', detector for {len(unknown)} images'
        score, limit = detectors.ARTEFACTS[kind]
        for row in unknown:
            found[row] |= score(records.read(row)['image']) >= limit
    return found, source


def removed(
    named: Sequence[Classifier],
    clean: Mapping[str, Any],
    tools: Mapping[str, Editor],
    section: Any,
    workdir: Path,
    told: Callable[[int], None],
) -> tuple[dict[str, Any], list[Called]]:
    """The figures of `switch_summary.summary` after each editor.

    Writes removal_with.csv and removal_without.csv: images with and without something to remove, as
    flags and detectors say of the first classifier's images.

    Args:
        named: the classifiers; all judge the same images.
        clean: classifier -> what it says of them as they are.
        tools: name -> editor.
        section: with `bootstrap` and `seed`.
        workdir: to write into.
        told: called with the number of tables made so far.

    Returns:
        What goes into results.json: `rows`, each with `images` ('with' or 'without') and `changed`
        (share of the classifier's images that the editor changes); `n` of both; `found_by`. And
        what the classifiers say of the images with something.
    """
    found, source = something(named[0].records, named[0].data)
    done, rows = 0, []
    called: dict[str, list[Called]] = {}
    for part, chosen in ((WITH, found), (WITHOUT, ~found)):
        if not chosen.any():
            continue
        some = [dataclasses.replace(one, records=one.records.select(chosen)) for one in named]
        tables = {name: table.select(chosen) for name, table in clean.items()}
        called[part], changed = _called(
            some, tables, tools, lambda count, before=done: told(before + count)
        )
        done += len(named) * len(tools)
        path = workdir / f'removal_{part}.csv'
        for row in insertion.summarised(called[part], some[0], section, path):
            share = changed[row['classifier'], row['artefact']]
            rows.append(row | {'images': part, 'changed': share})
    paired.correct(rows)
    counts = {WITH: int(found.sum()), WITHOUT: int((~found).sum())}
    return {'rows': rows, 'n': counts, 'found_by': source}, called.get(WITH, [])


def _called(
    some: Sequence[Classifier],
    clean: Mapping[str, Any],
    tools: Mapping[str, Editor],
    told: Callable[[int], None],
) -> tuple[list[Called], dict[tuple[str, str], float]]:
    """What the classifiers say after each editor, and (classifier, editor) -> share of changed."""
    said: dict[str, Called] = {}
    changed: dict[tuple[str, str], float] = {}
    for group in calling.together(some):
        seen = {name: Changes(len(group[0].records), tool) for name, tool in tools.items()}
        edits = {name: [one.edited] for name, one in seen.items()}
        before = len(said) * len(tools)
        for one in calling.call(group, edits, lambda n, done=before: told(done + n), clean):
            said[one.classifier] = one
            changed |= {(one.classifier, k): float(c.changed.mean()) for k, c in seen.items()}
    return [said[one.name] for one in some], changed


class Changes:
    """Records as an editor leaves them, and which of them it changes."""

    def __init__(self, n: int, editor: Editor):
        self.changed, self._editor = np.zeros(n, bool), editor

    def edited(self, records: Records) -> Records:
        """The records after the editor; `changed` is set as they are read."""

        def read(row: int) -> dict[str, np.ndarray]:
            example = records.read(row)
            (found,) = self._editor([example])
            self.changed[row] |= bool((found['image'] != example['image']).any())
            return found

        return dataclasses.replace(records, read=read)


def section_of(block: dict[str, Any], workdir: Path) -> Section:
    """The section of the report."""
    counts, text = block['n'], []
    said = ', '.join(f'{kind}: {source}' for kind, source in block['found_by'].items())
    text.append(
        f'Of {sum(counts.values())} images {counts[WITH]} are said to have hair, a ruler or ink '
        f'({said}). Each editor was given these, and the others as a control: what it does to them '
        'is damage, or removal of what was overlooked. Probability after removal less that before; '
        'figures as for insertions.'
    )
    tables, shares = [], {}
    for part in (WITH, WITHOUT):
        rows = [row for row in block['rows'] if row['images'] == part]
        if rows:
            tables += switch_tables.tables(rows, CAPTIONS[part])
            shares |= {f'{name}; {part}': bar for name, bar in insertion.bars(rows).items()}
        text += [
            f'{name!r} changes {_changed(rows, name)} of the images {part} artefacts.'
            for name in dict.fromkeys(row['artefact'] for row in rows)
        ]
    picture = interval_bars(shares, None, 'share of predictions that switch')
    alt = 'Share of predictions that switch after each editor, with and without artefacts'
    figures: list[Figure] = [document.figure(workdir, 'removed', picture, alt)]
    return Section(HEADING, '\n\n'.join([text[0], ' '.join(text[1:])]), tables, figures)


def _changed(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    """The share that an editor changes; of each classifier where their pictures differ."""
    shares = {row['classifier']: f'{row["changed"]:.0%}' for row in rows if row['artefact'] == name}
    if len(set(shares.values())) == 1:
        return next(iter(shares.values()))
    return ', '.join(f'{share} ({of})' for of, share in shares.items())


CAPTIONS = {
    WITH: 'Predictions that switch when artefacts are removed',
    WITHOUT: 'Predictions that switch where there is nothing to remove',
}
