"""The five folds that the ISIC 2020 competitors shared: by the number of a row's tfrecord.

Chris Deotte's files of ISIC 2020 hold every patient in one of 15 tfrecords, of like shares of
melanomas; their numbers have been the folds of published results since. Files of other years are
divided by image. A row with -1 is a duplicate of another.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Int

# Tfrecords of ISIC 2020 in each fold.
FOLDS_2020 = ((2, 4, 5), (1, 10, 13), (0, 9, 12), (3, 8, 11), (6, 7, 14))


def duplicate(tfrecords: Int[np.ndarray, ' n']) -> Bool[np.ndarray, ' n']:
    """Rows that the shared files mark as duplicates."""
    return tfrecords == -1


def folds(
    tfrecords: Int[np.ndarray, ' n'],
    years: Int[np.ndarray, ' n'],
    where: Callable[[int], str] = 'row {}'.format,
) -> Int[np.ndarray, ' n']:
    """Fold of each row, 0 to 4: by `FOLDS_2020` for 2020, tfrecord mod 5 for other years.

    Args:
        tfrecords, years: of n rows.
        where: what a row is called in messages.

    Raises:
        ValueError: a negative tfrecord (see `duplicate`), or one above 14 in 2020.
    """
    table = np.empty(15, np.int64)
    for fold, members in enumerate(FOLDS_2020):
        table[list(members)] = fold
    recent = years == 2020
    wrong = (tfrecords < 0) | (recent & (tfrecords >= len(table)))
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f'{where(row)}: tfrecord {tfrecords[row]} of {years[row]} has no fold; expected 0 or '
            'more, and at most 14 in 2020'
        )
    return np.where(recent, table[np.where(recent, tfrecords, 0)], tfrecords % 5)
