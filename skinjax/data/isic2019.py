"""ISIC 2019 (Codella 2017; Tschandl 2018; Combalia 2019, arXiv:1908.02288): eight diagnoses.

    ISIC_2019_Training_Input/*.jpg    ISIC_2019_Training_{GroundTruth,Metadata}.csv
    ISIC_2019_Test_Input/*.jpg        ISIC_2019_Test_{GroundTruth,Metadata}.csv  (need not be there)

25,331 training images with `lesion_id` (empty in 2,084), 8,238 test images, part of which are of
none of the eight classes (`unknown`, against all others with `positive`). Ids that end in
`_downsampled` are official. It holds the images of HAM10000 and many of ISIC 2017: do not test on
those what has been trained here. Names and columns were checked against public loaders and a stored
copy of the metadata; numbers, licence and the columns of the test table are recalled.
"""

from typing import Any

from skinjax.data import archive, published
from skinjax.data.archive import About
from skinjax.data.labels import SEX, Variable, one_hot, same
from skinjax.data.records import DataSet

DIAGNOSES = {
    'MEL': 'melanoma',
    'NV': 'nevus',
    'BCC': 'basal cell carcinoma',
    'AK': 'actinic keratosis',
    'BKL': 'benign keratosis',
    'DF': 'dermatofibroma',
    'VASC': 'vascular lesion',
    'SCC': 'squamous cell carcinoma',
    'UNK': 'unknown',
}
ABOUT = About('isic2019', 33569, tuple(DIAGNOSES.values()), 'CC BY-NC 4.0', 'instrument')
DEFAULTS: dict[str, Any] = {**archive.DEFAULTS, **archive.CAMERAS}
SITES = same(
    'anterior torso',
    'head/neck',
    'lateral torso',
    'lower extremity',
    'oral/genital',
    'palms/soles',
    'posterior torso',
    'upper extremity',
)
VARIABLES = {
    'sex': SEX,
    'site': Variable('anatom_site_general', SITES, unknown=()),
}
PARTS = {'train': 'Training', 'test': 'Test'}


def build(config: Any, seed: int) -> DataSet:
    """The data set, divided by `lesion_id`: into 9 / 1 tenths, or 7 / 1 / 2 without the test files.

    Raises:
        ValueError, FileNotFoundError: as `archive.records` and `archive.dataset`.
    """
    root = archive.root_of(config, ABOUT)
    splits = {}
    for split, part in PARTS.items():
        stem = f'ISIC_2019_{part}'
        if split == 'test' and not published.find(root, f'{stem}_GroundTruth.csv'):
            splits = {'all': splits['train']}
            break
        table = published.read(root, f'{stem}_GroundTruth.csv')
        labels = one_hot(table, DIAGNOSES, ABOUT.classes)
        table = published.join(table, published.read(root, f'{stem}_Metadata.csv'), 'image')
        splits[split] = archive.records(
            config,
            root,
            table.less(DIAGNOSES),
            labels,
            VARIABLES,
            id='image',
            images=(f'{stem}_Input',),
            group='lesion_id' if 'lesion_id' in table.columns else '',
        )
    return archive.dataset(ABOUT, config, seed, splits, VARIABLES)


def variables(config: Any) -> tuple[str, ...]:
    """Names of the bias variables."""
    del config
    return (*VARIABLES, 'instrument')
