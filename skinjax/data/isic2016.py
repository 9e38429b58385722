"""ISIC 2016 (Gutman et al. 2016, arXiv:1605.01397), part 3: 900 training and 379 test images.

    ISBI2016_ISIC_Part3_Training_Data/*.jpg    ISBI2016_ISIC_Part3_Training_GroundTruth.csv
    ISBI2016_ISIC_Part3_Test_Data/*.jpg        ISBI2016_ISIC_Part3_Test_GroundTruth.csv
    ISBI2016_ISIC_Part1_{Training,Test}_GroundTruth/*_Segmentation.png    (masks; need not be there)

The tables have no header; labels are `benign` and `malignant` in the one and 0.0 and 1.0 in the
other, and malignant means melanoma. Names and labels were checked against public loaders, numbers
and licence are recalled.
"""

from typing import Any

from skinjax.data import archive, published
from skinjax.data.archive import About
from skinjax.data.labels import named
from skinjax.data.records import DataSet

ABOUT = About('isic2016', 1279, ('benign', 'melanoma'), 'CC-0', 'instrument')
DEFAULTS: dict[str, Any] = {**archive.DEFAULTS, **archive.CAMERAS}
PARTS = {'train': 'Training', 'test': 'Test'}
SPELLING = {'benign': 'benign', 'malignant': 'melanoma', '0': 'benign', '1': 'melanoma'}


def build(config: Any, seed: int) -> DataSet:
    """The data set; a tenth of the training images, by `seed`, is for validation.

    Raises:
        ValueError, FileNotFoundError: as `archive.records` and `archive.dataset`.
    """
    root = archive.root_of(config, ABOUT)
    splits = {}
    for split, part in PARTS.items():
        stem = f'ISBI2016_ISIC_Part3_{part}'
        table = published.read(root, f'{stem}_GroundTruth.csv', header=('image', 'label'))
        splits[split] = archive.records(
            config,
            root,
            table,
            named(table, 'label', SPELLING, ABOUT.classes),
            {},
            id='image',
            images=(f'{stem}_Data',),
            masks=(f'ISBI2016_ISIC_Part1_{part}_GroundTruth',),
            suffix='_Segmentation',
        )
    return archive.dataset(ABOUT, config, seed, splits, {})


def variables(config: Any) -> tuple[str, ...]:
    """Names of the bias variables."""
    del config
    return ('instrument',)
