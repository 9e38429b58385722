"""data.label_noise: which training labels are replaced, by what, and what stays as it is."""

import numpy as np
import pytest

from skinjax.data import groups, pipeline
from skinjax.data.label_noise import with_flipped
from skinjax.data.records import DataSet
from tests.data.rows import config, good, make

CLASSES = ('nevus', 'melanoma', 'vascular')


def lesions(counts=(80, 15, 5)):
    labels = np.repeat(np.arange(len(counts)), counts)
    splits = {name: make(labels, name) for name in ('train', 'val', 'test')}
    return DataSet('lesions', CLASSES[: len(counts)], {}, splits)


def load(seed=0, data=None, **fields):
    return groups.load(lambda *_: data or lesions(), config(**fields), seed)


@pytest.mark.parametrize(('share', 'rows'), [(0.1, 10), (0.126, 13), (0.99, 99)])
def test_as_many_rows_as_asked_for_get_another_class(share, rows):
    found = load(label_noise=share)
    before, train = lesions().splits['train'], found.splits['train']
    changed = train.labels != before.labels
    assert changed.sum() == rows
    np.testing.assert_array_equal(train.flagged('flipped'), changed)
    assert train.labels.dtype == before.labels.dtype and train.ids.tolist() == before.ids.tolist()
    facts = found.describe()['label_noise']
    of = [int((changed & (before.labels == code)).sum()) for code in range(3)]
    assert facts == {
        'share': share,
        'rows': 100,
        'flipped': dict(zip(CLASSES, of, strict=True)),
    }
    assert f'{rows} of 100 training labels are wrong on purpose' in found.info['notes']


def test_every_other_class_is_as_likely():
    found, _ = with_flipped(lesions((3000, 3000, 3000)), 0.5, 1)
    old, new = np.repeat(np.arange(3), 3000), found.splits['train'].labels
    table = np.array([[((old == a) & (new == b)).sum() for b in range(3)] for a in range(3)])
    assert np.diag(table).sum() == 4500
    apart = table[~np.eye(3, dtype=bool)]
    assert abs(apart - 750).max() < 5 * np.sqrt(750)


def test_with_two_classes_the_label_is_turned_round():
    found = load(data=good(), label_noise=0.5)
    before, train = good().splits['train'], found.splits['train']
    flipped = train.flagged('flipped')
    assert flipped.sum() == 4
    np.testing.assert_array_equal(train.labels[flipped], 1 - before.labels[flipped])


def test_what_is_judged_keeps_its_labels():
    for fields in ({}, {'folds': 4, 'fold': 1}):
        plain, found = load(**fields), load(label_noise=0.3, **fields)
        for name in ('val', 'test'):
            np.testing.assert_array_equal(found.splits[name].labels, plain.splits[name].labels)
            assert found.splits[name].ids.tolist() == plain.splits[name].ids.tolist()
            assert 'flipped' not in found.splits[name].columns
        wrong = found.splits['train'].labels != plain.splits['train'].labels
        assert wrong.sum() == round(0.3 * len(wrong))
        np.testing.assert_array_equal(wrong, found.splits['train'].flagged('flipped'))


def test_the_rows_are_a_function_of_the_seed():
    labels = [load(seed, label_noise=0.2).splits['train'].labels for seed in (0, 0, 1)]
    np.testing.assert_array_equal(labels[0], labels[1])
    assert (labels[0] != labels[2]).any()


def test_without_noise_nothing_is_added():
    found = load()
    assert 'label_noise' not in found.info and 'flipped' not in found.splits['train'].columns


def test_batches_have_the_wrong_labels():
    train = load(label_noise=0.5).splits['train']
    fields = config(threads=0, prefetch=1)
    batches = pipeline.train_batches(train, fields, seed=0)
    batch = next(batches)
    batches.close()
    np.testing.assert_array_equal(batch['label'], train.labels[batch['index']])


@pytest.mark.parametrize('share', [-0.1, 1.0, 10, float('nan')])
def test_a_share_that_is_none(share):
    with pytest.raises(ValueError, match=r'data\.label_noise=.*; expected 0 .none. to below 1'):
        load(label_noise=share)


def test_data_without_labels_to_replace():
    source = DataSet('test', ('a', 'b'), {}, {'test': make([0, 1], 'test')})
    with pytest.raises(ValueError, match=r"label_noise=0\.1 needs a split 'train'.*\['test'\]"):
        groups.load(lambda *_: source, config(label_noise=0.1), 0, training=False)
    with pytest.raises(ValueError, match=r'label_noise=0\.1 needs .* and 1 classes'):
        with_flipped(lesions((9,)), 0.1, 0)


def test_a_share_that_is_no_row():
    with pytest.raises(ValueError, match=r'label_noise=0\.004 is no row of the 100 in training'):
        load(label_noise=0.004)
