"""Small records and data sets for the tests of what loads, divides and counts them."""

import ml_collections
import numpy as np

from skinjax.data.records import COMMON, DataSet, Records


def config(**fields):
    return ml_collections.ConfigDict({**COMMON, 'image_size': 2, 'batch_size': 4, **fields})


def make(labels, split='train', names=None, broken=(), **bias):
    labels = np.asarray(labels, np.int32)
    ids = np.array([f'{split}{k}' for k in range(len(labels))])

    def read(row):
        if row in broken:
            raise ValueError(f'row {row} cannot be read')
        return {'image': np.full((2, 2, 3), row, np.uint8)}

    bias = {name: np.asarray(values, np.int32) for name, values in bias.items()}
    return Records(ids, labels, bias, ids if names is None else np.asarray(names), read)


def dataset(pairs=None, **splits):
    splits = {
        name: value if isinstance(value, Records) else make(value, name)
        for name, value in splits.items()
    }
    bias = dict.fromkeys(splits['train'].bias, ('no', 'yes'))
    return DataSet('test', ('benign', 'malignant'), bias, splits, pairs or {})


def good(**further):
    return dataset(**{'train': [0, 1] * 4, 'val': [0, 1], 'test': [0, 1], **further})
