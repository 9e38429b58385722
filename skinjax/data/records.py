"""Rows of a data set: what every source yields and every kind reads.

A *source* is a module of this folder with `DEFAULTS` (its options and their defaults) and
`build(config, seed) -> DataSet`. Everything after that is the same for all sources. A source over
image files is a table read with `read_table`, columns turned into integers with `Table.codes`, and
`records_from_table` to join them; see `isic2017.py`.
"""

import csv
import dataclasses
import difflib
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

UNKNOWN = -1

# Options that every source shares; `DEFAULTS` of the source are added to them.
COMMON: dict[str, Any] = {
    'name': '',
    'root': '',  # folder of the data, '' = the source needs none
    'image_size': 64,  # pixels, square
    'batch_size': 64,  # global: over all processes and devices
    'mean': (0.485, 0.456, 0.406),  # of the channels, subtracted after division by 255
    'std': (0.229, 0.224, 0.225),  # and divided by
    'bias': (),  # names of the bias variables used
    'sampling': 'uniform',  # or 'group': equal shares of label x first bias variable
    'augment_host': (),  # names of images.HOST
    'with_mask': False,  # batches carry masks
    'cache': True,  # keep decoded images in memory
    'threads': 2,
    'prefetch': 4,  # batches
    'folds': 0,  # 0 = the source's own split
    'fold': 0,
    'on_error': 'raise',  # or 'skip': leave unreadable images out, and report them
}


@dataclasses.dataclass(frozen=True)
class Records:
    """The rows of one split.

    Attributes:
        ids: [n] unique names.
        labels: [n] int32 class of each row.
        bias: variable name -> [n] int32; -1 is unknown.
        groups: [n] names of what must never be divided between splits (a patient, a lesion, a
            set of near duplicates).
        read: row -> {'image': uint8 [h, w, 3], and 'mask': uint8 [h, w] (0 or 255) if there is
            one}.
        columns: further columns, carried into prediction tables and reports.
    """

    ids: np.ndarray
    labels: np.ndarray
    bias: Mapping[str, np.ndarray]
    groups: np.ndarray
    read: Callable[[int], dict[str, np.ndarray]]
    columns: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, rows: np.ndarray) -> 'Records':
        """The records at `rows` (indices, repeats allowed, or a boolean mask), in that order."""
        rows = np.arange(len(self))[np.asarray(rows)]
        return Records(
            self.ids[rows],
            self.labels[rows],
            {name: values[rows] for name, values in self.bias.items()},
            self.groups[rows],
            lambda row: self.read(int(rows[row])),
            {name: values[rows] for name, values in self.columns.items()},
        )

    def cached(self) -> 'Records':
        """The same records; an image is decoded at its first use and then kept in memory.

        Selections made afterwards share the memory. Kept arrays are read-only. Two threads that
        ask for the same new row at once both decode it, which is harmless.
        """
        kept: list[dict[str, np.ndarray] | None] = [None] * len(self)

        def read(row: int) -> dict[str, np.ndarray]:
            example = kept[row]
            if example is None:
                example = self.read(row)
                for array in example.values():
                    array.setflags(write=False)
                kept[row] = example
            return dict(example)

        return dataclasses.replace(self, read=read)


@dataclasses.dataclass(frozen=True)
class DataSet:
    """Named splits over the same classes and bias variables.

    Attributes:
        name: of the source.
        classes: name of each label value; with two classes the second is the positive one.
        bias: variable name -> name of each of its values.
        splits: 'train', 'val' and one or more further ones to report on.
        pairs: artefact -> (split without it, split with it): the same rows in the same order, so
            that the difference of two predictions is the effect of the artefact alone.
        info: facts for the report, such as the Bayes AUC of synthetic lesions.
    """

    name: str
    classes: tuple[str, ...]
    bias: Mapping[str, tuple[str, ...]]
    splits: Mapping[str, Records]
    pairs: Mapping[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    info: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def concatenate(parts: Sequence[Records]) -> Records:
    """The rows of all `parts` (same bias variables), one after the other.

    Columns that not all parts have are left out.
    """
    starts = np.cumsum([0, *(len(part) for part in parts)])

    def read(row: int) -> dict[str, np.ndarray]:
        part = int(np.searchsorted(starts, row, side='right')) - 1
        return parts[part].read(row - int(starts[part]))

    def join(columns: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
        shared = [name for name in columns[0] if all(name in other for other in columns)]
        return {name: np.concatenate([other[name] for other in columns]) for name in shared}

    return Records(
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.labels for part in parts]),
        join([part.bias for part in parts]),
        np.concatenate([part.groups for part in parts]),
        read,
        join([part.columns for part in parts]),
    )


def choices(name: str, known: Iterable[str]) -> str:
    """The end of an error message about an unknown `name`: the known ones and the nearest."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    listed = ', '.join(repr(other) for other in known) or 'none'
    return f'known: {listed}' + (f'; did you mean {near[0]!r}?' if near else '')


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns of text. Row 0 is 'row 2' in messages, as a spreadsheet counts."""

    path: Path
    columns: Mapping[str, list[str]]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def where(self, row: int) -> str:
        return f'{self.path.name} row {row + 2}'

    def column(self, name: str) -> list[str]:
        """The column; ValueError that lists the columns present if there is none of that name."""
        if name not in self.columns:
            raise ValueError(f'{self.path}: no column {name!r}; {choices(name, self.columns)}')
        return self.columns[name]

    def array(self, name: str) -> Shaped[np.ndarray, ' n']:
        return np.array(self.column(name), dtype=str)

    def codes(
        self, name: str, names: Sequence[str] = (), *, unknown: bool = False
    ) -> tuple[Int[np.ndarray, ' n'], tuple[str, ...]]:
        """A column of categories as integers, and the name of each integer.

        Args:
            name: of the column. Its cells are names, or integers (1.0 counts as 1).
            names: in order; a cell may then also be the position of its name. Without `names` they
                are the distinct cells, sorted (as numbers if all are), except that 0 and 1 keep
                their meaning if there is nothing else: a column of ones is not class 0.
            unknown: whether empty, NaN and -1 cells are allowed; they become -1.

        Raises:
            ValueError: naming file, row and column of a cell that is empty or not among `names`.
        """
        cells = [_canonical(cell) for cell in self.column(name)]
        known = tuple(names) or _distinct(cells)
        index = {str(code): code for code in range(len(known))} if names else {}
        index |= {text: code for code, text in enumerate(known)}
        if unknown:
            index |= {'': UNKNOWN, '-1': UNKNOWN}
        for row, cell in enumerate(cells):
            if cell not in index:
                problem = f'{cell!r} is unknown; {choices(cell, known)}' if cell else 'is empty'
                raise ValueError(f'{self.path}: row {row + 2}, column {name!r}: {problem}')
        return np.array([index[cell] for cell in cells], np.int32), known


def _canonical(cell: str) -> str:
    """One spelling per value: no blanks around it, 1.0 as 1, NaN as empty."""
    cell = cell.strip()
    try:
        number = math.inf if '_' in cell else float(cell)
    except ValueError:
        return cell
    if math.isnan(number):
        return ''
    return str(int(number)) if number.is_integer() else cell


def _distinct(cells: Sequence[str]) -> tuple[str, ...]:
    distinct = set(cells) - {'', '-1'}
    if distinct <= {'0', '1'}:
        return ('0', '1')
    try:
        return tuple(sorted(distinct, key=float))
    except ValueError:
        return tuple(sorted(distinct))


def read_table(path: str | Path) -> Table:
    """Reads a CSV file: UTF-8 with or without a byte-order mark, separated by `,` or `;`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not UTF-8, no rows, a repeated or empty column name, a row with more or fewer
            cells than the header, or bad quoting; names file and row.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such table; expected a CSV file with a header')
    try:
        text = path.read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(
            f'{path}: not UTF-8 (byte {error.object[error.start]:#04x} at {error.start}); '
            'save the table as UTF-8'
        ) from None
    first = text.partition('\n')[0]
    delimiter = ';' if first.count(';') > first.count(',') else ','
    try:
        rows = list(csv.reader(io.StringIO(text, newline=''), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise ValueError(f'{path}: not a CSV table ({error})') from None
    while rows and not rows[-1]:
        rows.pop()
    header = [name.strip() for name in rows[0]] if rows else []
    body = rows[1:]
    if not header or not body:
        raise ValueError(f'{path}: no rows; expected a header and one line for each image')
    if '' in header or len(set(header)) < len(header):
        raise ValueError(f'{path}: a column name is empty or repeated: {header}')
    for row, cells in enumerate(body):
        if len(cells) != len(header):
            raise ValueError(
                f'{path}: row {row + 2} has {len(cells)} cells, the header {len(header)} columns'
            )
    return Table(path, {name: [cells[k] for cells in body] for k, name in enumerate(header)})


def check_ids(table: Table, ids: Shaped[np.ndarray, ' n']) -> None:
    """ValueError naming both rows if two rows have one id."""
    first: dict[str, int] = {}
    for row, name in enumerate(ids.tolist()):
        if name in first:
            raise ValueError(
                f'{table.path}: rows {first[name] + 2} and {row + 2} have the same id {name!r}'
            )
        first[name] = row


def resolve(
    table: Table, root: Path, column: str, *, required: bool = True, must_exist: bool = True
) -> list[str]:
    """The file that each cell of `column` names, '' where the cell is empty.

    Raises:
        ValueError: an empty cell where one is `required`, or a name that leads out of `root`:
            absolute, through `..` or a symbolic link.
        FileNotFoundError: there is no such file and `must_exist`.
    """
    root = root.resolve()
    paths = []
    for row, cell in enumerate(table.column(column)):
        where = f'{table.path}: row {row + 2}, column {column!r}'
        name = cell.strip()
        if not name:
            if required:
                raise ValueError(f'{where}: is empty')
            paths.append('')
            continue
        if '\0' in name or not (path := (root / name).resolve()).is_relative_to(root):
            raise ValueError(f'{where}: {name!r} leads out of {root}; files must lie inside it')
        if must_exist and not path.is_file():
            raise FileNotFoundError(f'{where}: no file {path}')
        paths.append(str(path))
    return paths


def records_from_table(
    table: Table,
    root: Path,
    config: Any,
    *,
    ids: Shaped[np.ndarray, ' n'],
    labels: Int[np.ndarray, ' n'],
    groups: Shaped[np.ndarray, ' n'] | None = None,
    bias: Mapping[str, Int[np.ndarray, ' n']] | None = None,
    columns: Mapping[str, np.ndarray] | None = None,
    image: str = 'image',
    mask: str = '',
    geometry: str = 'squash',
) -> Records:
    """One record for each row of `table`, read from the files that its columns name.

    Args:
        table: of n rows.
        root: folder that file names in the table start from and may not leave.
        config: `image_size` and `on_error` are used; with 'skip' a missing file is found later.
        ids, labels, groups, bias, columns: as in `Records`; groups default to ids.
        image: column of image names; an empty cell is an error.
        mask: column of mask names ('' = no masks); an empty cell is a row without a mask.
        geometry: of `images.decode`.

    Raises:
        ValueError, FileNotFoundError: as `check_ids` and `resolve`.
    """
    from skinjax.data import images  # opens OpenCV only where files are read

    check_ids(table, ids)
    must_exist = config.on_error == 'raise'
    files = resolve(table, root, image, must_exist=must_exist)
    masks = [''] * len(files)
    if mask:
        masks = resolve(table, root, mask, required=False, must_exist=must_exist)
    size = config.image_size

    def read(row: int) -> dict[str, np.ndarray]:
        try:
            example = {'image': images.decode(files[row], size, geometry=geometry)}
            if masks[row]:
                example['mask'] = images.decode_mask(masks[row], size, geometry=geometry)
        except (OSError, ValueError) as error:
            kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
            raise kind(f'{table.where(row)}: {error}') from error
        return example

    return Records(
        ids, labels, dict(bias or {}), ids if groups is None else groups, read, dict(columns or {})
    )
