"""Fitzpatrick17k (Groh et al. 2021, arXiv:2104.09957): 16,577 clinical images with skin types.

    fitzpatrick17k.csv    <md5hash>.jpg, in any folder

Columns: md5hash, fitzpatrick_scale (or fitzpatrick; -1 = unknown), label (114 conditions),
nine_partition_label, three_partition_label, qc, url, ... The images are downloaded from two atlases
whose links die: `on_error='skip'` leaves out what is missing, and says how many. They hold near
duplicates, and no patient is named. Columns were checked against the published file; the images'
names are those of the authors' loader.
"""

from typing import Any

from skinjax.data import archive, published
from skinjax.data.archive import About
from skinjax.data.labels import SKIN_TYPES, Variable, named
from skinjax.data.records import DataSet

# Cell of nine_partition_label -> class.
DIAGNOSES = {
    'benign dermal': 'benign dermal',
    'benign epidermal': 'benign epidermal',
    'benign melanocyte': 'benign melanocyte',
    'genodermatoses': 'genodermatoses',
    'inflammatory': 'inflammatory',
    'malignant cutaneous lymphoma': 'malignant cutaneous lymphoma',
    'malignant dermal': 'malignant dermal',
    'malignant epidermal': 'malignant epidermal',
    'malignant melanoma': 'melanoma',
}
ABOUT = About('fitzpatrick17k', 16577, tuple(DIAGNOSES.values()), 'CC BY-NC-SA 3.0', 'skin_type')
DEFAULTS: dict[str, Any] = {**archive.DEFAULTS}


def build(config: Any, seed: int) -> DataSet:
    """The data set, divided 7 / 1 / 2 by `seed`.

    Raises:
        ValueError, FileNotFoundError: as `archive.records` and `archive.dataset`.
    """
    root = archive.root_of(config, ABOUT)
    table = published.read(root, 'fitzpatrick17k.csv')
    column = 'fitzpatrick_scale' if 'fitzpatrick_scale' in table.columns else 'fitzpatrick'
    known = {'skin_type': Variable(column, SKIN_TYPES)}
    found = archive.records(
        config,
        root,
        table,
        named(table, 'nine_partition_label', DIAGNOSES, ABOUT.classes),
        known,
        id='md5hash',
        images=('',),
    )
    return archive.dataset(ABOUT, config, seed, {'all': found}, known)


def variables(config: Any) -> tuple[str, ...]:
    """Names of the bias variables."""
    del config
    return ('skin_type',)
