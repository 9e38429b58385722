"""Any folder of images with a CSV table: what users bring, and what `purify` and `generate` write.

The table has one row for each image: the image's name (relative to `root`), a label, and optionally
an id, a split, a group (patient or lesion: never divided between splits), a mask's name and one
column for each bias variable. Cells of labels and bias variables are names or integers; empty bias
cells are unknown.
"""

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from skinjax.data.groups import one_class_splits, stratified_split
from skinjax.data.records import DataSet, Table, choices, read_table, records_from_table

DEFAULTS: dict[str, Any] = {
    'csv': 'records.csv',
    'image': 'image',
    'label': 'label',
    'id': 'id',  # without the column: the image's name without folder and ending
    'split': 'split',  # without the column: 7 / 1 / 2 tenths, stratified, groups undivided
    'group': 'group',  # without the column: every row is its own group
    'mask': 'mask',  # without the column: no masks
    'classes': (),  # names in order, () = the labels found, sorted
    'positive': '',  # with two classes: the second one; with more: this class against the rest
    'geometry': 'squash',  # or 'crop', 'pad'
}
TENTHS = {'train': 7, 'val': 1, 'test': 2}


def build(config: Any, seed: int) -> DataSet:
    """The data set. `seed` divides the rows if the table does not.

    Columns that are not used otherwise become columns of the records.

    Raises:
        ValueError: no `root`, or a cell, column or split that cannot be used; one line that names
            the file, the row (as a spreadsheet counts: the first row of data is row 2) and the
            column.
        FileNotFoundError: the table or a file that it names does not exist.
    """
    if not config.root:
        raise ValueError('a folder of images is needed; give it with --config.data.root=FOLDER')
    root = Path(config.root)
    table = read_table(root / config.csv)
    ids = _ids(table, config)
    groups = table.array(config.group) if _has(table, config, 'group') else ids
    if '' in groups:
        groups = np.where(groups == '', ids, groups)
    labels, classes = _labels(table, config)
    coded = {name: table.codes(name, unknown=True) for name in config.bias}
    used = {config[key] for key in ('image', 'label', 'id', 'split', 'group', 'mask')}
    extra = [name for name in table.columns if name not in used | {*config.bias}]
    records = records_from_table(
        table,
        root,
        config,
        ids=ids,
        labels=labels,
        groups=groups,
        bias={name: codes for name, (codes, _) in coded.items()},
        columns={name: table.array(name) for name in extra},
        image=config.image,
        mask=config.mask if _has(table, config, 'mask') else '',
        geometry=config.geometry,
    )
    splits = _splits(table, config, labels, groups, seed)
    dataset = DataSet(
        name='folder',
        classes=classes,
        bias={name: names for name, (_, names) in coded.items()},
        splits={name: records.select(splits == name) for name in dict.fromkeys(splits.tolist())},
    )
    for name in one_class_splits(dataset.splits):
        only = classes[int(dataset.splits[name].labels[0])]
        raise ValueError(
            f'{table.path}: all rows of split {name!r} have the label {only!r}; expected two labels'
        )
    return dataset


def _has(table: Table, config: Any, key: str) -> bool:
    """Whether an optional column is there. One that the config renames must be."""
    name = config[key]
    if name and name != DEFAULTS[key]:
        table.column(name)
    return name in table.columns


def _ids(table: Table, config: Any) -> np.ndarray:
    if not _has(table, config, 'id'):
        return np.array([PurePosixPath(name.strip()).stem for name in table.column(config.image)])
    ids = np.char.strip(table.array(config.id))
    if '' in ids:
        row = ids.tolist().index('') + 2
        raise ValueError(f'{table.path}: row {row}, column {config.id!r}: is empty')
    return ids


def _labels(table: Table, config: Any) -> tuple[np.ndarray, tuple[str, ...]]:
    labels, classes = table.codes(config.label, tuple(config.classes))
    if not config.positive:
        return labels, classes
    if config.positive not in classes:
        raise ValueError(
            f'positive class {config.positive!r} is unknown; {choices(config.positive, classes)}'
        )
    rest = [name for name in classes if name != config.positive]
    other = rest[0] if len(rest) == 1 else f'not {config.positive}'
    labels = (labels == classes.index(config.positive)).astype(np.int32)
    return labels, (other, config.positive)


def _splits(
    table: Table, config: Any, labels: np.ndarray, groups: np.ndarray, seed: int
) -> np.ndarray:
    if not _has(table, config, 'split'):
        return stratified_split(labels, groups, seed, TENTHS)
    splits = np.char.strip(table.array(config.split))
    if '' in splits:
        row = splits.tolist().index('') + 2
        raise ValueError(f'{table.path}: row {row}, column {config.split!r}: is empty')
    return splits
