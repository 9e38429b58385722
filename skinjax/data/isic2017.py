"""ISIC 2017 (Codella et al. 2018, arXiv:1710.05006): 2,750 dermoscopic images with artefact labels.

As published (names and columns were checked against public loaders; metadata, masks, labels of
artefacts, validation and test images need not be there):

    ISIC-2017_{Training,Validation,Test_v2}_Data/*.jpg    and *_metadata.csv: age_approximate, sex
    ISIC-2017_{Training,Validation,Test_v2}_Part3_GroundTruth.csv       image_id, melanoma, ...
    ISIC-2017_{Training,Validation,Test_v2}_Part1_GroundTruth/*_segmentation.png
    isic_bias.csv    the artefact labels of Bissoto et al. (2020)

Of its near duplicates only those in `TWINS` are left out or kept together.

Or prepared: `labels.csv`, `images/` and `masks/`, with the full frames squashed to squares. Its
split is the official one, less the near duplicates that cross it: where images of one
`near_dup_group` lie in several splits, or are `TWINS`, those in the test set stay (its figures
remain comparable with published ones), and the validation set comes before the training set. 1,979
/ 148 / 600 rows remain; `info['left_out']` counts the rest.

Bias variables: seven human artefact labels (0, 1; -1 in 300 images that nobody labelled) and
`instrument`, the width of the original image (`instrument.proxy`; -1 in prepared test images,
which do not tell theirs).
"""

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from skinjax.data import archive, instrument, labels, published
from skinjax.data.archive import About
from skinjax.data.files import records_from_table
from skinjax.data.records import DataSet, Records, choices
from skinjax.data.splits import without_twins
from skinjax.data.table import read_table

KERATOSIS = 'seborrheic_keratosis'
ABOUT = About('isic2017', 2750, ('melanoma', 'nevus', KERATOSIS), 'CC-0', 'ruler')
DEFAULTS: dict[str, Any] = {
    'csv': 'labels.csv',
    'task': 'melanoma',  # or 'seborrheic_keratosis', each against the rest, or 'three' classes
    'min_instrument': 30,
    'geometry': 'squash',  # or 'crop', 'pad'
    'leave_out': '',  # of the published images, see leave_out.py
}
FLAGS = tuple(labels.FLAGS)
PARTS = {'train': 'Training', 'val': 'Validation', 'test': 'Test_v2'}
TRUTH = 'ISIC-2017_{}_Part3_GroundTruth.csv'
# Training images of a lesion that another image shows too, in no `near_dup_group`: found by kind
# 'inspect', and looked at. The other one is in the validation or test set in nine pairs, and a
# training image in seven, which folds must not divide.
TWINS = {
    'ISIC_0000165': 'ISIC_0014788',
    'ISIC_0000177': 'ISIC_0014657',
    'ISIC_0000182': 'ISIC_0015395',
    'ISIC_0000184': 'ISIC_0015310',
    'ISIC_0000186': 'ISIC_0014698',
    'ISIC_0000204': 'ISIC_0014748',
    'ISIC_0000205': 'ISIC_0014742',
    'ISIC_0000209': 'ISIC_0015016',
    'ISIC_0000215': 'ISIC_0015313',
    'ISIC_0000218': 'ISIC_0015241',
    'ISIC_0000220': 'ISIC_0015202',
    'ISIC_0000223': 'ISIC_0014818',
    'ISIC_0000224': 'ISIC_0014791',
    'ISIC_0000226': 'ISIC_0014949',
    'ISIC_0000227': 'ISIC_0015034',
    'ISIC_0000229': 'ISIC_0014771',
}
# Names of the values of `dx`; nv is whatever is neither melanoma nor seborrheic keratosis.
CLASSES = {'mel': 'melanoma', 'nv': 'nevus', 'sk': KERATOSIS}
TASKS = {
    'melanoma': ('benign', 'melanoma'),
    'seborrheic_keratosis': ('other', 'seborrheic_keratosis'),
    'three': tuple(CLASSES.values()),  # M, N, SK: the order of the published three-class results
}


def build(config: Any, seed: int) -> DataSet:
    """The data set in the official split.

    Where published validation images are missing, a tenth of the training images, by `seed`, takes
    their place. Columns of prepared images: `dx`, `age`, `sex`, `near_dup_group`, `mask_source`,
    and `mask_clipped`: 1 where the mask was cut off by the edge of a crop and must not be
    evaluated.

    Raises:
        ValueError: no `root`, an unknown task, or a table that is not as described.
        FileNotFoundError: a file is missing.
    """
    if config.task not in TASKS:
        raise ValueError(f'task {config.task!r} is unknown; {choices(config.task, TASKS)}')
    root = archive.root_of(config, ABOUT)
    if not (root / config.csv).is_file() and published.find(root, TRUTH.format('Training')):
        return _published(config, seed, root)
    table = read_table(root / config.csv)
    ids, splits = table.array('image_id'), table.array('split')
    twins = table.array('near_dup_group')
    names = np.where(twins == '', [TWINS.get(name, name) for name in map(str, ids)], twins)
    keep = without_twins(splits, names)
    dx, _ = table.codes('dx', tuple(CLASSES))
    bias = {flag: table.codes(flag, ('0', '1'), unknown=True)[0] for flag in FLAGS}
    widths = instrument.widths_of(table.array('orig_w'))
    cameras = instrument.common(widths[keep & (splits == 'train')], config.min_instrument)
    bias['instrument'] = instrument.codes(widths, cameras)
    sources = table.array('mask_source')
    columns = {name: table.array(name) for name in ('dx', 'age', 'sex', 'near_dup_group')}
    columns |= {
        'mask_source': sources,
        'mask_clipped': np.char.endswith(sources, '_clipped').astype(np.int32),
    }
    records = records_from_table(
        table,
        root,
        config,
        ids=ids,
        labels=_labels(dx, config.task),
        groups=names,
        bias=bias,
        columns=columns,
        mask='mask',
        geometry=config.geometry,
    )
    return DataSet(
        name='isic2017',
        classes=TASKS[config.task],
        bias={**dict.fromkeys(FLAGS, ('absent', 'present')), 'instrument': cameras},
        splits={name: records.select(keep & (splits == name)) for name in ('train', 'val', 'test')},
        info={'licence': ABOUT.licence, 'left_out': dict(Counter(splits[~keep].tolist()))},
    )


def variables(config: Any) -> tuple[str, ...]:
    """Names of the bias variables."""
    flags = FLAGS if published.has(config.root, config.csv, 'isic_bias.csv') else ()
    return (*flags, 'instrument')


def _labels(dx: np.ndarray, task: str) -> np.ndarray:
    if task == 'three':
        return dx
    return (dx == list(CLASSES.values()).index(task)).astype(np.int32)


def _published(config: Any, seed: int, root: Path) -> DataSet:
    """The data set from the files as published, less the `TWINS` that cross its split."""
    splits = {}
    for split, part in PARTS.items():
        if published.find(root, TRUTH.format(part)):
            splits[split] = _part(config, root, part)
    split_of = {name: split for split, part in splits.items() for name in part.ids.tolist()}
    crossing = {
        one
        for one, other in TWINS.items()
        if {one, other} <= {*split_of} and split_of[one] != split_of[other]
    }
    splits, left_out = archive.arrange(config, seed, splits, {'near duplicates': crossing})
    splits, cameras = archive.with_instrument(splits, config.min_instrument)
    names = {flag: labels.FLAGS[flag].names for flag in archive.known_of(splits, FLAGS)}
    names |= {'instrument': cameras} if len(cameras) > 1 else {}
    done = {}
    for name, part in splits.items():
        bias = {variable: part.bias[variable] for variable in names}
        done[name] = dataclasses.replace(part, labels=_labels(part.labels, config.task), bias=bias)
    return DataSet(
        name='isic2017',
        classes=TASKS[config.task],
        bias=names,
        splits=done,
        info={'licence': ABOUT.licence} | ({'left_out': left_out} if left_out else {}),
    )


def _part(config: Any, root: Path, part: str) -> Records:
    """One published split, with native labels."""
    table = published.read(root, TRUTH.format(part))
    columns = {'melanoma': 'melanoma', KERATOSIS: KERATOSIS}
    dx = labels.one_hot(table, columns, ABOUT.classes, rest='nevus')
    more = {f'ISIC-2017_{part}_Data_metadata.csv': 'image_id', 'isic_bias.csv': 'image'}
    for name, key in more.items():
        if published.find(root, name):
            table = published.join(table, published.read(root, name), 'image_id', key)
    lesions = [TWINS.get(name, name) for name in table.column('image_id')]
    return archive.records(
        config,
        root,
        table.less(columns).plus({'lesion': lesions}),
        dx,
        labels.FLAGS,
        id='image_id',
        group='lesion',
        images=(f'ISIC-2017_{part}_Data',),
        masks=(f'ISIC-2017_{part}_Part1_GroundTruth',),
    )
