"""Switched predictions by hand: counts, F1, McNemar, intervals that are paired."""

import numpy as np
import pytest

from skinjax.audits import switch_tables, switches
from skinjax.audits.switches import Called
from skinjax.predictions import Predictions

CLASSES = ('benign', 'malignant')


def table(labels, scores) -> Predictions:
    ids = np.arange(len(labels)).astype(str)
    return Predictions(ids, np.array(labels), np.array(scores, float))


def called(name: str, labels, clean, *masks, **more) -> Called:
    biased = {'frame': [table(labels, mask) for mask in masks]} | more
    return Called(name, 0.5, table(labels, clean), biased)


def test_one_mask_by_hand():
    # The two images of the insertion test: (.1, .6) -> (.89, .4).
    one = called('a', [0, 1], [0.1, 0.6], [0.89, 0.4])
    row = switches.mask_row(one, 'frame', 0, CLASSES)
    assert row['mean_abs'] == pytest.approx(49.5) and row['max_abs'] == pytest.approx(79)
    assert (row['switched'], row['from benign'], row['from malignant']) == (2, 1, 1)
    assert (row['of benign'], row['of malignant']) == (1, 1)
    assert (row['f1_clean'], row['f1_biased']) == (1, 0)
    assert (row['lost'], row['won'], row['mcnemar_p']) == (2, 0, 0.5)
    assert row['mean_abs of benign'] == row['max_abs of benign'] == pytest.approx(79)
    assert row['mean_abs of malignant'] == pytest.approx(20)
    assert (row['mean'], row['median'], row['min']) == pytest.approx((29.5, 29.5, -20))
    assert [row[f'{name} of malignant'] for name in ('mean', 'median', 'min')] == [row['min']] * 3


def test_precision_and_recall_of_one_mask():
    one = called('a', [0, 0, 1, 1], [0.1, 0.9, 0.9, 0.9], [0.1, 0.1, 0.1, 0.9])
    row = switches.mask_row(one, 'frame', 0, CLASSES)
    assert (row['precision_clean'], row['recall_clean']) == (pytest.approx(2 / 3), 1)
    assert (row['precision_biased'], row['recall_biased']) == (1, 0.5)
    assert (row['mean_abs of benign'], row['max_abs of benign']) == pytest.approx((40, 80))
    alone = called('a', [1, 1], [0.9, 0.8], [0.1, 0.8])
    row = switches.mask_row(alone, 'frame', 0, CLASSES)
    assert np.isnan(row['mean_abs of benign']) and row['max_abs of malignant'] == pytest.approx(80)


def test_switches_by_call_and_by_label_differ():
    one = called('a', [0, 0, 1, 1], [0.9, 0.1, 0.1, 0.9], [0.1, 0.1, 0.9, 0.9])
    row = switches.mask_row(one, 'frame', 0, CLASSES)
    assert (row['from benign'], row['from malignant']) == (1, 1)
    assert (row['of benign'], row['of malignant']) == (1, 1)
    assert (row['won'], row['lost'], row['f1_clean'], row['f1_biased']) == (2, 0, 0.5, 1)
    turned = called('a', [0, 0, 1, 1], [0.9, 0.9, 0.1, 0.9], [0.1, 0.1, 0.1, 0.9])
    row = switches.mask_row(turned, 'frame', 0, CLASSES)
    assert (row['from malignant'], row['of benign'], row['of malignant']) == (2, 2, 0)


def test_more_than_two_classes():
    scores = np.eye(3)[[0, 1, 2, 2]] * 0.6 + 0.1
    moved = np.eye(3)[[0, 1, 1, 2]] * 0.6 + 0.1
    labels = [0, 1, 2, 2]
    one = Called('a', 0.5, table(labels, scores), {'hair': [table(labels, moved)]})
    row = switches.mask_row(one, 'hair', 0, ('a', 'b', 'c'))
    assert (row['switched'], row['from c'], row['of c'], row['of b']) == (1, 1, 1, 0)
    assert row['mean_abs'] == pytest.approx(15) and row['mean'] == pytest.approx(-15)
    assert row['f1_biased'] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
    assert row['precision_biased'] == row['recall_biased'] == pytest.approx((1 + 0.5 + 1) / 3)
    assert (row['mean_abs of c'], row['max_abs of c']) == pytest.approx((30, 60))
    assert row['mean_abs of a'] == row['median'] == 0 and row['min'] == pytest.approx(-60)


def test_mcnemar_and_its_combination():
    assert switches.mcnemar(0, 0) == 1
    assert switches.mcnemar(1, 9) == pytest.approx(2 * 11 / 2**10)
    assert switches.combined([0.03]) == 0.03
    assert switches.combined([0.5, 0.01]) == pytest.approx(0.02)
    assert switches.combined([0.9, 0.01, 0.02, 0.03, 0.8]) == pytest.approx(5 / 3 * 0.03)
    assert switches.combined([0.9, 0.8, 0.7]) == 1


def test_combined_p_values_are_no_smaller_than_they_may_be():
    # Five tests of which every one is true: at most 5 % of the combinations are below 5 %.
    rng = np.random.default_rng(0)
    shared = rng.uniform(size=4000)
    alone = np.array([switches.combined(p) for p in rng.uniform(size=(4000, 5)).tolist()])
    alike = np.array([switches.combined([p] * 5) for p in shared.tolist()])
    assert (alone < 0.05).mean() < 0.055 and (alike < 0.05).mean() < 0.055


def simulated(name: str, rate: float, seed: int, masks: int = 3, n: int = 200) -> Called:
    """A classifier that is always right, and changes its mind at a rate."""
    labels = np.arange(n) % 2
    rng = np.random.default_rng(seed)
    clean = np.where(labels == 1, 0.9, 0.1)
    turned = [np.where(rng.random(n) < rate, 1 - clean, clean) for _ in range(masks)]
    return called(name, labels, clean, *turned)


def summary(calls, groups, resamples):
    return switches.summary(
        calls, switches.mask_rows(calls, CLASSES), groups, CLASSES, resamples, 0
    )


def test_summary_of_two_classifiers():
    calls = [simulated('real', 0.05, 0), simulated('made', 0.3, 1)]
    groups = np.repeat(np.arange(100), 2).astype(str)
    first, second = summary(calls, groups, 500)
    counts = [switches.mask_row(calls[1], 'frame', k, CLASSES)['switched'] for k in range(3)]
    assert second['switched_images'] == pytest.approx(np.mean(counts))
    assert second['switched']['value'] == pytest.approx(np.mean(counts) / 200)
    assert second['switched_sd'] == pytest.approx(np.std(counts, ddof=1))
    # Every switch is one of 80 points.
    assert second['mean_abs'] == pytest.approx(80 * np.mean(counts) / 200)
    assert second['mean_abs_sd'] == pytest.approx(80 * np.std(counts, ddof=1) / 200)
    assert second['switched']['low'] < second['switched']['value'] < second['switched']['high']
    assert first['more'] == {'value': 0, 'low': 0, 'high': 0}
    difference = second['switched']['value'] - first['switched']['value']
    assert second['more']['value'] == pytest.approx(difference)
    assert 0.15 < second['more']['low'] < second['more']['high'] < 0.35
    assert second['f1_clean'] == {'value': 1, 'low': 1, 'high': 1}
    assert second['f1_change']['value'] == pytest.approx(second['f1_biased']['value'] - 1)
    assert second['p'] < 1e-6 and second['p'] <= second['q']
    by_class = second['by_class']
    assert by_class['benign']['called'] == by_class['benign']['are'] == 100
    assert by_class['malignant']['max_abs'] == pytest.approx(80)
    each = [block['mean_abs'] for block in by_class.values()]  # of 100 images of either class
    assert np.mean(each) == pytest.approx(second['mean_abs'])
    total = sum(block['switched_from'] for block in by_class.values())
    assert total == pytest.approx(second['switched_images'])
    again = summary(calls, groups, 500)
    assert again[1]['switched'] == second['switched']


def test_identity_changes_nothing():
    labels, scores = np.arange(20) % 2, np.linspace(0, 1, 20)
    one = called('a', labels, scores, scores, scores)
    (row,) = summary([one], labels.astype(str), 100)
    assert row['switched'] == row['f1_change'] == {'value': 0, 'low': 0, 'high': 0}
    assert row['p'] == row['q'] == 1 and row['switched_sd'] == 0
    assert row['mean_abs'] == row['mean_abs_sd'] == 0


def test_tables_have_a_row_for_each_artefact_and_classifier():
    calls = [simulated('real', 0.05, 0, 1), simulated('made', 0.3, 1, 1)]
    found = summary(calls, np.arange(200).astype(str), 0)
    whole, by_class = switch_tables.tables(found)
    assert [row[:2] for row in whole.rows] == [['frame', 'real'], ['frame', 'made']]
    assert whole.rows[0][whole.header.index("more than 'real'")] is None
    assert len(by_class.rows) == 4
    for one in (whole, by_class):
        assert all(len(row) == len(one.header) for row in one.rows)
    assert whole.rows[1][whole.header.index('mean shift')] == found[1]['mean_abs']
    assert by_class.rows[3][by_class.header.index('largest')] == pytest.approx(80)
