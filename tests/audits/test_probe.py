"""Tests of the leakage probe."""

import jaxtyping
import numpy as np
import pytest

from skinjax.auditing.probe import probe


def blobs(n=240, d=6, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.integers(0, 2, n), np.arange(n)


@pytest.mark.parametrize('kind', ['linear', 'mlp'])
def test_separable_features_are_read(kind):
    features, values, groups = blobs()
    features[:, 2] += 8 * values
    found = probe(features, values, groups, kind)
    assert found['auc'] > 0.99
    assert found['low'] <= found['auc'] <= found['high']
    assert found['counts'] == {'0': int((values == 0).sum()), '1': int((values == 1).sum())}
    assert (found['n'], found['kind'], found['reason']) == (240, kind, None)


@pytest.mark.parametrize('kind', ['linear', 'mlp'])
def test_blind_features_stay_at_chance(kind):
    found = probe(*blobs(400), kind)
    assert found['low'] < 0.5 < found['high']
    assert abs(found['auc'] - 0.5) < 0.1


@pytest.mark.parametrize('kind', ['linear', 'mlp'])
def test_copies_of_a_row_cannot_leak(kind):
    """Random labels on copied rows can only be known by having seen a copy."""
    rng = np.random.default_rng(1)
    base, labels = rng.normal(size=(50, 40)), rng.integers(0, 2, 50)
    which = np.repeat(np.arange(50), 5)
    features, values = base[which], labels[which]
    honest = probe(features, values, which, kind)
    assert honest['low'] < 0.5 < honest['high']
    assert probe(features, values, np.arange(250), kind)['auc'] > 0.8


def test_the_interval_is_that_of_groups_and_not_of_copies():
    features, values, groups = blobs(60)
    features[:, 0] += values
    once = probe(features, values, groups)
    copies = np.repeat(groups, 10)
    many = probe(features[copies], values[copies], copies)
    width = once['high'] - once['low']
    assert 0.5 * width < many['high'] - many['low'] < 2 * width


def test_only_the_mlp_reads_an_exclusive_or():
    features, _, groups = blobs(400, 3)
    values = (features[:, 0] * features[:, 1] > 0).astype(int)
    linear, mlp = (probe(features, values, groups, kind, 3) for kind in ('linear', 'mlp'))
    assert linear['auc'] < 0.65
    assert mlp['auc'] > 0.9


def test_a_rare_value_is_found_by_the_mlp():
    """Accuracy, by which scikit-learn stops early, cannot rise above always saying 0."""
    features, _, groups = blobs(700, 3)
    values = (features[:, 0] * features[:, 1] > 1.6).astype(int)
    assert 0.02 < values.mean() < 0.09
    assert probe(features, values, groups, 'mlp', folds=3)['auc'] > 0.9


def test_many_values_unknown_and_rare_ones():
    rng = np.random.default_rng(0)
    values = rng.integers(-1, 3, 300)
    values[:3] = 7
    features = rng.normal(size=(300, 3)) + 5 * np.eye(3)[np.clip(values, 0, 2)]
    found = probe(features, values, np.arange(300))
    assert found['dropped'] == [7]
    assert set(found['counts']) == {'0', '1', '2'}
    assert found['n'] == int(np.isin(values, [0, 1, 2]).sum())
    assert found['auc'] > 0.99


@pytest.mark.parametrize(
    ('values', 'groups'),
    [
        ([0] * 20, range(20)),
        ([-1] * 20, range(20)),
        ([0, 1] * 4, range(8)),
        ([0, 1] * 20, [0] * 40),
    ],
)
def test_too_little_data_is_a_reason_and_no_error(values, groups):
    features = np.random.default_rng(0).normal(size=(len(values), 3))
    found = probe(features, np.array(values), np.array(groups))
    assert (found['auc'], found['low'], found['high']) == (None, None, None)
    assert 'at least 5 groups' in found['reason']


@pytest.mark.parametrize('seed', range(6))
def test_very_unequal_groups_make_no_error_and_no_warning(seed):
    rng = np.random.default_rng(seed)
    sizes = rng.permutation([60, 40, 1, 1, 1, 1, 1, 1, 2, 30])
    groups = np.repeat(np.arange(10), sizes)
    values = np.where(np.arange(len(groups)) % 3 == 0, groups % 2, (groups + 1) % 2)
    features = rng.normal(size=(len(groups), 2))
    for kind in ('linear', 'mlp'):
        found = probe(features, values, groups, kind)
        assert (found['auc'] is None) == (found['reason'] is not None)


def test_same_seed_same_figures():
    assert probe(*blobs(100), 'mlp', seed=3) == probe(*blobs(100), 'mlp', seed=3)


def test_wrong_input_is_named(monkeypatch):
    # Users have no checks of array shapes.
    monkeypatch.setattr(jaxtyping.config, 'jaxtyping_disable', True)
    features, values, groups = blobs(40)
    with pytest.raises(ValueError, match='forest'):
        probe(features, values, groups, 'forest')
    with pytest.raises(ValueError, match='39 values'):
        probe(features, values[1:], groups)
    features[7, 0] = np.nan
    with pytest.raises(ValueError, match='row 7'):
        probe(features, values, groups)
