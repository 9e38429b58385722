"""Gaps between groups of one diagnosis, and what features know beyond it."""

import numpy as np
import pytest

from skinjax.auditing import leakage, level, performance, probe
from skinjax.auditing.said import Real
from skinjax.auditing.seen import Flags
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
    rows = performance.gaps(table, flags, CLASSES, 0.5, table.ids)
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
    rows = performance.gaps(table, three, CLASSES, 0.5, table.ids)
    assert rows[1]['worst']['value'] == 'leg' and rows[1]['gap']['value'] == 1


def test_gaps_of_images_of_few_patients_are_not_sure():
    """Ten patients of eight images each, all eight called alike."""
    labels = np.zeros(80, np.int32)
    groups, site = np.arange(80) // 8, (np.arange(80) >= 40).astype(int)
    wrong = np.isin(groups, (0, 5, 6, 7))  # one of five, and three of five
    table = Predictions(np.arange(80).astype(str), labels, wrong / 1.0)
    flags = Flags({'site': site}, {'site': ('arm', 'back')})
    (alone,), (row,) = (
        performance.gaps(table, flags, CLASSES, 0.5, of) for of in (table.ids, groups)
    )
    assert alone['q'] < 0.01 and alone['gap']['low'] > 0.1
    assert row['gap']['value'] == alone['gap']['value'] == pytest.approx(0.4)
    assert row['q'] > 0.3 and row['gap']['low'] < 0 and row['worst']['n'] == 40


def test_shares_of_images_of_few_patients():
    """Those who are called alike count once, those who are not as often as there are images."""
    groups = np.arange(80) // 8
    alike = np.isin(groups, (0, 5, 6, 7))
    found, few = performance.share(alike, groups), proportion(4, 10)
    assert found['value'] == 0.4
    assert (found['low'], found['high']) == pytest.approx((few['low'], few['high']), abs=0.03)
    mixed = np.arange(80) % 2 == 0
    assert performance.share(mixed, groups) == pytest.approx(proportion(40, 80))
    assert performance.share(alike[8:40], groups[8:40]) == pytest.approx(proportion(0, 4))
    assert performance.share(alike, np.arange(80)) == proportion(32, 80)
    assert np.isnan(performance.share(alike, 0 * groups)['low'])


def test_figures_of_images_of_few_patients_have_wider_intervals():
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(20), 10)
    labels = (patients % 2).astype(np.int32)
    scores = np.clip(0.5 + 0.1 * (2 * labels - 1) + rng.normal(0, 0.2, 20)[patients], 0, 1)
    table, rows = Predictions(np.arange(200).astype(str), labels, scores), np.arange(200)
    one, many = (
        performance.measured({'test': Real(table, of, rows)}, CLASSES, {}, 0.5, 200)['test']
        for of in (rows, patients)
    )
    for name in ('auc', 'accuracy', 'sensitivity', 'specificity'):
        assert one[name]['value'] == pytest.approx(many[name]['value'])
        width, wide = (block[name]['high'] - block[name]['low'] for block in (one, many))
        assert wide > 1.5 * width
    told = performance.recognised(Real(table, patients, rows), CLASSES, 0.5)
    assert told['melanoma']['low'] == pytest.approx(many['sensitivity']['low'])


def splits(n):
    """Rows that are counted and rows that are guessed, of five folds."""
    rows = np.arange(n)
    return [(rows[rows % 5 != k], rows[rows % 5 == k]) for k in range(5)]


def test_the_diagnosis_tells_nothing_of_what_does_not_depend_on_it():
    for n, values in ((60, 2), (100, 6)):
        found = []
        for seed in range(30):
            rng = np.random.default_rng(seed)
            target, labels = rng.integers(0, values, n), rng.integers(0, 2, n)
            guessed = level.guesses(labels, target, splits(n))
            found.append(level.beyond(target, guessed, guessed, np.arange(n), 0))
        assert np.mean([block['level']['value'] for block in found]) < 0.525
        assert np.mean([block['level']['low'] > 0.5 for block in found]) < 0.15
        # The same guess knows nothing beyond itself.
        assert all(block['more']['high'] <= 0 and block['p'] == 1 for block in found)


def test_the_diagnosis_tells_what_depends_on_it():
    """Ties of one diagnosis stay ties, whatever the shares of the folds are."""
    labels = np.repeat([0, 1], 50)
    target = np.where(np.arange(100) % 10 < 3, 1 - labels, labels)
    guessed = level.guesses(labels, target, splits(100))
    found = level.beyond(target, np.stack([-labels, labels], 1) / 1.0, guessed, np.arange(100), 0)
    assert found['level']['value'] == pytest.approx(0.7)
    assert found['more'] == {'value': 0, 'low': 0, 'high': 0} and found['p'] == 1


def test_what_a_probe_knows_beyond_the_diagnosis():
    """On the same rows: a value that occurs in too few groups is left out of both."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    flag = np.where(rng.random(200) < 0.7, labels, 1 - labels)
    flag[:3], labels[:3] = 2, 1
    features = rng.normal(size=(200, 3))
    features[:, 0] += 2 * labels
    known = probe.probe(features, flag, np.arange(200), beside=labels)
    assert known['dropped'] == [2] and known['p'] > 0.05 and known['more']['low'] < 0
    same = labels[3:] == flag[3:]
    two = [np.mean(same[flag[3:] == k]) for k in (0, 1)]
    assert known['level']['value'] == pytest.approx(np.mean(two))
    features[:, 1] += 2 * flag
    seen = probe.probe(features, flag, np.arange(200), beside=labels)
    assert seen['more']['value'] == pytest.approx(seen['auc'] - seen['level']['value'])
    assert seen['more']['low'] > 0.05 and seen['p'] < 0.01
    plain = probe.probe(features, flag, np.arange(200))
    assert {*seen} - {*plain} == {'level', 'more', 'p'}
    assert plain == {name: seen[name] for name in plain}
    few = probe.probe(features[:8], flag[:8], np.arange(8), beside=labels[:8])
    assert few['more'] is None and few['p'] is None


def test_probes_of_flags_and_of_the_diagnosis(tmp_path):
    records = striped(80)
    rng = np.random.default_rng(0)
    features = rng.standard_normal((80, 3)).astype(np.float32)
    features[:, 0] = records.bias['ruler']
    flags = Flags(dict(records.bias), {'ruler': ('no', 'yes')})
    leaks = leakage.leaked(features, records, flags, ('linear',), 2)
    assert [*leaks['variables']] == ['diagnosis', 'ruler'] and leaks['reason'] is None
    ruler, diagnosis = leaks['variables']['ruler'], leaks['variables']['diagnosis']
    assert ruler['linear']['auc'] == 1 and ruler['by_diagnosis']['value'] < 0.6
    assert ruler['linear']['more']['low'] > 0.3 and ruler['linear']['q'] < 0.01
    assert diagnosis['linear']['auc'] < 0.7 and diagnosis['by_diagnosis'] is None
    (section,) = leakage.sections(leaks, 'test', tmp_path)
    assert [row[0] for row in section.tables[0].rows] == ['diagnosis', 'ruler']
    assert (tmp_path / 'figures' / 'leaks.png').exists()
    (section,) = leakage.sections(leakage.leaked(None, records, flags, ('mlp',), 2), 't', tmp_path)
    assert 'gives no features' in section.text and not section.tables
