"""Published data sets: what every source of one is made of, over tables and files as published.

A source states its facts (`About`), reads its tables (`published.py`), turns their columns into
labels and bias variables (`labels.py`), makes `records` of each table and one `dataset` of these.
"""

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from skinjax.data import instrument, leave_out, published
from skinjax.data.files import records_from_table
from skinjax.data.labels import Variable, one_against_rest
from skinjax.data.records import DataSet, Records
from skinjax.data.splits import stratified_split
from skinjax.data.table import Table

DEFAULTS: dict[str, Any] = {
    'positive': 'melanoma',  # this class against the rest; '' = all classes
    'geometry': 'squash',  # or 'crop', 'pad'
    'leave_out': '',  # file with the id of one image a line; or 'templates', see leave_out.py
}
# Of sources with a bias variable `instrument`: the width of the image files.
CAMERAS = {'min_instrument': 30}  # training rows of a width
TENTHS = {'train': 7, 'val': 1, 'test': 2}


@dataclasses.dataclass(frozen=True)
class About:
    """Facts of a published data set.

    Attributes:
        name: of the source.
        images: how many with a label are published.
        classes: its own, in order.
        licence: of the images.
        bias: the variable that configs unlearn unless another is named; '' = none is published.
        trains: False for a set that is only tested on.
    """

    name: str
    images: int
    classes: tuple[str, ...]
    licence: str
    bias: str = ''
    trains: bool = True


def root_of(config: Any, about: About) -> Path:
    """The folder of the data. Raises ValueError if none is given, FileNotFoundError if absent."""
    if not config.root:
        raise ValueError(
            f'{about.name} is read from a folder; give it with --config.data.root=FOLDER'
        )
    if not (root := Path(config.root)).is_dir():
        raise FileNotFoundError(f'{root}: no such folder; expected the files of {about.name}')
    return root


def records(
    config: Any,
    root: Path,
    table: Table,
    labels: Int[np.ndarray, ' n'],
    variables: Mapping[str, Variable],
    *,
    id: str,
    images: Sequence[str] = (),
    image: str = '',
    group: str = '',
    masks: Sequence[str] = (),
    suffix: str = '_segmentation',
) -> Records:
    """One record for each row of `table`.

    Columns of the table that are not used otherwise become columns of the records, with `width` and
    `height` of the image files where the table has none.

    Args:
        config: of the source.
        root: folder of the data.
        table: of n rows.
        labels: of the rows.
        variables: bias variables.
        id: column of the ids; an ending such as .jpg is dropped.
        images: names of folders of images: those that exist are searched, with the folders below
            them, for a file that is named like the id; '' is `root`.
        image: column of image files, from `root` on, instead of `images`.
        group: column of the groups; an empty cell is a group of its own, '' = all are.
        masks: names of folders of masks; none of them need exist.
        suffix: of the name of a mask, after the id.

    Raises:
        ValueError: an empty id, two files for one id, or as `records_from_table`.
        FileNotFoundError: all folders or an image are missing.
    """
    ids = np.array([published.bare(name) for name in table.column(id)])
    if '' in ids:
        raise ValueError(f'{table.cell(ids.tolist().index(""), id)}: is empty')
    files: dict[str, list[str]] = {}
    if not image:
        published.place(root, *images)
        folders = [folder for name in images if (folder := published.find(root, name))]
        missing = 'raise' if config.on_error == 'raise' else 'name'
        files['image'] = published.search(table, id, root, folders, missing=missing)
    if config.with_mask and (found := [f for name in masks if (f := published.find(root, name))]):
        files['mask'] = published.search(table, id, root, found, suffix=suffix, missing='empty')
    groups = np.char.strip(table.array(group)) if group else ids
    used = {id, group, 'image', 'mask'}
    return records_from_table(
        table.plus(files),
        root,
        config,
        ids=ids,
        labels=labels,
        groups=np.where(groups == '', ids, groups),
        bias={name: variable.codes(table) for name, variable in variables.items()},
        columns={name: table.array(name) for name in table.columns if name not in used},
        image=image or 'image',
        mask='mask' if 'mask' in files else '',
        geometry=config.geometry,
        sizes='width' not in table.columns,
    )


def dataset(
    about: About,
    config: Any,
    seed: int,
    splits: Mapping[str, Records],
    variables: Mapping[str, Variable],
    without: Mapping[str, Collection[str]] | None = None,
) -> DataSet:
    """The data set, of the published splits or of its own.

    A split `all` is divided into 7 / 1 / 2 tenths and a `train` without a `val` into 9 / 1,
    stratified by the classes of the data set, with undivided groups. Bias variables that no row
    knows are left out. A source with `config.min_instrument` has `instrument` too, unless the
    images have one width. `config.positive` then leaves two classes; column `class` keeps the name
    of the data set's own.

    Args:
        about: facts of the data set.
        config: of the source.
        seed: of the division.
        splits: published splits, or `all`.
        variables: bias variables, in the order of the records' ones.
        without: reason -> ids of images that are left out, besides `config.leave_out`.

    Raises:
        ValueError: `config.positive` is no class, or `config.leave_out` names no image.
        FileNotFoundError: `config.leave_out` is no file.
    """
    splits, left_out = arrange(config, seed, splits, without)
    positive = config.positive if len(about.classes) > 1 else ''
    known = known_of(splits, variables)
    names = {name: variables[name].names for name in known}
    if 'min_instrument' in config:
        splits, cameras = with_instrument(splits, config.min_instrument)
        names |= {'instrument': cameras} if len(cameras) > 1 else {}
    own = np.array(about.classes)
    done = {}
    classes = about.classes
    for name, part in splits.items():
        labels, classes = one_against_rest(part.labels, about.classes, positive)
        columns = dict(part.columns)
        if positive:
            columns['class'] = own[part.labels]
        bias = {variable: part.bias[variable] for variable in names}
        done[name] = dataclasses.replace(part, labels=labels, bias=bias, columns=columns)
    return DataSet(
        name=about.name,
        classes=classes,
        bias=names,
        splits=done,
        info={'licence': about.licence} | ({'left_out': left_out} if left_out else {}),
    )


def arrange(
    config: Any,
    seed: int,
    splits: Mapping[str, Records],
    without: Mapping[str, Collection[str]] | None = None,
) -> tuple[dict[str, Records], dict[str, int]]:
    """The splits without what is left out, divided where needed; and how many rows are left out.

    Arguments and errors as in `dataset`.
    """
    splits, left_out = leave_out.less(splits, {**(without or {}), **leave_out.asked(config)})
    if 'all' in splits:
        splits = _divided(splits['all'], seed, TENTHS)
    elif 'train' in splits and 'val' not in splits:
        splits = {**splits, **_divided(splits['train'], seed, {'train': 9, 'val': 1})}
    return splits, left_out


def with_instrument(
    splits: Mapping[str, Records], least: int
) -> tuple[dict[str, Records], tuple[str, ...]]:
    """The splits with a bias variable `instrument`, of their columns `width`, and its values."""
    of = np.repeat(list(splits), [len(part) for part in splits.values()])
    columns = [instrument.widths_of(part.columns['width']) for part in splits.values()]
    names = instrument.common(np.concatenate(columns)[of == 'train'], least)
    codes = instrument.codes(np.concatenate(columns), names)
    return {
        name: dataclasses.replace(part, bias={**part.bias, 'instrument': codes[of == name]})
        for name, part in splits.items()
    }, names


def known_of(splits: Mapping[str, Records], variables: Iterable[str]) -> list[str]:
    """Those of the bias variables that some row knows."""
    return [v for v in variables if any((part.bias[v] >= 0).any() for part in splits.values())]


def _divided(part: Records, seed: int, tenths: Mapping[str, int]) -> dict[str, Records]:
    of = stratified_split(part.labels, part.groups, seed, tenths)
    return {name: part.select(of == name) for name in tenths}
