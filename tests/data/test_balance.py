import numpy as np
import pytest

from skinjax.data import balance, groups
from tests.data.rows import config, dataset, make


def test_counts():
    labels, bias = np.array([0, 0, 1, 2, 1, -1]), np.array([1, 1, 0, -1, 1, 0])
    expected = [[0, 2], [1, 1], [0, 0]]
    np.testing.assert_array_equal(balance.cell_counts(labels, bias, 3, 2), expected)


def test_cramers_v():
    labels = np.array([0] * 10 + [1] * 10 + [0, 1])
    same, other = labels.copy(), np.tile([0, 1], 11)
    same[-2:] = -1
    assert balance.cramers_v(labels, same) == pytest.approx(1)
    assert balance.cramers_v(labels, other) == pytest.approx(1 / 11)
    # chi-square by hand: 2 x 2 table [[8, 2], [4, 6]], n = 20.
    bias = np.array([0] * 8 + [1] * 2 + [0] * 4 + [1] * 6)
    chi2 = 20 * (8 * 6 - 2 * 4) ** 2 / (10 * 10 * 12 * 8)
    assert balance.cramers_v(labels[:20], bias) == pytest.approx(np.sqrt(chi2 / 20))
    for nothing in (np.full(22, -1), np.zeros(22, int)):
        assert balance.cramers_v(labels, nothing) == 0


def skewed_source():
    """10 benign and 3 malignant rows with markings, 100 rows (20 malignant) without."""
    labels = [0] * 10 + [1] * 3 + [0] * 80 + [1] * 20
    marking = [1] * 13 + [0] * 100
    ruler = [1, 0] * 6 + [1] + [1, 0, -1, 0] * 25
    return make(labels, marking=marking, ruler=ruler)


def test_skew():
    found = balance.skew(skewed_source(), 'marking', 20)
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
    found = balance.skew(source, 'ruler', 2)
    positive = (source.bias['ruler'] == 1) & (source.labels == 1)
    dropped = (source.bias['ruler'] == 1) & (source.labels == 0)
    assert len(found) == 113 - dropped.sum() + 2 * positive.sum()
    assert (found.bias['ruler'] == -1).sum() == 25
    assert found.columns['copy'].sum() == 2 * positive.sum()
    published = balance.skew(source, 'ruler', 2, compat='sdu')
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
        balance.skew(skewed_source(), artefact, **{'copies': 2, **options})


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


# Images of ISIC, PH2 and the Edinburgh library (spec/02, section 5).
SOURCES = {
    'melanoma': (803, 40, 76),
    'nevus': (2107, 80, 331),
    'seborrheic_keratosis': (288, 0, 257),
}
FIGURE_7 = {
    'originals': (919, 2518, 545),
    'purified': (1066, 2988, 727),
    'generated': (1416, 2988, 1477),
    'flipped': (2685, 2988, 2772),
    'views': (16_110, 17_928, 16_632),
    'generated_views': (4_200, 0, 9_000),
}


def test_figure_7_of_bisla_et_al():
    found = balance.stages({name: sum(counts) for name, counts in SOURCES.items()})
    assert {step: tuple(counts.values()) for step, counts in found.items()} == FIGURE_7
    total, made = (sum(found[step].values()) for step in ('views', 'generated_views'))
    assert (total, made) == (50_670, 13_200)
    assert made / total == pytest.approx(0.2605, abs=5e-5)


def test_a_plan_follows_the_training_fold():
    found = balance.stages({'nevus': 2014, 'melanoma': 735, 'seborrheic_keratosis': 436})
    assert found['originals']['melanoma'] == 735
    assert found['purified']['melanoma'] == 735 + round(735 * 147 / 919)
    views = np.array(list(found['views'].values()))
    np.testing.assert_allclose(views, 0.8 * np.array([17_928, 16_110, 16_632]), rtol=0.002)
    with pytest.raises(ValueError, match="class 'seborrheic_keratosis' is absent; known: 'nev"):
        balance.stages({'nevus': 1, 'melanoma': 1})
