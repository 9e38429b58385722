"""What `switches.summary` says, as tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from skinjax.audits.switches import SIZES, Row
from skinjax.document import Table


def tables(found: Sequence[Row]) -> list[Table]:
    """Switches, shifts and F1; and switches and shifts by class."""
    first = found[0]['classifier']
    header = ('artefact', 'classifier', 'n', 'switched', 'sd', 'share switched')
    header += (f'more than {first!r}', 'mean shift', 'sd ')
    header += ('F1 clean', 'F1 biased', 'change', 'p', 'q')
    keys = ('artefact', 'classifier', 'n', 'switched_images', 'switched_sd', 'switched', 'more')
    keys += ('mean_abs', 'mean_abs_sd', 'f1_clean', 'f1_biased', 'f1_change', 'p', 'q')
    names = dict.fromkeys(row['artefact'] for row in found)
    order = [row for name in names for row in found if row['artefact'] == name]
    body = [[row[key] for key in keys] for row in order]
    for cells, row in zip(body, order, strict=True):
        if row['classifier'] == first:
            cells[keys.index('more')] = None
    split = [
        [
            *(row['artefact'], row['classifier'], name),
            *_share(block, 'called', 'switched_from'),
            *_share(block, 'are', 'switched_of'),
            *(block[size] for size in SIZES),
        ]
        for row in order
        for name, block in row['by_class'].items()
    ]
    head = ('artefact', 'classifier', 'class', 'called so', 'of these switched', '%')
    return [
        Table('Predictions that switch when an artefact is inserted', header, body),
        Table(
            'The same by class: as called before, and as it is',
            (*head, 'are so', 'of these switched ', '% ', 'mean shift', 'largest'),
            split,
        ),
    ]


def _share(block: Mapping[str, int | float], whole: str, part: str) -> list[Any]:
    percent = 100 * block[part] / block[whole] if block[whole] else None
    return [block[whole], block[part], percent]
