"""The pictures of kind 'inspect': samples, mean images, pairs of duplicates."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from skinjax import figures
from skinjax.data import images
from skinjax.data.counts import Findings
from skinjax.data.records import UNKNOWN, Records
from skinjax.engine.writer import write_atomic

PICTURED = ('bias', 'detected')  # kinds of variables whose images are shown
_PAIRS, _MEANS = 12, 5  # pairs of duplicates that are pictured, and mean images a row
_COLUMNS, _SIDE = 10, 112  # pictures a row, and their pixels
_ROWS = 24  # rows of pictures of one variable


def draw(folder: Path, found: Findings) -> None:
    """The pictures of the page, as PNG files in `folder`."""

    def write(name: str, image: bytes) -> None:
        write_atomic(folder / f'{name}.png', image)

    records, classes = found.records, found.data.classes
    labels = np.where(found.survey.good, records.labels, UNKNOWN)
    if strips := _strips(records, {name: labels == k for k, name in enumerate(classes)}):
        write('classes', figures.strips_figure(strips))
        write('means', _means(found))
    biased = (one for one in found.variables.items() if one[1].kind in PICTURED)
    for k, (name, variable) in enumerate(biased):
        cells = {
            f'{name}: {value}, {label}': (variable.codes == code) & (labels == c)
            for code, value in enumerate(variable.values)
            for c, label in enumerate(classes)
        }
        if strips := _strips(records, cells):
            write(f'variable_{k}', figures.strips_figure(strips))
    if found.pairs:
        write('duplicates', _pairs(found))


def _strips(records: Records, cells: Mapping[str, np.ndarray]) -> dict[str, list[np.ndarray]]:
    """Some pictures of each set of rows (masks), of different groups; empty sets are left out."""
    strips = {}
    for title, chosen in cells.items():
        rows = np.flatnonzero(chosen)
        if len(rows) and len(strips) < _ROWS:
            _, first = np.unique(records.groups[rows], return_index=True)
            # Evenly over the rows, since these often stand in the order of their origin.
            some = np.unique(np.linspace(0, len(first) - 1, _COLUMNS).astype(int))
            shown = rows[np.sort(first)[some]].tolist()
            strips[f'{title} ({len(rows)})'] = [_picture(records, row) for row in shown]
    return strips


def _picture(records: Records, row: int) -> np.ndarray:
    return images.fit(records.read(row)['image'], _SIDE)


def _means(found: Findings) -> bytes:
    """The mean image of each class that has images, above a band of its mean colour."""
    n = found.survey.class_counts
    there = np.flatnonzero(n)
    tiles = []
    for k in there:
        mean = np.round(found.survey.class_means[k]).astype(np.uint8)
        band = max(1, len(mean) // 6)
        colour = np.full_like(mean[:band], mean.mean((0, 1)).round())
        tiles.append(np.concatenate([mean, np.full_like(mean[: band // 4], 255), colour]))
    titles = [f'{found.data.classes[k]} ({n[k]})' for k in there]
    return figures.image_grid(tiles, titles, min(len(there), _MEANS))


def _pairs(found: Findings) -> bytes:
    """The first pairs, one above the other, with split and distance."""
    pictures, titles = [], []
    shown = found.pairs[:_PAIRS]
    columns = min(len(shown), _PAIRS // 2)
    for start in range(0, len(shown), columns):
        part = shown[start : start + columns]
        for side in ('one', 'other'):
            rows = [getattr(pair, side) for pair in part]
            pictures += [_picture(found.records, row) for row in rows]
            titles += [f'{str(found.records.ids[row])[-24:]}\n{found.splits[row]}' for row in rows]
            pictures += [np.full((1, 1, 3), 255, np.uint8)] * (columns - len(part))
            titles += [''] * (columns - len(part))
    return figures.image_grid(pictures, titles, columns)
