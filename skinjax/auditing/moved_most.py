"""The images whose predictions an edit moves most, as they were and as they are then."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skinjax import document
from skinjax.auditing import switches
from skinjax.auditing.calling import Edit
from skinjax.auditing.classifiers import Classifier
from skinjax.auditing.switches import Called
from skinjax.document import Figure
from skinjax.figures import image_grid


def rows(called: Called, name: str, n: int, classes: Sequence[str]) -> list[dict[str, Any]]:
    """The `n` images that the first edit `name` moves most, the largest shift first.

    Each with both probabilities (of the positive class of two, else of the class that was called
    before) and both calls; those that do not move at all are left out.
    """
    clean, edited = called.clean, called.biased[name][0]
    before, after = switches.chances(clean, edited)
    was, now = (table.predicted(called.threshold).tolist() for table in (clean, edited))
    labels = clean.labels.tolist()
    size = np.abs(after - before)
    order = np.argsort(-size, kind='stable')[:n]
    return [
        {
            'classifier': called.classifier,
            'edit': name,
            'id': str(clean.ids[row]),
            'class': classes[labels[row]],
            'before': float(before[row]),
            'after': float(after[row]),
            'called_before': classes[was[row]],
            'called_after': classes[now[row]],
        }
        for row in order.tolist()
        if size[row] > 0
    ]


def figure(
    one: Classifier, found: Sequence[dict[str, Any]], edits: Mapping[str, Edit], workdir: Path
) -> Figure | None:
    """Pairs of images, without and with, of one classifier: a row of pairs for each edit."""
    found = [row for row in found if row['classifier'] == one.name]
    at = {name: row for row, name in enumerate(one.records.ids.tolist())}
    pairs = max((sum(r['edit'] == row['edit'] for r in found) for row in found), default=0)
    if not pairs:
        return None
    pictures, titles = [], []
    for name in dict.fromkeys(row['edit'] for row in found):
        mine = [row for row in found if row['edit'] == name]
        for row in mine:
            place = at[row['id']]
            pictures += [
                one.records.read(place)['image'],
                edits[name](one.records.select(np.array([place]))).read(0)['image'],
            ]
            titles += [f'{row["class"]}: {row["before"]:.2f}', f'{name}: {row["after"]:.2f}']
        empty = 2 * (pairs - len(mine))
        pictures += [np.full((1, 1, 3), 255, np.uint8)] * empty
        titles += [''] * empty
    alt = (
        f'The images whose predictions move most, {one.name}: without, with its true class and '
        'probability, and with the artefact or after the editor'
    )
    picture = image_grid(pictures, titles, 2 * pairs)
    return document.figure(workdir, f'moved_{one.name}', picture, alt)
