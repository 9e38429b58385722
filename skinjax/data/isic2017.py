"""ISIC 2017 (Codella et al. 2018, arXiv:1710.05006): 2,750 dermoscopic images with artefact labels.

`root` holds `labels.csv`, `images/` and `masks/`, with the full frames squashed to squares. The
split is the official one, less the near duplicates that cross it: where images of one
`near_dup_group` lie in several splits, those in the test set stay (its figures remain comparable
with published ones), and the validation set comes before the training set. 1,988 / 148 / 600 rows
remain; `info['left_out']` counts the rest.

Bias variables: seven human artefact labels (0, 1; -1 in 300 images that nobody labelled) and
`instrument`: the width of the original image, sorted as text, as in Bevan & Atapour-Abarghouei,
"Skin Deep Unlearning" (ICML 2022). Widths of fewer than `min_instrument` training rows are -1
rather than one more value: they are many cameras, and a head cannot unlearn a mixture. The test
images' widths are not published with the labels: -1.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from skinjax.data import groups
from skinjax.data.records import UNKNOWN, DataSet, choices
from skinjax.data.table import Table, read_table, records_from_table

DEFAULTS: dict[str, Any] = {
    'csv': 'labels.csv',
    'task': 'melanoma',  # or 'seborrheic_keratosis', each against the rest, or 'three' classes
    'min_instrument': 30,
}
FLAGS = ('dark_corner', 'hair', 'gel_border', 'gel_bubble', 'ruler', 'ink', 'patches')
# Names of the values of `dx`; nv is whatever is neither melanoma nor seborrheic keratosis.
CLASSES = {'mel': 'melanoma', 'nv': 'nevus', 'sk': 'seborrheic_keratosis'}
TASKS = {
    'melanoma': ('benign', 'melanoma'),
    'seborrheic_keratosis': ('other', 'seborrheic_keratosis'),
    'three': tuple(CLASSES.values()),  # M, N, SK: the order of the published three-class results
}


def build(config: Any, seed: int) -> DataSet:
    """The data set; `seed` is not used, the split is the official one.

    Columns: `dx`, `age`, `sex`, `near_dup_group`, `mask_source`, and `mask_clipped`: 1 where the
    mask was cut off by the edge of a crop and must not be evaluated.

    Raises:
        ValueError: no `root`, an unknown task, or a table that is not as described.
        FileNotFoundError: a file is missing.
    """
    del seed
    if not config.root:
        raise ValueError('isic2017 is read from a folder; give it with --config.data.root=FOLDER')
    if config.task not in TASKS:
        raise ValueError(f'task {config.task!r} is unknown; {choices(config.task, TASKS)}')
    root = Path(config.root)
    table = read_table(root / config.csv)
    ids, splits = table.array('image_id'), table.array('split')
    twins = table.array('near_dup_group')
    names = np.where(twins == '', ids, twins)
    keep = groups.without_twins(splits, names)
    dx, _ = table.codes('dx', tuple(CLASSES))
    bias = {flag: table.codes(flag, ('0', '1'), unknown=True)[0] for flag in FLAGS}
    bias['instrument'], widths = _instruments(table, keep & (splits == 'train'), config)
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
    )
    return DataSet(
        name='isic2017',
        classes=TASKS[config.task],
        bias={**dict.fromkeys(FLAGS, ('absent', 'present')), 'instrument': widths},
        splits={name: records.select(keep & (splits == name)) for name in ('train', 'val', 'test')},
        info={'left_out': dict(Counter(splits[~keep].tolist()))},
    )


def variables(config: Any) -> tuple[str, ...]:
    """Names of the bias variables."""
    del config
    return (*FLAGS, 'instrument')


def _labels(dx: np.ndarray, task: str) -> np.ndarray:
    if task == 'three':
        return dx
    return (dx == list(CLASSES.values()).index(task)).astype(np.int32)


def _instruments(
    table: Table, train: np.ndarray, config: Any
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Code of each row's original width among the widths common in training, and their names."""
    widths = np.char.replace(table.array('orig_w'), '.0', '')
    counts = Counter(widths[train].tolist())
    names = tuple(sorted(w for w, n in counts.items() if w and n >= config.min_instrument))
    codes = {name: code for code, name in enumerate(names)}
    return np.array([codes.get(w, UNKNOWN) for w in widths.tolist()], np.int32), names
