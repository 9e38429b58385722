"""Derm7pt (Kawahara et al. 2019, doi:10.1109/JBHI.2018.2824327): 1,011 cases, each seen twice.

    meta/meta.csv    meta/{train,valid,test}_indexes.csv (column `indexes`, from 0)    images/

Every case has a dermoscopic and a clinical photograph (`modality`, the columns `derm` and `clinic`
of the table); ids are case numbers, so that predictions from both can be joined. Diagnoses are
grouped into five as by the authors. Names, columns and grouping were checked against the authors'
loader; the licence is recalled.
"""

from typing import Any

import numpy as np

from skinjax.data import archive, published
from skinjax.data.archive import About
from skinjax.data.labels import SEX, Variable, named, same
from skinjax.data.records import DataSet, choices
from skinjax.data.table import Table

GROUPS = {
    'basal cell carcinoma': ('basal cell carcinoma',),
    'nevus': (
        'nevus', 'blue nevus', 'clark nevus', 'combined nevus', 'congenital nevus', 'dermal nevus',
        'recurrent nevus', 'reed or spitz nevus',
    ),
    'melanoma': (
        'melanoma', 'melanoma (in situ)', 'melanoma (less than 0.76 mm)',
        'melanoma (0.76 to 1.5 mm)', 'melanoma (more than 1.5 mm)', 'melanoma metastasis',
    ),
    'miscellaneous': (
        'miscellaneous', 'dermatofibroma', 'lentigo', 'melanosis', 'vascular lesion',
    ),
    'seborrheic keratosis': ('seborrheic keratosis',),
}  # fmt: skip
SPELLING = {cell: name for name, cells in GROUPS.items() for cell in cells}
ABOUT = About('derm7pt', 1011, tuple(GROUPS), 'CC BY-NC-SA 4.0', 'sex')
DEFAULTS: dict[str, Any] = {**archive.DEFAULTS, 'modality': 'dermoscopic'}  # or 'clinical'
VARIABLES = {
    'sex': SEX,
    'elevation': Variable('elevation', same('flat', 'palpable', 'nodular')),
    'difficulty': Variable('level_of_diagnostic_difficulty', same('low', 'medium', 'high')),
}
COLUMNS = {'dermoscopic': 'derm', 'clinical': 'clinic'}
SPLITS = {'train': 'train_indexes.csv', 'val': 'valid_indexes.csv', 'test': 'test_indexes.csv'}


def build(config: Any, seed: int) -> DataSet:
    """The data set with the published split.

    Raises:
        ValueError, FileNotFoundError: an unknown modality, an index that is no row, or as
            `archive.records` and `archive.dataset`.
    """
    if config.modality not in COLUMNS:
        choice = choices(config.modality, COLUMNS)
        raise ValueError(f'data.modality={config.modality!r} is unknown; {choice}')
    root = archive.root_of(config, ABOUT)
    table = published.read(root, 'meta.csv')
    images = published.place(root, 'images').relative_to(root)
    column = COLUMNS[config.modality]
    files = [(images / name.strip()).as_posix() for name in table.column(column)]
    found = archive.records(
        config,
        root,
        table.plus({'image': files}),
        named(table, 'diagnosis', SPELLING, ABOUT.classes),
        VARIABLES,
        id='case_num',
        image='image',
    )
    splits = {
        split: found.select(_rows(published.read(root, name), len(found)))
        for split, name in SPLITS.items()
    }
    return archive.dataset(ABOUT, config, seed, splits, VARIABLES)


def variables(config: Any) -> tuple[str, ...]:
    """Names of the bias variables."""
    del config
    return tuple(VARIABLES)


def _rows(table: Table, count: int) -> np.ndarray:
    rows = []
    for row, cell in enumerate(table.column('indexes')):
        if not cell.strip().isdecimal() or int(cell) >= count:
            raise ValueError(
                f'{table.cell(row, "indexes")}: {cell!r} is no row of meta.csv; expected 0 to '
                f'{count - 1}'
            )
        rows.append(int(cell))
    return np.array(rows)
