"""What the history of a run tells about images whose label is wrong."""

import csv
import dataclasses
from typing import Any

import numpy as np
import pytest

from skinjax.objectives import history
from tests.objectives.made import made_data

COUNTS: dict[str, Any] = {
    # Rows 0 and 5 have a wrong label; the last row was never in a batch.
    'seen': np.array([4, 4, 4, 2, 2, 2, 2, 0]),
    'ranked': np.array([3, 3, 3, 1, 1, 1, 1, 0]),
    'chosen': np.array([3, 0, 2, 1, 0, 0, 1, 0]),
    'weight': np.array([7.0, 0, 4, 2, 0, 1, 2, 0]),
    'loss': np.arange(8.0),
}
FLIPPED = np.array([1, 0, 0, 0, 0, 1, 0, 0])


def lesions(columns=None):
    data = made_data((0, 0, 0, 0, 1, 1, 1, 1), (0, 1) * 4, (0, 1, 2, 0, 1, 2, 0, 1))
    image = np.full((4, 4, 3), 99, np.uint8)
    train = dataclasses.replace(
        data.splits['train'], columns=columns or {}, read=lambda row: {'image': image}
    )
    return dataclasses.replace(data, splits={**data.splits, 'train': train})


def told(**table):
    return history.findings(
        lesions({'flipped': FLIPPED}), {history.NAME: {**COUNTS, **table}}, {}, None
    )


def test_wrong_and_right_labels_by_hand():
    found = told().results['label_noise']
    assert set(found) == {'flipped', 'right'}
    wrong, right = found['flipped'], found['right']
    assert (wrong['images'], wrong['ranked'], right['images'], right['ranked']) == (2, 2, 6, 5)
    assert wrong['chosen'] == pytest.approx(3 / 4) and right['chosen'] == pytest.approx(4 / 9)
    assert (wrong['always_chosen'], wrong['never_chosen']) == (1, 1)
    assert (right['always_chosen'], right['never_chosen']) == (2, 2)
    assert wrong['mean_weight'] == pytest.approx(8 / 6)
    assert right['mean_weight'] == pytest.approx(8 / 14)
    assert wrong['share_seen'] == pytest.approx(6 / 20) and wrong['share'] == pytest.approx(1 / 2)


def test_where_nothing_was_decided_no_share_was_chosen():
    zero = np.zeros(8, int)
    found = told(ranked=zero, chosen=zero).results['label_noise']
    assert found['flipped']['chosen'] is None and found['right']['chosen'] is None


def test_the_table_of_images_marks_them():
    rows = list(csv.DictReader(str(told().files['weights_history.csv']).splitlines()))
    data = lesions()
    marked = {row['id'] for row in rows if row['flipped'] == '1'}
    assert marked == set(data.splits['train'].ids[[0, 5]].tolist())
    assert {row['flipped'] for row in rows} == {'0', '1'} and len(rows) == 8


def test_without_noise_there_is_no_such_column():
    found = history.findings(lesions(), {history.NAME: COUNTS}, {}, None)
    assert 'label_noise' not in found.results
    assert 'flipped' not in str(found.files['weights_history.csv']).splitlines()[0]
