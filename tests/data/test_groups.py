import ml_collections
import numpy as np
import pytest

from skinjax.data import groups
from skinjax.data.records import COMMON, DataSet, Records


def config(**fields):
    return ml_collections.ConfigDict({**COMMON, 'image_size': 2, 'batch_size': 4, **fields})


def make(labels, split='train', names=None, broken=(), **bias):
    labels = np.asarray(labels, np.int32)
    ids = np.array([f'{split}{k}' for k in range(len(labels))])

    def read(row):
        if row in broken:
            raise ValueError(f'row {row} cannot be read')
        return {'image': np.full((2, 2, 3), row, np.uint8)}

    bias = {name: np.asarray(values, np.int32) for name, values in bias.items()}
    return Records(ids, labels, bias, ids if names is None else np.asarray(names), read)


def dataset(pairs=None, **splits):
    splits = {
        name: value if isinstance(value, Records) else make(value, name)
        for name, value in splits.items()
    }
    bias = dict.fromkeys(splits['train'].bias, ('no', 'yes'))
    return DataSet('test', ('benign', 'malignant'), bias, splits, pairs or {})


def good(**further):
    return dataset(**{'train': [0, 1] * 4, 'val': [0, 1], 'test': [0, 1], **further})


def test_counts():
    labels, bias = np.array([0, 0, 1, 2, 1, -1]), np.array([1, 1, 0, -1, 1, 0])
    expected = [[0, 2], [1, 1], [0, 0]]
    np.testing.assert_array_equal(groups.cell_counts(labels, bias, 3, 2), expected)


def test_cramers_v():
    labels = np.array([0] * 10 + [1] * 10 + [0, 1])
    same, other = labels.copy(), np.tile([0, 1], 11)
    same[-2:] = -1
    assert groups.cramers_v(labels, same) == pytest.approx(1)
    assert groups.cramers_v(labels, other) == pytest.approx(1 / 11)
    # chi-square by hand: 2 x 2 table [[8, 2], [4, 6]], n = 20.
    bias = np.array([0] * 8 + [1] * 2 + [0] * 4 + [1] * 6)
    chi2 = 20 * (8 * 6 - 2 * 4) ** 2 / (10 * 10 * 12 * 8)
    assert groups.cramers_v(labels[:20], bias) == pytest.approx(np.sqrt(chi2 / 20))
    for nothing in (np.full(22, -1), np.zeros(22, int)):
        assert groups.cramers_v(labels, nothing) == 0


def skewed_source():
    """10 benign and 3 malignant rows with markings, 100 rows (20 malignant) without."""
    labels = [0] * 10 + [1] * 3 + [0] * 80 + [1] * 20
    marking = [1] * 13 + [0] * 100
    ruler = [1, 0] * 6 + [1] + [1, 0, -1, 0] * 25
    return make(labels, marking=marking, ruler=ruler)


def test_skew():
    found = groups.skew(skewed_source(), 'marking', 20)
    assert len(found) == 163
    marked = found.bias['marking'] == 1
    assert marked.sum() == 63 and set(found.labels[marked]) == {1}
    assert (~marked).sum() == 100 and found.labels[~marked].sum() == 20
    copy = found.columns['copy'] == 1
    assert copy.sum() == 60 and copy[103:].all() and not copy[:103].any()
    assert len(set(found.ids)) == 163
    originals, counts = np.unique(found.groups[marked], return_counts=True)
    assert originals.tolist() == ['train10', 'train11', 'train12'] and set(counts) == {21}
    assert found.ids[103] == 'train10#1'
    for row in (0, 103, 162):
        assert found.read(row)['image'][0, 0, 0] == int(found.groups[row][5:])


def test_skew_keeps_rows_of_unknown_artefact_and_follows_the_published_code_on_request():
    source = skewed_source()
    found = groups.skew(source, 'ruler', 2)
    positive = (source.bias['ruler'] == 1) & (source.labels == 1)
    dropped = (source.bias['ruler'] == 1) & (source.labels == 0)
    assert len(found) == 113 - dropped.sum() + 2 * positive.sum()
    assert (found.bias['ruler'] == -1).sum() == 25
    assert found.columns['copy'].sum() == 2 * positive.sum()
    published = groups.skew(source, 'ruler', 2, compat='sdu')
    np.testing.assert_array_equal(published.columns['copy'], published.bias['marking'] == 1)
    assert published.ids.tolist() == found.ids.tolist()


@pytest.mark.parametrize(
    ('artefact', 'options', 'message'),
    [
        ('rular', {}, "artefact 'rular' is absent; .*did you mean 'ruler'"),
        ('ruler', {'compat': 'x'}, "compat='x'"),
        ('ruler', {'copies': -1}, 'copies=-1'),
        ('ruler', {'positive': 7}, "no row of class 7 has the artefact 'ruler'"),
    ],
)
def test_skew_errors(artefact, options, message):
    with pytest.raises(ValueError, match=message):
        groups.skew(skewed_source(), artefact, **{'copies': 2, **options})


def loaded(**fields):
    val, test = make([0, 1], 'val', marking=[1, 1], ruler=[0, 0]), make([0, 1], 'test')
    built = dataset(train=skewed_source(), val=val, test=test)
    return groups.load(lambda *_: built, config(**fields), 0)


def test_skew_as_an_option_of_any_source():
    plain = loaded()
    found = loaded(skew_artefact='marking', skew_copies=20)
    assert len(plain.splits['train']) == 113 and 'skewed' not in plain.info
    assert len(found.splits['train']) == 163 and len(found.splits['val']) == 2
    assert found.info['skewed'] == {'artefact': 'marking', 'added': 60, 'left_out': 10}
    assert found.info['association']['marking'] > plain.info['association']['marking'] + 0.3
    published = loaded(skew_artefact='ruler', skew_copies=2, skew_compat='sdu').splits['train']
    np.testing.assert_array_equal(published.columns['copy'], published.bias['marking'] == 1)


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'skew_artefact': 'rular'}, "artefact 'rular' is absent; .*did you mean 'ruler'"),
        ({'skew_copies': -1}, 'data.skew_copies must be at least 0, found -1'),
        ({'skew_compat': 'sud'}, "data.skew_compat='sud'; .*did you mean 'sdu'"),
    ],
)
def test_skew_options_are_checked(fields, message):
    with pytest.raises(ValueError, match=message):
        loaded(**fields)


def grouped_rows(seed=0):
    """300 rows in 120 groups of unequal size; a fifth of the groups is positive."""
    rng = np.random.default_rng(seed)
    of = np.sort(rng.integers(0, 120, 300))
    return (rng.random(120) < 0.2)[of].astype(np.int32), np.array([f'g{k}' for k in of])


def test_folds_keep_groups_whole_and_classes_even():
    labels, names = grouped_rows()
    folds = groups.stratified_folds(labels, names, 5, seed=3)
    assert set(folds) == set(range(5))
    for name in np.unique(names):
        assert len(np.unique(folds[names == name])) == 1
    for fold in range(5):
        assert (folds == fold).mean() == pytest.approx(0.2, abs=0.03)
        assert labels[folds == fold].mean() == pytest.approx(labels.mean(), abs=0.06)
    np.testing.assert_array_equal(folds, groups.stratified_folds(labels, names, 5, seed=3))
    assert (folds != groups.stratified_folds(labels, names, 5, seed=4)).any()


def test_split_shares():
    labels = np.repeat([0, 1], [160, 40]).astype(np.int32)
    names = groups.stratified_split(labels, np.arange(200), 0, {'train': 7, 'val': 1, 'test': 2})
    for split, share in (('train', 0.7), ('val', 0.1), ('test', 0.2)):
        assert (names == split).sum() == 200 * share
        assert labels[names == split].sum() == 40 * share
    with pytest.raises(ValueError, match='10 folds need as many groups of rows, found 4'):
        groups.stratified_split(labels[:4], np.arange(4), 0, {'train': 8, 'val': 2})


def test_without_twins():
    splits = np.array(['train', 'train', 'val', 'test', 'train', 'val', 'test', 'test'])
    names = np.array(['a', 'b', 'b', 'a', 'c', 'd', 'd', 'd'])
    keep = groups.without_twins(splits, names)
    assert keep.tolist() == [False, False, True, True, True, False, True, True]


def test_leaks_are_listed():
    splits = {
        'train': make([0, 1, 1], 'train', ['a', 'b', 'c']),
        'val': make([0, 1], 'val', ['d', 'b']),
        'test': make([0, 1], 'test', ['a', 'e']),
        'marked': make([0, 1], 'marked', ['f', 'e']),
    }
    with pytest.raises(ValueError) as error:
        groups.check_no_leak(splits)
    assert str(error.value) == (
        "groups are divided between splits; 'train' and 'val' share 1: train1 and val1; "
        "'train' and 'test' share 1: train0 and test0"
    )
    groups.check_no_leak({name: splits[name] for name in ('test', 'marked')})


@pytest.mark.parametrize(
    ('splits', 'fields', 'message'),
    [
        ({'test': []}, {}, "split 'test' is empty"),
        ({'train': [1] * 8}, {}, "training has one class only, 'malignant'"),
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


def test_load_folds():
    labels, names = grouped_rows()
    source = dataset(
        train=make(labels[:200], 'train', names[:200]),
        val=make(labels[200:], 'val', np.where(names[200:] == names[199], 'own', names[200:])),
        test=make([0, 1], 'test'),
    )
    found = [groups.load(lambda *_: source, config(folds=4, fold=k), 7).splits for k in range(4)]
    everything = sorted([*source.splits['train'].ids, *source.splits['val'].ids])
    assert sorted(np.concatenate([splits['val'].ids for splits in found])) == everything
    for splits in found:
        assert sorted([*splits['train'].ids, *splits['val'].ids]) == everything
        assert splits['test'].ids.tolist() == ['test0', 'test1']
        name = str(splits['val'].ids[-1])
        pixel = int(splits['val'].read(len(splits['val']) - 1)['image'][0, 0, 0])
        assert name in (f'train{pixel}', f'val{pixel}')


def test_load_skips_unreadable_rows_and_their_partners():
    source = dataset(
        {'ruler': ('plain', 'marked')},
        train=make([0, 1] * 4, 'train', broken=(3,)),
        val=[0, 1],
        plain=make([0, 1, 0], 'plain', ['x', 'y', 'z'], broken=(0,)),
        marked=make([0, 1, 0], 'marked', ['x', 'y', 'z'], broken=(2,)),
    )
    found = groups.load(lambda *_: source, config(on_error='skip'), 0)
    assert found.info['skipped'] == [
        ('train', 'train3', 'row 3 cannot be read'),
        ('plain', 'plain0', 'row 0 cannot be read'),
        ('marked', 'marked2', 'row 2 cannot be read'),
    ]
    assert found.splits['train'].ids.tolist() == [f'train{k}' for k in (0, 1, 2, 4, 5, 6, 7)]
    assert found.splits['plain'].ids.tolist() == ['plain1']
    assert found.splits['marked'].ids.tolist() == ['marked1']
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
