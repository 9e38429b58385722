"""The prediction table of a split: what a model said about each row, in memory and as CSV."""

import csv
import dataclasses
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Integer

from skinjax.engine.writer import write_atomic

_READ = {'id': str, 'label': int, 'score': float, 'bias': int}
_READ |= {'text': str, 'int': int, 'float': float}
_DTYPES = {str: np.str_, int: np.int64, float: np.float64}


@dataclasses.dataclass(frozen=True, eq=False)
class Predictions:
    """What a model said about the rows of one split.

    Attributes:
        ids: name of each row.
        labels: true class, 0 .. c-1 (0 and 1 when there is one column of scores).
        scores: probabilities, averaged over test-time augmentations, kept as [n, c]. One column
            (or [n]): of the positive class. More: of each class.
        bias: variable -> value of each row; -1 is unknown.
        columns: further columns by name: text, integers or floats.

    Raises:
        ValueError: columns of different lengths.
    """

    ids: np.ndarray
    labels: Integer[np.ndarray, ' n']
    scores: Float[np.ndarray, 'n *c']
    bias: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    columns: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        scores = np.asarray(self.scores, np.float64)
        fixed = {
            'ids': np.asarray(self.ids, str),
            'labels': np.asarray(self.labels, np.int32),
            'scores': scores[:, None] if scores.ndim == 1 else scores,
            'bias': {name: np.asarray(v, np.int32) for name, v in self.bias.items()},
            'columns': {name: _plain(v) for name, v in self.columns.items()},
        }
        for name, value in fixed.items():
            object.__setattr__(self, name, value)
        lengths = {name: len(fixed[name]) for name in ('ids', 'labels', 'scores')}
        lengths |= {name: len(v) for name, v in (*self.bias.items(), *self.columns.items())}
        if len(set(lengths.values())) > 1:
            raise ValueError(f'a prediction table needs columns of one length, found {lengths}')

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def binary(self) -> bool:
        """Whether the one column of scores is the probability of the positive class."""
        return self.scores.shape[1] == 1

    @property
    def positive(self) -> Float[np.ndarray, ' n']:
        """Probability of the positive class; of the last class when there are more."""
        return self.scores[:, -1]

    def predicted(self, threshold: float = 0.5) -> Int[np.ndarray, ' n']:
        """Called class: score >= threshold for one column, the largest score for more."""
        if self.binary:
            return (self.scores[:, 0] >= threshold).astype(np.int32)
        return self.scores.argmax(axis=1).astype(np.int32)

    def select(self, rows: np.ndarray) -> 'Predictions':
        """The table at `rows`: indices, or a boolean mask."""
        return Predictions(
            self.ids[rows],
            self.labels[rows],
            self.scores[rows],
            {name: v[rows] for name, v in self.bias.items()},
            {name: v[rows] for name, v in self.columns.items()},
        )

    def write_csv(self, path: str | os.PathLike[str]) -> None:
        """Writes the table; `read_csv` gives back every value exactly.

        Header: id, label, score (or score:0, score:1, ... for several classes), bias:NAME, and
        text:NAME, int:NAME or float:NAME for further columns. The file appears whole or not
        at all.
        """
        c = self.scores.shape[1]
        header = ['id', 'label', *(['score'] if c == 1 else [f'score:{k}' for k in range(c)])]
        values: list[Sequence[Any]] = [self.ids.tolist(), self.labels.tolist()]
        values += self.scores.T.tolist()
        for name, column in self.bias.items():
            header.append(f'bias:{name}')
            values.append(column.tolist())
        for name, column in self.columns.items():
            kind = {'i': 'int', 'f': 'float'}.get(column.dtype.kind, 'text')
            header.append(f'{kind}:{name}')
            values.append(column.tolist())
        text = io.StringIO(newline='')
        # csv writes the repr of a float, which reads back as the same number.
        rows = csv.writer(text, lineterminator='\n')
        rows.writerow(header)
        rows.writerows(zip(*values, strict=True))
        write_atomic(path, text.getvalue())

    @classmethod
    def read_csv(cls, path: str | os.PathLike[str]) -> 'Predictions':
        """Reads what `write_csv` wrote.

        Raises:
            FileNotFoundError: no such file.
            ValueError: another header, a row of another length, or a value that is no number
                where one is expected; names the file, the row and the column.
        """
        with Path(path).open(newline='', encoding='utf-8') as file:
            header, *rows = list(csv.reader(file)) or [[]]
        scores = [name for name in header if name == 'score' or name.startswith('score:')]
        if header[:2] != ['id', 'label'] or not scores:
            raise ValueError(
                f'{path}: expected a prediction table with columns id, label, score, found '
                f'{header[:6]}'
            )
        for number, row in enumerate(rows, 2):
            if len(row) != len(header):
                raise ValueError(
                    f'{path}, row {number}: expected {len(header)} fields, found {len(row)}'
                )
        read = {name: _column(path, rows, k, name) for k, name in enumerate(header)}
        matrix = np.stack([read[name] for name in scores], axis=1)
        rest = [name.partition(':') for name in header if name not in (*scores, 'id', 'label')]
        bias = {name: read[f'bias:{name}'] for kind, _, name in rest if kind == 'bias'}
        columns = {name: read[f'{kind}:{name}'] for kind, _, name in rest if kind != 'bias'}
        return cls(read['id'], read['label'], matrix, bias, columns)


def _plain(values: Any) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind in 'biu':
        return array.astype(np.int64)
    return array.astype(np.float64) if array.dtype.kind == 'f' else array.astype(str)


def _column(path: str | os.PathLike[str], rows: list[list[str]], k: int, name: str) -> np.ndarray:
    read = _READ.get(name.partition(':')[0])
    if read is None:
        raise ValueError(
            f'{path}: unknown column {name!r}; expected id, label, score, bias:NAME, text:NAME, '
            'int:NAME or float:NAME'
        )
    values = []
    for number, row in enumerate(rows, 2):
        try:
            values.append(read(row[k]))
        except ValueError:
            raise ValueError(
                f'{path}, row {number}, column {name!r}: expected {read.__name__}, found {row[k]!r}'
            ) from None
    return np.array(values, _DTYPES[read])
