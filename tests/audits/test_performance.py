"""Gaps between groups of one diagnosis, and what features know beyond it."""

import numpy as np
import pytest

from skinjax.audits import leakage, performance
from skinjax.audits.flags import Flags
from skinjax.bootstrap import proportion
from skinjax.predictions import Predictions
from tests.audits.toys import CLASSES, striped


def test_the_difference_of_two_proportions():
    """Newcombe 1998, table II, (a) and (g), method 10."""
    found = performance.difference(proportion(56, 70), proportion(48, 80))
    assert found['value'] == pytest.approx(0.2)
    assert (found['low'], found['high']) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    found = performance.difference(proportion(10, 10), proportion(0, 10))
    assert (found['low'], found['high']) == pytest.approx((0.6075, 1.0), abs=5e-5)


def test_gaps_compare_the_same_diagnosis():
    labels = np.repeat([0, 1], 40).astype(np.int32)
    site = np.tile([0, 1], 40)
    rare = np.where(np.arange(80) < 5, 1, 0)
    wrong = (labels == 1) & (site == 1) & (np.arange(80) % 4 != 1)  # half of 20
    scores = np.where(wrong, 1 - labels, labels) / 1.0
    table = Predictions(np.arange(80).astype(str), labels, scores)
    names = {'site': ('arm', 'back'), 'rare': ('no', 'yes')}
    flags = Flags({'site': site, 'rare': rare}, names)
    rows = performance.gaps(table, flags, CLASSES, 0.5)
    assert {(row['flag'], row['class']) for row in rows} == {
        ('site', 'nevus'),
        ('site', 'melanoma'),
    }
    nevus, melanoma = rows
    assert nevus['gap']['value'] == 0 and nevus['p'] == 1
    assert melanoma['gap']['value'] == 0.5 and melanoma['q'] < 0.01
    assert (melanoma['worst']['value'], melanoma['best']['value']) == ('back', 'arm')
    assert melanoma['worst']['accuracy'] == proportion(10, 20)
    three = Flags({'site': site + (np.arange(80) % 4 == 3)}, {'site': ('arm', 'back', 'leg')})
    rows = performance.gaps(table, three, CLASSES, 0.5)
    assert rows[1]['worst']['value'] == 'leg' and rows[1]['gap']['value'] == 1


def test_what_the_diagnosis_alone_tells():
    labels = np.tile([0, 1], 30).astype(np.int32)
    groups = np.arange(60)
    same = leakage.by_label(labels, labels, groups)
    assert same is not None and same['value'] == same['low'] == 1
    free = leakage.by_label(labels, np.repeat([0, 1], 30), groups)
    assert free is not None and free['value'] == 0.5
    known = np.where(np.arange(60) < 4, 2, np.where(np.arange(60) < 20, -1, labels))
    most = leakage.by_label(labels, known, groups)
    assert most is not None and most['value'] == pytest.approx((2 * 23 / 24 + 0.5) / 3)
    assert leakage.by_label(np.zeros(60, np.int32), labels, groups) is None
    assert leakage.by_label(labels, np.zeros(60, int), groups) is None


def test_probes_of_flags_and_of_the_diagnosis(tmp_path):
    records = striped(80)
    rng = np.random.default_rng(0)
    features = rng.standard_normal((80, 3)).astype(np.float32)
    features[:, 0] = records.bias['ruler']
    flags = Flags(dict(records.bias), {'ruler': ('no', 'yes')})
    leaks = leakage.leaked(features, records, flags, ('linear',), 2)
    assert [*leaks['variables']] == ['diagnosis', 'ruler'] and leaks['reason'] is None
    ruler, diagnosis = leaks['variables']['ruler'], leaks['variables']['diagnosis']
    assert ruler['linear']['auc'] == 1 and ruler['by_diagnosis']['value'] == 0.5
    assert diagnosis['linear']['auc'] < 0.7 and diagnosis['by_diagnosis'] is None
    (section,) = leakage.sections(leaks, 'test', tmp_path)
    assert [row[0] for row in section.tables[0].rows] == ['diagnosis', 'ruler']
    assert (tmp_path / 'figures' / 'leaks.png').exists()
    (section,) = leakage.sections(leakage.leaked(None, records, flags, ('mlp',), 2), 't', tmp_path)
    assert 'gives no features' in section.text and not section.tables
