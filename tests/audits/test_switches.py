"""Switched predictions by hand: counts, F1, McNemar, intervals that are paired."""

import numpy as np
import pytest

from skinjax.auditing import paired, switch_summary, switch_tables, switches
from skinjax.auditing.switches import Called
from skinjax.bootstrap import proportion
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
    assert (row['lost'], row['won'], row['right_p']) == (2, 0, 0.5)
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


def test_one_patient_whose_calls_all_switch_proves_nothing():
    """Ten patients of ten images; of one of them all ten turn: p is 1, not McNemar's .002."""
    groups = np.repeat(np.arange(10), 10).astype(str)
    labels = np.arange(100) % 2
    clean = np.full(100, 0.1)
    one = called('a', labels, clean, np.where(groups == '3', 0.9, clean))
    assert switches.mask_row(one, 'frame', 0, CLASSES)['calls_p'] == pytest.approx(2 / 2**10)
    (row,) = switches.mask_rows([one], CLASSES, groups)
    assert row['calls_p'] == row['right_p'] == 1
    six = np.isin(groups, ['0', '1', '2', '3', '4', '5'])
    one = called('a', labels, clean, np.where(six, 0.9, clean))
    (row,) = switches.mask_rows([one], CLASSES, groups)
    assert row['calls_p'] == pytest.approx(2 / 2**6)


def test_calls_that_turn_one_way_are_told_from_those_that_turn_both_ways():
    # One image of ten of either class: as many turn right as wrong, all to the same class.
    was, now = np.zeros(20, int), np.repeat([0, 1], 10)
    assert paired.symmetry(was, now, 2, np.arange(20)) == pytest.approx(2 / 2**10)
    assert paired.symmetry(np.array([0, 1]), np.array([1, 0]), 2, np.arange(2)) == 1
    labels, clean = np.repeat([0, 1], 10), np.full(20, 0.1)
    one = called('a', labels, clean, np.full(20, 0.9))
    row = switches.mask_row(one, 'frame', 0, CLASSES)
    assert (row['lost'], row['won'], row['right_p']) == (10, 10, 1)
    assert row['calls_p'] == pytest.approx(2 / 2**20)


def simulated(name: str, rate: float, seed: int, masks: int = 3, n: int = 200) -> Called:
    """A classifier that is always right, and changes its mind at a rate."""
    labels = np.arange(n) % 2
    rng = np.random.default_rng(seed)
    clean = np.where(labels == 1, 0.9, 0.1)
    turned = [np.where(rng.random(n) < rate, 1 - clean, clean) for _ in range(masks)]
    return called(name, labels, clean, *turned)


def summary(calls, groups, resamples):
    return switch_summary.summary(
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
    assert second['mean_abs']['value'] == pytest.approx(80 * np.mean(counts) / 200)
    assert second['mean_abs_sd'] == pytest.approx(80 * np.std(counts, ddof=1) / 200)
    assert second['switched']['low'] < second['switched']['value'] < second['switched']['high']
    assert first['more']['value'] == 0 and np.isnan(first['more']['low'])
    difference = second['switched']['value'] - first['switched']['value']
    assert second['more']['value'] == pytest.approx(difference)
    assert 0.15 < second['more']['low'] < second['more']['high'] < 0.35
    assert second['f1_clean']['value'] == 1 and np.isnan(second['f1_clean']['low'])
    assert second['f1_change']['value'] == pytest.approx(second['f1_biased']['value'] - 1)
    assert second['p'] < 1e-6 and second['p'] <= second['q']
    by_class = second['by_class']
    assert by_class['benign']['called'] == by_class['benign']['are'] == 100
    assert by_class['malignant']['max_abs'] == pytest.approx(80)
    each = [block['mean_abs'] for block in by_class.values()]  # of 100 images of either class
    assert np.mean(each) == pytest.approx(second['mean_abs']['value'])
    total = sum(block['switched_from'] for block in by_class.values())
    assert total == pytest.approx(second['switched_images'])
    again = summary(calls, groups, 500)
    assert again[1]['switched'] == second['switched']


def test_summary_of_precision_recall_and_shifts_over_the_masks():
    labels, rng = np.arange(200) % 2, np.random.default_rng(1)
    clean = np.where(labels == 1, 0.9, 0.1)
    noise = [rng.normal(0, scale, 200) for scale in (0.2, 0.4, 0.6)]
    calls = [called('made', labels, clean, *(np.clip(clean + one, 0.05, 0.95) for one in noise))]
    (row,) = summary(calls, np.arange(200).astype(str), 100)
    masks = switches.mask_rows(calls, CLASSES)
    for name in ('precision', 'recall', 'f1'):
        values = [mask[f'{name}_biased'] for mask in masks]
        assert row[f'{name}_clean']['value'] == 1
        assert row[f'{name}_biased']['value'] == pytest.approx(np.mean(values))
        assert row[f'{name}_biased']['low'] < np.mean(values) < row[f'{name}_biased']['high']
        assert row[f'{name}_change']['value'] == pytest.approx(np.mean(values) - 1)
        assert row[f'{name}_sd'] == pytest.approx(np.std(values, ddof=1))
    for block, of in ((row['shifts'], ''), (row['by_class']['benign'], ' of benign')):
        for name, over in (('mean', np.mean), ('median', np.mean), ('min', min), ('max_abs', max)):
            assert block[name] == pytest.approx(over([mask[name + of] for mask in masks]))


def test_identity_changes_nothing():
    labels, scores = np.arange(20) % 2, np.linspace(0, 1, 20)
    one = called('a', labels, scores, scores, scores)
    (row,) = summary([one], labels.astype(str), 100)
    assert row['switched']['value'] == row['f1_change']['value'] == row['mean_abs']['value'] == 0
    assert row['p'] == row['q'] == 1 and row['switched_sd'] == row['mean_abs_sd'] == 0
    assert np.isnan(row['mean_abs']['low']) and np.isnan(row['f1_change']['high'])


@pytest.mark.parametrize('rate', [0, 1])
def test_none_and_all_have_an_interval_of_some_width(rate):
    one = simulated('a', rate, 0, n=40)
    (row,) = summary([one], np.arange(40).astype(str), 100)
    assert row['switched'] == proportion(40 * rate, 40)
    (row,) = summary([one], (np.arange(40) // 4).astype(str), 100)  # ten lesions, not 40 images
    assert row['switched'] == proportion(10 * rate, 10)
    assert row['switched']['high'] - row['switched']['low'] > 0.25


def test_a_share_that_follows_the_class_has_an_interval_of_some_width():
    """All of 14 melanomas and none of 6 nevi switch: other images would have other shares."""
    labels = np.arange(20) >= 6
    one = called('a', labels.astype(int), np.full(20, 0.9), np.where(labels, 0.1, 0.9))
    (row,) = summary([one], np.arange(20).astype(str), 500)
    assert row['switched']['value'] == 0.7
    assert 0.4 < row['switched']['low'] < 0.6 and 0.8 < row['switched']['high'] < 1
    assert row['mean_abs']['low'] < 50 and row['mean_abs']['high'] > 60


def test_tables_have_a_row_for_each_artefact_and_classifier():
    calls = [simulated('real', 0.05, 0, 1), simulated('made', 0.3, 1, 1)]
    found = summary(calls, np.arange(200).astype(str), 0)
    whole, quality, by_class = switch_tables.tables(found)
    assert [row[:2] for row in whole.rows] == [['frame', 'real'], ['frame', 'made']]
    assert whole.rows[0][whole.header.index("more than 'real'")] is None
    assert len(by_class.rows) == 4
    assert quality.rows[1][quality.header.index('F1 after')] == found[1]['f1_biased']
    assert quality.rows[1][quality.header.index('precision sd')] is found[1]['precision_sd']
    for one in (whole, quality, by_class):
        assert all(len(row) == len(one.header) for row in one.rows)
    assert whole.rows[1][whole.header.index('mean shift')] == found[1]['mean_abs']
    assert whole.rows[1][whole.header.index('least')] == found[1]['shifts']['min']
    assert by_class.rows[3][by_class.header.index('largest')] == pytest.approx(80)
