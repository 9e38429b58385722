"""Clusters of what a classifier looks at: from its maps of relevance to a report.

What SpRAy and GEBI share; how they divide the images of a class is given as a function.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from skinjax.auditing import cluster_pages, pages
from skinjax.auditing.seen import Flags, Part, Seen, known_flags
from skinjax.data import choosing
from skinjax.data.records import Records, choices
from skinjax.data.writing import write_csv
from skinjax.discovery import enrichment, spectral, view
from skinjax.discovery.graph import Points
from skinjax.discovery.spectral import Clustering
from skinjax.document import Section
from skinjax.relevance import explained

BY = ('target', 'label', 'predicted', 'all')
DEFAULTS: dict[str, Any] = {
    'maps': '',  # directory of a finished run of kind 'explain'
    'by': 'target',  # what images are clustered apart by: a class of theirs, or 'all' at once
    'n': 10_000,  # of each, at most, by chance; 0: all
    'detect': False,  # let the detectors look for artefacts too, beside what people have flagged
    'perplexity': 30.0,  # of the view
    'exemplars': 8,  # images shown of each cluster
    'threads': 2,  # of the detectors
    'seed': 0,
}
SHOWN_AFTER = 2.0  # seconds, from which on it is told how many images have gone by
WRONG = 'called wrongly'
CLASS = 'true class'

Audit = Callable[[Path], tuple[dict[str, Any], list[Section]]]
# (maps, records of the same rows) -> their clusters, and the points that these are made of.
Divide = Callable[[Iterable[np.ndarray], Records], tuple[Clustering, Points]]


def check(config: Any) -> None:
    """ValueError for an option of DEFAULTS that is out of range, or maps that are not named."""
    if not config.maps:
        raise ValueError(
            "there is nothing to audit: give the directory of a finished run of kind 'explain' "
            'with --config.audit.maps=DIRECTORY'
        )
    if config.by not in BY:
        raise ValueError(f'config.audit.by is {config.by!r}; {choices(config.by, BY)}')
    for field, bound in {'n': 0, 'exemplars': 1, 'threads': 1, 'perplexity': 1}.items():
        if config[field] < bound:
            raise ValueError(f'config.audit.{field} is {config[field]}, expected at least {bound}')


def audit(config: Any, divide: Divide, text: str) -> Audit:
    """The audit of one method.

    Args:
        config: DEFAULTS, and the fields of `spectral.DEFAULTS`.
        divide: the method.
        text: what it does, for the report.

    Raises:
        ValueError: as `check`, or a directory that is no finished run of kind 'explain'. Later: no
            class with enough images.
    """
    check(config)
    seen = Seen.of(explained.read(config.maps))

    def run(workdir: Path) -> tuple[dict[str, Any], list[Section]]:
        results, sections, parts = examined(config, seen, divide, text, workdir)
        if not parts:
            why = ' '.join(results['remarks'])
            raise ValueError(f'{config.maps} has too few images to cluster: {why}')
        for remark in results['remarks']:
            print(remark, flush=True)
        pages.say([table for section in sections for table in section.tables])
        return results, sections

    return run


def examined(
    config: Any,
    seen: Seen,
    divide: Divide,
    text: str,
    workdir: Path,
    flags: Flags | None = None,
) -> tuple[dict[str, Any], list[Section], list[Part]]:
    """The clusters of `seen`: a block of results.json, sections of a report, and the clusters.

    Where no class has enough images there are neither sections nor clusters, and the remarks say
    why. Writes clusters.csv, enrichment.csv and figures into `workdir`.

    Args:
        config: as of `audit`; `maps` is not read.
        seen: the images.
        divide, text: as of `audit`.
        workdir: of the audit.
        flags: what is known of the images, if it has been found out already.
    """
    chosen = list(groups(config, seen))
    parts, remarks = [], []
    for name, rows in chosen:
        if len(rows) < (least := max(spectral.FEWEST, config.clusters)):
            remarks.append(f'{name}: {len(rows)} images, of which at least {least} are needed.')
            continue
        part = _part(config, name, rows, seen, divide)
        parts.append(part)
        remarks += [f'{name}: {note}' for note in part.clustering.notes]
    if not parts:
        return {'classes': {}, 'enrichment': [], 'agreement': [], 'remarks': remarks}, [], []
    rows = np.concatenate([part.rows for part in parts])
    known = flags_of(config, seen, rows) if flags is None else with_calls(config, seen, flags)
    results, sections = _report(config, seen, parts, known, text, remarks, workdir)
    return results, sections, parts


def groups(config: Any, seen: Seen) -> Iterator[tuple[str, Int[np.ndarray, ' n']]]:
    """Names of classes and the rows that are clustered together."""
    table = seen.table
    if config.by == 'all':
        yield 'all', choosing.by_chance(len(table), config.n, config.seed)
        return
    codes = table.labels if config.by == 'label' else table.columns[config.by]
    for code in np.unique(codes).tolist():
        rows = np.flatnonzero(codes == code)
        some = choosing.by_chance(len(rows), config.n, config.seed)
        yield seen.classes[code], rows[some]


def _part(config: Any, name: str, rows: Int[np.ndarray, ' n'], seen: Seen, divide: Divide) -> Part:
    maps = (seen.maps[row] for row in rows)
    clustering, points = divide(maps, seen.records.select(rows))
    place = view.tsne(points, clustering.vectors[:, 1:3], config.perplexity, config.seed)
    return Part(name, rows, clustering, points, place)


def flags_of(config: Any, seen: Seen, rows: Int[np.ndarray, ' k']) -> Flags:
    """What is known of the images: bias variables of the data, what the detectors find at `rows`
    if they are asked, the true class, and whether the image was called wrongly.
    """
    threads = config.threads if config.detect else 0
    return with_calls(config, seen, known_flags(seen.records, seen.bias, rows, threads))


def with_calls(config: Any, seen: Seen, flags: Flags) -> Flags:
    """Flags, and the true class and whether the image was called wrongly.

    The second is left out where it is the first by another name: among the images of two classes
    that are called the same.
    """
    table, added = seen.table, {CLASS: (seen.table.labels, tuple(seen.classes))}
    if len(seen.classes) > 2 or config.by in ('all', 'label'):
        wrong = (table.columns['predicted'] != table.labels).astype(np.int32)
        added[WRONG] = (wrong, ('no', 'yes'))
    codes = {name: values for name, (values, _) in added.items()}
    names = {name: of for name, (_, of) in added.items()}
    return Flags({**flags.codes, **codes}, {**flags.names, **names})


def enriched(
    parts: Sequence[Part], flags: Flags
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """`enrichment.rows` of all parts, corrected together, and `enrichment.agreement`."""

    def given(part: Part) -> tuple[np.ndarray, dict[str, np.ndarray], Mapping[str, Sequence[str]]]:
        mine = {name: values[part.rows] for name, values in flags.codes.items()}
        return part.clustering.labels, mine, flags.names

    rows = enrichment.corrected(
        [{'class': part.name} | row for part in parts for row in enrichment.rows(*given(part))]
    )
    agreed = []
    for part in parts:
        own = [row for row in rows if row['class'] == part.name]
        found = enrichment.agreement(*given(part), own)
        agreed += [{'class': part.name} | row for row in found]
    return rows, agreed


def _report(
    config: Any,
    seen: Seen,
    parts: Sequence[Part],
    known: Flags,
    text: str,
    remarks: Sequence[str],
    workdir: Path,
) -> tuple[dict[str, Any], list[Section]]:
    rows, agreed = enriched(parts, known)
    listed = [row for part in parts for row in _listed(part, seen, known)]
    write_csv(workdir / 'clusters.csv', listed)
    pages.write(workdir / 'enrichment.csv', rows)
    results = {
        **seen.source,
        'by': config.by,
        'seed': config.seed,
        'classes': {part.name: _block(part, seen) for part in parts},
        'enrichment': rows,
        'agreement': agreed,
        'remarks': list(remarks),
    }
    first, *others = cluster_pages.sections(config, seen, parts, results, workdir)
    first = dataclasses.replace(first, text='\n\n'.join((text, first.text, *remarks)))
    return results, [first, *others]


def _block(part: Part, seen: Seen) -> dict[str, Any]:
    clustering = part.clustering
    sizes = np.bincount(clustering.labels[clustering.labels >= 0], minlength=clustering.count)
    return {
        'n': len(part.rows),
        'zero': int((seen.table.columns['scale'][part.rows] == 0).sum()),
        'parts': clustering.parts,
        'eigenvalues': clustering.eigenvalues.tolist(),
        'gap_after': clustering.gap,
        'gap': float(clustering.gaps.max(initial=0)),
        'clusters': sizes.tolist(),
    }


def _listed(part: Part, seen: Seen, known: Flags) -> Iterator[dict[str, Any]]:
    """A row for each image: where it is, and what is known of it."""
    cluster, table = part.clustering.labels.tolist(), seen.table
    for k, row in enumerate(part.rows.tolist()):
        yield {
            'id': str(table.ids[row]),
            'class': part.name,
            'cluster': cluster[k],
            'x': float(part.view[k, 0]),
            'y': float(part.view[k, 1]),
            'score': float(table.columns['score'][row]),
            **{name: known.text(name, row) for name in known.codes},
        }
