"""DDI (Daneshjou et al. 2022, doi:10.1126/sciadv.abq6147): 656 biopsied lesions on diverse skin.

    ddi_metadata.csv    images/000001.png ... (or all images beside the table)

Columns: an index without a name, DDI_ID, DDI_file, skin_tone (12, 34 or 56), malignant (True or
False), disease. Only for evaluation. Its own classes are benign and malignant; with
`positive='melanoma'` the diseases whose names begin so are told from all others. Table and names
were checked against the authors' loader and a copy of a part of the table; the licence is recalled.
"""

import dataclasses
from typing import Any

import numpy as np

from skinjax.data import archive, published
from skinjax.data.archive import About
from skinjax.data.labels import Variable, named
from skinjax.data.records import DataSet

ABOUT = About(
    'ddi', 656, ('benign', 'malignant'), 'Stanford, research only', 'skin_type', trains=False
)
DEFAULTS: dict[str, Any] = {**archive.DEFAULTS}
TRUTH = {'False': 'benign', 'FALSE': 'benign', '0': 'benign'}
TRUTH |= {'True': 'malignant', 'TRUE': 'malignant', '1': 'malignant'}
TONES = {'12': 'I-II', '34': 'III-IV', '56': 'V-VI'}
VARIABLES = {'skin_type': Variable('skin_tone', TONES)}


def build(config: Any, seed: int) -> DataSet:
    """The data set: one split, `test`.

    Raises:
        ValueError, FileNotFoundError: as `archive.records` and `archive.dataset`.
    """
    root = archive.root_of(config, ABOUT)
    table = published.read(root, 'ddi_metadata.csv')
    about, labels = ABOUT, named(table, 'malignant', TRUTH, ABOUT.classes)
    if config.positive == 'melanoma':
        about = dataclasses.replace(ABOUT, classes=('not melanoma', 'melanoma'))
        disease = np.char.strip(table.array('disease'))
        labels = np.char.startswith(disease, 'melanoma').astype(np.int32)
    folder = 'images' if published.find(root, 'images') else ''
    found = archive.records(config, root, table, labels, VARIABLES, id='DDI_file', images=(folder,))
    return archive.dataset(about, config, seed, {'test': found}, VARIABLES)


def variables(config: Any) -> tuple[str, ...]:
    """Names of the bias variables."""
    del config
    return tuple(VARIABLES)
