"""Prepared data are the same to skinjax, tfds and grain, and equal to what was prepared."""

import contextlib
import shutil
import sys
from pathlib import Path
from typing import Any

import cv2
import grain
import numpy as np
import pytest
import tensorflow_datasets as tfds
from ml_collections import ConfigDict

from skinjax import config as configs
from skinjax import kinds, prepare
from skinjax.data import examples, groups, pipeline, prepared, shards
from skinjax.data.records import COMMON, DataSet

SIZES = {'data.n_train': 24, 'data.n_val': 8, 'data.n_test': 8, 'data.image_size': 32}


def prepared_config(root: Path, **fields: Any) -> ConfigDict:
    config = ConfigDict({**COMMON, **prepared.DEFAULTS, 'image_size': 32, 'batch_size': 8})
    config.update(root=str(root), **fields)
    return config


def read(root: Path, **fields: Any) -> DataSet:
    return groups.load(prepared.build, prepared_config(root, **fields), 0)


@pytest.fixture(scope='module')
def work(tmp_path_factory) -> Path:
    work = tmp_path_factory.mktemp('prepared') / 'w'
    fields = {**SIZES, 'encoding': 'png', 'shard_rows': 10, 'workers': 2}
    prepare.run(configs.override(kinds.prepare(), fields), work)
    return work


@pytest.fixture(scope='module')
def original() -> DataSet:
    config = configs.override(kinds.prepare(), SIZES)
    return groups.load(configs.find('data', 'synthetic').build, config.data, 0, training=False)


def test_everything_survives(work, original):
    found = read(work, with_mask=True)
    assert (found.classes, found.bias, found.pairs) == (
        original.classes, original.bias, original.pairs,
    )  # fmt: skip
    assert list(found.splits) == list(original.splits)
    assert found.info['bayes_auc'] == original.info['bayes_auc']
    for split, records in original.splits.items():
        again = found.splits[split]
        for name in ('ids', 'labels', 'groups'):
            np.testing.assert_array_equal(getattr(again, name), getattr(records, name))
        for name, codes in records.bias.items():
            np.testing.assert_array_equal(again.bias[name], codes)
        np.testing.assert_array_equal(
            again.columns['ita'].astype(float), records.columns['ita'].astype(float)
        )
        for row in range(len(records)):
            one, other = records.read(row), again.read(row)
            assert set(one) == set(other) == {'image', 'mask'}
            for name, pixels in one.items():
                np.testing.assert_array_equal(other[name], pixels)


def test_tfds_reads_the_same(work, original):
    builder: Any = tfds.builder_from_directory(work / shards.FOLDER)
    assert builder.info.features['label'].names == ['nevus', 'melanoma']
    assert {name: info.num_examples for name, info in builder.info.splits.items()} == {
        name: len(records) for name, records in original.splits.items()
    }
    train = original.splits['train']
    source = builder.as_data_source('train')
    assert len(source) == len(train) == 24
    for row in (0, 11, 23):  # of three files
        found, expected = source[row], train.read(row)
        np.testing.assert_array_equal(found['image'], expected['image'])
        np.testing.assert_array_equal(found['mask'][..., 0], expected['mask'])
        assert found['has_mask'] and found['label'] == train.labels[row]
        assert found['id'].decode() == train.ids[row]
        assert found['group'].decode() == train.groups[row]
        assert found['ruler'] == train.bias['ruler'][row]
    part = builder.as_data_source('train[9:12]')
    assert [example['id'].decode() for example in part] == train.ids[9:12].tolist()
    raw = builder.as_data_source('val[:2]', decoders={'image': tfds.decode.SkipDecoding()})
    assert raw[1]['image'].startswith(b'\x89PNG')
    assert 'tensorflow' not in sys.modules


def test_grain_reads_the_same(work, original):
    paths = sorted(map(str, (work / shards.FOLDER).glob('*-train.array_record-*')))
    source: Any = grain.sources.ArrayRecordDataSource(paths)
    dataset: Any = grain.MapDataset.source(source).map(examples.parsed)
    train = original.splits['train']
    for row in (0, 11, 23):
        values = dataset[row]
        assert values['id'].decode() == train.ids[row] and values['label'] == train.labels[row]
        pixels = cv2.imdecode(np.frombuffer(values['image'], np.uint8), cv2.IMREAD_COLOR_RGB)
        np.testing.assert_array_equal(pixels, train.read(row)['image'])


def test_batches_and_sizes(work, original):
    config = prepared_config(work, image_size=16, with_mask=True, threads=2)
    train = groups.load(prepared.build, config, 0).splits['train']
    with contextlib.closing(pipeline.split_batches(train, config)) as batches:
        batch = next(batches)
    assert batch['image'].shape == (8, 16, 16, 3) and batch['has_mask'].all()
    averaged = original.splits['train'].read(3)['image'].reshape(16, 2, 16, 2, 3).mean((1, 3))
    np.testing.assert_allclose(batch['image'][3], averaged, atol=0.51)
    assert 'mask' not in read(work).splits['train'].read(0)
    larger = read(work, image_size=40)
    assert larger.splits['val'].read(0)['image'].shape == (40, 40, 3)
    assert 'images of 32 pixels are enlarged to 40' in larger.info['notes']


def test_one_class_against_the_rest(work):
    data = read(work, positive='nevus')
    assert data.classes == ('melanoma', 'nevus') and 'bayes_auc' not in data.info
    np.testing.assert_array_equal(data.splits['val'].labels, 1 - read(work).splits['val'].labels)
    with pytest.raises(ValueError, match="positive class 'mole' is unknown"):
        read(work, positive='mole')


def test_a_column_of_the_table_can_become_a_bias_variable(copy):
    table = copy / 'records.csv'
    lines = table.read_text().splitlines()
    cells = ['side', *(('left', 'right', '')[k % 3] for k in range(len(lines) - 1))]
    table.write_text('\n'.join(','.join(pair) for pair in zip(lines, cells, strict=True)))
    assert 'side' in prepared.variables(prepared_config(copy))
    assert 'side' in read(copy).splits['train'].columns
    data = read(copy, bias=('side',))
    assert data.bias['side'] == ('left', 'right') and 'ruler' in data.bias
    assert data.splits['train'].bias['side'][:4].tolist() == [0, 1, -1, 0]


@pytest.fixture
def copy(work, tmp_path) -> Path:
    return shutil.copytree(work, tmp_path / 'copy')


NAME = f'{shards.FOLDER}/synthetic-train.array_record-00001-of-00003'


def test_missing_and_damaged_files_are_named(copy):
    file = copy / NAME
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match=r'record-00001-of-00003 has \d+ bytes, but.*run the same'):
        read(copy)
    file.unlink()
    with pytest.raises(ValueError, match='record-00001-of-00003 is missing; run the same'):
        read(copy)
    for place, of in (
        (24 - 2**16, r'00000-of-00003 \.\.\.: damaged'),
        (1000, r'record 10 is damaged'),
    ):
        harmed = bytearray(whole)  # the index at the end, or the first record
        harmed[place] ^= 255
        file.write_bytes(harmed)
        with pytest.raises(ValueError, match=f'{of} .*run the same'):
            data = read(copy, cache=False)
            data.splits['train'].read(9)
            data.splits['train'].read(10)


def test_a_table_of_other_data_is_refused(copy):
    table = copy / 'records.csv'
    lines = table.read_text().splitlines(keepends=True)
    table.write_text(''.join([lines[0], lines[2], lines[1], *lines[3:]]))
    with pytest.raises(ValueError, match=r"record 0 is 'train-0-00000', but records.csv says"):
        read(copy).splits['train'].read(0)
    table.write_text(''.join([lines[0], *lines[2:]]))
    with pytest.raises(ValueError, match=r'24 records, but records.csv has 23 rows'):
        read(copy)


def test_unfinished_absent_and_distant_folders(copy, tmp_path):
    (copy / 'DONE').unlink()
    with pytest.raises(ValueError, match='the preparation is not finished'):
        read(copy)
    with pytest.raises(FileNotFoundError, match='nothing was prepared there'):
        read(tmp_path)
    with pytest.raises(ValueError, match=r'with --config\.data\.root'):
        prepared.build(ConfigDict({**COMMON, **prepared.DEFAULTS}), 0)
    for root in ('gs://bucket/data', 's3://bucket'):
        with pytest.raises(ValueError, match=f'data.root: {root} is no local folder.*copy'):
            prepared.build(ConfigDict({**COMMON, **prepared.DEFAULTS, 'root': root}), 0)
