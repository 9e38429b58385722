"""The look at every image, and the counts made of it."""

import dataclasses
import itertools
from collections import Counter

import numpy as np

from skinjax.data import counts, survey
from skinjax.data.records import UNKNOWN, DataSet, Records, concatenate
from tests.helpers import tiny_data


def records(images: list[np.ndarray], labels: list[int] | None = None) -> Records:
    n = len(images)
    ids = np.array([f'row-{i}' for i in range(n)])
    own = np.array(labels or [0] * n, np.int32)
    return Records(ids, own, {}, ids, lambda row: {'image': images[row]})


def blank(value: int, size: int = 8) -> np.ndarray:
    return np.full((size, size, 3), value, np.uint8)


def test_images_without_contrast_are_alike_only_if_they_are_equal():
    some = records([blank(10), blank(20), blank(10), blank(10)])
    found = survey.survey(some, 1, 8, np.ones(4, bool), threads=3)
    splits = np.array(['train', 'train', 'test', 'plain'])
    pairs = survey.alike(found, splits, some.groups, 8, 0.96)
    assert [(p.one, p.other, p.kind, p.leak) for p in pairs] == [
        (0, 2, 'pixels', True),
        (0, 3, 'pixels', True),
    ]
    # Two splits that are only reported on share what they like.
    pairs = survey.alike(found, np.array(['a', 'a', 'b', 'c']), some.groups, 8, 0.96)
    assert [p.leak for p in pairs] == [False, False]


def test_what_cannot_be_read_is_noted_and_left_out_of_the_sums():
    def read(row: int) -> dict[str, np.ndarray]:
        if row == 1:
            raise FileNotFoundError('a.png: no such image')
        return {'image': blank(51 * row, 8 if row < 3 else 9)}

    ids = np.array(list('abcd'))
    some = Records(ids, np.array([0, 0, 1, 1], np.int32), {}, ids, read)
    told: list[int] = []
    found = survey.survey(some, 3, 8, np.array([True] * 4), 2, told.append)
    assert found.errors.tolist() == [
        '', 'a.png: no such image', '', 'the image has shape (9, 9, 3), not 8 x 8',
    ]  # fmt: skip
    assert found.missing.tolist() == [False, True, False, False] and told == [1, 2, 3, 4]
    assert found.class_counts.tolist() == [1, 1, 0] and not found.class_means[2].any()
    np.testing.assert_allclose(found.class_means[1], 102)
    np.testing.assert_allclose(found.mean, 0.2)
    np.testing.assert_allclose(found.std, 0.2)
    empty = survey.survey(some, 3, 8, np.zeros(4, bool))
    assert not empty.mean.any() and not empty.std.any()


def test_counts_by_value_agree_with_counting_one_by_one():
    data = tiny_data(50)
    pool = concatenate([*data.splits.values()])
    splits = np.repeat([*data.splits], 50)
    codes = pool.bias['camera'].copy()
    codes[::7] = UNKNOWN
    variable = counts.Variable('bias', data.bias['camera'], codes)
    found = counts.by_value(variable, pool.labels, splits, data.classes)['splits']
    slow = Counter(zip(splits.tolist(), codes.tolist(), pool.labels.tolist(), strict=True))
    for split, (v, value), (k, name) in itertools.product(
        data.splits, enumerate(variable.values), enumerate(data.classes)
    ):
        assert found[split]['values'][value][name] == slow[split, v, k]
    for split in data.splits:
        assert found[split]['unknown'] == sum(slow[split, UNKNOWN, k] for k in (0, 1))
    unknown = counts.Variable('bias', ('a',), np.full(150, UNKNOWN))
    found = counts.by_value(unknown, pool.labels, splits, data.classes)['splits']
    assert [block['association'] for block in found.values()] == [None] * 3
    by_class = counts.by_class(pool.labels, splits, data.classes)
    assert sum(by_class['val'].values()) == 50


def test_variables_are_bias_files_and_columns_of_few_values():
    some = records([blank(i) for i in range(15)], [i % 2 for i in range(15)])
    columns = {
        'site': np.array(['arm', 'leg', '', 'nan', 'arm'] * 3),
        'age': np.arange(15),  # too many values
        'year': np.array(['2017'] * 15),  # one value says nothing
    }
    some = dataclasses.replace(some, columns=columns, bias={'ruler': some.labels})
    data = DataSet('made', ('a', 'b'), {'ruler': ('no', 'yes')}, {'test': some})
    found = survey.survey(some, 2, 8, np.ones(15, bool))
    shapes = np.array([[600, 450]] * 8 + [[1024, 768]] * 6 + [[0, 0]])
    found = dataclasses.replace(found, shapes=shapes)
    made = counts.variables(data, some, found)
    assert {name: one.kind for name, one in made.items()} == {
        'ruler': 'bias', 'image size': 'file', 'site': 'column',
    }  # fmt: skip
    assert made['site'].values == ('arm', 'leg')
    assert made['site'].codes.tolist() == [0, 1, UNKNOWN, UNKNOWN, 0] * 3
    assert made['image size'].values == ('1024 x 768', '600 x 450')
    assert made['image size'].codes.tolist() == [1] * 8 + [0] * 6 + [UNKNOWN]
    between = counts.between(made, np.ones(15, bool))
    assert [(one, [*others]) for one, others in between.items()] == [
        ('ruler', ['image size', 'site']), ('image size', ['site']),
    ]  # fmt: skip
