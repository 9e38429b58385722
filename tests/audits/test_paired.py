"""Tests of signs by enumeration, and by McNemar where each group is one image."""

import itertools

import numpy as np
import pytest
from scipy.stats import binomtest

from skinjax.auditing import paired


@pytest.mark.parametrize(('lost', 'won'), [(0, 0), (1, 9), (7, 7), (30, 11), (400, 3)])
def test_signs_of_single_images_are_mcnemar_s_exact_test(lost, won):
    turned = np.repeat([1, -1, 0], [lost, won, 5])
    expected = binomtest(lost, lost + won).pvalue if lost + won else 1
    p = paired.sign_flips(turned, np.arange(len(turned)))
    assert p == pytest.approx(expected, rel=1e-9)
    if (lost, won) == (1, 9):
        assert p == pytest.approx(2 * 11 / 2**10)


def test_signs_of_groups_by_enumeration():
    rng = np.random.default_rng(0)
    for _ in range(5):
        groups, turned = rng.integers(0, 8, 30), rng.integers(-1, 2, 30) + (rng.random(30) < 0.3)
        sums = np.bincount(groups, turned, minlength=8)
        flipped = [abs(np.dot(sums, signs)) for signs in itertools.product((-1, 1), repeat=8)]
        expected = np.mean(np.array(flipped) >= abs(sums.sum()))
        assert paired.sign_flips(turned, groups) == pytest.approx(expected)


def test_combination_of_masks():
    assert paired.combined([0.03]) == 0.03
    assert paired.combined([0.5, 0.01]) == pytest.approx(0.02)
    assert paired.combined([0.9, 0.01, 0.02, 0.03, 0.8]) == pytest.approx(5 / 3 * 0.03)
    assert paired.combined([0.9, 0.8, 0.7]) == 1


def bowker(was, now) -> float:
    """Bowker's statistic, pair by pair."""
    total = 0.0
    for i, j in ((0, 1), (0, 2), (1, 2)):
        away, back = ((was == i) & (now == j)).sum(), ((was == j) & (now == i)).sum()
        total += (away - back) ** 2 / (away + back) if away + back else 0
    return float(total)


@pytest.mark.parametrize('group', [1, 2])
def test_bowker_among_all_signs(group):
    # 0 -> 1 six times and back once, 1 -> 2 three times, and two that stay.
    was = np.repeat([0, 1, 1, 2], [6, 1, 3, 2])
    now = np.repeat([1, 0, 2, 2], [6, 1, 3, 2])
    groups = np.arange(12) // group
    assert bowker(was, now) == pytest.approx(5**2 / 7 + 3)
    hits, count = 0, groups.max() + 1
    for signs in itertools.product((False, True), repeat=int(count)):
        turn = np.array(signs)[groups]
        flipped = bowker(np.where(turn, now, was), np.where(turn, was, now))
        hits += flipped >= bowker(was, now) - 1e-9
    expected = hits / 2**count
    found = paired.symmetry(was, now, 3, groups)
    assert found == pytest.approx(expected, abs=4 * np.sqrt(expected / 10_000))
    assert paired.symmetry(was, now, 3, groups) == found
    assert paired.symmetry(was, was, 3, groups) == 1


def test_few_switches_keep_the_level_with_three_classes_too():
    """Four switches, all one way: χ² would say p = .046, signs 1 / 8."""
    p = paired.symmetry(np.zeros(4, int), np.ones(4, int), 3, np.arange(4))
    assert p == pytest.approx(1 / 8, abs=0.015)


def test_combined_p_values_are_no_smaller_than_they_may_be():
    # Five tests of which every one is true: at most 5 % of the combinations are below 5 %.
    rng = np.random.default_rng(0)
    shared = rng.uniform(size=4000)
    alone = np.array([paired.combined(p) for p in rng.uniform(size=(4000, 5)).tolist()])
    alike = np.array([paired.combined([p] * 5) for p in shared.tolist()])
    assert (alone < 0.05).mean() < 0.055 and (alike < 0.05).mean() < 0.055
