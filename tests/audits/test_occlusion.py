"""Tests of relevance by covering parts of images."""

import dataclasses

import numpy as np
import pytest

from skinjax import config as configs
from skinjax.auditing import looking
from skinjax.auditing.classifiers import Classifier
from skinjax.auditing.occlusion import occlusion, sure
from skinjax.auditing.seen import Flags
from skinjax.predictions import Predictions
from tests.helpers import tiny_data, tiny_records

RECORDS = tiny_records(5, size=9)
IMAGES = np.stack([RECORDS.read(row)['image'] for row in range(5)])


def said(probability):
    """A model out of a function of one image."""

    def say(records):
        scores = [probability(records.read(row)['image'] / 255) for row in range(len(records))]
        return Predictions(records.ids, records.labels, np.array(scores)), None

    return say


def border(image):
    """A probability by the brightness of the outermost three pixels."""
    inside = image[3:6, 3:6].sum()
    return 1 / (1 + np.exp(-4 * ((image.sum() - inside) / (image.size - 27) - 0.5)))


def test_only_what_the_model_reads_has_relevance():
    maps = occlusion(said(border), RECORDS, np.ones(5, int), cells=3)
    assert np.abs(maps[:, 1, 1]).max() < 1e-6
    # Log-odds are linear in brightness here: a cell's part is what covering takes from it.
    mean = IMAGES.mean(axis=(1, 2)).round()
    for y in range(3):
        for x in range(3):
            cell = IMAGES[:, 3 * y : 3 * y + 3, 3 * x : 3 * x + 3]
            taken = 4 * (cell - mean[:, None, None]).sum(axis=(1, 2, 3)) / 255 / (243 - 27)
            if (y, x) != (1, 1):
                np.testing.assert_allclose(maps[:, y, x], taken, rtol=1e-4, atol=1e-6)


def test_the_other_class_has_the_opposite_relevance():
    one = occlusion(said(border), RECORDS, np.ones(5, int), cells=3)
    other = occlusion(said(border), RECORDS, np.zeros(5, int), cells=3)
    np.testing.assert_allclose(one, -other, atol=1e-6)
    mixed = occlusion(said(border), RECORDS, np.array([1, 0, 1, 0, 1]), cells=3)
    np.testing.assert_array_equal(mixed[::2], one[::2])
    np.testing.assert_array_equal(mixed[1::2], other[1::2])


def test_several_classes_and_any_order():
    def colours(image):
        sums = image.sum(axis=(0, 1))
        return sums / sums.sum()

    targets = np.array([0, 1, 2, 0, 1])
    maps = occlusion(said(colours), RECORDS, targets, cells=2)
    order = np.array([3, 1, 4, 0, 2])
    again = occlusion(said(colours), RECORDS.select(order), targets[order], cells=2)
    np.testing.assert_array_equal(again, maps[order])
    assert np.abs(maps).min(axis=(1, 2)).max() > 0


@pytest.mark.parametrize('p', [0.0, 0.3, 1.0])
def test_a_model_that_always_says_the_same_has_maps_of_zeros(p):
    done = []
    maps = occlusion(said(lambda image: p), RECORDS, np.ones(5, int), cells=2, told=done.append)
    np.testing.assert_array_equal(maps, np.zeros((5, 2, 2), np.float32))
    assert done == [1, 2, 3, 4, 5]


def test_beyond_what_log_odds_can_tell_maps_are_zero_and_counted():
    """A model that looks at brightness, and is as sure of two images as single precision goes."""

    def steep(image):
        logit = 4 * (image.mean() - 0.5) + (20 if image[0, 0, 0] == 1 else 0)
        return 1 / (1 + np.exp(-np.float32(logit)))

    def read(row):
        found = IMAGES[row].copy()
        found[:3] = 200  # else nothing is brighter than the rest
        found[0, 0] = 255 if row in (1, 3) else 254
        return {'image': found}

    say, targets = said(steep), np.ones(5, int)
    records = dataclasses.replace(RECORDS, read=read)
    unknown = np.isin(np.arange(5), (1, 3))
    np.testing.assert_array_equal(sure(say(records)[0], targets), unknown)
    np.testing.assert_array_equal(sure(say(records)[0], 0 * targets), unknown)
    maps = occlusion(say, records, targets, cells=3)
    shown = np.abs(maps[:, 1:, 1:]).max(axis=(1, 2)) > 0
    np.testing.assert_array_equal(shown, ~unknown)
    several = Predictions(records.ids, records.labels, np.tile([0.3, 0.7, 0.0], (5, 1)))
    assert not sure(several, targets).any() and sure(several, 2 * targets).all()


def test_the_report_says_of_how_many_images_that_is(tmp_path):
    data = tiny_data(5, size=9)
    one = Classifier('toy', 9, data, RECORDS, 0.5, said(lambda image: 1.0))
    clusters = {**looking.options('spray'), 'name': 'spray'}
    section = configs.make({'seed': 0, 'cells': 2, 'clusters': clusters})
    block, (page,) = looking.looked(
        one, RECORDS, Flags({}, {}), one.predict(RECORDS), section, tmp_path
    )
    assert block['sure'] == block['empty'] == 5
    assert 'Of 5 of the 5 images the model is so sure' in page.text


def test_what_is_known_is_not_asked_again():
    say = said(border)
    asked = []

    def counted(records):
        asked.append(len(records))
        return say(records)

    ones = np.ones(5, int)
    maps = occlusion(counted, RECORDS, ones, 2, say(RECORDS)[0])
    assert len(asked) == 4
    np.testing.assert_array_equal(maps, occlusion(say, RECORDS, ones, 2))


def test_maps_are_kept_small_and_what_their_explainer_says_is_told(tmp_path):
    def explain(records, targets):
        return np.arange(len(records) * 81, dtype=np.float32).reshape(-1, 9, 9) - 100

    one = Classifier('toy', 9, tiny_data(5, size=9), RECORDS, 0.5, said(border), explain)
    one = dataclasses.replace(one, remarks=lambda records, targets: ['two scores are negative'])
    clusters = {**looking.options('spray'), 'name': 'spray'}
    fields = {'seed': 0, 'cells': 2, 'clusters': clusters, 'explainer': {'name': 'lrp'}}
    section, table = configs.make(fields), one.predict(RECORDS)
    seen, _ = looking._seen(one, RECORDS, Flags({}, {}), table, section)
    assert seen.maps.dtype == np.float16 and seen.signed
    np.testing.assert_array_equal(np.abs(seen.maps).max(axis=(1, 2)), np.ones(5))
    assert seen.table.columns['scale'].tolist() == [100, 61, 142, 223, 304]
    zero = dataclasses.replace(one, explain=lambda records, targets: 0 * explain(records, targets))
    _, (page,) = looking.looked(zero, RECORDS, Flags({}, {}), table, section, tmp_path)
    assert 'Two scores are negative. Whether the maps depend on what was learned' in page.text


def test_cells_cover_images_that_they_do_not_divide_and_leave_them_as_they_are():
    """Every pixel is covered exactly once; what else a row has stays."""
    seen = []

    def say(records):
        example = records.read(0)
        seen.append(example['image'].copy())
        assert example['extra'] == 7
        return Predictions(records.ids, records.labels, np.full(1, 0.5)), None

    image = np.zeros((10, 13, 3), np.uint8)
    image[0, 0] = 255
    one = RECORDS.select(np.arange(1))
    one = dataclasses.replace(one, read=lambda row: {'image': image + 0, 'extra': np.array(7)})
    occlusion(say, one, np.zeros(1, int), cells=4)
    mean = image.mean(axis=(0, 1)).round()
    assert mean.min() == 2
    covered = [(changed == mean).all(axis=-1) for changed in seen[1:]]
    np.testing.assert_array_equal(np.sum(covered, axis=0), np.ones((10, 13)))
    np.testing.assert_array_equal(seen[0], image)


def test_wrong_options_say_what_is_wrong():
    say, ones = said(border), np.ones(5, int)
    with pytest.raises(ValueError, match='0 cells a side'):
        occlusion(say, RECORDS, ones, cells=0)
    with pytest.raises(ValueError, match='4 targets for 5 images'):
        occlusion(say, RECORDS, ones[:4])
    with pytest.raises(ValueError, match='targets are 2 to 2; the model has the classes 0 to 1'):
        occlusion(say, RECORDS, 2 * ones)
    with pytest.raises(ValueError, match='image row-0 has 9 x 9 pixels for 10 cells'):
        occlusion(say, RECORDS, ones, cells=10)
