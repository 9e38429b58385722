"""Worked values of every figure of merit, of the intervals, and of the prediction table."""

import json
import math
import time
from typing import Any

import jaxtyping
import numpy as np
import pytest
from sklearn import metrics as sk

from skinjax import bootstrap as boot
from skinjax import measures
from skinjax import metrics as m
from skinjax.predictions import Predictions

# Descending scores, with a tie between a negative and a positive:
#   .9 +   .8 -   .6 +   .6 -   .3 +   .1 -
LABELS = np.array([1, 0, 1, 0, 1, 0])
SCORES = np.array([0.9, 0.8, 0.6, 0.6, 0.3, 0.1])


@pytest.fixture
def unchecked(monkeypatch):
    """Without the checks of array shapes that only tests have, as users call the functions."""
    monkeypatch.setattr(jaxtyping.config, 'jaxtyping_disable', True)


def predictions(
    ids: Any, labels: Any, scores: Any, bias: Any = None, columns: Any = None
) -> Predictions:
    """A table from lists as well as arrays."""
    return Predictions(
        np.asarray(ids, str),
        np.asarray(labels, int),
        np.asarray(scores, float),
        {name: np.asarray(values) for name, values in (bias or {}).items()},
        {name: np.asarray(values) for name, values in (columns or {}).items()},
    )


def random_table(n=400, seed=0, ties=False):
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.3).astype(int)
    scores = 1 / (1 + np.exp(-(labels + rng.normal(size=n) - 0.5)))
    return labels, np.round(scores, 1) if ties else scores


def test_auc_by_hand():
    # Wins of the positives over the negatives .8 .6 .1: 3, then 0 + ½ + 1, then 1.
    assert measures.auc(LABELS, SCORES) == pytest.approx((3 + 1.5 + 1) / 9)


def test_roc_by_hand():
    fpr, tpr, thresholds = measures.roc(LABELS, SCORES)
    np.testing.assert_allclose(fpr * 3, [0, 0, 1, 2, 2, 3])
    np.testing.assert_allclose(tpr * 3, [0, 1, 1, 2, 3, 3])
    np.testing.assert_array_equal(thresholds, [np.inf, 0.9, 0.8, 0.6, 0.3, 0.1])


@pytest.mark.parametrize('ties', [False, True])
def test_auc_and_roc_agree_with_scikit_learn(ties):
    labels, scores = random_table(ties=ties)
    assert measures.auc(labels, scores) == pytest.approx(
        sk.roc_auc_score(labels, scores), abs=1e-12
    )
    expected = sk.roc_curve(labels, scores, drop_intermediate=False)
    for ours, theirs in zip(measures.roc(labels, scores), expected, strict=True):
        np.testing.assert_allclose(ours, theirs)


def test_auc_knows_only_the_order():
    labels, scores = random_table()
    for transform in (np.log, np.exp, lambda s: s**3, lambda s: 100 * s - 7):
        assert measures.auc(labels, transform(scores)) == measures.auc(labels, scores)
    assert measures.auc(labels, -scores) == pytest.approx(1 - measures.auc(labels, scores))


def test_one_class_is_nan_and_no_warning():
    assert math.isnan(measures.auc(np.ones(3, int), np.arange(3.0)))
    assert math.isnan(measures.specificity_at(np.ones(3, int), np.arange(3.0), 0.9))
    found = measures.at_threshold(np.ones(3, int), np.array([0.1, 0.6, 0.7]))
    assert found['sensitivity'] == pytest.approx(2 / 3)
    assert math.isnan(found['specificity'])


def test_counts_at_a_threshold_by_hand():
    # >= .6 calls .9 .8 .6 .6: two true, two false positives; a score equal to it is positive.
    found = measures.at_threshold(LABELS, SCORES, 0.6)
    expected = {
        'accuracy': 3 / 6,
        'sensitivity': 2 / 3,
        'specificity': 1 / 3,
        'precision': 2 / 4,
        'f1': 4 / 7,
    }
    assert found == pytest.approx(expected)
    assert measures.at_threshold(LABELS, SCORES, 2.0)['precision'] == 0


def test_specificity_at_the_first_threshold_that_reaches():
    assert measures.specificity_at(LABELS, SCORES, 1 / 3) == 1
    assert measures.specificity_at(LABELS, SCORES, 0.5) == pytest.approx(1 / 3)
    assert measures.specificity_at(LABELS, SCORES, 0.95) == pytest.approx(1 / 3)


def test_thresholds_by_rule():
    labels = np.array([1, 1, 1, 1, 0, 0, 0, 0])
    scores = np.array([0.9, 0.8, 0.7, 0.2, 0.6, 0.5, 0.1, 0.05])
    # Youden: .7 gives sensitivity ¾ and specificity 1; the next lower score is .6.
    assert measures.choose_threshold(labels, scores) == pytest.approx(0.65)
    # Sensitivity 0.9 needs all four positives: between .2 and .1.
    assert measures.choose_threshold(labels, scores, 'sensitivity=0.9') == pytest.approx(0.15)
    # ¾ and ¾ are equal at .6 (between .6 and .5).
    assert measures.choose_threshold(labels, scores, 'balanced') == pytest.approx(0.55)
    assert measures.choose_threshold(labels[:4], scores[:4], '0.3') == 0.3
    with pytest.raises(ValueError, match='both classes'):
        measures.choose_threshold(labels[:4], scores[:4])
    with pytest.raises(ValueError, match="'best'"):
        measures.choose_threshold(labels, scores, 'best')


@pytest.mark.parametrize('sensitivity', [0.5, 0.82, 0.95, 1.0])
def test_threshold_for_a_sensitivity_gives_specificity_at(sensitivity):
    labels, scores = random_table()
    threshold = measures.choose_threshold(labels, scores, f'sensitivity={sensitivity}')
    found = measures.at_threshold(labels, scores, threshold)
    assert found['sensitivity'] >= sensitivity
    assert found['specificity'] == pytest.approx(
        measures.specificity_at(labels, scores, sensitivity)
    )


def test_ece_by_hand():
    # Two bins: (.1, .3) with no event, |0 − .2|, and (.6, .9, .9) with two, |⅔ − .8|.
    labels, p = np.array([0, 0, 1, 0, 1]), np.array([0.1, 0.3, 0.6, 0.9, 0.9])
    assert measures.ece(labels, p, bins=2) == pytest.approx(2 / 5 * 0.2 + 3 / 5 * (0.8 - 2 / 3))
    assert measures.ece(labels, p[:, None], bins=2) == measures.ece(labels, p, bins=2)
    table = measures.reliability(labels, p, bins=2)
    np.testing.assert_array_equal(table['count'], [2, 3])
    np.testing.assert_allclose(table['frequency'], [0, 2 / 3])


def test_bins_are_closed_above_and_contain_both_ends():
    table = measures.reliability(np.zeros(4, int), np.array([0.0, 0.25, 0.5, 1.0]), bins=4)
    np.testing.assert_array_equal(table['count'], [2, 1, 0, 1])
    assert math.isnan(table['frequency'][2])


def test_ece_of_many_classes_asks_whether_the_top_class_is_right():
    labels = np.array([0, 1, 2, 2])
    p = np.array([[0.8, 0.1, 0.1], [0.8, 0.1, 0.1], [0.2, 0.2, 0.6], [0.2, 0.2, 0.6]])
    # Bin of .8: half right; bin of .6: all right.
    assert measures.ece(labels, p, bins=15) == pytest.approx(0.5 * 0.3 + 0.5 * 0.4)
    with pytest.raises(ValueError, match='sigmoid'):
        measures.ece(labels, 3 * p)


def test_brier_by_hand():
    labels, p = np.array([1, 0]), np.array([0.8, 0.4])
    assert measures.brier(labels, p) == pytest.approx((0.04 + 0.16) / 2)
    assert measures.brier(labels, np.stack([1 - p, p], 1)) == pytest.approx(0.04 + 0.16)


def test_mean_f1_is_not_the_f1_of_the_means():
    # Class 0: precision 1, recall ½; class 1: precision ½, recall 1.
    matrix = measures.confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
    each = measures.per_class(matrix)
    np.testing.assert_allclose(each['precision'], [1, 0.5])
    np.testing.assert_allclose(each['recall'], [0.5, 1])
    assert measures.class_means(matrix)['mean_f1'] == pytest.approx(2 / 3)


def test_published_confusion_of_isic_2017():
    """Rows melanoma, nevus, seborrheic keratosis (Bisla et al. 2019): .817 and .779."""
    means = measures.class_means(np.array([[83, 23, 11], [38, 338, 17], [6, 15, 69]]))
    assert means['accuracy'] == pytest.approx(490 / 600)
    assert means['balanced_accuracy'] == pytest.approx((83 / 117 + 338 / 393 + 69 / 90) / 3)
    assert round(float(means['balanced_accuracy']), 3) == 0.779


def test_means_over_classes_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    labels, called = rng.integers(0, 5, 60), rng.integers(0, 4, 60)
    means = measures.class_means(measures.confusion(labels, called, 5))
    options = {'average': 'macro', 'zero_division': 0}
    assert means['balanced_accuracy'] == pytest.approx(sk.balanced_accuracy_score(labels, called))
    assert means['mean_f1'] == pytest.approx(sk.f1_score(labels, called, **options))
    assert means['mean_precision'] == pytest.approx(sk.precision_score(labels, called, **options))


def test_a_class_without_rows_is_left_out_of_the_means():
    means = measures.class_means(np.array([[2, 0, 0], [1, 1, 0], [0, 0, 0]]))
    assert means['balanced_accuracy'] == pytest.approx(0.75)
    assert means['mean_precision'] == pytest.approx((2 / 3 + 1) / 2)


def test_softmax_and_logits_can_rank_differently():
    # Logit 2 of class 0 beats 1, but among larger rivals its probability is the lower one.
    labels = np.array([0, 1])
    logits = np.array([[2.0, 3.0, 3.0], [1.0, 0.0, 0.0]])
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert measures.one_vs_rest_aucs(labels, logits)[0] == 1
    assert measures.one_vs_rest_aucs(labels, softmax)[0] == 0


def test_one_vs_rest_agrees_with_scikit_learn():
    rng = np.random.default_rng(1)
    labels, scores = rng.integers(0, 3, 90), rng.dirichlet(np.ones(3), 90)
    expected = sk.roc_auc_score(labels, scores, multi_class='ovr', average=None)  # pyright: ignore[reportArgumentType]
    np.testing.assert_allclose(measures.one_vs_rest_aucs(labels, scores), expected)
    micro = sk.roc_auc_score(np.eye(3)[labels], scores, average='micro')
    assert measures.micro_auc(labels, scores) == pytest.approx(micro)


def test_ranks_inside_folds_undo_a_shift_between_models():
    labels, scores = random_table()
    folds = np.arange(len(labels)) % 4
    found = measures.fold_aucs(labels, scores + 10 * folds, folds)
    assert found['ranked'] == measures.fold_aucs(labels, scores, folds)['ranked']
    assert found['pooled'] < found['ranked'] - 0.05
    each = [measures.auc(labels[folds == k], scores[folds == k]) for k in range(4)]
    assert found['mean'] == pytest.approx(np.mean(each))
    ranks = measures.rank_within(np.array([5.0, 7, 7, 1]), np.array([0, 0, 0, 1]))
    np.testing.assert_allclose(ranks, [1 / 3, 2.5 / 3, 2.5 / 3, 1])


def test_insertion_by_hand():
    found = measures.insertion(np.array([0.1, 0.6]), np.array([0.89, 0.4]), np.array([0, 1]))
    assert found['mean_abs'] == pytest.approx(49.5)
    assert found['max_abs'] == pytest.approx(79)
    assert found['mean'] == pytest.approx(29.5)
    assert found['median'] == pytest.approx(29.5)
    assert found['min'] == pytest.approx(-20)
    assert (found['switched'], found['to_positive'], found['to_negative']) == (2, 1, 1)
    assert found['by_class']['1']['mean'] == pytest.approx(-20)
    assert found['clean']['f1'] == 1
    assert found['biased']['f1'] == 0


def test_insertion_of_nothing_is_nothing():
    labels, scores = random_table()
    found = measures.insertion(scores, scores, labels)
    assert (found['max_abs'], found['switched']) == (0, 0)


@pytest.mark.usefixtures('unchecked')
def test_different_lengths_are_named():
    labels, scores = random_table(40)
    with pytest.raises(ValueError, match='39 without, 40 with'):
        measures.insertion(scores[1:], scores, labels)
    with pytest.raises(ValueError, match='3 and 2'):
        boot.paired_interval(scores[:3], scores[:2])


def reference_bootstrap_auc(labels, scores, counts):
    rows = [np.repeat(np.arange(len(labels)), row) for row in counts]
    return [sk.roc_auc_score(labels[drawn], scores[drawn]) for drawn in rows]


@pytest.mark.parametrize('ties', [False, True])
def test_vectorised_auc_is_that_of_the_resampled_rows(ties):
    labels, scores = random_table(80, ties=ties)
    (counts,) = boot.resample_counts(labels, 25, seed=3)
    expected = reference_bootstrap_auc(labels, scores, counts)
    np.testing.assert_allclose(boot.weighted_auc(labels, scores, counts), expected, atol=1e-12)


@pytest.mark.parametrize('ties', [False, True])
def test_vectorised_specificity_is_that_of_the_resampled_rows(ties):
    labels, scores = random_table(80, ties=ties)
    (counts,) = boot.resample_counts(labels, 25, seed=3)
    rows = [np.repeat(np.arange(80), row) for row in counts]
    expected = [measures.specificity_at(labels[r], scores[r], 0.82) for r in rows]
    found = boot.weighted_specificity_at(labels, scores, counts, 0.82)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_resampled_confusions_are_those_of_the_resampled_rows():
    rng = np.random.default_rng(0)
    labels, called = rng.integers(0, 3, 40), rng.integers(0, 3, 40)
    (counts,) = boot.resample_counts(labels, 10, seed=1)
    rows = [np.repeat(np.arange(40), row) for row in counts]
    expected = [measures.confusion(labels[r], called[r], 3) for r in rows]
    found = boot.resample_confusions(labels, called, 3, 10, seed=1)
    np.testing.assert_array_equal(found, expected)


def test_resamples_keep_the_size_of_each_class_and_draw_evenly(monkeypatch):
    labels, _ = random_table(50)
    (counts,) = boot.resample_counts(labels, 4000, seed=0)
    for k in (0, 1):
        assert set(counts[:, labels == k].sum(1)) == {int((labels == k).sum())}
    # A row is drawn once on average; 4000 draws put its mean within 0.016 (one sigma) of 1.
    assert np.abs(counts.mean(0) - 1).max() < 0.08
    monkeypatch.setattr(boot, '_BLOCK', 50 * 7)
    blocks = list(boot.resample_counts(labels, 40, seed=0))
    assert [len(block) for block in blocks] == [7, 7, 7, 7, 7, 5]
    np.testing.assert_array_equal(np.concatenate(blocks), counts[:40])


def test_groups_are_drawn_whole():
    labels = np.array([0, 0, 1, 0, 0, 0, 1, 1])
    groups = np.array(['a', 'a', 'a', 'b', 'b', 'c', 'd', 'd'])
    (counts,) = boot.resample_counts(labels, 200, groups=groups)
    for name in 'abcd':
        assert (np.ptp(counts[:, groups == name], axis=1) == 0).all()
    # Patients a and d have a melanoma, b and c have none: two of each kind, always.
    assert set(counts[:, 0] + counts[:, 6]) == {2}
    assert set(counts[:, 3] + counts[:, 5]) == {2}


def test_the_interval_of_an_auc_is_that_of_the_resampled_rows():
    labels, scores = random_table(120)
    (counts,) = boot.resample_counts(labels, 50, 7)
    low, high = np.quantile(reference_bootstrap_auc(labels, scores, counts), [0.025, 0.975])
    value = sk.roc_auc_score(labels, scores)
    found = boot.bootstrap_auc(labels, scores, 50, 7)
    assert found == pytest.approx({'value': value, 'low': low, 'high': high})


def test_intervals_cover_the_true_auc():
    """Scores N(1,1) against N(0,1): AUC = Φ(1/√2) = .7602; 60 tables, 95 % each."""
    rng = np.random.default_rng(0)
    labels = np.arange(150) % 2
    covered = 0
    for _ in range(60):
        found = boot.bootstrap_auc(labels, labels + rng.normal(size=150), 200)
        covered += found['low'] < 0.76025 < found['high']
    assert 51 <= covered <= 60


def test_a_thousand_aucs_of_two_thousand_rows_are_fast():
    labels, scores = random_table(2000)
    start = time.process_time()
    found = boot.bootstrap_auc(labels, scores)
    assert time.process_time() - start < 2
    assert found['high'] - found['low'] < 0.06


def test_t_interval_over_seeds_by_hand():
    found = boot.mean_interval(np.array([0.8, 0.9, 1.0]))
    # t(.975, 2) = 4.302653
    assert found['mean'] == pytest.approx(0.9)
    assert found['sd'] == pytest.approx(0.1)
    assert found['high'] == pytest.approx(0.9 + 4.302653 * 0.1 / math.sqrt(3))
    assert math.isnan(boot.mean_interval(np.array([0.8]))['low'])
    assert math.isnan(boot.mean_interval(np.array([0.8, np.nan, 0.9]))['mean'])


def test_paired_seeds():
    a, b = np.array([0.8, 0.9, 0.7]), np.array([0.7, 0.8, 0.6])
    found = boot.paired_interval(a, b)
    assert found['low'] == pytest.approx(0.1)
    assert found['high'] == pytest.approx(0.1)


def test_wilson_interval_keeps_its_width_at_the_ends():
    found = boot.proportion(10, 10)
    # Wilson at 10 of 10: low = n/(n + z²) with z² = 3.841459.
    assert found['low'] == pytest.approx(10 / 13.841459)
    assert found['high'] == pytest.approx(1)


def group_table():
    """Ruler absent: 12 benign (all right), 10 malignant (9 right); present: 10 benign (6 right),
    3 malignant (none right); two rows of unknown ruler."""
    cells = [(0, 0, 12, 12), (1, 0, 10, 9), (0, 1, 10, 6), (1, 1, 3, 0), (1, -1, 2, 1)]
    labels, ruler, scores = [], [], []
    for label, value, count, right in cells:
        labels += [label] * count
        ruler += [value] * count
        scores += [0.8 if label else 0.2] * right + [0.2 if label else 0.8] * (count - right)
    ids = [f'row{k}' for k in range(len(labels))]
    return predictions(np.array(ids), np.array(labels), np.array(scores), {'ruler': ruler})


def test_groups_by_hand():
    found = m.group_metrics(group_table(), 'ruler', ('absent', 'present'), ('benign', 'malignant'))
    assert found['worst']['accuracy']['value'] == pytest.approx(0.6)
    assert {k: found['worst'][k] for k in ('class', 'value', 'count')} == {
        'class': 'benign',
        'value': 'present',
        'count': 10,
    }
    absent, present = found['values']['absent'], found['values']['present']
    assert absent['sensitivity']['value'] == pytest.approx(0.9)
    assert absent['accuracy']['value'] == pytest.approx(21 / 22)
    assert (present['count'], present['positives'], found['unknown']) == (13, 3, 2)
    assert present['specificity']['value'] == pytest.approx(0.6)
    # Only benign has two cells of ten: specificity 1 against .6.
    assert found['equalised_odds_gap'] == pytest.approx(0.4)
    # Present: the positives (.2) against six .2 (ties) and four .8 negatives.
    assert present['auc']['value'] == pytest.approx(0.3)
    # Present has three positives only: too few to be the worst.
    assert found['worst_auc']['value'] == 'absent'


def test_small_cells_count_once_they_are_allowed():
    names = ('absent', 'present'), ('benign', 'malignant')
    found = m.group_metrics(group_table(), 'ruler', *names, min_count=3)
    assert (found['worst']['class'], found['worst']['accuracy']['value']) == ('malignant', 0)
    assert found['equalised_odds_gap'] == pytest.approx(0.9)
    assert found['worst_auc']['value'] == 'present'
    none = m.group_metrics(group_table(), 'ruler', *names, min_count=100)
    assert (none['worst'], none['worst_auc']) == (None, None)
    assert math.isnan(none['equalised_odds_gap'])


def test_evaluation_of_two_classes():
    block = m.evaluate_table(
        group_table(), ('benign', 'malignant'), {'ruler': ('no', 'yes')}, resamples=50
    )
    assert (block['n'], block['positives'], block['threshold']) == (37, 15, 0.5)
    assert block['accuracy']['value'] == pytest.approx(28 / 37)
    assert block['sensitivity']['value'] == pytest.approx(10 / 15)
    assert block['f1']['value'] == pytest.approx(20 / (20 + 4 + 5))
    for name in ('auc', 'accuracy', 'sensitivity', 'specificity', 'f1'):
        assert block[name]['low'] <= block[name]['value'] <= block[name]['high']
    assert set(block['specificity_at']) == {'0.82', '0.89', '0.95'}
    assert block['groups']['ruler']['worst']['count'] == 10
    assert json.loads(json.dumps(block, allow_nan=False)) == block


def test_evaluation_of_three_classes():
    labels = np.array([0, 0, 1, 1, 2, 2])
    scores = np.full((6, 3), 0.1)
    scores[np.arange(6), [0, 1, 1, 1, 2, 0]] = 0.8
    table = predictions(list('abcdef'), labels, scores, {'ruler': [0, 0, 0, 1, 1, 1]})
    block = m.evaluate_table(table, ('M', 'N', 'SK'), {'ruler': ('no', 'yes')}, resamples=30)
    assert block['confusion'] == [[1, 1, 0], [0, 2, 0], [1, 0, 1]]
    assert block['accuracy']['value'] == pytest.approx(4 / 6)
    assert block['classes']['N']['recall']['value'] == 1
    assert block['classes']['SK']['auc']['value'] == pytest.approx(0.75)
    aucs = [block['classes'][name]['auc']['value'] for name in ('M', 'N', 'SK')]
    assert block['mean_auc']['value'] == pytest.approx(np.mean(aucs))
    two = m.evaluate_table(table, ('M', 'N', 'SK'), {}, resamples=30, mean_over=('M', 'SK'))
    assert two['mean_auc']['value'] == pytest.approx((aucs[0] + aucs[2]) / 2)
    assert two['mean_auc']['low'] <= two['mean_auc']['value'] <= two['mean_auc']['high']
    assert 'positives' not in block
    assert json.loads(json.dumps(block, allow_nan=False)) == block


def test_evaluation_without_resamples_has_no_intervals():
    block = m.evaluate_table(group_table(), ('b', 'm'), {}, resamples=0)
    assert block['auc']['low'] is None
    assert block['auc']['value'] > 0.5


def test_folds_are_evaluated_when_the_table_has_them():
    labels, scores = random_table(60)
    table = predictions(
        np.arange(60), labels, scores, columns={'fold': np.arange(60) % 3, 'site': ['a'] * 60}
    )
    block = m.evaluate_table(table, ('b', 'm'), {'ruler': ('n', 'y')}, resamples=0)
    assert block['folds']['pooled'] == pytest.approx(measures.auc(labels, scores))
    assert block['groups'] == {}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'scores': [0.1, np.nan]}, "the first is 'b'.*diverged"),
        ({'labels': [0, 2]}, "row 'b': label is 2"),
        ({'bias': {'ruler': [0, 5]}}, "row 'b': ruler is 5"),
        ({'scores': np.ones((2, 4)) / 4}, '4 columns'),
        ({'ids': [], 'labels': [], 'scores': [], 'bias': {}}, 'without rows'),
    ],
)
def test_tables_that_do_not_fit_are_refused(change, message):
    table = {'ids': ['a', 'b'], 'labels': [0, 1], 'scores': [0.1, 0.9], 'bias': {'ruler': [0, 1]}}
    with pytest.raises(ValueError, match=message):
        m.evaluate_table(predictions(**{**table, **change}), ('b', 'm'), {'ruler': ('n', 'y')})


def same(a, b):
    assert (a is b) or a.dtype.kind == b.dtype.kind
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize('classes', [1, 3])
def test_csv_round_trip_is_exact(tmp_path, classes):
    rng = np.random.default_rng(0)
    ids = ['plain', 'with, comma', 'with "quotes"', '007', 'new\nline', 'ümlaut', '']
    scores = rng.random((7, classes)).astype(np.float32)
    scores[0, 0], scores[1, 0] = 1e-38, 1 / 3
    table = predictions(
        ids,
        rng.integers(0, 2, 7),
        scores,
        {'ruler': np.array([0, 1, -1, 0, 1, 1, 0]), 'camera': np.arange(7)},
        {'site': np.array(list('abcdefg')), 'age': rng.random(7), 'fold': np.arange(7)},
    )
    path = tmp_path / 'predictions' / 'val.csv'
    table.write_csv(path)
    back = Predictions.read_csv(path)
    for name in ('ids', 'labels', 'scores'):
        same(getattr(back, name), getattr(table, name))
    for name in ('bias', 'columns'):
        assert list(getattr(back, name)) == list(getattr(table, name))
        for key, values in getattr(table, name).items():
            same(getattr(back, name)[key], values)
    assert path.read_bytes().count(b'\r') == 0
    assert [entry.name for entry in path.parent.iterdir()] == ['val.csv']


def test_csv_header_and_floats_are_plain(tmp_path):
    predictions(['a'], [1], [0.1], {'ruler': [1]}, {'age': [50.0]}).write_csv(tmp_path / 'v.csv')
    assert (tmp_path / 'v.csv').read_text() == (
        'id,label,score,bias:ruler,float:age\na,1,0.1,1,50.0\n'
    )


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'prediction table'),
        ('name,label,score\n', 'prediction table'),
        ('id,label,score\na,1\n', 'row 2: expected 3 fields, found 2'),
        ('id,label,score\na,1,0.5\nb,1,high\n', "row 3, column 'score': expected float"),
        ('id,label,score,ruler\na,1,0.5,1\n', "column 'ruler'"),
    ],
)
def test_damaged_csv_is_named(tmp_path, text, message):
    path = tmp_path / 'test.csv'
    path.write_text(text)
    with pytest.raises(ValueError, match=f'test.csv.*{message}'):
        Predictions.read_csv(path)


def test_predictions_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match=r"'ruler': 1"):
        predictions(['a', 'b'], [0, 1], [0.1, 0.9], {'ruler': [0]})


def test_rows_can_be_selected():
    part = group_table().select(np.array([36, 12]))
    assert part.ids.tolist() == ['row36', 'row12']
    assert part.bias['ruler'].tolist() == [-1, 0]
    assert part.predicted(0.8).tolist() == [0, 1]
    assert part.predicted(0.2).tolist() == [1, 1]
