"""Means of images measured one by one, and their table."""

import numpy as np
import pytest

from skinjax import per_image
from skinjax.data.records import DataSet, Records
from skinjax.pictures import PREDICTED, TRUE, outlined


def test_the_mean_leaves_out_what_is_not_defined_and_its_interval_has_the_right_width():
    rng = np.random.default_rng(0)
    values = rng.normal(0.7, 0.1, 400)
    values[::5] = np.nan
    known = values[~np.isnan(values)]
    found = per_image.mean(values, np.arange(400), 2000)
    assert found['value'] == pytest.approx(known.mean())
    half = 1.96 * known.std() / np.sqrt(len(known))
    assert found['high'] - found['value'] == pytest.approx(half, rel=0.1)
    assert found['value'] - found['low'] == pytest.approx(half, rel=0.1)
    assert np.isnan(per_image.mean(np.full(3, np.nan), np.arange(3), 10)['value'])
    assert np.isnan(per_image.mean(values, np.arange(400), 0)['low'])


def test_images_of_one_lesion_are_drawn_together():
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(0.7, 0.1, 50), 4)
    widths = []
    for groups in (np.arange(200), np.repeat(np.arange(50), 4)):
        found = per_image.mean(values, groups, 2000)
        widths.append(found['high'] - found['low'])
    assert widths[1] == pytest.approx(2 * widths[0], rel=0.15)


def test_means_by_the_values_of_a_variable():
    values = {'jaccard': np.array([0.2, 0.4, 0.9, np.nan, 0.5])}
    codes = np.array([0, 0, 1, 1, -1])
    found = per_image.by_variable(values, codes, ('no', 'yes', 'never'), np.arange(5), 10)
    assert found['unknown'] == 1
    assert {name: block['count'] for name, block in found['values'].items()} == {
        'no': 2,
        'yes': 2,
        'never': 0,
    }
    assert found['values']['no']['jaccard']['value'] == pytest.approx(0.3)
    assert found['values']['yes']['jaccard']['value'] == 0.9
    assert np.isnan(found['values']['never']['jaccard']['value'])


def test_the_table(tmp_path):
    ids, codes = np.array(['a', 'b,c']), {'ruler': np.array([1, -1], np.int32)}
    records = Records(ids, np.array([1, 0], np.int32), codes, ids, lambda row: {})
    data = DataSet('made', ('nevus', 'melanoma'), {'ruler': ('no', 'yes')}, {'test': records})
    columns = {'jaccard': np.array([1 / 3, np.nan]), 'left_out': np.array(['', 'no mask'])}
    per_image.write_csv(tmp_path / 't.csv', data, records, columns)
    assert (tmp_path / 't.csv').read_text() == (
        'id,label,jaccard,left_out,ruler\na,melanoma,0.333333,,yes\n"b,c",nevus,,no mask,\n'
    )


def test_outlines_are_drawn_on_a_copy():
    image = np.zeros((40, 40, 3), np.uint8)
    truth, predicted = np.zeros((2, 40, 40), bool)
    truth[5:20, 5:20] = True
    predicted[25:35, 25:35] = True
    drawn = outlined(image, truth, predicted)
    assert not image.any() and not drawn[12, 12].any()
    assert tuple(drawn[5, 10]) == TRUE and tuple(drawn[25, 30]) == PREDICTED
    np.testing.assert_array_equal(outlined(image, truth & False, truth & False), image)
