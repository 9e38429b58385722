"""Tables and pictures of clusters: eigenvalues, a view of all points, exemplars, enrichment."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from skinjax import document, figures, panel_figures
from skinjax.auditing.seen import Part, Seen
from skinjax.data import choosing, images
from skinjax.discovery.enrichment import SURE
from skinjax.document import Figure, Section, Table
from skinjax.pictures import embed
from skinjax.relevance import heatmaps

MOST = 40  # rows of a table, clusters pictured of a class
SIDE = 112  # pixels of an exemplar


def sections(
    config: Any,
    seen: Seen,
    parts: Sequence[Part],
    results: Mapping[str, Any],
    workdir: Path,
) -> list[Section]:
    """The report.

    Args:
        config: of the audit.
        seen: maps and their images.
        parts: the clusters.
        results: as in results.json.
        workdir: where figures go.
    """
    gaps, listed = _gaps(results['classes']), _clusters(parts, seen, results['enrichment'])
    tables = _enrichment(results)
    text = (
        'A class whose largest eigengap is much larger than those of the others falls into '
        'clusters more clearly than they do: look at it first.'
    )
    drawn = [_eigenvalues(parts, workdir), _views(parts, workdir)]
    told = (
        "Cells: Fisher's exact test of a cluster beside the others of its class, two-sided; q: "
        'after Benjamini and Hochberg, over all rows. ARI: adjusted Rand index, 1 for the same '
        'division and 0 for chance.'
    )
    shown = _exemplars(config, seen, parts, workdir)
    return [
        Section('Clusters', text, [gaps, listed], drawn),
        Section('What the clusters have in common', told, tables),
        Section('Exemplars', _EXEMPLARS, figures=shown),
    ]


_EXEMPLARS = (
    'Of each cluster the images nearest to its middle, and below them the same with their maps. '
    'The first picture of a row is the mean of the cluster.'
)


def _gaps(classes: Mapping[str, Mapping[str, Any]]) -> Table:
    header = ['class', 'images', 'maps of zeros', 'parts of the graph', 'largest eigengap']
    header += ['after eigenvalue', 'clusters']
    keys = ('n', 'zero', 'parts', 'gap', 'gap_after')
    rows = [[name, *(b[k] for k in keys), len(b['clusters'])] for name, b in classes.items()]
    return Table('Eigengaps', header, rows)


def _clusters(parts: Sequence[Part], seen: Seen, rows: Sequence[Any]) -> Table:
    """Size, errors and score of each cluster, and in what it is richer than the others."""
    body, table = [], seen.table
    wrong = table.columns['predicted'] != table.labels
    for part in parts:
        for cluster in range(min(part.clustering.count, MOST)):
            mine = part.rows[part.clustering.labels == cluster]
            more = [
                f'{row["flag"]} = {row["value"]}'
                for row in sorted(rows, key=lambda row: row['p'])
                if (row['class'], row['cluster']) == (part.name, cluster)
                and row['q'] <= SURE
                and row['more']
            ]
            score = float(table.columns['score'][mine].mean())
            cells = [part.name, cluster, len(mine), float(wrong[mine].mean()), score]
            body.append([*cells, '; '.join(more[:3]) or None])
    header = ['class', 'cluster', 'images', 'called wrongly', 'mean score', 'rich in']
    return Table('Clusters', header, body)


def _enrichment(results: Mapping[str, Any]) -> list[Table]:
    sure = [row for row in results['enrichment'] if row['q'] <= SURE]
    sure.sort(key=lambda row: row['p'])
    keys = ('class', 'cluster', 'flag', 'value', 'hits', 'n', 'inside', 'outside', 'odds', 'p', 'q')
    header = ('class', 'cluster', 'flag', 'value', 'with it', 'of', 'share', 'share of the others')
    tables = [
        Table(
            f'Flags that are more or less frequent in a cluster (q at most {SURE:g}; '
            f'{len(sure)} of {len(results["enrichment"])}, the first {MOST} shown)',
            (*header, 'odds ratio', 'p', 'q'),
            [[row[key] for key in keys] for row in sure[:MOST]],
        )
    ]
    keys = ('joint_ari', 'precision', 'recall')
    header = ('class', 'flag', 'images', 'ARI', 'value', 'clusters rich in it', 'their ARI')
    rows = [
        [
            *(row[key] for key in ('class', 'flag', 'n', 'ari', 'value')),
            ', '.join(map(str, row['clusters'] or ())) or None,
            *(row[key] for key in keys),
        ]
        for row in results['agreement']
    ]
    caption = 'Do all clusters, or those that are rich in it together, divide images as a flag?'
    return [*tables, Table(caption, (*header, 'precision', 'recall'), rows)]


def _eigenvalues(parts: Sequence[Part], workdir: Path) -> Figure:
    curves = {}
    for part in parts:
        values = part.clustering.eigenvalues
        curves[part.name] = (np.arange(1, len(values) + 1), values)
    highest = max((values.max(initial=0) for _, values in curves.values()), default=0)
    limits = (-0.02 * (highest or 1), 1.05 * (highest or 1))
    panels = {'the smallest eigenvalues': curves}
    image = panel_figures.curves_figure(panels, 'number', 'eigenvalue', limits)
    return document.figure(workdir, 'eigenvalues', image, 'Eigenvalues of the graph of each class')


def _views(parts: Sequence[Part], workdir: Path) -> Figure:
    panels = {}
    for part in parts:
        labels = part.clustering.labels
        named = {k: f'cluster {k} ({(labels == k).sum()})' for k in np.unique(labels).tolist()}
        named |= {-1: 'without relevance'}
        panels[part.name] = {
            named[k]: part.view[labels == k] for k in np.unique(labels)[: MOST + 1].tolist()
        }
    alt = 'A t-SNE view of the images of each class, by cluster'
    return document.figure(workdir, 'views', panel_figures.scatter_figure(panels), alt)


def _exemplars(config: Any, seen: Seen, parts: Sequence[Part], workdir: Path) -> list[Figure]:
    drawn = []
    for k, part in enumerate(parts):
        strips: dict[str, list[np.ndarray]] = {}
        for cluster in range(min(part.clustering.count, MOST)):
            rows = part.rows[part.members(cluster)]
            pictures, maps = _pictures(seen, rows, config.exemplars)
            strips[f'{part.name}, cluster {cluster} ({len(rows)} images)'] = pictures
            strips[' ' * (cluster + 1)] = maps
        if strips:
            alt = f'Images and maps of the clusters of {part.name}'
            name = f'exemplars_{k}'
            document.figure(workdir, name, figures.strips_figure(strips), alt)
            drawn.append(Figure(embed(workdir / 'figures' / f'{name}.png'), alt, alt))
    return drawn


def _pictures(
    seen: Seen, rows: np.ndarray, count: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Mean image and the first images, mean map and the first maps over their images."""
    some = rows[: max(count, 1)].tolist()
    shown = [seen.records.read(row)['image'] for row in some]
    # The mean of a few hundred says what that of all would.
    spread = choosing.evenly(rows, 200)
    mean = np.mean([seen.records.read(row)['image'] for row in spread.tolist()], axis=0)
    heat = np.mean([seen.maps[row].astype(np.float32) for row in spread.tolist()], axis=0)
    pictures = [mean.round().astype(np.uint8), *shown]
    maps = [heatmaps.coloured(heat, signed=seen.signed)]
    maps += [
        heatmaps.overlay(image, _sized(seen.maps[row], image), signed=seen.signed)
        for image, row in zip(shown, some, strict=True)
    ]
    return [images.fit(one, SIDE) for one in pictures], [images.fit(one, SIDE) for one in maps]


def _sized(heat: np.ndarray, image: np.ndarray) -> np.ndarray:
    """A map as large as its image; those of stages or cells are smaller."""
    if heat.shape == image.shape[:2]:
        return heat
    size = (image.shape[1], image.shape[0])
    return cv2.resize(heat.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
