import time

import numpy as np
import pytest

from skinjax.data import groups, splits
from tests.data.rows import config, dataset, make


def grouped_rows(seed=0):
    """300 rows in 120 groups of unequal size; a fifth of the groups is positive."""
    rng = np.random.default_rng(seed)
    of = np.sort(rng.integers(0, 120, 300))
    return (rng.random(120) < 0.2)[of].astype(np.int32), np.array([f'g{k}' for k in of])


def test_folds_keep_groups_whole_and_classes_even():
    labels, names = grouped_rows()
    folds = splits.stratified_folds(labels, names, 5, seed=3)
    assert set(folds) == set(range(5))
    for name in np.unique(names):
        assert len(np.unique(folds[names == name])) == 1
    for fold in range(5):
        assert (folds == fold).mean() == pytest.approx(0.2, abs=0.03)
        assert labels[folds == fold].mean() == pytest.approx(labels.mean(), abs=0.06)
    np.testing.assert_array_equal(folds, splits.stratified_folds(labels, names, 5, seed=3))
    assert (folds != splits.stratified_folds(labels, names, 5, seed=4)).any()


@pytest.mark.slow
@pytest.mark.parametrize(('patients', 'folds'), [(4657, 5), (33000, 5), (33000, 10)])
def test_folds_of_many_rows_take_seconds(patients, folds):
    rng = np.random.default_rng(0)
    labels = (rng.random(34905) < 1010 / 34905).astype(np.int32)
    began = time.process_time()
    found = splits.stratified_folds(labels, rng.integers(0, patients, 34905), folds, seed=0)
    took = time.process_time() - began
    print(f'{patients} groups, {folds} folds: {took:.1f} s, rows {np.bincount(found)}')
    assert took < 10
    assert np.ptp(np.bincount(found)) < 0.02 * 34905 / folds


def test_split_shares():
    labels = np.repeat([0, 1], [160, 40]).astype(np.int32)
    names = splits.stratified_split(labels, np.arange(200), 0, {'train': 7, 'val': 1, 'test': 2})
    for split, share in (('train', 0.7), ('val', 0.1), ('test', 0.2)):
        assert (names == split).sum() == 200 * share
        assert labels[names == split].sum() == 40 * share
    with pytest.raises(ValueError, match='2 splits need as many groups of rows, found 1'):
        splits.stratified_split(labels[:4], np.zeros(4, int), 0, {'train': 8, 'val': 2})


def test_a_rare_class_is_in_every_split_if_it_has_as_many_groups():
    tenths = {'train': 7, 'val': 1, 'test': 2}
    labels = np.repeat([0, 1, 2], [34, 4, 2]).astype(np.int32)
    for seed in range(20):
        names = splits.stratified_split(labels, np.arange(40), seed, tenths)
        assert set(names[labels == 1]) == set(tenths) == set(names[labels == 0])
        assert len(set(names[labels == 2])) <= 2  # of two rows no three splits can have one
    pairs = splits.stratified_split(labels, np.arange(40) // 2, 0, tenths)
    assert len(set(pairs[labels == 1])) == 2  # four rows, but two groups


def test_folds_of_too_few_rows():
    with pytest.raises(ValueError, match='5 folds need as many groups of rows, found 4'):
        splits.stratified_folds(np.repeat([0, 1], 8), np.repeat(np.arange(4), 4), 5, seed=0)
    message = '5 folds need as many rows of one class at least, found 3 of the commonest'
    for names in (np.arange(6), np.array([0, 1, 2, 3, 4, 4])):
        with pytest.raises(ValueError, match=message):
            splits.stratified_folds(np.array([0, 0, 0, 1, 1, 1]), names, 5, seed=0)


def test_without_twins():
    of = np.array(['train', 'train', 'val', 'test', 'train', 'val', 'test', 'test'])
    names = np.array(['a', 'b', 'b', 'a', 'c', 'd', 'd', 'd'])
    keep = splits.without_twins(of, names)
    assert keep.tolist() == [False, False, True, True, True, False, True, True]


def test_leaks_are_listed():
    divided = {
        'train': make([0, 1, 1], 'train', ['a', 'b', 'c']),
        'val': make([0, 1], 'val', ['d', 'b']),
        'test': make([0, 1], 'test', ['a', 'e']),
        'marked': make([0, 1], 'marked', ['f', 'e']),
    }
    with pytest.raises(ValueError) as error:
        splits.check_no_leak(divided)
    assert str(error.value) == (
        "groups are divided between splits; 'train' and 'val' share 1: train1 and val1; "
        "'train' and 'test' share 1: train0 and test0; divide the rows by group, or let data.folds "
        "divide 'train' and 'val'"
    )
    splits.check_no_leak({name: divided[name] for name in ('test', 'marked')})


def test_load_folds():
    labels, names = grouped_rows()
    source = dataset(
        train=make(labels[:200], 'train', names[:200]),
        val=make(labels[200:], 'val', np.where(names[200:] == names[199], 'own', names[200:])),
        test=make([0, 1], 'test'),
    )
    found = [groups.load(lambda *_: source, config(folds=4, fold=k), 7).splits for k in range(4)]
    everything = sorted([*source.splits['train'].ids, *source.splits['val'].ids])
    assert sorted(np.concatenate([one['val'].ids for one in found])) == everything
    for one in found:
        assert sorted([*one['train'].ids, *one['val'].ids]) == everything
        assert one['test'].ids.tolist() == ['test0', 'test1']
        name = str(one['val'].ids[-1])
        pixel = int(one['val'].read(len(one['val']) - 1)['image'][0, 0, 0])
        assert name in (f'train{pixel}', f'val{pixel}')
