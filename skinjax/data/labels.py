"""Columns of a table to labels and bias variables: names, numbers, or one column for each class."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int

from skinjax.data.records import UNKNOWN, choices
from skinjax.data.table import Table, canonical


@dataclasses.dataclass(frozen=True)
class Variable:
    """A bias variable: a column, and the name of the value that each of its cells stands for.

    Attributes:
        column: of the table. Where it is absent, all are unknown.
        values: cell -> name, in order.
        unknown: cells that stand for nothing, besides empty ones, NaN and -1; () = all others.
    """

    column: str
    values: Mapping[str, str]
    unknown: tuple[str, ...] = ('unknown', 'UNK')

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.values.values()))

    def codes(self, table: Table) -> Int[np.ndarray, ' n']:
        """Code of each row, -1 = unknown; ValueError that names row and column of another cell."""
        if self.column not in table.columns:
            return np.full(len(table), UNKNOWN, np.int32)
        cells = [canonical(cell) for cell in table.column(self.column)]
        blank = self.unknown or {*cells} - {*self.values}
        cells = ['' if cell in blank else cell for cell in cells]
        cleaned = dataclasses.replace(table, columns={self.column: cells})
        codes, found = cleaned.codes(self.column, tuple(self.values), unknown=True, positions=False)
        index = [self.names.index(self.values[cell]) for cell in found]
        return np.array([*index, UNKNOWN], np.int32)[codes]


def same(*names: str) -> dict[str, str]:
    """Cells that are spelt like the values that they stand for."""
    return {name: name for name in names}


SEX = Variable('sex', same('female', 'male'))
# What people have marked in ISIC images (Bissoto et al. 2020), and detectors look for.
FLAGS = {
    name: Variable(name, {'0': 'absent', '1': 'present'})
    for name in ('dark_corner', 'hair', 'gel_border', 'gel_bubble', 'ruler', 'ink', 'patches')
}
SKIN_TYPES = dict(zip('123456', ('I', 'II', 'III', 'IV', 'V', 'VI'), strict=True))  # Fitzpatrick


def named(
    table: Table, column: str, spelling: Mapping[str, str], classes: Sequence[str]
) -> Int[np.ndarray, ' n']:
    """Labels from a column of names or numbers; `spelling`: cell -> class.

    Raises:
        ValueError: no such column, or a cell that is empty or unknown; names file, row and column.
    """
    codes, cells = table.codes(column, tuple(spelling), positions=False)
    return np.array([classes.index(spelling[cell]) for cell in cells], np.int32)[codes]


def one_hot(
    table: Table, columns: Mapping[str, str], classes: Sequence[str], rest: str = ''
) -> Int[np.ndarray, ' n']:
    """Labels from one column of 0 and 1 for each class.

    Args:
        table: with the `columns`.
        columns: name -> class.
        classes: in order.
        rest: class of a row without a 1; '' = an error.

    Raises:
        ValueError: a row with no or several ones, or a cell that is neither 0 nor 1.
    """
    ones = np.stack([table.codes(name, ('0', '1'))[0] for name in columns], 1)
    counts = ones.sum(1)
    wrong = (counts > 1) | ((counts == 0) & (not rest))
    if wrong.any():
        row = int(wrong.argmax())
        found = [name for name, one in zip(columns, ones[row], strict=True) if one]
        raise ValueError(
            f'{table.path}: row {table.number(row)}: expected a 1 in one of the columns '
            f'{", ".join(columns)}; found it in {" and ".join(found) or "none"}'
        )
    index = np.array([classes.index(name) for name in columns.values()], np.int32)
    labels = index[ones.argmax(1)]
    return np.where(counts == 0, np.int32(classes.index(rest)), labels) if rest else labels


def one_against_rest(
    labels: Int[np.ndarray, ' n'], classes: Sequence[str], positive: str
) -> tuple[Int[np.ndarray, ' n'], tuple[str, ...]]:
    """Class `positive` as label 1 and all others as 0; '' leaves everything as it is.

    Raises:
        ValueError: unknown class.
    """
    if not positive:
        return labels, tuple(classes)
    if positive not in classes:
        raise ValueError(f'positive class {positive!r} is unknown; {choices(positive, classes)}')
    rest = [name for name in classes if name != positive]
    other = rest[0] if len(rest) == 1 else f'not {positive}'
    return (labels == list(classes).index(positive)).astype(np.int32), (other, positive)
