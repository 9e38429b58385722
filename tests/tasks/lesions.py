"""Dark disks on light skin with exact masks, as a folder, and runs that learn to find them."""

from pathlib import Path
from typing import Any

import numpy as np

from skinjax import config as configs
from skinjax.data import writing
from skinjax.data.records import DataSet, Records

SIZE = 16


def disks(n: int, seed: int, name: str, size: int = SIZE) -> Records:
    """Of random place and size. Row 1 has no mask, the mask of row 2 is clipped."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    places = rng.uniform(0.3, 0.7, (n, 2)) * size
    radii = rng.uniform(0.15, 0.3, n) * size
    masks = [(y - a) ** 2 + (x - b) ** 2 <= r**2 for (a, b), r in zip(places, radii, strict=True)]
    images = [np.where(m[..., None], 70, 190) + rng.integers(-40, 40, (*m.shape, 3)) for m in masks]

    def read(row: int) -> dict[str, np.ndarray]:
        example = {'image': images[row].astype(np.uint8)}
        return example if row == 1 else {**example, 'mask': 255 * masks[row].astype(np.uint8)}

    ids = np.array([f'{name}-{i}' for i in range(n)])
    labels, ruler = rng.integers(0, 2, (2, n)).astype(np.int32)
    ruler[0] = -1
    clipped = (np.arange(n) == 2).astype(np.int32)
    return Records(ids, labels, {'ruler': ruler}, ids, read, {'mask_clipped': clipped})


def write_disks(root: Path, n: int = 14) -> Path:
    """Three splits as files, for the source 'folder'."""
    splits = {name: disks(n, k, name) for k, name in enumerate(('train', 'val', 'test'))}
    bias = {'ruler': ('no', 'yes')}
    writing.write(DataSet('disks', ('benign', 'malignant'), bias, splits), root)
    return root


def run_config(root: Path, **fields: Any) -> configs.Config:
    """One convolution that learns for a second."""
    config = configs.train(
        'segmentation', 'folder', configs.plugin('models', 'tests.objectives.one_conv')
    )
    values = {
        'devices': 1,
        'data.root': str(root),
        'data.image_size': SIZE,
        'data.batch_size': 7,
        'data.with_mask': True,
        'data.threads': 0,
        'optimizer.name': 'adam',
        'optimizer.learning_rate': 0.05,
        'train.steps': 30,
        'train.augment': ('flip',),
        'evaluate.batch_size': 8,
        'evaluate.bootstrap': 50,
    }
    return configs.override(config, {**values, **fields})
