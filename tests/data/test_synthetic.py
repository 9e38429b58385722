"""The synthetic source: who has what, which splits share what."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import pytest
from ml_collections import ConfigDict
from scipy.stats import binom
from sklearn.metrics import roc_auc_score

from skinjax.data import cameras, latents, lesions, rendering, synthetic
from skinjax.data.records import COMMON, DataSet, Records


def build(seed: int = 0, **fields: Any) -> DataSet:
    config = ConfigDict({**COMMON, **synthetic.DEFAULTS, 'image_size': 32})
    config.update(fields)
    return synthetic.build(config, seed)


def likely(count: int, n: int, p: float) -> bool:
    """Whether a binomial count is inside its central 99.9 %."""
    return bool(binom.ppf(0.0005, n, p) <= count <= binom.ppf(0.9995, n, p))


def images(records: Records, rows: range) -> np.ndarray:
    return np.stack([records.read(row)['image'] for row in rows])


@pytest.fixture(scope='module')
def default() -> DataSet:
    return build()


def test_splits_and_sizes(default: DataSet):
    sizes = {name: len(records) for name, records in default.splits.items()}
    tests = dict.fromkeys(('plain', 'marked', 'balanced', 'reversed', 'aligned'), 2000)
    assert sizes == {'train': 3000, 'val': 500, **tests}
    assert default.classes == ('nevus', 'melanoma')
    assert default.pairs == {'ruler': ('plain', 'marked')}
    assert default.bias['ruler'] == ('no ruler', 'ruler')
    assert len(default.bias['camera']) == 8
    assert set(default.bias) == {'ruler', 'camera', 'hair', 'bubbles'}
    for records in default.splits.values():
        assert set(records.bias) == set(default.bias)
        assert np.bincount(records.labels).tolist() == [len(records) // 2] * 2


def test_names_are_unique_and_lesions_undivided(default: DataSet):
    ids = [name for records in default.splits.values() for name in records.ids]
    assert len(set(ids)) == len(ids)
    assert 'train-0-00012' in ids
    groups = {name: set(records.groups) for name, records in default.splits.items()}
    assert groups['train'] | groups['val'] | groups['plain'] == set().union(*groups.values())
    assert not groups['train'] & groups['val']
    assert not (groups['train'] | groups['val']) & groups['plain']
    assert groups['plain'] == groups['marked'] == groups['reversed']


@pytest.mark.parametrize(
    ('split', 'benign', 'malignant'),
    [
        ('train', 0.0, 0.5),
        ('val', 0.0, 0.5),
        ('plain', 0.0, 0.0),
        ('marked', 1.0, 1.0),
        ('balanced', 0.5, 0.5),
        ('reversed', 0.9, 0.05),
        ('aligned', 0.05, 0.9),
    ],
)
def test_artefact_given_class(default: DataSet, split: str, benign: float, malignant: float):
    records = default.splits[split]
    for label, p in enumerate((benign, malignant)):
        has = records.bias['ruler'][records.labels == label]
        assert likely(has.sum(), len(has), p)
        if p in (0.0, 1.0):
            assert np.all(has == p)


def test_background_is_independent_of_the_class(default: DataSet):
    for name, p in (('hair', 0.2), ('bubbles', 0.1)):
        for records in default.splits.values():
            for label in (0, 1):
                has = records.bias[name][records.labels == label]
                assert likely(has.sum(), len(has), p)


def test_columns(default: DataSet):
    for name in ('train', 'plain'):
        records = default.splits[name]
        assert roc_auc_score(records.labels, records.columns['llr']) == pytest.approx(
            0.97, abs=0.012
        )
        np.testing.assert_array_equal(records.columns['bayes_label'], records.columns['llr'] > 0)
    ita, kind = records.columns['ita'], records.columns['skin_type']
    bounds = [(55, 99, 1), (41, 55, 2), (28, 41, 3), (19, 28, 4), (10, 19, 5), (-99, 10, 6)]
    for low, high, expected in bounds:
        assert set(kind[(ita > low) & (ita <= high)]) == {expected}
    assert default.info['bayes_auc'] == 0.97
    assert default.info['bayes_balanced_accuracy'] == pytest.approx(0.908, abs=0.001)


@pytest.mark.parametrize(
    ('lightness', 'yellow', 'angle', 'kind'), [(70, 15, 53.13, 2), (60, 20, 26.57, 4)]
)
def test_worked_skin_tones(lightness: float, yellow: float, angle: float, kind: int):
    """ITA = atan((L - 50) / b): the angle, its type, and a colour that has it."""
    ita = float(np.degrees(np.arctan2(lightness - 50, yellow)))
    assert ita == pytest.approx(angle, abs=0.005)
    assert synthetic.skin_type(np.array([ita])).tolist() == [kind]
    colour = lesions.skin_colour(np.random.default_rng(0), ita).astype(np.float32)
    found, _, b = cv2.cvtColor(colour[None, None], cv2.COLOR_RGB2Lab)[0, 0]
    assert (found - 50) / b == pytest.approx((lightness - 50) / yellow, rel=0.01)


def test_skin_types_at_their_limits():
    ita = np.array([55.1, 55.0, 41.0, 28.0, 19.0, 10.0, -30.0])
    assert synthetic.skin_type(ita).tolist() == [1, 2, 3, 4, 5, 6, 6]


def test_the_selections_share_pixels_with_the_two_renderings(default: DataSet):
    plain, marked = default.splits['plain'], default.splits['marked']
    for name in ('balanced', 'reversed', 'aligned'):
        records = default.splits[name]
        for row in range(30):
            source = marked if records.bias['ruler'][row] else plain
            assert records.read(row)['image'] is source.read(row)['image']
    changed = [np.any(images(plain, range(30)) != images(marked, range(30)), axis=(1, 2, 3))]
    assert np.all(changed)


def test_pictures_are_those_of_the_table(default: DataSet):
    records = default.splits['train']
    for row in (0, 5, 77):
        names = [name for name in ('hair', 'bubbles', 'ruler') if records.bias[name][row]]
        label, camera = int(records.labels[row]), int(records.bias['camera'][row])
        picture = rendering.render(0, row, label, 32, names, camera)
        np.testing.assert_array_equal(records.read(row)['image'], picture.image)
        np.testing.assert_array_equal(records.read(row)['mask'], picture.mask)
        assert records.columns['ita'][row] == picture.ita


def test_seeds(default: DataSet):
    again, other = build(0), build(1)
    rows = range(6)
    first = images(default.splits['train'], rows)
    np.testing.assert_array_equal(images(again.splits['train'], rows[::-1])[::-1], first)
    assert not np.array_equal(other.splits['train'].labels, default.splits['train'].labels)
    assert np.abs(images(other.splits['train'], rows).astype(int) - first).mean() > 3
    # Test pictures are the same for every training seed, and never training pictures.
    np.testing.assert_array_equal(
        images(other.splits['marked'], rows), images(default.splits['marked'], rows)
    )
    same = build(5, test_seed=5, n_train=20, n_val=20, n_test=20)
    llr = [same.splits[name].columns['llr'] for name in ('train', 'val', 'plain')]
    assert len(np.unique(np.concatenate(llr))) == 60


def test_an_unskewed_training_set_has_the_same_lesions(default: DataSet):
    fair = build(skew=(0.5, 0.5)).splits['train']
    skewed = default.splits['train']
    np.testing.assert_array_equal(fair.columns['llr'], skewed.columns['llr'])
    row = int(np.flatnonzero(fair.bias['ruler'] == skewed.bias['ruler'])[0])
    np.testing.assert_array_equal(fair.read(row)['image'], skewed.read(row)['image'])


def test_threads_read_what_one_reads():
    records = build(n_train=64, n_val=8, n_test=8).splits['train']
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda row: records.read(row)['image'], [*range(64)] * 2))
    np.testing.assert_array_equal(
        np.stack(together), np.tile(images(records, range(64)), (2, 1, 1, 1))
    )


@pytest.mark.parametrize('artefact', ['hair', 'bubbles', 'marking', 'frame', 'sticker'])
def test_any_artefact_can_be_the_spurious_one(artefact: str):
    data = build(artefact=artefact, skew=(0.1, 0.8), n_train=400, n_val=10, n_test=40)
    records = data.splits['train']
    for label, p in enumerate((0.1, 0.8)):
        assert likely(records.bias[artefact][records.labels == label].sum(), 200, p)
    assert data.pairs == {artefact: ('plain', 'marked')}
    assert set(data.splits['plain'].bias[artefact]) == {0}
    assert set(data.splits['marked'].bias[artefact]) == {1}


def test_no_artefact():
    data = build(artefact='none', n_train=20, n_val=10, n_test=10)
    assert set(data.splits) == {'train', 'val', 'plain'}
    assert not data.pairs
    assert set(data.bias) == {'hair', 'bubbles', 'camera'}


def test_cameras():
    data = build(artefact='none', cameras='skewed', n_train=4000, n_val=10)
    assert set(data.splits) == {'train', 'val', 'aligned', 'uniform', 'reversed', 'unseen'}
    table = cameras.given_class(1.5)
    expected = {
        'train': table,
        'aligned': table,
        'uniform': np.full((2, 8), 1 / 8),
        'reversed': table[::-1],
    }
    for name, rates in expected.items():
        records = data.splits[name]
        for label in (0, 1):
            used = records.bias['camera'][records.labels == label]
            for camera, count in enumerate(np.bincount(used, minlength=8)):
                assert likely(count, len(used), rates[label, camera]), (name, label, camera)
        np.testing.assert_array_equal(records.columns['camera_used'], records.bias['camera'])
    unseen = data.splits['unseen']
    assert set(unseen.bias['camera']) == {-1}
    assert set(unseen.columns['camera_used']) == {8, 9, 10, 11}
    assert np.array_equal(unseen.columns['llr'], data.splits['uniform'].columns['llr'])


def test_unskewed_cameras_share_the_test_splits():
    """The ceiling of the camera study: trained without the skew, judged on the same pictures."""
    sizes = {'n_train': 400, 'n_val': 10, 'n_test': 60}
    skewed, unskewed = (
        build(artefact='none', cameras=kind, **sizes) for kind in ('skewed', 'unskewed')
    )
    assert set(unskewed.splits) == set(skewed.splits)
    for name in ('aligned', 'uniform', 'reversed', 'unseen'):
        one, other = (data.splits[name].read(7)['image'] for data in (skewed, unskewed))
        np.testing.assert_array_equal(one, other)
    train = unskewed.splits['train']
    np.testing.assert_array_equal(train.labels, skewed.splits['train'].labels)
    means = [train.bias['camera'][train.labels == label].mean() for label in (0, 1)]
    assert abs(means[1] - means[0]) < 1  # 3.6 with the skew


def test_cameras_are_uniform_otherwise(default: DataSet):
    records = default.splits['train']
    for label in (0, 1):
        for count in np.bincount(records.bias['camera'][records.labels == label], minlength=8):
            assert likely(count, 1500, 1 / 8)


def test_seven_classes():
    data = build(classes=7, n_test=701, artefact='marking', skew=(0.1, 0.6))
    assert data.classes == ('akiec', 'bcc', 'bkl', 'df', 'mel', 'nv', 'vasc')
    train = np.bincount(data.splits['train'].labels, minlength=7)
    np.testing.assert_allclose(train / 3000, np.array(latents.PROPORTIONS[7]) / 10015, atol=0.002)
    assert train.sum() == 3000
    test = np.bincount(data.splits['plain'].labels, minlength=7)
    assert test.sum() == 701
    assert test.max() - test.min() <= 1
    records = data.splits['train']
    malignant = np.isin(records.labels, [0, 1, 4])
    for group, p in ((malignant, 0.6), (~malignant, 0.1)):
        assert likely(records.bias['marking'][group].sum(), group.sum(), p)
    plain = data.splits['plain']
    hits = plain.columns['bayes_label'] == plain.labels
    recalls = [hits[plain.labels == y].mean() for y in range(7)]
    assert np.mean(recalls) == pytest.approx(data.info['bayes_balanced_accuracy'], abs=0.06)
    assert plain.read(3)['image'].shape == (32, 32, 3)
    assert 'llr' not in plain.columns


def test_one_probability_for_each_class():
    rates = (0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0)
    records = build(classes=7, skew=rates, n_train=500, n_val=20, n_test=20).splits['train']
    np.testing.assert_array_equal(records.bias['ruler'], records.labels == 4)


@pytest.mark.parametrize(('tones', 'known'), [('light', {1, 2}), ('even', {1, 2, 3, 4, 5, 6})])
def test_tones_in_training_and_the_same_lesions_on_each_type(tones: str, known: set[int]):
    data = build(tones=tones, artefact='none', n_train=600, n_val=20, n_test=40)
    assert list(data.splits) == ['train', 'val', *(f'type_{k}' for k in range(1, 7))]
    types, counts = np.unique(data.splits['train'].columns['skin_type'], return_counts=True)
    assert set(types) == known
    assert all(likely(count, 600, 1 / len(known)) for count in counts)
    one, six = data.splits['type_1'], data.splits['type_6']
    np.testing.assert_array_equal(one.groups, six.groups)
    np.testing.assert_array_equal(one.read(0)['mask'], six.read(0)['mask'])
    for k in range(1, 7):
        np.testing.assert_array_equal(data.splits[f'type_{k}'].columns['skin_type'], k)
    light, dark = (images(records, range(10)).mean() for records in (one, six))
    assert dark < 0.75 * light
    np.testing.assert_array_equal(
        images(one, range(3)),
        images(
            build(tones=tones, artefact='none', n_train=6, n_val=4, n_test=40).splits['type_1'],
            range(3),
        ),
    )


def test_every_class_is_in_a_small_training_set():
    records = build(classes=7, n_train=30, n_val=7, n_test=7).splits['train']
    assert set(records.labels) == set(range(7))


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'artefact': 'rulers'}, "did you mean 'ruler'"),
        ({'cameras': 'skwed'}, "did you mean 'skewed'"),
        ({'cameras': 'skewed'}, "set artefact='none'"),
        ({'cameras': 'unskewed'}, "set artefact='none'"),
        ({'tones': 'lihgt'}, "did you mean 'light'"),
        ({'tones': 'light'}, 'studies the skin alone'),
        ({'tones': 'even', 'artefact': 'none', 'cameras': 'skewed'}, 'studies the skin alone'),
        ({'tones': 'even', 'artefact': 'none', 'ita_mean': 30.0}, 'ita_mean and ita_sd do nothing'),
        ({'skew': (0.0, 1.5)}, 'skew must hold probabilities'),
        ({'skew': (0.1,)}, 'skew must have 2 entries'),
        ({'hair': -0.1}, 'hair must hold probabilities'),
        ({'classes': 4}, 'found classes=4'),
        ({'bayes_auc': 1.0}, 'bayes_auc must be'),
        ({'bias': ('rulr',)}, "did you mean 'ruler'"),
        ({'test_seed': -1}, 'test_seed=-1'),
        ({'image_size': 8}, 'found 8'),
    ],
)
def test_impossible_options_are_refused(fields: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        build(**fields)
