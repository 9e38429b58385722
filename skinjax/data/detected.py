"""What the detectors say about every readable image, as a table and as variables to count."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Int

from skinjax.data import detectors
from skinjax.data.counts import Variable
from skinjax.data.records import UNKNOWN, Records

_CHUNK = 16  # images


def table(
    records: Records,
    rows: Int[np.ndarray, ' k'],
    threads: int = 1,
    told: Callable[[int], None] = lambda done: None,
) -> dict[str, np.ndarray]:
    """The columns of `detectors.table` for some rows, made by several threads.

    Args:
        records: that are read.
        rows: k of them, each readable.
        threads: that look; 0 counts as 1.
        told: called with the number of images looked at so far.
    """
    chunks = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
    parts = []
    with ThreadPoolExecutor(max(1, threads)) as pool:
        for part in pool.map(lambda chunk: detectors.table(records.select(chunk)), chunks):
            parts.append(part)
            told(sum(len(one['id']) for one in parts))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def variables(
    columns: dict[str, np.ndarray], rows: Int[np.ndarray, ' k'], n: int
) -> dict[str, Variable]:
    """The integer columns of `table` as variables over all `n` rows, unknown where not looked at.

    Their names end with '(detected)', so that they stand beside what people have labelled.
    """
    result = {}
    for name, values in columns.items():
        if not np.issubdtype(values.dtype, np.integer):
            continue
        codes = np.full(n, UNKNOWN, np.int32)
        types = name == 'skin_type'
        codes[rows] = values - types
        names = tuple('123456') if types else ('absent', 'present')
        result[f'{name} (detected)'] = Variable('detected', names, codes)
    return result
