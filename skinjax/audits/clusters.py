"""Clusters of what a classifier looks at: from the maps of a run of kind 'explain' to a report.

What SpRAy and GEBI share; how they divide the images of a class is given as a function.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from skinjax import explained
from skinjax.audits import cluster_pages, pages
from skinjax.data import detected
from skinjax.data.records import Records, choices
from skinjax.data.writing import write_csv
from skinjax.discovery import enrichment, spectral, view
from skinjax.discovery.graph import Points
from skinjax.discovery.spectral import Clustering
from skinjax.document import Section
from skinjax.explained import Explained

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
WRONG = 'called wrongly'
CLASS = 'true class'

Audit = Callable[[Path], tuple[dict[str, Any], list[Section]]]
# (maps, records of the same rows) -> their clusters, and the points that these are made of.
Divide = Callable[[Iterable[np.ndarray], Records], tuple[Clustering, Points]]


@dataclasses.dataclass(frozen=True)
class Part:
    """The images that are clustered together.

    Attributes:
        name: of their class, or 'all'.
        rows: of the explained images.
        clustering: of them.
        points: by which they were clustered.
        view: in two dimensions.
    """

    name: str
    rows: Int[np.ndarray, ' n']
    clustering: Clustering
    points: Points
    view: Float[np.ndarray, 'n 2']

    def members(self, cluster: int) -> Int[np.ndarray, ' m']:
        """Places within the part, those nearest to the middle of the cluster first."""
        inside = np.flatnonzero(self.clustering.labels == cluster)
        own = self.points[inside]
        return inside[np.argsort(((own - own.mean(axis=0)) ** 2).sum(axis=1), kind='stable')]


def check(config: Any) -> None:
    """ValueError for an option of DEFAULTS that is out of range, or maps that are not named."""
    if not config.maps:
        raise ValueError(
            "there is nothing to audit: give the directory of a finished run of kind 'explain' "
            'with --config.audit.maps=DIRECTORY'
        )
    if config.by not in BY:
        raise ValueError(f'config.audit.by is {config.by!r}; {choices(config.by, BY)}')
    for field, bound in {'n': 0, 'exemplars': 1, 'threads': 0, 'perplexity': 1}.items():
        if config[field] < bound:
            raise ValueError(f'config.audit.{field} is {config[field]}, expected at least {bound}')


def audit(config: Any, divide: Divide, text: str) -> Audit:
    """The audit of one method.

    Args:
        config: DEFAULTS, and the fields of `spectral.DEFAULTS`.
        divide: the method.
        text: what it does, for the report.

    Raises:
        ValueError: as `check`. Later: a directory that is no finished run of kind 'explain', or
            no class with enough images.
    """
    check(config)

    def run(workdir: Path) -> tuple[dict[str, Any], list[Section]]:
        found = explained.read(config.maps)
        records = found.records()
        flags, names = flags_of(config, found, records)
        parts, remarks = [], []
        for name, rows in groups(config, found):
            if len(rows) < (least := max(spectral.FEWEST, config.clusters)):
                remarks.append(f'{name}: {len(rows)} images, of which at least {least} are needed.')
                continue
            part = _part(config, name, rows, found, records, divide)
            parts.append(part)
            remarks += [f'{name}: {note}' for note in part.clustering.notes]
        if not parts:
            raise ValueError(f'{config.maps} has too few images to cluster: {" ".join(remarks)}')
        return _report(config, found, records, parts, (flags, names), text, remarks, workdir)

    return run


def groups(config: Any, found: Explained) -> Iterator[tuple[str, Int[np.ndarray, ' n']]]:
    """Names of classes and the rows that are clustered together."""
    table = found.table
    if config.by == 'all':
        yield 'all', _sample(np.arange(len(table)), config.n, config.seed)
        return
    codes = table.labels if config.by == 'label' else table.columns[config.by]
    for code in np.unique(codes).tolist():
        rows = np.flatnonzero(codes == code)
        yield found.classes[code], _sample(rows, config.n, config.seed)


def _sample(rows: Int[np.ndarray, ' n'], n: int, seed: int) -> Int[np.ndarray, ' k']:
    return np.sort(np.random.default_rng(seed).permutation(rows)[: n or None])


def _part(
    config: Any,
    name: str,
    rows: Int[np.ndarray, ' n'],
    found: Explained,
    records: Records,
    divide: Divide,
) -> Part:
    maps = (found.maps[row] for row in rows)
    clustering, points = divide(maps, records.select(rows))
    place = view.tsne(points, clustering.vectors[:, 1:3], config.perplexity, config.seed)
    return Part(name, rows, clustering, points, place)


def flags_of(
    config: Any, found: Explained, records: Records
) -> tuple[dict[str, np.ndarray], dict[str, Sequence[str]]]:
    """What is known of the images: name -> value of each (-1 unknown), and names of values.

    Bias variables of the data, what the detectors find if they are asked, whether the image was
    called wrongly, and its true class.
    """
    table = found.table
    flags: dict[str, np.ndarray] = dict(table.bias)
    names: dict[str, Sequence[str]] = {name: found.bias[name] for name in flags}
    if config.detect:
        rows = np.arange(len(records))
        columns = detected.table(records, rows, config.threads)
        for name, variable in detected.variables(columns, rows, len(rows)).items():
            flags[name], names[name] = variable.codes, variable.values
    flags[WRONG] = (table.columns['predicted'] != table.labels).astype(np.int32)
    names[WRONG] = ('no', 'yes')
    flags[CLASS], names[CLASS] = table.labels, found.classes
    return flags, names


def enriched(
    parts: Sequence[Part], flags: Mapping[str, np.ndarray], names: Mapping[str, Sequence[str]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """`enrichment.rows` of all parts, corrected together, and `enrichment.agreement`."""
    rows, agreed = [], []
    for part in parts:
        labels = part.clustering.labels
        mine = {name: values[part.rows] for name, values in flags.items()}
        found = enrichment.rows(labels, mine, names)
        head = {'class': part.name}
        rows += [head | row for row in found]
        agreed += [head | row for row in enrichment.agreement(labels, mine, names, found)]
    return enrichment.corrected(rows), agreed


def _report(
    config: Any,
    found: Explained,
    records: Records,
    parts: Sequence[Part],
    known: tuple[dict[str, np.ndarray], dict[str, Sequence[str]]],
    text: str,
    remarks: Sequence[str],
    workdir: Path,
) -> tuple[dict[str, Any], list[Section]]:
    rows, agreed = enriched(parts, *known)
    write_csv(
        workdir / 'clusters.csv', [row for part in parts for row in _listed(part, found, known)]
    )
    pages.write(workdir / 'enrichment.csv', rows)
    for remark in remarks:
        print(remark, flush=True)
    results = {
        'explainer': found.config.explainer.name,
        'run': found.config.init_from,
        'by': config.by,
        'seed': config.seed,
        'classes': {part.name: _block(part, found) for part in parts},
        'enrichment': rows,
        'agreement': agreed,
        'remarks': list(remarks),
    }
    first, *others = cluster_pages.sections(config, found, records, parts, results, workdir)
    first = dataclasses.replace(first, text='\n\n'.join((text, first.text, *remarks)))
    return results, [first, *others]


def _block(part: Part, found: Explained) -> dict[str, Any]:
    clustering = part.clustering
    sizes = np.bincount(clustering.labels[clustering.labels >= 0], minlength=clustering.count)
    return {
        'n': len(part.rows),
        'zero': int((found.table.columns['scale'][part.rows] == 0).sum()),
        'parts': clustering.parts,
        'eigenvalues': clustering.eigenvalues.tolist(),
        'gap_after': clustering.gap,
        'gap': float(clustering.gaps.max(initial=0)),
        'clusters': sizes.tolist(),
    }


def _listed(
    part: Part, found: Explained, known: tuple[dict[str, np.ndarray], dict[str, Sequence[str]]]
) -> Iterator[dict[str, Any]]:
    """A row for each image: where it is, and what is known of it."""
    flags, names = known
    cluster, table = part.clustering.labels.tolist(), found.table
    for k, row in enumerate(part.rows.tolist()):
        yield {
            'id': str(table.ids[row]),
            'class': part.name,
            'cluster': cluster[k],
            'x': float(part.view[k, 0]),
            'y': float(part.view[k, 1]),
            'score': float(table.columns['score'][row]),
            **{
                name: names[name][int(values[row])] if values[row] >= 0 else ''
                for name, values in flags.items()
            },
        }
