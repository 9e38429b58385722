"""Asan test set (Han et al. 2018, doi:10.1016/j.jid.2018.01.028): clinical images, Korean patients.

    <class>/*.JPG    below any folders, such as asan-test/biopsy/malignantmelanoma
    asan.csv         image_name, target, marked, ... (need not be there)

Only for evaluation. With the table, by Bevan & Atapour-Abarghouei, its rows are the data set: 852,
59 melanomas, with `marked` (ink in the image). Without it, every image in a folder of a class.
Table and eight names of folders were checked against public code; four, and the licence, are
recalled.
"""

from typing import Any

from skinjax.data import archive, published
from skinjax.data.archive import About
from skinjax.data.labels import Variable, named
from skinjax.data.records import DataSet

DIAGNOSES = {
    'actinickeratosis': 'actinic keratosis',
    'basalcellcarcinoma': 'basal cell carcinoma',
    'dermatofibroma': 'dermatofibroma',
    'hemangioma': 'hemangioma',
    'intraepithelialcarcinoma': 'intraepithelial carcinoma',
    'lentigo': 'lentigo',
    'malignantmelanoma': 'melanoma',
    'pigmentednevus': 'nevus',
    'pyogenicgranuloma': 'pyogenic granuloma',
    'seborrheickeratosis': 'seborrheic keratosis',
    'squamouscellcarcinoma': 'squamous cell carcinoma',
    'wart': 'wart',
}
LICENCE = 'research only'
ABOUT = About('asan', 852, ('not melanoma', 'melanoma'), LICENCE, 'marked', trains=False)
FOLDERS = About('asan', 1276, tuple(DIAGNOSES.values()), LICENCE, trains=False)
DEFAULTS: dict[str, Any] = {**archive.DEFAULTS}
VARIABLES = {'marked': Variable('marked', {'0': 'absent', '1': 'present'})}


def build(config: Any, seed: int) -> DataSet:
    """The data set: one split, `test`.

    Raises:
        ValueError, FileNotFoundError: as `archive.records` and `archive.dataset`.
    """
    root = archive.root_of(config, ABOUT)
    if published.find(root, 'asan.csv'):
        table = published.read(root, 'asan.csv')
        labels = named(table, 'target', {'0': 'not melanoma', '1': 'melanoma'}, ABOUT.classes)
        about, where = ABOUT, {'id': 'image_name', 'images': ('',)}
    else:
        table = published.class_folders(root, root, DIAGNOSES)
        labels = named(table, 'class', DIAGNOSES, FOLDERS.classes)
        about, where = FOLDERS, {'id': 'id', 'image': 'image'}
    found = archive.records(config, root, table, labels, VARIABLES, **where)
    return archive.dataset(about, config, seed, {'test': found}, VARIABLES)


def variables(config: Any) -> tuple[str, ...]:
    """Names of the bias variables."""
    return tuple(VARIABLES) if published.has(config.root, 'asan.csv') else ()
