"""The nine-class ISIC set on Kaggle ("Skin Cancer ISIC"): 2,357 images in folders of classes.

    Train/<class>/*.jpg (2,239)    Test/<class>/*.jpg (118)

The images are of the ISIC archive, from several years; no patient or lesion is named. One that lies
in both folders stays in the test set. Folders and numbers were checked against public code; the
licence is that of ISIC 2019, recalled.
"""

import dataclasses
from typing import Any

import numpy as np

from skinjax.data import archive, published
from skinjax.data.archive import About
from skinjax.data.labels import named, same
from skinjax.data.records import DataSet

CLASSES = (
    'actinic keratosis',
    'basal cell carcinoma',
    'dermatofibroma',
    'melanoma',
    'nevus',
    'pigmented benign keratosis',
    'seborrheic keratosis',
    'squamous cell carcinoma',
    'vascular lesion',
)
ABOUT = About('kaggle9', 2357, CLASSES, 'CC BY-NC 4.0')
DEFAULTS: dict[str, Any] = {**archive.DEFAULTS, **archive.CAMERAS}


def build(config: Any, seed: int) -> DataSet:
    """The data set; a tenth of the training images, by `seed`, is for validation.

    Raises:
        ValueError, FileNotFoundError: as `archive.records` and `archive.dataset`.
    """
    root = archive.root_of(config, ABOUT)
    splits = {}
    for split, name in (('train', 'Train'), ('test', 'Test')):
        table = published.class_folders(root, published.place(root, name), same(*CLASSES))
        labels = named(table, 'class', same(*CLASSES), CLASSES)
        splits[split] = archive.records(
            config, root, table, labels, {}, id='id', image='image', group='name'
        )
    twins = splits['train'].ids[np.isin(splits['train'].groups, splits['test'].groups)]
    splits['train'] = splits['train'].select(~np.isin(splits['train'].ids, twins))
    found = archive.dataset(ABOUT, config, seed, splits, {})
    left_out = {**found.info.get('left_out', {}), 'in both folders': len(twins)}
    return dataclasses.replace(found, info={**found.info, 'left_out': left_out})


def variables(config: Any) -> tuple[str, ...]:
    """Names of the bias variables."""
    del config
    return ('instrument',)
