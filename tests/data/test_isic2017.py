from collections import Counter
from pathlib import Path

import ml_collections
import numpy as np
import pytest

from skinjax.data import groups, isic2017
from skinjax.data.records import COMMON
from skinjax.data.table import read_table

ROOT = Path(__file__).parents[3] / 'shared/data/isic2017'
here = pytest.mark.skipif(
    not ROOT.is_dir(), reason='the ISIC 2017 images are not in ../shared/data'
)


def config(**fields):
    common = {**COMMON, 'image_size': 32, 'root': str(ROOT)}
    return ml_collections.ConfigDict({**common, **isic2017.DEFAULTS, **fields})


@pytest.fixture(scope='module')
def dataset():
    return groups.load(isic2017.build, config(bias=('ruler', 'instrument'), with_mask=True), 0)


def joined(dataset, get):
    return np.concatenate([get(records) for records in dataset.splits.values()])


@here
def test_splits_and_classes(dataset):
    assert {name: len(records) for name, records in dataset.splits.items()} == {
        'train': 2000 - 12 - 9,
        'val': 150 - 2,
        'test': 600,
    }
    assert dataset.info['left_out'] == {'train': 21, 'val': 2}
    groups_of_ids = {
        name: group
        for part in dataset.splits.values()
        for name, group in zip(part.ids.tolist(), part.groups.tolist(), strict=True)
    }
    pairs = [pair for pair in isic2017.TWINS.items() if {*pair} <= {*groups_of_ids}]
    assert len(isic2017.TWINS) == 16 and len(pairs) == 7
    assert all(groups_of_ids[one] == groups_of_ids[other] for one, other in pairs)
    assert dataset.classes == ('benign', 'melanoma')
    table = read_table(ROOT / 'labels.csv')
    assert Counter(table.column('dx')) == {'nv': 1843, 'mel': 521, 'sk': 386}
    groups_of = {}
    for split, name in zip(table.column('split'), table.column('near_dup_group'), strict=True):
        groups_of.setdefault(name, set()).add(split)
    groups_of.pop('')
    assert sum(len(splits) > 1 for splits in groups_of.values()) == 14
    dx = joined(dataset, lambda records: records.columns['dx'])
    labels = joined(dataset, lambda records: records.labels)
    np.testing.assert_array_equal(labels, dx == 'mel')
    assert dataset.splits['test'].labels.sum() == 117


@here
@pytest.mark.parametrize('task', list(isic2017.TASKS))
def test_tasks(dataset, task):
    found = isic2017.build(config(task=task), 0)
    test = found.splits['test']
    names = np.array(found.classes)[test.labels]
    expected = Counter(test.columns['dx'].tolist())
    assert expected == {'nv': 393, 'mel': 117, 'sk': 90}
    if task == 'three':
        assert found.classes == ('melanoma', 'nevus', 'seborrheic_keratosis')
        assert Counter(names.tolist()) == {isic2017.CLASSES[dx]: n for dx, n in expected.items()}
    else:
        assert found.classes[1] == task
        assert (names == task).sum() == {'melanoma': 117}.get(task, 90)


@here
def test_artefact_labels_and_natural_shortcuts(dataset):
    whole = isic2017.build(config(), 0)
    table = read_table(ROOT / 'labels.csv')
    assert sum(cell != '' for cell in table.column('ruler')) == 2450
    melanoma = np.array(table.column('dx')) == 'mel'
    for flag, benign, malignant in (
        ('patches', 7.6, 0.4),
        ('ruler', 49, 61),
        ('dark_corner', 36, 47),
    ):
        codes, _ = table.codes(flag, ('0', '1'), unknown=True)
        assert (codes == -1).sum() == 300
        for rows, percent in ((~melanoma, benign), (melanoma, malignant)):
            share = 100 * (codes[rows & (codes >= 0)] == 1).mean()
            assert share == pytest.approx(percent, abs=0.5)
        assert whole.bias[flag] == ('absent', 'present')
        kept = whole.splits['train'].bias[flag]
        assert set(kept.tolist()) == {-1, 0, 1}
    assert dataset.info['association']['patches'] == pytest.approx(0.126, abs=0.001)
    assert dataset.info['association']['instrument'] == pytest.approx(0.198, abs=0.001)


@here
def test_instruments(dataset):
    names = dataset.bias['instrument']
    assert names == tuple(sorted(names))
    assert len(names) == 11 and (names[0], names[-1]) == ('1024x1024', '919x919')
    train, test = dataset.splits['train'], dataset.splits['test']
    codes = train.bias['instrument']
    counts = np.bincount(codes[codes >= 0])
    assert counts.min() >= 30 and counts.max() == counts[0]
    shares = [train.labels[codes == code].mean() for code in range(len(names))]
    assert min(shares) < 0.01 and max(shares) > 0.4
    assert set(test.bias['instrument'].tolist()) == {-1}
    assert len(isic2017.build(config(min_instrument=100), 0).bias['instrument']) == 3


@here
def test_images_and_masks(dataset):
    sources = joined(dataset, lambda records: records.columns['mask_source'])
    assert (sources == '').sum() == 71
    clipped = joined(dataset, lambda records: records.columns['mask_clipped'])
    assert clipped.sum() == 164
    test = dataset.splits['test']
    with_mask = int(np.flatnonzero(test.columns['mask_source'] != '')[0])
    without = int(np.flatnonzero(test.columns['mask_source'] == '')[0])
    example = test.read(with_mask)
    assert example['image'].shape == (32, 32, 3) and example['image'].dtype == np.uint8
    assert example['image'].std() > 5
    assert set(np.unique(example['mask']).tolist()) == {0, 255}
    assert set(test.read(without)) == {'image'}
    assert set(isic2017.build(config(), 0).splits['test'].read(with_mask)) == {'image'}
    # Lesions are darker than the skin around them: masks and images belong together.
    rows = [k for k in range(60) if (dataset.splits['train'].read(k)['mask'] == 0).any()]
    darker = [
        read['image'][read['mask'] > 0].mean() < read['image'][read['mask'] == 0].mean()
        for read in (dataset.splits['train'].read(k) for k in rows)
    ]
    assert np.mean(darker) > 0.9


def test_errors():
    with pytest.raises(ValueError, match=r'give it with --config\.data\.root=FOLDER'):
        isic2017.build(config(root=''), 0)
    with pytest.raises(ValueError, match=r"task 'melanomas' is unknown.*did you mean 'melanoma'"):
        isic2017.build(config(task='melanomas'), 0)
    with pytest.raises(
        FileNotFoundError, match='nowhere: no such folder; expected the files of isic2017'
    ):
        isic2017.build(config(root='nowhere'), 0)
