"""Small data sets and configs for tests."""

from typing import Any

import numpy as np

from skinjax import config as configs
from skinjax import recipes
from skinjax.data.records import DataSet, Records


def tiny_records(n: int, seed: int = 0, size: int = 8, name: str = 'row') -> Records:
    """Random images; `ruler` and `camera` are independent of the class, which is brightness."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n).astype(np.int32)
    images = rng.integers(0, 128, (n, size, size, 3)).astype(np.uint8)
    images += (90 * labels)[:, None, None, None].astype(np.uint8)
    bias = {
        'ruler': rng.integers(0, 2, n).astype(np.int32),
        'camera': rng.integers(0, 3, n).astype(np.int32),
    }
    ids = np.array([f'{name}-{i}' for i in range(n)])
    return Records(ids, labels, bias, ids, lambda row: {'image': images[row]})


def tiny_data(n: int = 64, size: int = 8) -> DataSet:
    """Train, val and test splits of random images."""
    return DataSet(
        'tiny',
        ('nevus', 'melanoma'),
        {'ruler': ('no', 'yes'), 'camera': ('a', 'b', 'c')},
        {name: tiny_records(n, k, size, name) for k, name in enumerate(('train', 'val', 'test'))},
    )


SMALL = {
    'data.n_train': 96,
    'data.n_val': 48,
    'data.n_test': 64,
    'data.image_size': 32,
    'data.batch_size': 16,
    'train.epochs': 1,
    'train.log_every': 2,
    'evaluate.bootstrap': 20,
    'evaluate.probes': ('linear',),
    'evaluate.probe_folds': 2,
}


def small(config: configs.Config, **fields: Any) -> configs.Config:
    """A synthetic train config that runs in seconds."""
    return configs.override(config, {**SMALL, **fields})


def small_run(method: Any = 'baseline', **fields: Any) -> configs.Config:
    """The small form of one method of the unlearning study."""
    return small(recipes.unlearning(method), **fields)
