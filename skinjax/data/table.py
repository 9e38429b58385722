"""CSV tables: what every source over image files is made of.

`read_table` reads the file and `Table.codes` turns columns of categories into integers; `files.py`
joins them with the images that the table names.
"""

import csv
import dataclasses
import io
import math
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int, Shaped

from skinjax.data.records import UNKNOWN, choices

FILE_NAME = re.compile(r'(?!\.)[\w. -]+')  # what a file can be named after: no folder, not hidden


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns of text.

    Attributes:
        path: of the file.
        columns: name -> cells.
        start: number of row 0 in messages, as a spreadsheet counts.
        rows: of the file, where the table has only some of them, from 0.
        joined: columns that are from another table, and from which of its rows.
    """

    path: Path
    columns: Mapping[str, list[str]]
    start: int = 2
    rows: Sequence[int] | None = None
    joined: Mapping[str, tuple['Table', Sequence[int]]] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def number(self, row: int) -> int:
        """Number of a row in the file, for messages."""
        return self.start + (row if self.rows is None else self.rows[row])

    def cell(self, row: int, column: str) -> str:
        """The name of a cell, for messages."""
        if column in self.joined:
            other, rows = self.joined[column]
            return other.cell(rows[row], column)
        return f'{self.path}: row {self.number(row)}, column {column!r}'

    def select(self, chosen: Bool[np.ndarray, ' n']) -> 'Table':
        """The chosen rows, which keep their numbers."""
        rows = np.flatnonzero(chosen).tolist()
        return dataclasses.replace(
            self,
            columns={name: [cells[row] for row in rows] for name, cells in self.columns.items()},
            rows=rows if self.rows is None else [self.rows[row] for row in rows],
            joined={
                name: (other, [of[row] for row in rows])
                for name, (other, of) in self.joined.items()
            },
        )

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
