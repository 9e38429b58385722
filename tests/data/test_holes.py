"""Random holes: where they are, how many, and on what they depend."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax.data.holes import random_holes

draw = jax.jit(random_holes, static_argnums=(1, 2))
KEYS = jax.random.split(jax.random.key(0), 64)


@pytest.fixture(scope='module')
def holes():
    return np.asarray(draw(KEYS, 48, 40))


def test_every_image_has_holes_and_something_to_fill_them_from(holes):
    assert holes.shape == (64, 48, 40) and holes.dtype == bool
    share = holes.mean((1, 2))
    assert share.min() > 0 and share.max() < 0.6
    assert 0.05 < share.mean() < 0.3
    assert share.std() > 0.03


def test_holes_lie_everywhere_and_differ(holes):
    everywhere = holes.mean(0)
    assert (everywhere == 0).mean() < 0.1 and everywhere.max() < 0.6
    assert len({one.tobytes() for one in holes}) == len(holes)


def test_an_image_does_not_depend_on_the_batch(holes):
    again = np.asarray(draw(KEYS[::-8], 48, 40))
    np.testing.assert_array_equal(again, holes[::-8])


def test_strokes_grow_with_the_image():
    small, large = (np.asarray(draw(KEYS[:16], side, side)) for side in (32, 128))
    assert 0.25 < large.mean() / small.mean() < 1  # below about 50 pixels none can be thinner

    def thickest(hole):
        import cv2

        return cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 5).max()

    assert np.mean([*map(thickest, large)]) > 2 * np.mean([*map(thickest, small)])


def test_tiny_and_oblong_images():
    for shape in ((2, 2), (8, 64), (64, 8)):
        holes = np.asarray(draw(KEYS[:4], *shape))
        assert holes.shape == (4, *shape) and holes.any((1, 2)).all()


def test_a_stroke_is_where_its_curve_is():
    from skinjax.data.holes import _near_curve

    y, x = jnp.meshgrid(jnp.arange(21.0), jnp.arange(21.0), indexing='ij')
    points = jnp.array([2.0, 2.0]), jnp.array([2.0, 18.0]), jnp.array([18.0, 18.0])
    near = np.asarray(_near_curve(y, x, points, 1.0))
    assert near[2, 2] and near[18, 18] and near[6, 14]  # the middle is (a + 2 b + c) / 4
    assert not near[2, 18] and not near[18, 2] and not near[10, 10]
    straight = np.asarray(
        _near_curve(y, x, (points[0], (points[0] + points[2]) / 2, points[2]), 0.5)
    )
    np.testing.assert_array_equal(np.flatnonzero(straight), 22 * np.arange(2, 19))
