import contextlib
import dataclasses
import subprocess
import sys

import ml_collections
import numpy as np
import pytest

from skinjax.data import balance
from skinjax.data.pipeline import split_batches, train_batches
from skinjax.data.records import COMMON, Records


def config(**fields):
    common = {**COMMON, 'image_size': 4, 'batch_size': 8}
    return ml_collections.ConfigDict({**common, **fields})


def make(n=21, size=4, broken=()):
    """Row k is an image of k's with a brighter corner; every third row has a mask."""
    rows = np.arange(n)

    def read(row):
        if row in broken:
            raise ValueError('img/x.jpg: the file is empty')
        image = np.full((size, size, 3), row, np.uint8)
        image[0, 1] += 100
        example = {'image': image}
        if row % 3 == 0:
            example['mask'] = np.where(image[..., 0] >= 100, 255, 0).astype(np.uint8)
        return example

    ids = np.array([f'id{k}' for k in rows])
    labels = (rows % 7 == 0).astype(np.int32)
    ruler = np.where(rows % 5 == 4, -1, rows % 2).astype(np.int32)
    return Records(ids, labels, {'ruler': ruler, 'hair': labels}, ids, read)


def take(n, *args, **options):
    with contextlib.closing(train_batches(*args, **options)) as batches:
        return [next(batches) for _ in range(n)]


def everything(*args, **options):
    with contextlib.closing(split_batches(*args, **options)) as batches:
        return list(batches)


def indices(batches):
    return np.concatenate([batch['index'] for batch in batches])


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)


def test_what_a_batch_holds():
    records = make()
    batch = take(1, records, config(with_mask=True), seed=0)[0]
    shapes = {name: (array.dtype.name, array.shape) for name, array in batch.items()}
    assert shapes == {
        'image': ('uint8', (8, 4, 4, 3)),
        'label': ('int32', (8,)),
        'index': ('int32', (8,)),
        'valid': ('bool', (8,)),
        'ruler': ('int32', (8,)),
        'hair': ('int32', (8,)),
        'mask': ('uint8', (8, 4, 4)),
        'has_mask': ('bool', (8,)),
    }
    rows = batch['index']
    np.testing.assert_array_equal(batch['image'][:, 3, 3, 0], rows)
    np.testing.assert_array_equal(batch['label'], records.labels[rows])
    np.testing.assert_array_equal(batch['ruler'], records.bias['ruler'][rows])
    np.testing.assert_array_equal(batch['has_mask'], rows % 3 == 0)
    np.testing.assert_array_equal(batch['mask'][:, 0, 1] == 255, rows % 3 == 0)
    assert batch['valid'].all()
    assert not {'mask', 'has_mask'} & set(take(1, records, config(), seed=0)[0])


def with_twin(records):
    """Every row also has a second image, whose pixels are one brighter."""

    def read(row):
        example = records.read(row)
        return {**example, 'twin': example['image'] + np.uint8(1)}

    return dataclasses.replace(records, read=read)


def test_further_images_come_along():
    fields = config(augment_host=('d4', 'affine'), with_mask=True)
    batch = take(1, with_twin(make()), fields, seed=0)[0]
    np.testing.assert_array_equal(batch['twin'], batch['image'] + 1)
    padding = everything(with_twin(make(1)), config(), 8, 1, 2)[0]
    assert padding['twin'].shape == (4, 4, 4, 3) and not padding['valid'].any()
    with pytest.raises(ValueError, match=r"id1\d?: no 'twin', which other rows have"):
        both, read = make(), with_twin(make()).read
        one = dataclasses.replace(both, read=lambda row: both.read(row) if row == 1 else read(row))
        take(3, one, config(), seed=0)


def test_each_epoch_is_a_new_permutation():
    order = indices(take(21, make(), config(), seed=0)).reshape(8, 21)
    for epoch in order:
        assert sorted(epoch) == list(range(21))
    assert len({tuple(epoch) for epoch in order}) == 8
    assert (indices(take(3, make(), config(), seed=1)) != order.ravel()[:24]).any()


@pytest.mark.parametrize('sampling', ['uniform', 'group'])
@pytest.mark.parametrize('threads', [0, 2])
def test_a_step_is_the_same_however_it_is_reached(sampling, threads):
    fields = config(
        sampling=sampling, bias=('ruler',), augment_host=('d4', 'affine', 'colour'), threads=threads
    )
    whole = take(12, make(), fields, seed=3)
    for start in (1, 5, 11):
        resumed = take(12 - start, make(), fields, seed=3, start_step=start)
        for one, other in zip(whole[start:], resumed, strict=True):
            assert_equal(one, other)
    far = take(1, make(), fields, seed=3, start_step=10_000_000)[0]
    assert_equal(far, take(2, make(), fields, seed=3, start_step=9_999_999)[1])


@pytest.mark.parametrize('sampling', ['uniform', 'group'])
@pytest.mark.parametrize('count', [2, 4])
def test_processes_side_by_side_give_the_batches_of_one(sampling, count):
    fields = config(sampling=sampling, bias=('ruler',), augment_host=('d4', 'colour'))
    shards = [
        take(5, make(), fields, seed=1, start_step=2, process_index=k, process_count=count)
        for k in range(count)
    ]
    for step, one in enumerate(take(5, make(), fields, seed=1, start_step=2)):
        parts = [shard[step] for shard in shards]
        assert all(len(part['label']) == 8 // count for part in parts)
        assert_equal(one, {name: np.concatenate([part[name] for part in parts]) for name in one})


def test_groups_have_equal_shares():
    records = make(100)
    fields = config(sampling='group', bias=('ruler', 'hair'))
    rows = indices(take(50, records, fields, seed=0))
    cells = 2 * records.labels[rows] + records.bias['ruler'][rows]
    assert (records.bias['ruler'][rows] >= 0).all()
    # Every four consecutive rows have one of each cell, in changing order.
    blocks = cells.reshape(-1, 4)
    np.testing.assert_array_equal(np.sort(blocks, axis=1), np.tile(np.arange(4), (100, 1)))
    assert len({tuple(block) for block in blocks}) == 24
    # Within a cell every row comes up once before any comes up twice.
    for cell in range(4):
        found = rows[cells == cell]
        n = len(np.unique(found))
        known = records.bias['ruler'] >= 0
        assert n == ((2 * records.labels + records.bias['ruler'] == cell) & known).sum()
        for k in range(0, len(found) - n, n):
            assert len(set(found[k : k + n])) == n


def test_groups_without_bias_variables_balance_the_classes():
    rows = indices(take(20, make(70), config(sampling='group'), seed=0))
    assert make(70).labels[rows].mean() == 0.5


def test_classes_have_equal_shares_whatever_the_bias():
    fields = config(sampling='class', bias=('ruler',))
    records = make(70)
    rows = indices(take(20, records, fields, seed=0))
    assert records.labels[rows].mean() == 0.5
    assert (records.bias['ruler'][rows] == -1).any()


@pytest.mark.parametrize('n', [1, 16, 21])
@pytest.mark.parametrize('count', [1, 2])
def test_split_batches(n, count):
    records = make(n)
    shards = [everything(records, config(with_mask=True), 8, k, count) for k in range(count)]
    assert {len(shard) for shard in shards} == {-(-n // 8)}
    batches = [
        {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        for parts in zip(*shards, strict=True)
    ]
    whole = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    assert whole['valid'].tolist() == [True] * n + [False] * (-n % 8)
    np.testing.assert_array_equal(whole['index'][:n], np.arange(n))
    np.testing.assert_array_equal(whole['image'][:n, 3, 3, 0], np.arange(n))
    np.testing.assert_array_equal(whole['label'][:n], records.labels)
    for name, filling in (('image', 0), ('label', 0), ('index', -1), ('ruler', -1), ('mask', 0)):
        assert (whole[name][n:] == filling).all()
        assert len(whole[name]) == len(whole['valid'])


def test_split_batches_change_nothing():
    fields = config(augment_host=('d4', 'colour'))
    found = everything(balance.skew(make(), 'ruler', 2), fields)
    image = np.concatenate([batch['image'] for batch in found])
    index = indices(found)
    assert (image[index >= 0, 0, 1, 0] >= 100).all()


def corners(batches):
    """Where the bright pixel of each image is."""
    images = np.concatenate([batch['image'] for batch in batches])[..., 0]
    return images.reshape(len(images), -1).argmax(1)


def test_host_changes_differ_between_epochs_but_not_between_runs():
    fields = config(augment_host=('d4',))
    first = corners(take(50, make(), fields, seed=0))
    rows = indices(take(50, make(), fields, seed=0))
    assert set(first) == {1, 2, 4, 7, 8, 11, 13, 14}
    for row in range(21):
        assert len(set(first[rows == row])) > 1
    np.testing.assert_array_equal(first, corners(take(50, make(), fields, seed=0)))


def test_only_copies_of_a_skewed_set_are_turned():
    records = balance.skew(make(), 'ruler', 3)
    batches = take(60, records, config(), seed=0)
    copies = records.columns['copy'][indices(batches)] == 1
    places = corners(batches)
    assert set(places[~copies]) == {1}
    assert len(set(places[copies])) == 8


@pytest.mark.parametrize('threads', [0, 2])
def test_an_unreadable_image_names_its_row(threads):
    with pytest.raises(ValueError, match=r'id13: img/x\.jpg: the file is empty'):
        take(3, make(broken=(13,)), config(threads=threads), seed=0)
    with pytest.raises(
        ValueError, match=r'id0: expected an image of \(4, 4, 3\), found \(5, 5, 3\)'
    ):
        everything(make(1, size=5), config())


@pytest.mark.parametrize(
    ('records', 'fields', 'options', 'message'),
    [
        (make(0), {}, {}, 'there are no rows'),
        (make(), {}, {'process_count': 3}, 'batch_size=8 cannot be shared by 3 processes'),
        (make(), {'sampling': 'groups'}, {}, "sampling='groups' is unknown.*mean 'group'"),
        (make(), {'sampling': 'group', 'bias': ('x',)}, {}, "bias variable 'x' is absent"),
        (make(5).select(np.array([4])), {'sampling': 'group', 'bias': ('ruler',)}, {}, 'unknown'),
        (make(), {'augment_host': ('d3',)}, {}, "augmentation 'd3' is unknown"),
    ],
)
def test_errors(records, fields, options, message):
    with pytest.raises(ValueError, match=message):
        train_batches(records, config(**fields), seed=0, **options)


ABANDONED = """
from test_pipeline import config, make, take, train_batches
batches = train_batches(make(), config(), seed=0)
next(batches)
failing = train_batches(make(broken=(13,)), config(), seed=0)
try:
    for _ in range(9): next(failing)
except ValueError as error:
    print(error)
"""


def test_an_abandoned_iterator_ends_with_the_program():
    here = __file__.rpartition('/')[0]
    done = subprocess.run(
        [
            sys.executable,
            '-W',
            'error',
            '-c',
            f'import sys; sys.path.insert(0, {here!r})' + ABANDONED,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        'id13: img/x.jpg: the file is empty\n',
        '',
    )
