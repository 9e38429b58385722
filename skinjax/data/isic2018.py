"""ISIC 2018 (Codella et al. 2019, arXiv:1902.03368): lesions, attributes and seven diagnoses.

`task=3`, diagnoses: 10,015 training images (those of HAM10000), 193 validation, 1,512 test.

    ISIC2018_Task3_{Training,Validation,Test}_Input/*.jpg
    ISIC2018_Task3_{Training,Validation,Test}_GroundTruth.csv   image, and one column a class
    ISIC2018_Task3_Training_LesionGroupings.csv                 image, lesion_id, ...

`task=1` and `task=2`, masks of the lesion and of five attributes: 2,594 training images, 100
validation, 1,000 test, without diagnoses.

    ISIC2018_Task1-2_{Training,Validation,Test}_Input/*.jpg
    ISIC2018_Task1_{Training,Validation,Test}_GroundTruth/*_segmentation.png
    ISIC2018_Task2_{Training,Validation,Test}_GroundTruth*/*_attribute_globules.png, ...
    isic_bias.csv    the seven artefact labels of Bissoto et al. (2020); need not be there

Without the groupings every image counts as a lesion of its own, which divides lesions between the
training and the validation images where the official ones are missing. Names and columns were
checked against public loaders; numbers and licence are recalled.
"""

from pathlib import Path
from typing import Any

import numpy as np

from skinjax.data import archive, ham10000, published
from skinjax.data.archive import About
from skinjax.data.labels import FLAGS, one_hot
from skinjax.data.records import DataSet, Records
from skinjax.data.table import Table

DIAGNOSES = {
    'MEL': 'melanoma',
    'NV': 'nevus',
    'BCC': 'basal cell carcinoma',
    'AKIEC': 'actinic keratosis',
    'BKL': 'benign keratosis',
    'DF': 'dermatofibroma',
    'VASC': 'vascular lesion',
}
ATTRIBUTES = ('globules', 'milia_like_cyst', 'negative_network', 'pigment_network', 'streaks')
LICENCE = 'CC BY-NC 4.0'
ABOUT = About('isic2018', 11720, tuple(DIAGNOSES.values()), LICENCE)
SHAPES = About('isic2018', 3694, ('lesion',), LICENCE)  # tasks 1 and 2
DEFAULTS: dict[str, Any] = {**archive.DEFAULTS, **archive.CAMERAS, 'task': 3}
PARTS = {'train': 'Training', 'val': 'Validation', 'test': 'Test'}


def build(config: Any, seed: int) -> DataSet:
    """The data set. Validation and test images may be missing; validation is then divided off.

    With tasks 1 and 2 columns `attribute_*` name the files of the attribute masks, '' without one.

    Raises:
        ValueError, FileNotFoundError: unknown task, or as `archive.records` and `archive.dataset`.
    """
    if config.task not in (1, 2, 3):
        raise ValueError(f'data.task={config.task}; expected 1 or 2 (masks) or 3 (diagnoses)')
    root = archive.root_of(config, ABOUT)
    diagnoses = config.task == 3
    known = {} if diagnoses else FLAGS
    splits = {}
    for split, part in PARTS.items():
        name = f'ISIC2018_Task{3 if diagnoses else "1-2"}_{part}_Input'
        if split == 'train' or published.find(root, name):
            read = _diagnoses if diagnoses else _shapes
            splits[split] = read(config, root, part, name, known)
    return archive.dataset(ABOUT if diagnoses else SHAPES, config, seed, splits, known)


def variables(config: Any) -> tuple[str, ...]:
    """Names of the bias variables."""
    flagged = config.task != 3 and published.has(config.root, 'isic_bias.csv')
    return tuple(FLAGS) if flagged else ()


def _diagnoses(config: Any, root: Path, part: str, images: str, known: Any) -> Records:
    table = published.read(root, f'ISIC2018_Task3_{part}_GroundTruth.csv')
    labels = one_hot(table, DIAGNOSES, ABOUT.classes)
    group = ''
    if lesions := published.find(root, f'ISIC2018_Task3_{part}_LesionGroupings.csv'):
        table = published.join(table, published.read(root, lesions.name), 'image')
        table, group = ham10000.with_lesions(table), 'lesion'
    return archive.records(
        config,
        root,
        table.less(DIAGNOSES),
        labels,
        known,
        id='image',
        images=(images,),
        group=group,
    )


def _shapes(config: Any, root: Path, part: str, images: str, known: Any) -> Records:
    folder = published.place(root, images)
    files = sorted(
        path for one in published.images_by_stem(root, [folder]).values() for path in one
    )
    pictures = [path for path in files if not published.stem(path).endswith('_superpixels')]
    if not pictures:
        raise ValueError(f'{folder}: no images')
    table = Table(folder, {'id': [published.stem(path) for path in pictures], 'image': pictures})
    if flags := published.find(root, 'isic_bias.csv'):
        table = published.join(table, published.read(root, flags.name), 'id', 'image')
    names = [f'ISIC2018_Task2_{part}_GroundTruth{version}' for version in ('', '_v3', '_v2')]
    if places := [place for name in names if (place := published.find(root, name))]:
        found = {
            f'attribute_{name}': published.search(
                table, 'id', root, places, suffix=f'_attribute_{name}', missing='empty'
            )
            for name in ATTRIBUTES
        }
        table = table.plus(found)
    return archive.records(
        config,
        root,
        table,
        np.zeros(len(table), np.int32),
        known,
        id='id',
        image='image',
        masks=(f'ISIC2018_Task1_{part}_GroundTruth',),
    )
