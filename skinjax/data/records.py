"""Rows of a data set: what every source yields and every kind reads.

A *source* is a module of this folder with `DEFAULTS` (its options and their defaults) and
`build(config, seed) -> DataSet`. Everything after that is the same for all sources. It may also
have `variables(config)`, the names that `config.bias` can take, and `sheet(config, size, columns)`,
rows of pictures to look at. Sources over image files are made of `table.py`; see `isic2017.py`.
"""

import dataclasses
import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

UNKNOWN = -1
YES = ('true', 'yes')  # cells of a column of flags, beside numbers from 1 on
# First words of values that say that something is there, and that it is not.
_THERE = (*YES, 'present', 'with', '1')
_NOT_THERE = ('false', 'no', 'not', 'none', 'absent', 'without', '0')

# Options that every source shares; `DEFAULTS` of the source are added to them.
COMMON: dict[str, Any] = {
    'name': '',
    'root': '',  # folder of the data, '' = the source needs none
    'image_size': 64,  # pixels, square
    'batch_size': 64,  # global: over all processes and devices
    'mean': (0.485, 0.456, 0.406),  # of the channels, subtracted after division by 255
    'std': (0.229, 0.224, 0.225),  # and divided by
    'bias': (),  # names of the bias variables used
    'sampling': 'uniform',  # or equal shares: of each 'class', or 'group' (class x first bias)
    'augment_host': (),  # names of augment.HOST
    # Kinds of the editor 'insert', joined by +, one of which is put into a training image with this
    # probability; see targeted.py.
    'insert': '',
    'insert_probability': 0.5,
    'with_mask': False,  # batches carry masks
    'purify': '',  # an editor, or a run of kind 'purify', that changes images as they are read
    'cache': True,  # keep decoded images in memory
    'threads': 2,
    'prefetch': 4,  # batches
    'folds': 0,  # 0 = the source's own split
    'fold': 0,
    # Near duplicates (images whose hashes differ in so many bits, see duplicates.py) count as one
    # group, which no split may divide; 0 = not searched. Calibrated: 12.
    'group_duplicates': 0,
    # Share of the training labels that are replaced by another class; see label_noise.py.
    'label_noise': 0.0,
    'on_error': 'raise',  # or 'skip': leave unreadable images out, and report them
    # Training rows beside the source's own (see mixing.py): folders, several joined by commas.
    'add_purified': '',  # of kind 'purify': what editors made of the training images
    'add_generated': '',  # of kind 'generate': what a generative model made
    'balance': '',  # or 'bisla': the published shares of both, mirrored rows, six views of each
    'allow_synthetic': False,  # generated images outside the training split
    'only': '',  # a class: all splits are reduced to its rows
    # A bias variable (1 = present) that is made to go with the positive class in training: negative
    # rows with it are left out, positive ones copied so many times; see balance.skew.
    'skew_artefact': '',
    'skew_copies': 20,  # published: 20 for markings, 18 for rulers
    'skew_compat': '',  # 'sdu': flip and transpose what the published code does
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
            one}. Every row may have further arrays, such as a second image, under other names.
        columns: further columns, carried into prediction tables and reports.
        files: [n] path of each row's image file, None where rows are not files.
    """

    ids: np.ndarray
    labels: np.ndarray
    bias: Mapping[str, np.ndarray]
    groups: np.ndarray
    read: Callable[[int], dict[str, np.ndarray]]
    columns: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    files: np.ndarray | None = None

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
            None if self.files is None else self.files[rows],
        )

    def flagged(self, column: str) -> np.ndarray:
        """Which rows ([n] bool) have 1 or more in a column, or its text; none do without it."""
        values = self.columns.get(column)
        if values is None:
            return np.zeros(len(self), bool)
        cells, at = np.unique(values.astype(str), return_inverse=True)
        return np.array([_yes(cell) for cell in cells.tolist()], bool)[at]

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

    def describe(self) -> dict[str, Any]:
        """Name, classes, bias variables, rows of each split, and `info`, for results.json."""
        return {
            'name': self.name,
            'classes': list(self.classes),
            'bias': {name: list(values) for name, values in self.bias.items()},
            'rows': {name: len(records) for name, records in self.splits.items()},
            **self.info,
        }


def present(variable: str, values: Sequence[str]) -> int | None:
    """Which value of a bias variable says that what it is named for is there.

    Names decide and not the order, since some sources sort them: of 'no' and 'yes', 'no ruler' and
    'ruler', 'absent' and 'present', but also of 'dense' and 'none' or 'ruler' and 'without'.

    Args:
        variable: its name, which one of the values may have.
        values: names of its values.

    Returns:
        The value, or None where there are other than two, or their names do not say.
    """
    if len(values) != 2:
        return None
    words = [re.split(r'[\W_]+', name.strip().lower())[0] for name in values]
    denied = [word in _NOT_THERE for word in words]
    if sum(denied) == 1:
        return denied.index(False)
    told = [word in _THERE or name == variable for word, name in zip(words, values, strict=True)]
    return told.index(True) if sum(told) == 1 else None


def _yes(cell: str) -> bool:
    try:
        return float(cell) >= 1
    except ValueError:
        return cell.strip().lower() in YES


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

    files = [part.files for part in parts if part.files is not None]
    return Records(
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.labels for part in parts]),
        join([part.bias for part in parts]),
        np.concatenate([part.groups for part in parts]),
        read,
        join([part.columns for part in parts]),
        np.concatenate(files) if len(files) == len(parts) else None,
    )


def choices(name: str, known: Iterable[str], meant: str = '') -> str:
    """The end of an error message about an unknown `name`.

    First comes what may be `meant`, by default the nearest of the `known` ones, then all of these.
    """
    known = list(known)
    near = [meant] if meant else difflib.get_close_matches(name, known, n=1)
    listed = ', '.join(repr(other) for other in known) or 'none'
    return (f'did you mean {near[0]!r}? ' if near else '') + f'known: {listed}'
