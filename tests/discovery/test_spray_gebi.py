"""SpRAy and GEBI on planted frames and on toys where only one of them can tell."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from skinjax.discovery import enrichment, gebi, spray
from tests.discovery.planted import framed


def map_points(maps, **fields):
    return spray.preprocess(maps, **{'size': 16, **fields})


def test_preprocessing_by_hand():
    one = np.array([[1.0, 3], [0, 4], [2, 2], [-2, 6]], np.float32).repeat(2, axis=1)
    found = spray.preprocess([one], 2)[0].reshape(2, 2)
    np.testing.assert_allclose(found * 32, [[1 / 2, 7 / 2], [0, 4]], atol=1e-6)
    sizes = spray.preprocess([one], 2, absolute=True)[0].reshape(2, 2)
    np.testing.assert_allclose(sizes * 40, [[1 / 2, 7 / 2], [2, 4]], atol=1e-6)
    np.testing.assert_allclose(
        spray.preprocess([one], 2, normalise='absolute_sum') * 40, found.reshape(1, 4) * 32
    )
    plain = spray.preprocess([one], 2, normalise='none')
    np.testing.assert_allclose(plain, found.ravel()[None] * 32, atol=1e-6)
    np.testing.assert_allclose(spray.preprocess([one * 7], 2), spray.preprocess([one], 2))


def test_maps_that_cancel_or_are_zero():
    cancels = np.array([[1.0, -1.0], [1e-6, 0]], np.float32)
    found = spray.preprocess([cancels, np.zeros((2, 2), np.float32)], 2)
    np.testing.assert_allclose(found[0], cancels.ravel() / 0.02, rtol=1e-4)
    assert not found[1].any()
    assert spray.preprocess([np.ones((4, 4), np.float16)], 8).shape == (1, 64)
    with pytest.raises(ValueError, match='map 1 is not finite'):
        spray.preprocess([cancels, cancels + np.inf], 2)


def test_images_as_points():
    image = np.zeros((8, 8, 3), np.uint8)
    image[..., 1] = 200
    grey = gebi.preprocess_images([image], 4)
    np.testing.assert_allclose(grey, np.full((1, 16), 117 / 255), atol=0.5 / 255)  # .587 * 200
    mean = gebi.preprocess_images([image], 4, 'mean')
    np.testing.assert_allclose(mean, np.full((1, 16), 200 / 3 / 255), rtol=1e-5)
    colour = gebi.preprocess_images([image], 4, 'colour').reshape(16, 3)
    np.testing.assert_allclose(colour, np.tile([0, 200 / 255, 0], (16, 1)), rtol=1e-5)


def test_planted_frames_are_found():
    images, maps, has = framed()
    found = spray.spray(map_points(maps), {**spray.DEFAULTS, 'clusters': 2})
    assert adjusted_rand_score(has, found.labels) > 0.9
    # Left to the eigengap there are more clusters, and one of them is of frames alone.
    several = spray.spray(map_points(maps), spray.DEFAULTS).labels
    flags, names = {'frame': has.astype(np.int32)}, {'frame': ('no', 'yes')}
    rows = enrichment.corrected(enrichment.rows(several, flags, names))
    (best,) = enrichment.agreement(several, flags, names, rows)
    assert best['precision'] == 1 and min(row['p'] for row in rows) < 1e-4
    config = {**gebi.DEFAULTS, 'clusters': 2}
    points = gebi.preprocess_images(images, 16)
    for scale in gebi.SCALES:
        both = gebi.gebi(map_points(maps), points, {**config, 'scale': scale})
        assert adjusted_rand_score(has, both.clustering.labels) > 0.9
        assert both.points.min() == 0 and both.points.max() == 1


@pytest.mark.parametrize('affinity', ['knn', 'rbf'])
def test_gebi_sees_what_maps_alone_cannot(affinity):
    """Framed and unframed images whose maps are the same."""
    images, maps, has = framed()
    same = map_points(np.repeat(maps[:1], len(maps), axis=0))
    alone = spray.spray(same, {**spray.DEFAULTS, 'clusters': 2})
    assert alone.count == 1 and 'All 60 points are the same' in alone.notes[0]
    config = {**gebi.DEFAULTS, 'clusters': 2, 'affinity': affinity}
    both = gebi.gebi(same, gebi.preprocess_images(images, 16), config)
    assert adjusted_rand_score(has, both.clustering.labels) > 0.9
    assert both.clustering.notes[0] == 'All maps are the same: they tell nothing.'


def test_two_colours():
    colours = np.array([[220, 180, 160], [150, 90, 200]], np.uint8)
    group = np.arange(24) % 2
    images = np.broadcast_to(colours[group][:, None, None], (24, 8, 8, 3))
    maps = np.ones((24, 8, 8), np.float32)
    config = {**gebi.DEFAULTS, 'clusters': 0}
    found = gebi.gebi(map_points(maps), gebi.preprocess_images(images, 8), config)
    assert found.points.shape == (24, 1)
    assert found.clustering.count == 2
    assert adjusted_rand_score(group, found.clustering.labels) == 1


def test_nothing_to_tell_by():
    same = np.ones((20, 4), np.float32)
    found = gebi.gebi(same, same, gebi.DEFAULTS)
    assert found.clustering.count == 1 and len(found.clustering.notes) == 3


def test_empty_maps_are_left_out():
    _, maps, has = framed(30)
    maps[[4, 9]] = 0
    found = spray.spray(map_points(maps), {**spray.DEFAULTS, 'clusters': 2, 'neighbours': 5})
    assert (np.flatnonzero(found.labels < 0) == [4, 9]).all()
    assert adjusted_rand_score(has[found.labels >= 0], found.labels[found.labels >= 0]) == 1
    assert found.notes[0].startswith('2 of 30 maps are zero everywhere')
    assert not found.vectors[[4, 9]].any() and found.vectors[5].any()
    maps[2:] = 0
    none = spray.spray(map_points(maps), spray.DEFAULTS)
    assert (
        none.count == none.gap == 0 and (none.labels == -1).all() and none.vectors.shape == (30, 0)
    )
    assert none.notes[0].startswith('28 of 30 maps are zero everywhere')


def test_gebi_leaves_empty_maps_out_too():
    images, maps, has = framed(30)
    maps[[4, 9]] = 0
    seen = gebi.preprocess_images(images, 16)
    config = {**gebi.DEFAULTS, 'clusters': 2, 'neighbours': 5}
    found = gebi.gebi(map_points(maps), seen, config)
    labels = found.clustering.labels
    assert (np.flatnonzero(labels < 0) == [4, 9]).all()
    assert adjusted_rand_score(has[labels >= 0], labels[labels >= 0]) == 1
    assert not found.points[[4, 9]].any() and found.points[5].any()
    assert found.clustering.notes[0].startswith('2 of 30 maps are zero everywhere')
    none = gebi.gebi(map_points(0 * maps), seen, config)
    assert none.clustering.count == 0 and not none.points.any()


def test_refusals():
    with pytest.raises(ValueError, match='3 maps and 2 images'):
        gebi.gebi(np.eye(3), np.eye(2), gebi.DEFAULTS)
    for field, value, message in (
        ('scale', 'all', "scale is 'all'; known: 'each', 'whole'"),
        ('channels', 'rgb', "channels is 'rgb'"),
        ('map_dimensions', 0, 'map_dimensions is 0'),
        ('size', 1, 'size is 1 pixels'),
        ('normalise', 'max', "normalise is 'max'"),
    ):
        with pytest.raises(ValueError, match=message):
            gebi.check({**gebi.DEFAULTS, field: value})
