"""PAD-UFES-20 (Pacheco et al. 2020, doi:10.1016/j.dib.2020.106221): 2,298 smartphone images.

    metadata.csv    images/imgs_part_1/*.png, imgs_part_2, imgs_part_3

Columns: patient_id (1,373), lesion_id, gender, fitspatrick (so spelt), region, diagnostic (six
classes), img_id (file name), biopsed, ... Fifteen images occur twice, twelve of them with two
diagnoses, always under one patient. The clinical columns are empty in 804 rows, none of them a
cancer: where something is unknown tells the class. Columns and counts were checked against a public
survey of the files.
"""

from typing import Any

from skinjax.data import archive, published
from skinjax.data.archive import About
from skinjax.data.labels import SKIN_TYPES, Variable, named
from skinjax.data.records import DataSet

DIAGNOSES = {
    'ACK': 'actinic keratosis',
    'BCC': 'basal cell carcinoma',
    'MEL': 'melanoma',
    'NEV': 'nevus',
    'SCC': 'squamous cell carcinoma',
    'SEK': 'seborrheic keratosis',
}
ABOUT = About('pad_ufes_20', 2298, tuple(DIAGNOSES.values()), 'CC BY 4.0', 'skin_type')
DEFAULTS: dict[str, Any] = {**archive.DEFAULTS}
VARIABLES = {
    'skin_type': Variable('fitspatrick', SKIN_TYPES),
    'sex': Variable('gender', {'FEMALE': 'female', 'MALE': 'male'}),
}


def build(config: Any, seed: int) -> DataSet:
    """The data set, divided 7 / 1 / 2 by `patient_id` and `seed`.

    Raises:
        ValueError, FileNotFoundError: as `archive.records` and `archive.dataset`.
    """
    root = archive.root_of(config, ABOUT)
    table = published.read(root, 'metadata.csv')
    found = archive.records(
        config,
        root,
        table,
        named(table, 'diagnostic', DIAGNOSES, ABOUT.classes),
        VARIABLES,
        id='img_id',
        images=('images', 'imgs_part_1', 'imgs_part_2', 'imgs_part_3'),
        group='patient_id',
    )
    return archive.dataset(ABOUT, config, seed, {'all': found}, VARIABLES)


def variables(config: Any) -> tuple[str, ...]:
    """Names of the bias variables."""
    del config
    return tuple(VARIABLES)
