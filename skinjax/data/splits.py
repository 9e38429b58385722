"""Dividing rows into splits and folds without leaks."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int, Shaped

from skinjax.data.records import DataSet, Records, concatenate


def check_no_leak(splits: Mapping[str, Records]) -> None:
    """ValueError that lists the groups which 'train' or 'val' share with another split.

    Two further splits may share groups: they are only reported on, and a test set with and without
    an artefact is made of the same lesions.
    """
    found = []
    for one, other in itertools.combinations(splits, 2):
        if not {one, other} & {'train', 'val'}:
            continue
        shared = np.intersect1d(splits[one].groups, splits[other].groups)
        if len(shared):
            pairs = [
                f'{_first_id(splits[one], group)} and {_first_id(splits[other], group)}'
                for group in shared[:3]
            ]
            more = f' and {len(shared) - 3} more' if len(shared) > 3 else ''
            found.append(f'{one!r} and {other!r} share {len(shared)}: {", ".join(pairs)}{more}')
    if found:
        raise ValueError(
            f'groups are divided between splits; {"; ".join(found)}; divide the rows by group, or '
            "let data.folds divide 'train' and 'val'"
        )


def _first_id(records: Records, group: str) -> str:
    return str(records.ids[int((records.groups == group).argmax())])


def refold(dataset: DataSet, folds: int, fold: int, seed: int) -> DataSet:
    """'train' and 'val' pooled and divided again into `folds`; 'val' is number `fold`."""
    pool = concatenate(
        [dataset.splits[name] for name in ('train', 'val') if name in dataset.splits]
    )
    held_out = stratified_folds(pool.labels, pool.groups, folds, seed) == fold
    splits = {**dataset.splits, 'train': pool.select(~held_out), 'val': pool.select(held_out)}
    pairs = {k: pair for k, pair in dataset.pairs.items() if not {*pair} & {'train', 'val'}}
    return dataclasses.replace(dataset, splits=splits, pairs=pairs)


def stratified_folds(
    labels: Int[np.ndarray, ' n'], groups: Shaped[np.ndarray, ' n'], folds: int, seed: int
) -> Int[np.ndarray, ' n']:
    """Fold of each row, 0 to folds - 1: groups undivided, classes as equal as that allows.

    Raises:
        ValueError: fewer groups than folds, or fewer rows of every class.
    """
    import warnings

    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    names, codes = np.unique(groups, return_inverse=True)
    if len(names) < folds:
        raise ValueError(f'{folds} folds need as many groups of rows, found {len(names)}')
    if (most := int(np.bincount(labels).max())) < folds:
        raise ValueError(
            f'{folds} folds need as many rows of one class at least, found {most} of the commonest'
        )
    # Where every row is its own group the plain splitter gives the same kind of folds, far faster.
    alone = len(names) == len(groups)
    splitter = (StratifiedKFold if alone else StratifiedGroupKFold)(
        folds, shuffle=True, random_state=seed % 2**32
    )
    result = np.zeros(len(labels), np.int32)
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'The least populated class')
        for fold, (_, rows) in enumerate(splitter.split(codes, labels, None if alone else codes)):
            result[rows] = fold
    return result


def stratified_split(
    labels: Int[np.ndarray, ' n'],
    groups: Shaped[np.ndarray, ' n'],
    seed: int,
    tenths: Mapping[str, int],
) -> Shaped[np.ndarray, ' n']:
    """Split of each row, so many `tenths` each: {'train': 7, 'val': 1, 'test': 2}.

    Groups stay undivided and are dealt out in turn, sorted by the rarest class in them and their
    size (in powers of two): over thousands of groups as even as folds, in time linear in n. A class
    that is the rarest of as many groups as there are splits is in each of them.

    Raises:
        ValueError: fewer groups than splits.
    """
    frequency = np.bincount(labels)[labels]
    names, of = np.unique(groups, return_inverse=True)
    if len(names) < len(tenths):
        raise ValueError(f'{len(tenths)} splits need as many groups of rows, found {len(names)}')
    commonest_first = np.argsort(-frequency, kind='stable')
    rarest = np.empty(len(names), np.int64)
    rarest[of[commonest_first]] = labels[commonest_first]  # the last one stays
    sizes = np.log2(np.bincount(of)).astype(np.int64)
    order = np.lexsort((np.random.default_rng(seed).random(len(names)), sizes, rarest))
    # Neighbours in the order get different splits: train, test, train, train, val, ...
    turns = sorted(((k + 0.5) / n, name) for name, n in tenths.items() for k in range(n))
    split = np.empty(len(names), object)
    split[order] = np.resize([name for _, name in turns], len(names))
    for code in np.unique(rarest):
        _everywhere(split, order[rarest[order] == code], tenths)
    return split.astype(str)[of]


def _everywhere(split: np.ndarray, rows: Int[np.ndarray, ' k'], names: Mapping[str, int]) -> None:
    """Move single `rows` of `split` to names that none of them has, if there are enough of them."""
    for name in names:
        if len(rows) >= len(names) and name not in split[rows]:
            fullest = max(names, key=lambda other: np.count_nonzero(split[rows] == other))
            split[rows[split[rows] == fullest][-1]] = name


def without_twins(
    splits: Shaped[np.ndarray, ' n'],
    groups: Shaped[np.ndarray, ' n'],
    order: Sequence[str] = ('test', 'val', 'train'),
) -> np.ndarray:
    """Which rows to keep ([n] bool) so that no group is divided between splits.

    A group stays in the first split of `order` that has it and leaves the later ones: an official
    test set stays whole, and what it resembles is not trained on.
    """
    keep = np.ones(len(splits), bool)
    for k, split in enumerate(order):
        earlier = np.isin(splits, order[:k])
        keep &= ~((splits == split) & np.isin(groups, groups[earlier]))
    return keep
