"""What `switch_summary.summary` says, as tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from skinjax.auditing.switch_summary import QUALITIES
from skinjax.auditing.switches import Row
from skinjax.document import Table

INSERTED = 'Predictions that switch when an artefact is inserted'


SHOWN = {'mean_abs': 'mean shift', 'max_abs': 'largest'}
SIGNED = {'mean': 'signed mean', 'median': 'median', 'min': 'least'}
QUALITY = {'clean': 'before', 'biased': 'after', 'sd': 'sd', 'change': 'change'}


def tables(found: Sequence[Row], caption: str = INSERTED) -> list[Table]:
    """Switches and shifts; precision, recall and F1; and switches and shifts by class."""
    names = dict.fromkeys(row['artefact'] for row in found)
    order = [row for name in names for row in found if row['artefact'] == name]
    captions = (caption, f'{caption}: precision, recall and F1')
    by_class = f'{caption}, by class: as called before, and as it is'
    return [
        _switches(order, captions[0]),
        _qualities(order, captions[1]),
        _classes(order, by_class),
    ]


def _switches(found: Sequence[Row], caption: str) -> Table:
    first = found[0]['classifier']
    columns = {
        'artefact': 'artefact',
        'classifier': 'classifier',
        'n': 'n',
        'switched_images': 'switched',
        'switched_sd': 'sd',
        'switched': 'share switched',
        'more': f'more than {first!r}',
        'mean_abs': 'mean shift',
        'mean_abs_sd': 'sd ',
    }
    if len({row['classifier'] for row in found}) == 1:  # there is none to compare it with
        del columns['more']
    tests = {'p': 'p right', 'q': 'q right', 'p_calls': 'p calls', 'q_calls': 'q calls'}
    signed = {name: told for name, told in (SHOWN | SIGNED).items() if name != 'mean_abs'}
    body = [
        [
            *(
                None if key == 'more' and row['classifier'] == first else row[key]
                for key in columns
            ),
            *(row['shifts'][name] for name in signed),
            *(row[name] for name in tests),
        ]
        for row in found
    ]
    return Table(caption, (*columns.values(), *signed.values(), *tests.values()), body)


def _qualities(found: Sequence[Row], caption: str) -> Table:
    columns = {
        f'{name}_{when}': f'{"F1" if name == "f1" else name} {told}'
        for name in QUALITIES
        for when, told in QUALITY.items()
    }
    body = [[row['artefact'], row['classifier'], *(row[key] for key in columns)] for row in found]
    return Table(caption, ('artefact', 'classifier', *columns.values()), body)


def _classes(found: Sequence[Row], caption: str) -> Table:
    shifts = SHOWN | SIGNED
    body = [
        [
            *(row['artefact'], row['classifier'], name),
            *_share(block, 'called', 'switched_from'),
            *_share(block, 'are', 'switched_of'),
            *(block[shift] for shift in shifts),
        ]
        for row in found
        for name, block in row['by_class'].items()
    ]
    head = ('artefact', 'classifier', 'class', 'called so', 'of these switched', '%')
    head += ('are so', 'of these switched ', '% ', *shifts.values())
    return Table(caption, head, body)


def _share(block: Mapping[str, int | float], whole: str, part: str) -> list[Any]:
    percent = 100 * block[part] / block[whole] if block[whole] else None
    return [block[whole], block[part], percent]
