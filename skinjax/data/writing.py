"""A data set as files: what `generate` and `purify` leave behind, and the source `folder` reads.

    images/*.png    masks/*.png    artefacts/*.png    records.csv    dataset.json

`masks` hold lesions, `artefacts` what an editor has removed; both may be missing.
`records.csv` has one row for each image; its labels and bias values are names. `dataset.json` holds
what a table cannot say: the order of the classes and of the values of each bias variable, the
counterfactual pairs, and the facts of the data set.
"""

import contextlib
import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from skinjax.data.parallel import Stopped, ordered
from skinjax.data.records import UNKNOWN, DataSet
from skinjax.engine.writer import write_atomic, write_json

TABLE, FACTS = 'records.csv', 'dataset.json'
# Facts about one loading, not about the data.
_PASSING = ('association', 'notes', 'skipped')
_NAMES = ('id', 'image', 'mask', 'artefact', 'split', 'label', 'group')
IMAGES = 'images'
MASKS = {'mask': 'masks', 'artefact': 'artefacts'}  # array of an example -> folder
_CHUNK = 16  # images that are edited at once

Example = dict[str, np.ndarray]
Edit = Callable[[Sequence[Example]], list[Example]]


class _Item(NamedTuple):
    """An image to write."""

    split: str
    row: int
    name: str

    def image(self, folder: Path) -> Path:
        return folder / IMAGES / f'{self.name}.png'


def write(
    dataset: DataSet,
    folder: Path,
    told: Callable[[int], None] = lambda done: None,
    *,
    edit: Edit = list,
    workers: int = 1,
    stopped: Callable[[], object] = lambda: None,
) -> Path:
    """Writes every image (and mask) of `dataset` and, last, the table; returns the table's path.

    Every file appears whole or not at all, an image after its masks, and no table stands before its
    images: a folder that a killed process leaves cannot be taken for a data set. Images that are
    there already are kept. The files are the same in every run.

    Args:
        dataset: of at least one split; ids are unique over all splits.
        folder: made where it does not exist; of this data set alone.
        told: called with the number of images done so far.
        edit: examples -> what is written in their place.
        workers: threads.
        stopped: asked now and then.

    Raises:
        ValueError: two rows have one id, or a bias variable has the name of another column.
        Stopped: as soon as `stopped()` is true.
    """
    names = iter(_file_names(dataset))
    items = [
        _Item(split, row, next(names))
        for split, records in dataset.splits.items()
        for row in range(len(records))
    ]
    chunks = [items[k : k + _CHUNK] for k in range(0, len(items), _CHUNK)]

    def work(chunk: Sequence[_Item]) -> int:
        missing = [item for item in chunk if not item.image(folder).is_file()]
        examples = [dataset.splits[item.split].read(item.row) for item in missing]
        ids = [str(dataset.splits[item.split].ids[item.row]) for item in missing]
        for item, example in zip(missing, _edited(edit, examples, ids), strict=True):
            write_images(example, folder, item.name)
        return len(chunk)

    done = 0
    with contextlib.closing(ordered(work, chunks, workers)) as counts:
        for count in counts:
            done += count
            told(done)
            if stopped():
                raise Stopped
    write_json(folder / FACTS, _facts(dataset))
    write_csv(folder / TABLE, [_row(dataset, item, folder) for item in items])
    return folder / TABLE


def _edited(edit: Edit, examples: Sequence[Example], ids: Sequence[str]) -> list[Example]:
    """What `edit` makes of the examples; its errors are given the id of the first at fault."""
    try:
        return edit(examples)
    except ValueError:
        for name, example in zip(ids, examples, strict=True):
            try:
                edit([example])
            except ValueError as error:
                raise ValueError(f'{name}: {error}') from error
        raise


def read_rows(folder: Path) -> list[dict[str, str]]:
    """The rows of `records.csv`."""
    with (folder / TABLE).open(encoding='utf-8', newline='') as file:
        return list(csv.DictReader(file))


def with_shares(folder: Path, what: str, column: str, size: int) -> dict[str, float]:
    """Gives the table a column with the share of each image that a mask takes.

    Args:
        folder: that `write` has written.
        what: a column of masks; where a cell is empty, so is the new one.
        column: its name.
        size: of the images.

    Returns:
        Split -> mean over the images that have such a mask.
    """
    from skinjax.data import images

    rows, found = read_rows(folder), {}
    for row in rows:
        row[column] = ''
        if row.get(what):
            share = float((images.decode_mask(folder / row[what], size) > 0).mean())
            row[column] = f'{share:.6f}'
            found.setdefault(row['split'], []).append(share)
    write_csv(folder / TABLE, rows)
    return {split: float(np.mean(shares)) for split, shares in found.items()}


def write_table(dataset: DataSet, folder: Path) -> Path:
    """Writes `records.csv` and `dataset.json` of data whose images lie in other files.

    The table is that of `write` without the columns `image` and `mask`. Raises as `check`.
    """
    check(dataset)
    write_json(folder / FACTS, _facts(dataset))
    splits = dataset.splits.items()
    rows = [_fields(dataset, split, row) for split, part in splits for row in range(len(part))]
    write_csv(folder / TABLE, rows)
    return folder / TABLE


def write_csv(path: Path, rows: list[dict[str, Any]], first: Iterable[str] = ()) -> None:
    """Writes a table whose columns are `first`, and those of all rows in order of appearance."""
    header = list(dict.fromkeys([*first, *(name for row in rows for name in row)]))
    text = io.StringIO(newline='')
    writer = csv.DictWriter(text, header, restval='', lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(path, text.getvalue())


def read_facts(folder: Path) -> dict[str, Any]:
    """What `dataset.json` says about a folder: classes, bias, pairs and info; {} without one.

    Raises:
        ValueError: the file is damaged.
    """
    path = folder / FACTS
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding='utf-8'))
        return {
            'classes': tuple(found['classes']),
            'bias': {name: tuple(values) for name, values in found['bias'].items()},
            'pairs': {name: tuple(pair) for name, pair in found['pairs'].items()},
            'info': dict(found['info']),
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f'{path}: not the facts of a data set ({error!r}); remove it') from None


def write_skipped(folder: Path, skipped: Iterable[tuple[str, str, str]]) -> None:
    """Writes `skipped.csv`: split, id and error of each row that was left out."""
    text = io.StringIO(newline='')
    csv.writer(text, lineterminator='\n').writerows([('split', 'id', 'error'), *skipped])
    write_atomic(folder / 'skipped.csv', text.getvalue())


def _facts(dataset: DataSet) -> dict[str, Any]:
    return {
        'classes': dataset.classes,
        'bias': dict(dataset.bias),
        'pairs': dict(dataset.pairs),
        'info': {name: fact for name, fact in dataset.info.items() if name not in _PASSING},
    }


def check(dataset: DataSet) -> None:
    """ValueError if two rows have one id, or a bias variable the name of another column."""
    if taken := sorted(set(dataset.bias) & {*_NAMES}):
        raise ValueError(f'bias variable {taken[0]!r} has the name of a column of {TABLE}')
    ids = Counter(name for records in dataset.splits.values() for name in records.ids.tolist())
    twice, count = ids.most_common(1)[0] if ids else ('', 0)
    if count > 1:
        raise ValueError(f'two rows have the id {twice!r}; expected one id for each image')


def _file_names(dataset: DataSet) -> list[str]:
    """A file name for each id."""
    check(dataset)
    return file_names([name for part in dataset.splits.values() for name in part.ids.tolist()])


def file_names(ids: Iterable[str], most: int = 100) -> list[str]:
    """Names that are safe on any file system, of about `most` letters: the ids where they are."""
    taken: set[str] = set()
    names = []
    for k, name in enumerate(ids):
        safe = re.sub(r'[^A-Za-z0-9._-]', '_', name).lstrip('.')[:most]
        if not safe or safe.lower() in taken:
            safe = f'{safe}-{k}'
        taken.add(safe.lower())
        names.append(safe)
    return names


def write_images(example: Example, folder: Path, name: str) -> None:
    """Writes the image of an example as NAME.png, after its masks."""
    for what, place in MASKS.items():
        if what in example:
            _write_png(folder / place / f'{name}.png', example[what])
    _write_png(folder / IMAGES / f'{name}.png', example['image'][..., ::-1])


def _row(dataset: DataSet, item: _Item, folder: Path) -> dict[str, Any]:
    """The cells of a row whose images have been written."""
    files = {'image': f'{IMAGES}/{item.name}.png', 'mask': ''}
    for what, place in MASKS.items():
        if (folder / place / f'{item.name}.png').is_file():
            files[what] = f'{place}/{item.name}.png'
    return _fields(dataset, item.split, item.row, **files)


def _fields(dataset: DataSet, split: str, row: int, **files: str) -> dict[str, Any]:
    """The cells of a row of the table, those of `files` after the id."""
    records = dataset.splits[split]
    known = {v: int(codes[row]) for v, codes in records.bias.items()}
    fields = {
        'id': records.ids[row],
        **files,
        'split': split,
        'label': dataset.classes[records.labels[row]],
        **{v: '' if code == UNKNOWN else dataset.bias[v][code] for v, code in known.items()},
        'group': records.groups[row],
    }
    extra = {name: values[row] for name, values in records.columns.items() if name not in fields}
    return fields | extra


def _write_png(path: Path, pixels: np.ndarray) -> None:
    import cv2

    write_atomic(path, cv2.imencode('.png', pixels)[1].tobytes())
