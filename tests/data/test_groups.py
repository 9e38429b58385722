import dataclasses

import cv2
import numpy as np
import pytest

from skinjax.data import groups
from skinjax.data.records import DataSet
from tests.data.rows import config, dataset, good, make


@pytest.mark.parametrize(
    ('splits', 'fields', 'message'),
    [
        ({'test': []}, {}, "split 'test' is empty"),
        ({'train': [1] * 8}, {}, "split 'train' has one class only, 'malignant'"),
        ({'val': [0, 0]}, {}, "split 'val' has one class only, 'benign'; expected at least two"),
        (
            {'train': [0, 1, 2]},
            {},
            "split 'train': label 2 at row 2 is out of range; expected 0 to 1",
        ),
        ({}, {'batch_size': 9}, r'data.batch_size=9 is more than the 8 training rows'),
        ({}, {'bias': ('ruler',)}, "bias variable 'ruler' is absent; known: none"),
        ({}, {'sampling': 'grouped'}, r"data.sampling='grouped'.*did you mean 'group'"),
        ({}, {'on_error': 'ignore'}, "data.on_error='ignore'; known: 'raise', 'skip'"),
        ({}, {'folds': 5, 'fold': 5}, 'data.folds=5 and data.fold=5'),
        ({}, {'group_duplicates': 65}, 'data.group_duplicates=65; expected 0 .off. to 64'),
        ({}, {'threads': -1}, 'data.threads must be at least 0, found -1'),
    ],
)
def test_load_refuses(splits, fields, message):
    with pytest.raises(ValueError, match=message):
        groups.load(lambda *_: good(**splits), config(**fields), 0)


def test_only_training_needs_a_training_set():
    source = DataSet('test', ('a', 'b'), {}, {'test': make([0, 0], 'test')})
    with pytest.raises(ValueError, match="there is no split 'train'; known: 'test'"):
        groups.load(lambda *_: source, config(), 0)
    found = groups.load(lambda *_: source, config(), 0, training=False)
    assert list(found.splits) == ['test']


def test_load_skips_unreadable_rows_and_their_partners():
    source = dataset(
        {'ruler': ('plain', 'marked')},
        train=make([0, 1] * 4, 'train', broken=(3,)),
        val=[0, 1],
        plain=make([0, 1, 0, 0], 'plain', ['x', 'y', 'z', 'w'], broken=(0,)),
        marked=make([0, 1, 0, 0], 'marked', ['x', 'y', 'z', 'w'], broken=(2,)),
    )
    found = groups.load(lambda *_: source, config(on_error='skip'), 0)
    assert found.info['skipped'] == [
        ('train', 'train3', 'row 3 cannot be read'),
        ('plain', 'plain0', 'row 0 cannot be read'),
        ('marked', 'marked2', 'row 2 cannot be read'),
    ]
    assert found.splits['train'].ids.tolist() == [f'train{k}' for k in (0, 1, 2, 4, 5, 6, 7)]
    assert found.splits['plain'].ids.tolist() == ['plain1', 'plain3']
    assert found.splits['marked'].ids.tolist() == ['marked1', 'marked3']
    assert 'skipped' not in groups.load(lambda *_: source, config(), 0).info


def test_load_caches_and_reports_associations(caplog):
    reads = []
    train = make([0, 1] * 4, ruler=[0, 1] * 4, hair=[0, 0, 1, 1] * 2)

    def build(config, seed):
        splits = good(train=train).splits
        val = make([0, 1], 'val', ruler=[0, 1], hair=[0, 1])
        test = make([0, 1], 'test', ruler=[0, 1], hair=[0, 1])
        assert seed == 5
        read = splits['train'].read
        object.__setattr__(train, 'read', lambda row: (reads.append(row), read(row))[1])
        return dataset(train=train, val=val, test=test)

    found = groups.load(build, config(bias=('ruler',)), 5)
    assert found.info['association'] == {'ruler': pytest.approx(1), 'hair': pytest.approx(0)}
    for _ in range(2):
        found.splits['train'].read(1)
    assert reads == [1]


def test_images_that_do_not_fit_are_not_kept():
    rows = {'train': make([0, 1] * 50)}
    assert not groups.too_large(rows, 64)
    assert 'not kept in memory' in groups.too_large(rows, 10_000_000)


def test_the_note_about_memory_reaches_the_data_set(monkeypatch):
    monkeypatch.setattr(groups, 'too_large', lambda splits, size: 'a note')
    found = groups.load(lambda *_: good(), config(cache=True), 0)
    assert found.info['notes'] == ['a note']
    assert groups.load(lambda *_: good(), config(cache=False), 0).info.get('notes') is None


def pictures(count, seed=0):
    """Random pictures with coarse detail: no two are alike."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 12, 12, 3)).astype(np.uint8)
    return [cv2.resize(image, (48, 48), interpolation=cv2.INTER_CUBIC) for image in coarse]


def of_pictures(split, images):
    labels = [0, 1] * (len(images) // 2)
    return dataclasses.replace(make(labels, split), read=lambda row: {'image': images[row]})


def test_a_near_duplicate_in_two_splits_is_a_leak_on_request():
    images = pictures(12)
    again = cv2.convertScaleAbs(images[3], alpha=0.9, beta=10)
    source = dataset(
        train=of_pictures('train', images[:8]),
        val=of_pictures('val', images[8:10]),
        test=of_pictures('test', [images[10], again]),
    )
    plain = groups.load(lambda *_: source, config(), 0)
    assert len(plain.splits['train']) == 8 and 'notes' not in plain.info
    with pytest.raises(ValueError, match="'train' and 'test' share 1: train3 and test1; divide"):
        groups.load(lambda *_: source, config(group_duplicates=12), 0)


@pytest.mark.parametrize('seed', range(3))
def test_near_duplicates_stay_together_in_folds(seed):
    images = pictures(8)
    train = of_pictures('train', images)
    source = dataset(train=train, val=of_pictures('val', images[2:4]))
    found = groups.load(lambda *_: source, config(group_duplicates=12, folds=2), seed)
    note = '2 pairs of near duplicates count as one group, the closest is train2 and val0'
    assert found.info['notes'] == [note]
    for pair in (('train2', 'val0'), ('train3', 'val1')):
        assert sum({*pair} <= {*part.ids.tolist()} for part in found.splits.values()) == 1
