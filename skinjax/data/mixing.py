"""Purified copies and generated images beside the real ones of a training set.

Every row then says where it comes from (columns of `balancing.py`). Nothing leaks into other
splits: copies of rows that are not in training are left out, and images of a model that has learned
from rows which are now validated or tested on are refused (`TRAINED_ON`).
"""

import csv
import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from skinjax.data import generated as folders
from skinjax.data.balance import PLANS
from skinjax.data.balancing import SYNTHETIC, balanced, counts
from skinjax.data.records import UNKNOWN, DataSet, Records, choices, concatenate

FIELDS = ('add_purified', 'add_generated', 'balance')  # of config.data
TRAINED_ON = 'trained_on.csv'  # id and group of the rows that a generative model has learned from


def with_more(
    dataset: DataSet, config: Any, *, cache: bool = False
) -> tuple[DataSet, dict[str, dict[str, int]]]:
    """The data set with more training rows, and how many of which kind each class has.

    Args:
        dataset: with a split 'train', divided as it stays.
        config: of the data. `add_purified` and `add_generated` are folders as kinds 'purify' and
            'generate' write them, several joined by commas; `balance` names a plan of
            `balance.PLANS`, else all their rows are added.
        cache: keep the added images in memory.

    Returns:
        The data set, and class -> 'originals', 'purified', 'generated', 'mirrored' (of which either
        of the first and the third) and 'rows' -> count.

    Raises:
        ValueError: no split 'train', a folder that does not fit, that leaks or that holds too
            little for the plan.
        FileNotFoundError: a table or a file that it names does not exist.
    """
    if 'train' not in dataset.splits:
        raise ValueError(
            f"data.{', data.'.join(FIELDS)} add to a split 'train'; found {sorted(dataset.splits)}"
        )
    real = dataset.splits['train']
    zero = np.zeros(len(real), np.int32)
    columns = {'purified': zero, SYNTHETIC: zero, **real.columns}
    train = dataclasses.replace(real, columns=columns)
    purified = [_copies(root, train, config) for root in _folders(config.add_purified)]
    generated = [_made(root, dataset, train, config) for root in _folders(config.add_generated)]
    if cache:
        purified, generated = ([part.cached() for part in kind] for kind in (purified, generated))
    parts = [train, *purified, *generated]
    if config.balance:
        train = balanced(concatenate(parts), dataset.classes, PLANS[config.balance])
    else:
        train = concatenate(parts)
    splits = {name: _flag(part) for name, part in dataset.splits.items()} | {'train': _named(train)}
    return dataclasses.replace(dataset, splits=splits), counts(train, dataset.classes)


def remarks(config: Any) -> list[str]:
    """What tells the images of `config.add_generated` from real ones, beside what they show."""
    roots = _folders(config.add_generated)
    found = [text for root in roots for text in folders.differences(root, config)]
    return [f'data.add_generated: {text}' for text in found]


def _folders(text: str) -> list[str]:
    return [name.strip() for name in text.split(',') if name.strip()]


def _flag(records: Records) -> Records:
    """The records with a column `synthetic`."""
    columns = {SYNTHETIC: np.zeros(len(records), np.int32), **records.columns}
    return dataclasses.replace(records, columns=columns)


def _named(records: Records) -> Records:
    """The records with ids that are unique: the second 'a' becomes 'a#2'."""
    seen: Counter[str] = Counter()
    ids = []
    for name in records.ids.tolist():
        seen[name] += 1
        ids.append(f'{name}#{seen[name]}' if seen[name] > 1 else name)
    return dataclasses.replace(records, ids=np.array(ids))


def _read(root: str, config: Any) -> DataSet:
    """The folder, with images as `config` wants them."""
    from skinjax import editing

    kept = ('image_size', 'with_mask', 'geometry')
    found = folders.read(root, **{name: config[name] for name in kept if name in config})
    return editing.edited_data(found, editing.named(config.purify)) if config.purify else found


def _copies(root: str, train: Records, config: Any) -> Records:
    """Copies of training rows, those first that have lost most to the editors.

    All but the image is that of the training row. Rows of the folder's other splits count too: the
    rows may have been divided anew since.
    """
    rows = concatenate([*_read(root, config).splits.values()])
    at = {name: row for row, name in enumerate(train.ids.tolist())}
    mine = np.array([name in at for name in rows.ids.tolist()])
    if not mine.any():
        raise ValueError(
            f'data.add_purified: {root} has no copy of a training row: its ids are such as '
            f'{str(rows.ids[0])!r}, those in training such as {str(train.ids[0])!r}'
        )
    rows = rows.select(mine)
    removed = rows.columns.get('removed', np.zeros(len(rows))).astype(str)
    shares = np.where(removed == '', '0', removed).astype(float)
    rows = rows.select(np.argsort(-shares, kind='stable'))
    originals = train.select(np.array([at[name] for name in rows.ids.tolist()]))
    return dataclasses.replace(
        originals,
        ids=np.array([f'{name}#purified' for name in rows.ids.tolist()]),
        read=rows.read,
        files=rows.files,
        columns={**originals.columns, 'purified': np.ones(len(rows), np.int32)},
    )


def _made(root: str, dataset: DataSet, train: Records, config: Any) -> Records:
    """The training rows of a folder of generated images, in the terms of `dataset`."""
    found = _read(root, config)
    if 'train' not in found.splits:
        raise ValueError(
            f"data.add_generated: {root} has no split 'train', but {sorted(found.splits)}"
        )
    check_unseen(root, dataset)
    rows = found.splits['train']
    where = f'data.add_generated: {root}'
    labels = folders.coded(where, 'class', found.classes, dataset.classes, rows.labels)
    unknown = np.full(len(rows), UNKNOWN, np.int32)
    bias = {
        name: folders.coded(f'{where}, {name!r}', 'value', found.bias[name], names, rows.bias[name])
        if name in found.bias
        else unknown
        for name, names in dataset.bias.items()
    }
    blank = {name: _blank(values, len(rows)) for name, values in train.columns.items()}
    same = {k: rows.columns[k] for k, v in blank.items() if _same(v, rows.columns.get(k))}
    columns = {**blank, **same, SYNTHETIC: np.ones(len(rows), np.int32)}
    return dataclasses.replace(rows, labels=labels, bias=bias, columns=columns)


def _blank(values: np.ndarray, count: int) -> np.ndarray:
    """What stands in a column of such values where nothing is known."""
    if values.dtype.kind == 'f':
        return np.full(count, np.nan, values.dtype)
    return np.zeros(count, values.dtype)  # '' for text


def _same(one: np.ndarray, other: np.ndarray | None) -> bool:
    return other is not None and one.dtype.kind == other.dtype.kind


def write_trained_on(folder: Path, train: Records) -> None:
    """Writes which rows a generative model has learned from, for `check_unseen`."""
    from skinjax.data.writing import write_csv

    pairs = zip(train.ids.tolist(), train.groups.tolist(), strict=True)
    write_csv(folder / TRAINED_ON, [{'id': name, 'group': group} for name, group in pairs])


def check_unseen(root: str, dataset: DataSet) -> None:
    """ValueError if the model that made a folder has learned from rows outside of training.

    Folders that do not tell (`TRAINED_ON`) are believed.
    """
    path = Path(root) / TRAINED_ON
    if not path.is_file():
        return
    with path.open(encoding='utf-8', newline='') as file:
        table = list(csv.DictReader(file))
    ids, groups = ([row[name] for row in table] for name in ('id', 'group'))
    for split, records in dataset.splits.items():
        if split == 'train':
            continue
        seen = np.isin(records.ids, ids) | np.isin(records.groups, groups)
        if seen.any():
            raise ValueError(
                f'data.add_generated: the model behind {root} has learned from {int(seen.sum())} '
                f'rows that are now in {split!r}, such as {str(records.ids[seen][0])!r}: use one '
                'trained on the same division (data.folds, data.fold, seed)'
            )


def reduced(dataset: DataSet, only: str) -> DataSet:
    """The data set with the rows of one class alone, which is its only class then.

    Raises:
        ValueError: there is no such class.
    """
    if only not in dataset.classes:
        raise ValueError(f'data.only: no class {only!r}; {choices(only, dataset.classes)}')
    splits = {}
    for name, records in dataset.splits.items():
        mine = records.select(records.labels == dataset.classes.index(only))
        splits[name] = dataclasses.replace(mine, labels=np.zeros_like(mine.labels))
    return dataclasses.replace(dataset, classes=(only,), splits=splits)
