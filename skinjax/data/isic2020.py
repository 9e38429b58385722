"""ISIC 2020 (Rotemberg et al. 2021, doi:10.1038/s41597-021-00815-z): 33,126 images, 2,056 patients.

    train/*.jpg    ISIC_2020_Training_GroundTruth_v2.csv (or without _v2, or Kaggle's train.csv)
    ISIC_2020_Training_Duplicates.csv    image_name_1, image_name_2; need not be there

Columns: image_name, patient_id, lesion_id (v2 only), sex, age_approx,
anatom_site_general_challenge, diagnosis, benign_malignant, target (1 = melanoma). Further columns,
such as `tfrecord`, `width` and `height` of the copies on Kaggle, are kept. No labels of the test
images are published. Names of files and of the columns used were checked against public loaders;
numbers and licence are recalled.
"""

from typing import Any

from skinjax.data import archive, published
from skinjax.data.archive import About
from skinjax.data.labels import SEX, Variable, named, same
from skinjax.data.records import DataSet

ABOUT = About('isic2020', 33126, ('benign', 'melanoma'), 'CC BY-NC 4.0', 'instrument')
DEFAULTS: dict[str, Any] = {**archive.DEFAULTS, **archive.CAMERAS}
STEM = 'ISIC_2020_Training'
SITES = same(
    'head/neck', 'lower extremity', 'oral/genital', 'palms/soles', 'torso', 'upper extremity'
)
VARIABLES = {
    'sex': SEX,
    'site': Variable('anatom_site_general_challenge', SITES, unknown=()),
}


def build(config: Any, seed: int) -> DataSet:
    """The data set, divided by patient; the second image of each pair of duplicates is left out.

    Raises:
        ValueError, FileNotFoundError: as `archive.records` and `archive.dataset`.
    """
    root = archive.root_of(config, ABOUT)
    names = (f'{STEM}_GroundTruth_v2.csv', f'{STEM}_GroundTruth.csv', 'train.csv')
    table = published.read(root, *names)
    found = archive.records(
        config,
        root,
        table,
        named(table, 'target', {'0': 'benign', '1': 'melanoma'}, ABOUT.classes),
        VARIABLES,
        id='image_name',
        images=('jpeg/train', 'train', f'{STEM}_JPEG'),
        group='patient_id',
    )
    twins = set()
    if published.find(root, f'{STEM}_Duplicates.csv'):
        twins = {*published.read(root, f'{STEM}_Duplicates.csv').column('image_name_2')}
    splits = {'all': found}
    return archive.dataset(ABOUT, config, seed, splits, VARIABLES, {'duplicates': twins})


def variables(config: Any) -> tuple[str, ...]:
    """Names of the bias variables."""
    del config
    return (*VARIABLES, 'instrument')
