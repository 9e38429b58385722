"""Any folder of images with a CSV table: what users bring, and what `purify` and `generate` write.

The table has one row for each image: the image's name (relative to `root`), a label, and optionally
an id, a split, a group (patient or lesion: never divided between splits), a mask's name and one
column for each bias variable. Cells of labels and bias variables are names or integers; empty bias
cells are unknown. A `dataset.json` beside the table (see `writing.py`) gives the order of classes
and values, and with it all bias variables, the counterfactual pairs and the facts of the data set.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from skinjax.data import writing
from skinjax.data.archive import TENTHS
from skinjax.data.files import records_from_table
from skinjax.data.labels import one_against_rest, one_hot
from skinjax.data.records import DataSet, choices
from skinjax.data.splits import stratified_split
from skinjax.data.table import FILE_NAME, Table, canonical, read_table

MALIGNANT = ('melanoma', 'mel', 'malignant')  # positive of two classes, if nothing else is said
DEFAULTS: dict[str, Any] = {
    'csv': 'records.csv',
    'image': 'image',
    'label': 'label',  # or columns of 0 and 1, one for each class, joined by commas: 'MEL,NV,BCC'
    'id': 'id',  # without the column: the image's name without ending, and folder where needed
    'split': 'split',  # without the column: 7 / 1 / 2 tenths, stratified, groups undivided
    'group': 'group',  # without the column: every row is its own group
    'mask': 'mask',  # without the column: no masks
    'artefact': 'artefact',  # masks of what kind 'purify' has removed
    'classes': (),  # names in order, () = as in dataset.json, or the labels found, sorted
    # Of two classes the one of MALIGNANT, else the second; of more this one against the rest.
    'positive': '',
    'geometry': 'squash',  # or 'crop', 'pad'
}


def build(config: Any, seed: int) -> DataSet:
    """The data set. `seed` divides the rows if the table does not.

    Columns that are not used otherwise become columns of the records.

    Raises:
        ValueError: no `root`, or a cell, column or split that cannot be used; one line that names
            the file, the row (as a spreadsheet counts: the first row of data is row 2) and the
            column.
        FileNotFoundError: the table or a file that it names does not exist.
    """
    table, root = _table(config), Path(config.root)
    facts = writing.read_facts(root)
    ids = _ids(table, config)
    groups = np.char.strip(table.array(config.group)) if _has(table, config, 'group') else ids
    if '' in groups:
        groups = np.where(groups == '', ids, groups)
    labels, classes = _labels(table, config, facts.get('classes', ()))
    names = facts.get('bias', {})
    if absent := [name for name in config.bias if name not in table.columns]:
        raise ValueError(
            f'{table.path}: no column {absent[0]!r}; {choices(absent[0], table.columns)}; '
            '--config.data.bias says which are bias variables, "()" that there are none'
        )
    wanted = dict.fromkeys([*config.bias, *(name for name in names if name in table.columns)])
    coded = {name: table.codes(name, names.get(name, ()), unknown=True) for name in wanted}
    used = {config[key] for key in ('image', 'id', 'split', 'group', 'mask', 'artefact')}
    used |= {name.strip() for name in config.label.split(',')}
    extra = [name for name in table.columns if name not in used | {*coded}]
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
        artefact=config.artefact if _has(table, config, 'artefact') else '',
        geometry=config.geometry,
    )
    splits = _splits(table, config, labels, groups, seed)
    dataset = DataSet(
        name='folder',
        classes=classes,
        bias={name: names for name, (_, names) in coded.items()},
        splits={name: records.select(splits == name) for name in dict.fromkeys(splits.tolist())},
        info=facts.get('info', {}) if classes == facts.get('classes') else {},
    )
    return dataclasses.replace(dataset, pairs=_pairs(dataset, facts.get('pairs', {})))


def variables(config: Any) -> list[str]:
    """Columns of the table: each can be named in `config.bias`. Raises as `build`."""
    return list(_table(config).columns)


def _table(config: Any) -> Table:
    if not config.root:
        raise ValueError('a folder of images is needed; give it with --config.data.root=FOLDER')
    return read_table(Path(config.root) / config.csv)


def _has(table: Table, config: Any, key: str) -> bool:
    """Whether an optional column is there. One that the config renames must be."""
    name = config[key]
    if name and name != DEFAULTS[key]:
        table.column(name)
    return name in table.columns


def _ids(table: Table, config: Any) -> np.ndarray:
    if not _has(table, config, 'id'):
        files = [PurePosixPath(name.strip()) for name in table.column(config.image)]
        stems = [file.stem for file in files]
        if len({*stems}) < len({*files}):  # one folder a class, and the same names in each
            return np.array([str(file.with_suffix('')) for file in files])
        return np.array(stems)
    ids = np.char.strip(table.array(config.id))
    if '' in ids:
        raise ValueError(f'{table.cell(ids.tolist().index(""), config.id)}: is empty')
    return ids


def _labels(
    table: Table, config: Any, names: tuple[str, ...]
) -> tuple[np.ndarray, tuple[str, ...]]:
    if ',' not in config.label:
        given = tuple(config.classes) or names
        labels, classes = table.codes(config.label, given)
        if given:
            return one_against_rest(labels, classes, config.positive)
        _check_spelling(table, config.label, classes)
        malignant = [name for name in classes if name.lower() in MALIGNANT]
        found = malignant[0] if len(classes) == 2 and len(malignant) == 1 else ''
        return one_against_rest(labels, classes, config.positive or found)
    columns = [name.strip() for name in config.label.split(',')]
    classes = tuple(config.classes) or tuple(columns)
    if {*classes} != {*columns}:
        raise ValueError(f'data.classes={classes}; expected the columns {", ".join(columns)}')
    labels = one_hot(table, {name: name for name in columns}, classes)
    return one_against_rest(labels, classes, config.positive)


def _check_spelling(table: Table, column: str, classes: Sequence[str]) -> None:
    """ValueError where a class is spelt in two ways; `data.classes` can say that it is two."""
    cells = list(map(canonical, table.column(column)))
    first: dict[str, str] = {}
    for name in classes:
        other = first.setdefault(name.lower(), name)
        if other != name:
            raise ValueError(
                f'{table.cell(cells.index(name), column)}: {name!r} is {other!r} elsewhere: spell '
                'them alike, or name the classes with --config.data.classes'
            )


def _pairs(dataset: DataSet, pairs: Mapping[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """The pairs whose two splits still hold the same rows in the same order."""
    splits = dataset.splits
    return {
        artefact: (one, other)
        for artefact, (one, other) in pairs.items()
        if one in splits
        and other in splits
        and np.array_equal(splits[one].groups, splits[other].groups)
    }


def _splits(
    table: Table, config: Any, labels: np.ndarray, groups: np.ndarray, seed: int
) -> np.ndarray:
    if not _has(table, config, 'split'):
        return stratified_split(labels, groups, seed, TENTHS)
    splits = np.char.strip(table.array(config.split))
    if '' in splits:
        raise ValueError(f'{table.cell(splits.tolist().index(""), config.split)}: is empty')
    for row, name in enumerate(splits.tolist()):
        if not FILE_NAME.fullmatch(name):
            raise ValueError(
                f'{table.cell(row, config.split)}: {name!r} cannot be the name of a split, which '
                'files are named after: expected letters, digits, blanks, _ . and -'
            )
    return splits
