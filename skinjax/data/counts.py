"""Rows of a data set counted by split, class, group and variable, as plain values for JSON."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

from skinjax.data.balance import cell_counts, cramers_v
from skinjax.data.records import UNKNOWN, DataSet, Records
from skinjax.data.survey import TRAINED, Pair, Survey

MOST_VALUES = 12  # of a further column that is counted as a variable
Names = Shaped[np.ndarray, ' n']
Codes = Int[np.ndarray, ' n']


@dataclasses.dataclass(frozen=True)
class Variable:
    """What may go with the class.

    Attributes:
        kind: 'bias', a variable of the data set; 'file', a property of the image files; 'column',
            a further column of the table with few values; 'detected', an artefact by a detector.
        values: their names.
        codes: [n] value of each row, -1 where it is unknown.
    """

    kind: str
    values: tuple[str, ...]
    codes: np.ndarray


@dataclasses.dataclass(frozen=True)
class Findings:
    """All rows of a data set, one split after the other, and what was found.

    Attributes:
        data: the data set.
        records: its n rows.
        splits: [n] name of the split of each row.
        survey: of the same rows.
        variables: by name.
        pairs: duplicates.
    """

    data: DataSet
    records: Records
    splits: np.ndarray
    survey: Survey
    variables: Mapping[str, Variable]
    pairs: Sequence[Pair]


def variables(data: DataSet, records: Records, found: Survey) -> dict[str, Variable]:
    """By name: the bias variables, size and format of the files, and columns of few values."""
    result = {
        name: Variable('bias', tuple(data.bias[name]), codes)
        for name, codes in records.bias.items()
    }
    shapes = np.array([f'{w} x {h}' if w else '' for w, h in found.shapes.tolist()])
    for name, cells in (('image size', shapes), ('file format', found.formats)):
        common = [value for value, _ in Counter(cells[cells != '']).most_common(MOST_VALUES)]
        if len(common) > 1:
            result.setdefault(name, _coded('file', cells, sorted(common)))
    for name, column in records.columns.items():
        cells = np.char.strip(np.asarray(column).astype(str))
        known = sorted({*cells.tolist()} - {'', 'nan', '-1'})
        if 1 < len(known) <= MOST_VALUES:
            result.setdefault(name, _coded('column', cells, known))
    return result


def _coded(kind: str, cells: Names, values: Sequence[str]) -> Variable:
    index = {value: code for code, value in enumerate(values)}
    codes = np.array([index.get(cell, UNKNOWN) for cell in cells.tolist()], np.int32)
    return Variable(kind, tuple(values), codes)


def by_class(labels: Codes, splits: Names, classes: Sequence[str]) -> dict[str, dict[str, int]]:
    """split -> class -> rows."""
    result = {}
    for split in dict.fromkeys(splits.tolist()):
        counts = np.bincount(labels[splits == split], minlength=len(classes))
        result[split] = dict(zip(classes, counts.tolist(), strict=False))
    return result


def by_value(
    variable: Variable, labels: Codes, splits: Names, classes: Sequence[str]
) -> dict[str, Any]:
    """Rows of each value by split and class, and how strongly the value goes with the class.

    Returns:
        {'kind', 'splits': {split: {'values': {value: {class: rows}}, 'unknown': rows,
        'association': Cramér's V with the class, None where no row knows the variable}}}
    """
    result: dict[str, Any] = {}
    for split in dict.fromkeys(splits.tolist()):
        here = splits == split
        codes, own = variable.codes[here], labels[here]
        cells = cell_counts(own, codes, len(classes), len(variable.values)).T.tolist()
        result[split] = {
            'values': {
                value: dict(zip(classes, row, strict=True))
                for value, row in zip(variable.values, cells, strict=True)
            },
            'unknown': int((codes == UNKNOWN).sum()),
            'association': cramers_v(own, codes) if (codes >= 0).any() else None,
        }
    return {'kind': variable.kind, 'splits': result}


def between(found: Mapping[str, Variable], rows: np.ndarray) -> dict[str, dict[str, float]]:
    """Cramér's V of each pair of variables over `rows` (a mask): {one: {other: V}}, each once."""
    names = list(found)
    return {
        one: {other: cramers_v(found[one].codes[rows], found[other].codes[rows]) for other in rest}
        for one, rest in ((name, names[k + 1 :]) for k, name in enumerate(names))
        if rest
    }


def grouping(groups: Names, splits: Names) -> dict[str, Any]:
    """How many groups there are and how large; which ones are divided between splits.

    Returns:
        {'count', 'largest': {group: rows} of five, 'rows': {rows of a group: groups}, 'splits':
        {split: groups}, 'divided': [{'group', 'splits': {split: rows}, 'leak'}]}. A leak has
        'train' or 'val' among its splits; other splits are only reported on and may share groups.
    """
    names, codes = np.unique(groups, return_inverse=True)
    parts = list(dict.fromkeys(splits.tolist()))
    number = {split: k for k, split in enumerate(parts)}
    own = np.array([number[split] for split in splits.tolist()])
    cells = cell_counts(codes, own, len(names), len(parts))
    rows = cells.sum(1)
    divided = []
    for group in np.flatnonzero((cells > 0).sum(1) > 1):
        counts = {part: int(n) for part, n in zip(parts, cells[group], strict=True) if n}
        leak = bool({*counts} & {*TRAINED})
        divided.append({'group': str(names[group]), 'splits': counts, 'leak': leak})
    most = np.argsort(-rows, kind='stable')[:5]
    return {
        'count': len(names),
        'largest': {str(names[g]): int(rows[g]) for g in most},
        'rows': {str(n): k for n, k in sorted(Counter(rows.tolist()).items())},
        'splits': dict(zip(parts, (cells > 0).sum(0).tolist(), strict=True)),
        'divided': sorted(divided, key=lambda one: not one['leak']),
    }


def files(found: Survey) -> dict[str, Any]:
    """Formats, sizes (the most common first) and the bounds of width and height."""
    known = found.shapes[:, 0] > 0
    shapes = Counter(f'{w} x {h}' for w, h in found.shapes[known].tolist())
    result: dict[str, Any] = {
        'formats': dict(sorted(Counter(found.formats[known].tolist()).items())),
        'sizes': dict(sorted(shapes.items(), key=lambda item: (-item[1], item[0]))),
    }
    if known.any():
        for k, side in enumerate(('width', 'height')):
            lengths = found.shapes[known, k]
            result[side] = {'min': int(lengths.min()), 'max': int(lengths.max())}
    return result


def masks(found: Survey, labels: Codes, classes: Sequence[str]) -> dict[str, Any]:
    """Rows with a mask, those whose mask is empty, and the mean share of the image by class."""
    there = ~np.isnan(found.masks)
    shares = {
        name: float(found.masks[there & (labels == k)].mean())
        for k, name in enumerate(classes)
        if (there & (labels == k)).any()
    }
    return {
        'count': int(there.sum()),
        'empty': int((found.masks[there] == 0).sum()),
        'mean_share': shares,
    }
