"""What moves predictions: artefacts inserted into images, and removed from them.

Counterfactual bias insertion of GEBI (Mikołajczyk et al., "Towards Explainable Classifiers Using
the Counterfactual Approach", 2021; "The (de)biasing effect of GAN-based augmentation methods on
skin lesion images", 2022): several insertions of each kind, with paired intervals, the response to
their strength, and the editors of kind 'purify' as the opposite.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from skinjax import config as configs
from skinjax import editing
from skinjax.auditing import (
    calling,
    classifiers,
    insertion,
    moved_most,
    pages,
    remarks,
    removal,
    responses,
)
from skinjax.auditing.calling import Edit
from skinjax.auditing.classifiers import Classifier
from skinjax.auditing.folders import named_folders, naming
from skinjax.auditing.switches import Called
from skinjax.data import choosing
from skinjax.document import Section, Table
from skinjax.editors import Editor, insert, overlays
from skinjax.engine.writer import Progress
from skinjax.predictions import Predictions

# What `examined` reads, beside `seed` and `bootstrap`.
OPTIONS: dict[str, Any] = {
    'kinds': tuple(kind for kind in overlays.KINDS if kind != 'identity'),  # inserted artefacts
    'masks': 5,  # insertions of each kind
    'strengths': (0.25, 0.5, 0.75, 1.0),  # at which the first of them is repeated; () for none
    'templates': '',  # folder of cut-outs that are pasted, see editors/insert.py; '' draws all
    'removal': (
        'hair',
    ),  # editors, or runs of kind 'purify' ([NAME=]RUN), that remove artefacts; () for none
    'examples': 3,  # images of each kind whose predictions move most
}
DEFAULTS: dict[str, Any] = {
    'init_from': '',  # directory of a classifier, or
    'runs': '',  # of several of one seed: NAME=DIRECTORY,...; compared with the first
    'root': '',  # replaces data.root of the runs
    'devices': 0,  # 0: all
    'split': '',  # '': test, or else plain
    'n': 0,  # images of it, at most, by chance; 0: all
    **OPTIONS,
    'seed': 0,  # of the insertions and intervals
    'bootstrap': 1000,
}
_STRENGTH = (
    'The first of the insertions, so many times as opaque: 1 is the full artefact. Intervals: '
    '95 %, bootstrap over images, shaded in the figures.'
)
_EXAMPLES = (
    'Pairs of the same image, as it is and with the artefact, or after an editor has removed what '
    'it found; the numbers are probabilities of the positive class, or of the class that was '
    'called where there are more than two. Before and after differ by the edit alone.'
)
# Sections whose tables are printed.
_SAID = (insertion.HEADING, removal.HEADING)

Audit = Callable[[Path], tuple[dict[str, Any], list[Section]]]


def build(config: Any) -> Audit:
    """The audit.

    Raises:
        ValueError: no classifier, or an option out of range; as `classifiers.of_run`, or runs that
            are not judged on the same images.
        FileNotFoundError: a run, the templates, or a run of kind 'purify' does not exist.
    """
    check(config)
    if config.n < 0:
        raise ValueError(f'config.audit.n is {config.n}, expected at least 0')
    runs = named_folders(config.runs, 'runs')
    if bool(runs) == bool(config.init_from):
        raise ValueError(
            'give one classifier (--config.init_from=DIRECTORY) or several '
            '(--config.audit.runs=NAME=DIRECTORY,...)'
        )
    named = _restored(config, runs)

    def audit(workdir: Path) -> tuple[dict[str, Any], list[Section]]:
        found, sections = examined(config, named, workdir)
        # The others are long, and in the report.
        said = [section for section in sections if section.heading in _SAID]
        pages.say([table for section in said for table in section.tables])
        facts = {one.name: one.data.describe() for one in named}
        facts = {'seed': config.seed, 'n': len(named[0].records), 'data': facts}
        return facts | found, sections

    return audit


def check(section: Any, field: str = 'config.audit') -> None:
    """Raise ValueError or FileNotFoundError for one of OPTIONS that is out of range; `field` is
    where the section stands."""
    for name, bound in {'masks': 1, 'examples': 0, 'bootstrap': 0}.items():
        if section[name] < bound:
            raise ValueError(f'{field}.{name} is {section[name]}, expected at least {bound}')
    insertion.check_kinds(section.kinds, f'{field}.kinds')
    if not section.kinds and not section.removal:
        raise ValueError(f'{field}.kinds and .removal are empty: name something to do')
    if wrong := [s for s in section.strengths if not 0 < s <= 1]:
        raise ValueError(f'{field}.strengths: {wrong[0]}, expected numbers above 0, up to 1')
    insertion.once(section.strengths, f'{field}.strengths')
    with naming(f'{field}.templates'):
        for kind in section.kinds:
            insert.check(insert.options(kind=kind, templates=section.templates))
    removal.editors(section, f'{field}.removal')


def _restored(config: Any, runs: dict[str, Path]) -> list[Classifier]:
    runs = runs or {Path(config.init_from).resolve().name: Path(config.init_from)}
    fields = {name: config[name] for name in ('root', 'devices', 'split')}
    found = [
        classifiers.of_run(name, configs.make({'init_from': str(path), **fields}))
        for name, path in runs.items()
    ]
    classifiers.same_rows(found)
    return [some(one, config.n, config.seed) for one in found]


def examined(
    section: Any,
    named: Sequence[Classifier],
    workdir: Path,
    progress: Callable[[int], None] | None = None,
    clean: Mapping[str, Predictions] | None = None,
) -> tuple[dict[str, Any], list[Section]]:
    """What insertions and removals do to what classifiers say.

    Writes predictions/, switches.csv, strengths.csv, removal_*.csv and figures/ into `workdir`.

    Args:
        section: OPTIONS, `seed` and `bootstrap`.
        named: the classifiers; all judge the same images, and the first is the one that others are
            compared with.
        workdir: to write into.
        progress: called with the number of prediction tables made so far, of `steps`; a progress
            bar of its own without.
        clean: classifier -> what it says of the images as they are, where that is known.

    Returns:
        For results.json: `thresholds`, `insertion_masks`, `switches` (`switch_summary.summary`),
        `strengths` (`responses.rows`), `removal` (see `removal.removed`), `most_moved`
        (`moved_most.rows`) and `remarks`; and the sections of the report.
    """
    if progress is None:
        with Progress(steps(section, len(named)), unit='table') as bar:
            return examined(section, named, workdir, bar.update, clean)
    options = {'templates': section.templates}
    tools = removal.editors(section)
    called, found = insertion.inserted(named, section, workdir, progress, clean, **options)
    done = len(named) * (1 + len(section.kinds) * section.masks)
    notes = remarks.remarks(called, named[0].data.classes)
    results: dict[str, Any] = {
        'thresholds': {one.name: one.threshold for one in named},
        'insertion_masks': section.masks,
        'remarks': notes,
        'switches': found,
    }
    sections = []
    if section.kinds:
        sections.append(insertion.section_of(found, named[0], section, workdir, **options))
    if section.kinds and section.strengths:
        rows = responses.rows(named, called, section, lambda count: progress(done + count))
        done += len(named) * len(section.kinds) * sum(s != 1 for s in section.strengths)
        results['strengths'] = rows
        pages.write(workdir / 'strengths.csv', rows)
        table, drawn = responses.table(rows), responses.figures(rows, workdir)
        sections.append(Section('Strength and response', _STRENGTH, [table], drawn))
    without: list[Called] = []
    if tools:
        plain = {one.classifier: one.clean for one in called}
        block, without = removal.removed(
            named, plain, tools, section, workdir, lambda count: progress(done + count)
        )
        results['removal'] = block
        sections.append(removal.section_of(block, workdir))
    progress(steps(section, len(named)))
    if section.examples:
        moved, shown = _examples(section, named, called, without, tools, workdir)
        results['most_moved'] = moved
        sections.append(shown)
    text = '\n\n'.join([sections[0].text, *notes])
    return results, [dataclasses.replace(sections[0], text=text), *sections[1:]]


def steps(section: Any, count: int) -> int:
    """Prediction tables that `examined` makes of so many classifiers."""
    weaker = sum(strength != 1 for strength in section.strengths)
    each = 1 + len(section.kinds) * (section.masks + weaker) + 2 * len(section.removal)
    return count * each


def _examples(
    section: Any,
    named: Sequence[Classifier],
    called: Sequence[Called],
    without: Sequence[Called],
    tools: Mapping[str, Editor],
    workdir: Path,
) -> tuple[list[dict[str, Any]], Section]:
    """The images that move most, of each classifier, by each insertion and removal."""
    classes = named[0].data.classes
    edits: dict[str, Edit] = {
        kind: edit
        for kind, (edit,) in calling.insertions(
            section.kinds, 1, section.seed, templates=section.templates
        ).items()
    }
    found = [
        row
        for one in called
        for kind in section.kinds
        for row in moved_most.rows(one, kind, section.examples, classes)
    ]
    for name, editor in tools.items():
        label = f'after {name}'
        edits[label] = functools.partial(editing.edited, editor=editor)
        found += [
            row | {'edit': label}
            for one in without
            for row in moved_most.rows(one, name, section.examples, classes)
        ]
    drawn = [moved_most.figure(one, found, edits, workdir) for one in named]
    header = ('classifier', 'edit', 'id', 'class', 'before', 'after', 'called', 'called then')
    table = Table('Images whose predictions move most', header, [[*row.values()] for row in found])
    figures = [figure for figure in drawn if figure is not None]
    return found, Section('Images that move most', _EXAMPLES, [table], figures)


def some(one: Classifier, n: int, seed: int) -> Classifier:
    """The classifier with at most `n` of its images, drawn by chance; 0: all."""
    if not n or n >= len(one.records):
        return one
    rows = choosing.by_chance(len(one.records), n, seed)
    return dataclasses.replace(one, records=one.records.select(rows))
