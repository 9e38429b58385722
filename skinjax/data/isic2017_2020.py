"""ISIC 2017 and 2020 together, with instrument, rulers and markings: "Skin Deep Unlearning".

Bevan and Atapour-Abarghouei (ICML 2022) train on one table of both years, made from the files that
the ISIC 2020 competitors shared, with two columns of artefacts that they labelled themselves
(`scale`, `marked`). `root` holds such a table and a folder with an image for each `image_name`:

    df_main_instr_17_20.csv    images/ISIC_2637011.jpg    images/ISIC_0000017_downsampled.jpg

Rows are left out, and counted in `info['left_out']`, in this order: duplicates (tfrecord -1), ISIC
2019, ids in the file `leave_out` (the paper: images of MClass-D, its test set), and images of none
of the eight instruments. The published table has 34,905 rows without any of these but `leave_out`.

The split is by the shared folds (`tfrecords`), which divide no patient of 2020. ISIC 2017 names no
patients: each image is its own group there, and near duplicates within it can be joined with
`group_duplicates`.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Shaped

from skinjax.data import instrument, tfrecords
from skinjax.data.files import records_from_table
from skinjax.data.records import UNKNOWN, DataSet
from skinjax.data.table import Table, read_table

DEFAULTS: dict[str, Any] = {
    'csv': 'df_main_instr_17_20.csv',
    'images': 'images',  # folder of the images in root
    'ending': '.jpg',
    'leave_out': '',  # file of ids in root, one a line, whose images are not used
    'other_instruments': False,  # True: images of other sizes stay in, with instrument -1
    'val_fold': 0,  # of the five shared folds
    'test_fold': 1,
    'geometry': 'crop',
}
CLASSES = ('benign', 'melanoma')
BIAS = 'instrument'  # what configs unlearn unless told otherwise
ARTEFACTS = {'ruler': 'scale', 'marking': 'marked'}  # bias variable -> column


def build(config: Any, seed: int) -> DataSet:
    """The data set; `seed` is not used, the folds are the shared ones.

    Columns: `year`, `tfrecord`, `tfrecord_fold`, `width`.

    Raises:
        ValueError: no `root`, folds outside 0 to 4 or the same twice, or a table that is not as
            described.
        FileNotFoundError: a file is missing.
    """
    del seed
    _check(config)
    root = Path(config.root)
    table = read_table(root / config.csv)
    labels, _ = table.codes('target', ('0', '1'))
    bias = {
        name: table.codes(column, ('0', '1'), unknown=True)[0] for name, column in ARTEFACTS.items()
    }
    years, numbers, widths = (_integers(table, name) for name in ('year', 'tfrecord', 'width'))
    bias['instrument'] = instrument.codes(widths)
    names, patients = table.array('image_name'), table.array('patient_id')
    ids = np.char.replace(np.char.strip(names), '_downsampled', '')  # so named in shared files
    reasons = _reasons(numbers, years, np.isin(ids, _listed(root, config.leave_out)), bias, config)
    keep = reasons == ''
    if not keep.any():
        raise ValueError(f'{table.path}: none of the {len(table)} rows is left to use')
    table = table.select(keep)
    folds = tfrecords.folds(numbers[keep], years[keep], lambda row: table.cell(row, 'tfrecord'))
    groups = np.where(np.isin(patients, ('', '-1')), ids, patients)
    files = [f'{config.images}/{name}{config.ending}' for name in names[keep].tolist()]
    columns = {'year': years, 'tfrecord': numbers, 'width': widths}
    records = records_from_table(
        table.plus({'image': files}),
        root,
        config,
        ids=ids[keep],
        labels=labels[keep],
        groups=groups[keep],
        bias={name: codes[keep] for name, codes in bias.items()},
        columns={**{k: values[keep] for k, values in columns.items()}, 'tfrecord_fold': folds},
        geometry=config.geometry,
    )
    split_of = {config.val_fold: 'val', config.test_fold: 'test'}
    splits = np.array([split_of.get(fold, 'train') for fold in folds.tolist()])
    return DataSet(
        name='isic2017_2020',
        classes=CLASSES,
        bias={'instrument': instrument.GROUPS, **dict.fromkeys(ARTEFACTS, ('absent', 'present'))},
        splits={name: records.select(splits == name) for name in ('train', 'val', 'test')},
        info={'left_out': dict(Counter(reasons[~keep].tolist()))},
    )


def variables(config: Any) -> tuple[str, ...]:
    """Names of the bias variables."""
    del config
    return ('instrument', *ARTEFACTS)


def _check(config: Any) -> None:
    if not config.root:
        raise ValueError('isic2017_2020 is read from a folder: --config.data.root=FOLDER')
    folds = {config.val_fold, config.test_fold}
    if not folds <= {*range(5)} or len(folds) < 2:
        raise ValueError(
            f'data.val_fold={config.val_fold} and data.test_fold={config.test_fold}; expected two '
            'different folds from 0 to 4'
        )


def _reasons(
    numbers: Int[np.ndarray, ' n'],
    years: Int[np.ndarray, ' n'],
    listed: Bool[np.ndarray, ' n'],
    bias: Mapping[str, Int[np.ndarray, ' n']],
    config: Any,
) -> Shaped[np.ndarray, ' n']:
    """Why each row is left out, '' if it is not."""
    tests = {
        'duplicate': tfrecords.duplicate(numbers),
        'year 2019': years == 2019,
        'leave_out': listed,
        'other instrument': (bias['instrument'] == UNKNOWN) & (not config.other_instruments),
    }
    reasons = np.full(len(numbers), '', dtype='U16')
    for reason, rows in tests.items():
        reasons[rows & (reasons == '')] = reason
    return reasons


def _listed(root: Path, name: str) -> Shaped[np.ndarray, ' m']:
    if not name:
        return np.array([], dtype=str)
    path = root / name
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such file (data.leave_out); expected one id a line')
    return np.array(path.read_text(encoding='utf-8-sig').split(), dtype=str)


def _integers(table: Table, name: str) -> Int[np.ndarray, ' n']:
    """A column of whole numbers; ValueError that names the cell which is none."""
    values = np.empty(len(table), np.int64)
    for row, cell in enumerate(table.column(name)):
        try:
            values[row] = int(float(cell))
        except (ValueError, OverflowError):
            raise ValueError(f'{table.cell(row, name)}: {cell!r} is no whole number') from None
    return values
