"""A training set with the rows that a plan of `balance.py` wants. Columns say what they are:

synthetic      1: a generative model made the image
purified       1: a copy of another row, whose image editors have changed
mirrored       1: a copy of another row with left and right exchanged
balance_view   number of a repetition of a row, 0 being the row itself
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from skinjax.data.balance import Plan, stages
from skinjax.data.records import Records, concatenate

SYNTHETIC, VIEW = 'synthetic', 'balance_view'
KINDS = {'purified': 'purified', 'generated': SYNTHETIC}  # of added rows, and their columns


def balanced(train: Records, classes: Sequence[str], plan: Plan) -> Records:
    """The rows that a plan wants; see `balance.Plan` and `balance.stages`.

    Of purified and generated rows the first ones of each class are taken. Training batches turn
    views after the first (column `balance_view`) upside down and crop them at random.

    Args:
        train: original rows, purified copies and generated rows, by the columns of this module.
        classes: name of each label.
        plan: shares of the originals of each class.

    Raises:
        ValueError: a class of the plan is absent, or has too few purified or generated rows.
    """
    found = {name: train.flagged(column) for name, column in KINDS.items()}
    extra = found['purified'] | found['generated']
    label = {name: train.labels == k for k, name in enumerate(classes)}
    try:
        steps = stages({name: int((rows & ~extra).sum()) for name, rows in label.items()}, plan)
    except ValueError as error:
        raise ValueError(f'data.balance: {error}') from None
    chosen = [np.flatnonzero(~extra)]
    for before, kind in zip(('originals', 'purified'), KINDS, strict=True):
        for name, rows in label.items():
            need, there = (
                steps[kind][name] - steps[before][name],
                np.flatnonzero(rows & found[kind]),
            )
            if len(there) < need:
                raise ValueError(
                    f'data.balance needs {need} {kind} images of {name!r} for '
                    f'{steps["originals"][name]} originals, and there are {len(there)}: '
                    f'give a folder that has them as data.add_{kind}'
                )
            chosen.append(there[:need])
    rows = _mirrored(train.select(np.concatenate(chosen)), mirror=False)
    turned = np.isin(rows.labels, [classes.index(name) for name in plan.flipped])
    twins = _mirrored(rows.select(turned & ~rows.flagged('purified')))
    return repeated(concatenate([rows, twins]), plan.views)


def _mirrored(records: Records, *, mirror: bool = True) -> Records:
    """The records with left and right exchanged, or not; column `mirrored` says so."""
    flags = {**records.columns, 'mirrored': np.full(len(records), int(mirror), np.int32)}
    if not mirror:
        return dataclasses.replace(records, columns=flags)

    def read(row: int) -> dict[str, np.ndarray]:
        example = records.read(row)
        return {name: np.ascontiguousarray(array[:, ::-1]) for name, array in example.items()}

    ids = np.array([f'{name}#mirrored' for name in records.ids.tolist()])
    return dataclasses.replace(records, ids=ids, read=read, columns=flags)


def repeated(records: Records, views: int) -> Records:
    """Every row so many times; column `balance_view` numbers them."""
    view = np.repeat(np.arange(views, dtype=np.int32), len(records))
    found = records.select(np.tile(np.arange(len(records)), views))
    names = zip(found.ids.tolist(), view.tolist(), strict=True)
    ids = np.array([f'{name}#view{k}' if k else name for name, k in names])
    return dataclasses.replace(found, ids=ids, columns={**found.columns, VIEW: view})


def counts(train: Records, classes: Sequence[str]) -> dict[str, dict[str, int]]:
    """Class -> rows of each kind; see `with_more`. Views count in 'rows' alone."""
    first = ~train.flagged(VIEW)
    purified, made = train.flagged('purified'), train.flagged(SYNTHETIC)
    mirrored = train.flagged('mirrored')
    kinds = {
        'originals': first & ~mirrored & ~purified & ~made,
        'purified': first & ~mirrored & purified,
        'generated': first & ~mirrored & made,
        'mirrored': first & mirrored,
        'rows': np.ones(len(train), bool),
    }
    return {
        name: {kind: int((rows & (train.labels == k)).sum()) for kind, rows in kinds.items()}
        for k, name in enumerate(classes)
    }
