import dataclasses

import numpy as np
import pytest

from skinjax.data.records import Records, concatenate, present


def small(n=4, first=0):
    """Records of constant images: row k is filled with first + k."""
    reads = []

    def read(row):
        reads.append(row)
        return {'image': np.full((8, 8, 3), first + row, np.uint8)}

    names = np.array([f'r{first + k}' for k in range(n)])
    found = Records(
        names,
        np.arange(n, dtype=np.int32) % 2,
        {'ruler': np.arange(n, dtype=np.int32) % 3 - 1},
        names,
        read,
        {'age': np.arange(first, first + n)},
    )
    return found, reads


def test_select():
    found = small()[0].select(np.array([3, 1, 1]))
    assert found.ids.tolist() == ['r3', 'r1', 'r1']
    assert found.bias['ruler'].tolist() == [-1, 0, 0]
    assert found.columns['age'].tolist() == [3, 1, 1]
    assert found.read(0)['image'][0, 0, 0] == 3
    assert small()[0].select(np.array([True, False, False, True])).ids.tolist() == ['r0', 'r3']


def test_cached_reads_once_and_selections_share():
    found, reads = small()
    found = found.cached()
    again = found.select(np.array([2, 2, 0]))
    for _ in range(3):
        assert [int(again.read(row)['image'][0, 0, 0]) for row in range(3)] == [2, 2, 0]
    found.read(2).pop('image')
    assert found.read(2)['image'][0, 0, 0] == 2
    assert reads == [2, 0]
    with pytest.raises(ValueError, match='read-only'):
        found.read(0)['image'][:] = 0


def test_concatenate():
    first = small(3)[0]
    second = dataclasses.replace(small(2, first=3)[0], columns={})
    both = concatenate([first, second])
    assert both.ids.tolist() == ['r0', 'r1', 'r2', 'r3', 'r4']
    assert both.labels.tolist() == [0, 1, 0, 0, 1]
    assert [int(both.read(row)['image'][0, 0, 0]) for row in range(5)] == [0, 1, 2, 3, 4]
    assert both.columns == {}
    assert both.bias['ruler'].tolist() == [-1, 0, 1, -1, 0]


def test_flagged():
    cells = {'n': np.array([0, 1, 5, -1]), 'text': np.array(['', '1', '0', 'yes'])}
    cells |= {'float': np.array([np.nan, 1.0, 0.0, 2.0]), 'view': np.array(['a', 'b', '1.0', 'No'])}
    found = dataclasses.replace(small()[0], columns=cells)
    assert found.flagged('n').tolist() == [False, True, True, False]
    assert found.flagged('text').tolist() == [False, True, False, True]
    assert found.flagged('float').tolist() == [False, True, False, True]
    assert found.flagged('view').tolist() == [False, False, True, False]
    assert found.flagged('absent').tolist() == [False] * 4
    assert found.select(np.array([], int)).flagged('n').tolist() == []


@pytest.mark.parametrize(
    ('values', 'found'),
    [
        (('absent', 'present'), 1),
        (('no', 'yes'), 1),
        (('0', '1'), 1),
        (('no ruler', 'ruler'), 1),
        (('without a ruler', 'of paper'), 1),
        (('dense', 'none'), 0),  # as sources sort them
        (('ruler', 'without'), 0),
        (('True', 'False'), 0),
        (('other', 'ruler'), 1),
        (('left', 'right'), None),
        (('none', 'no ruler'), None),
        (('dense', 'none', 'short'), None),
        ((), None),
    ],
)
def test_which_value_says_that_something_is_there(values, found):
    assert present('ruler', values) == found
