"""CSV tables to records: what every source over image files is made of.

`read_table` reads the file, `Table.codes` turns columns of categories into integers, and
`records_from_table` joins them with the images that the table names.
"""

import contextlib
import csv
import dataclasses
import functools
import io
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

from skinjax.data.records import UNKNOWN, Records, choices


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns of text. Row 0 is row `start` of the file in messages, as a spreadsheet counts.

    `joined` tells of columns that are from another table, and from which of its rows.
    """

    path: Path
    columns: Mapping[str, list[str]]
    start: int = 2
    joined: Mapping[str, tuple['Table', Sequence[int]]] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def where(self, row: int) -> str:
        return f'{self.path.name} row {row + self.start}'

    def cell(self, row: int, column: str) -> str:
        """The name of a cell, for messages."""
        if column in self.joined:
            other, rows = self.joined[column]
            return other.cell(rows[row], column)
        return f'{self.path}: row {row + self.start}, column {column!r}'

    def plus(self, columns: Mapping[str, list[str]]) -> 'Table':
        """The table with further (or other) columns."""
        return dataclasses.replace(self, columns={**self.columns, **columns})

    def less(self, names: Collection[str]) -> 'Table':
        """The table without the named columns."""
        kept = {name: cells for name, cells in self.columns.items() if name not in names}
        return dataclasses.replace(self, columns=kept)

    def column(self, name: str) -> list[str]:
        """The column; ValueError that lists the columns present if there is none of that name."""
        if name not in self.columns:
            raise ValueError(f'{self.path}: no column {name!r}; {choices(name, self.columns)}')
        return self.columns[name]

    def array(self, name: str) -> Shaped[np.ndarray, ' n']:
        return np.array(self.column(name), dtype=str)

    def codes(
        self,
        name: str,
        names: Sequence[str] = (),
        *,
        unknown: bool = False,
        positions: bool = True,
    ) -> tuple[Int[np.ndarray, ' n'], tuple[str, ...]]:
        """A column of categories as integers, and the name of each integer.

        Args:
            name: of the column. Its cells are names, or integers (1.0 counts as 1).
            names: in order; a cell may then also be the position of its name. Without `names` they
                are the distinct cells, sorted (as numbers if all are), except that 0 and 1 keep
                their meaning if there is nothing else: a column of ones is not class 0.
            unknown: whether empty, NaN and -1 cells are allowed; they become -1.
            positions: whether a cell may be the position of one of `names`.

        Raises:
            ValueError: naming file, row and column of a cell that is empty or not among `names`.
        """
        cells = [canonical(cell) for cell in self.column(name)]
        known = tuple(names) or _distinct(cells)
        index = {str(code): code for code in range(len(known))} if names and positions else {}
        index |= {text: code for code, text in enumerate(known)}
        if unknown:
            index |= {'': UNKNOWN, '-1': UNKNOWN}
        for row, cell in enumerate(cells):
            if cell not in index:
                problem = f'{cell!r} is unknown; {choices(cell, known)}' if cell else 'is empty'
                raise ValueError(f'{self.cell(row, name)}: {problem}')
        return np.array([index[cell] for cell in cells], np.int32), known


def canonical(cell: str) -> str:
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


def read_table(path: str | Path, header: Sequence[str] = ()) -> Table:
    """Reads a CSV file: UTF-8 with or without a byte-order mark, separated by `,`, `;` or tabs.

    A first column without a name is an index: it is left out.

    Args:
        path: of the file.
        header: names of the columns of a file that has none.

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
    delimiter = max(',;\t', key=first.count)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=''), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise ValueError(f'{path}: not a CSV table ({error})') from None
    while rows and not rows[-1]:
        rows.pop()
    start = 1 if header else 2
    if header:
        rows.insert(0, list(header))
    names = [name.strip() for name in rows[0]] if rows else []
    body = rows[1:]
    if not names or not body:
        raise ValueError(f'{path}: no rows; expected a header and one line for each image')
    if '' in names[1:] or len(set(names)) < len(names) or names == ['']:
        raise ValueError(f'{path}: a column name is empty or repeated: {names}')
    for row, cells in enumerate(body):
        if len(cells) != len(names):
            raise ValueError(
                f'{path}: row {row + start} has {len(cells)} cells, the header {len(names)} columns'
            )
    columns = {name: [cells[k] for cells in body] for k, name in enumerate(names) if name}
    return Table(path, columns, start)


def check_ids(table: Table, ids: Shaped[np.ndarray, ' n']) -> None:
    """ValueError naming both rows if two rows have one id."""
    first: dict[str, int] = {}
    for row, name in enumerate(ids.tolist()):
        if name in first:
            raise ValueError(
                f'{table.path}: rows {first[name] + table.start} and {row + table.start} have the '
                f'same id {name!r}'
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
    home = root.resolve()
    real = functools.cache(Path.resolve)  # files share their folders
    paths = []
    for row, cell in enumerate(table.column(column)):
        where = table.cell(row, column)
        name = cell.strip()
        if not name:
            if required:
                raise ValueError(f'{where}: is empty')
            paths.append('')
            continue
        if '\0' not in name:
            path = home / name
            path = real(path.parent) / path.name
            if path.name == '..' or path.is_symlink():
                path = path.resolve()
        if '\0' in name or not path.is_relative_to(home):
            raise ValueError(f'{where}: {name!r} leads out of {home}; files must lie inside it')
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
    sizes: bool = False,
) -> Records:
    """One record for each row of `table`, read from the files that its columns name.

    Args:
        table: of n rows.
        root: folder that file names in the table start from and may not leave.
        config: `image_size`, `with_mask` and `on_error` are used. With 'raise' the header of every
            image is read here, so that what is no image is found before a run begins; with 'skip'
            missing and unreadable files are found later.
        ids, labels, groups, bias, columns: as in `Records`; groups default to ids.
        image: column of image names; an empty cell is an error.
        mask: column of mask names ('' = no masks); an empty cell is a row without a mask. Masks are
            read if `config.with_mask` asks for them.
        geometry: of `images.decode`.
        sizes: add columns `width` and `height` of the image files, 0 where one is unreadable.

    Raises:
        ValueError, FileNotFoundError: as `check_ids`, `resolve` and `images.header`.
    """
    from skinjax.data import images  # opens OpenCV only where files are read

    check_ids(table, ids)
    must_exist = config.on_error == 'raise'
    files = resolve(table, root, image, must_exist=must_exist)
    masks = [''] * len(files)
    if mask and config.with_mask:
        masks = resolve(table, root, mask, required=False, must_exist=must_exist)
    size = config.image_size
    extra = dict(columns or {})
    if must_exist or sizes:
        shapes = np.zeros((len(files), 2), np.int32)
        for row, (name, mask_name) in enumerate(zip(files, masks, strict=True)):
            try:
                with _named(table, row):
                    shapes[row] = images.header(name)[1:]
                    if mask_name:
                        images.header(mask_name)
            except (OSError, ValueError):
                if must_exist:
                    raise
        if sizes:
            extra |= {'width': shapes[:, 0], 'height': shapes[:, 1]}

    def read(row: int) -> dict[str, np.ndarray]:
        with _named(table, row):
            example = {'image': images.decode(files[row], size, geometry=geometry)}
            if masks[row]:
                example['mask'] = images.decode_mask(masks[row], size, geometry=geometry)
        return example

    return Records(
        ids,
        labels,
        dict(bias or {}),
        ids if groups is None else groups,
        read,
        extra,
        np.array(files),
    )


@contextlib.contextmanager
def _named(table: Table, row: int) -> Iterator[None]:
    """Errors about files are given the table and the row that name them."""
    try:
        yield
    except (OSError, ValueError) as error:
        kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
        raise kind(f'{table.where(row)}: {error}') from error
