"""Figures of images that are measured one by one: their table, their means, the means of groups.

Values are [n], nan where a measure is not defined for an image; such images are left out of the
mean of that measure.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped

from skinjax.bootstrap import Interval, bootstrap_mean
from skinjax.data.records import UNKNOWN, DataSet, Records
from skinjax.engine.writer import write_atomic

Values = Mapping[str, Float[np.ndarray, ' n']]
Groups = Shaped[np.ndarray, ' n']


def mean(values: Float[np.ndarray, ' n'], groups: Groups, resamples: int) -> Interval:
    """Mean with its bootstrap interval; whole groups (patients, lesions) are drawn."""
    known = ~np.isnan(values)
    return bootstrap_mean(values[known], resamples, groups=groups[known])


def means(values: Values, groups: Groups, resamples: int) -> dict[str, Interval]:
    """`mean` of each measure."""
    return {name: mean(column, groups, resamples) for name, column in values.items()}


def by_variable(
    values: Values,
    codes: Int[np.ndarray, ' n'],
    names: Sequence[str],
    groups: Groups,
    resamples: int,
) -> dict[str, Any]:
    """The means for each value of a bias variable.

    Returns:
        values: value -> count and each mean; unknown: rows without the variable.
    """
    blocks = {}
    for code, name in enumerate(names):
        inside = codes == code
        own = {measure: column[inside] for measure, column in values.items()}
        blocks[name] = {'count': int(inside.sum()), **means(own, groups[inside], resamples)}
    return {'values': blocks, 'unknown': int((codes == UNKNOWN).sum())}


def write_csv(path: Path, data: DataSet, records: Records, columns: Mapping[str, Any]) -> None:
    """A row for each image: id, class, `columns`, the names of its bias values; nan is empty."""
    header = ['id', 'label', *columns, *records.bias]
    label = [data.classes[code] for code in records.labels]
    named = [
        ['' if code == UNKNOWN else data.bias[name][code] for code in codes]
        for name, codes in records.bias.items()
    ]
    own = [[_cell(value) for value in column] for column in columns.values()]
    text = io.StringIO(newline='')
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(header)
    writer.writerows(zip(records.ids.tolist(), label, *own, *named, strict=True))
    write_atomic(path, text.getvalue())


def _cell(value: Any) -> Any:
    if isinstance(value, (float, np.floating)):
        return '' if np.isnan(value) else f'{value:.6g}'
    return value
