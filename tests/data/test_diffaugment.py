"""Differentiable changes against slow twins: what they do, what they draw, and their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax.data import diffaugment as module
from skinjax.data.diffaugment import CHANGES, diffaugment

COUNT, HEIGHT, WIDTH = 256, 16, 12
KEYS = jax.random.split(jax.random.key(0), COUNT)
IMAGE = np.random.default_rng(0).uniform(-1, 1, (HEIGHT, WIDTH, 3)).astype(np.float32)
run = jax.jit(diffaugment, static_argnums=2)


@pytest.fixture(scope='module')
def changed():
    """One image, changed by many keys, by the name of the change."""
    images = jnp.broadcast_to(jnp.asarray(IMAGE), (COUNT, *IMAGE.shape))
    return {name: np.asarray(run(KEYS, images, (name,))) for name in CHANGES}


def slow_color(image, brightness, saturation, contrast):
    out = np.float64(image) + brightness
    for y in range(HEIGHT):
        for x in range(WIDTH):
            grey = sum(out[y, x]) / 3
            out[y, x] = [grey + saturation * (value - grey) for value in out[y, x]]
    mean = out.sum() / out.size
    return mean + contrast * (out - mean)


def slow_translation(image, down, across):
    out = np.zeros_like(image)
    for y in range(HEIGHT):
        for x in range(WIDTH):
            if 0 <= y + down < HEIGHT and 0 <= x + across < WIDTH:
                out[y, x] = image[y + down, x + across]
    return out


def slow_cutout(image, row, column):
    """As published: indices of a box about a centre, moved into the image where they are not."""
    out = image.copy()
    for y in range(HEIGHT // 2):
        for x in range(WIDTH // 2):
            i = min(max(y + row - HEIGHT // 4, 0), HEIGHT - 1)
            j = min(max(x + column - WIDTH // 4, 0), WIDTH - 1)
            out[i, j] = 0
    return out


def test_without_names_nothing_changes():
    images = jnp.asarray(IMAGE)[None]
    assert diffaugment(KEYS[:1], images, ()) is images


def test_color(changed):
    for brightness, saturation, contrast in [(0.0, 1.0, 1.0), (0.3, 0.2, 1.4), (-0.5, 2.0, 0.5)]:
        factors = (jnp.float32(v) for v in (brightness, saturation, contrast))
        found = module.colored(jnp.asarray(IMAGE), *factors)
        want = slow_color(IMAGE, brightness, saturation, contrast)
        np.testing.assert_allclose(found, want, atol=1e-5)
    # The three draws, read back from the images.
    grey = IMAGE.mean()
    brightness = changed['color'].mean((1, 2, 3)) - grey
    contrast = changed['color'].mean(-1).std((1, 2)) / IMAGE.mean(-1).std()
    spread = (changed['color'] - changed['color'].mean(-1, keepdims=True)).std((1, 2, 3))
    saturation = spread / (IMAGE - IMAGE.mean(-1, keepdims=True)).std() / contrast
    for values, low, high in ((brightness, -0.5, 0.5), (saturation, 0, 2), (contrast, 0.5, 1.5)):
        width = high - low
        assert low - 1e-4 < values.min() < low + 0.05 * width
        assert high - 0.05 * width < values.max() < high + 1e-4
        assert abs(values.mean() - (low + high) / 2) < 0.1 * width
    assert np.abs(np.corrcoef([brightness, saturation, contrast]) - np.eye(3)).max() < 0.25


def test_translation(changed):
    every = {
        (down, across): slow_translation(IMAGE, down, across)
        for down in range(-2, 3)
        for across in range(-2, 3)  # 12 / 8 is 1.5: rounded up
    }
    seen = {}
    for image in changed['translation']:
        (shift,) = [key for key, want in every.items() if np.array_equal(want, image)]
        seen[shift] = seen.get(shift, 0) + 1
    assert seen.keys() == every.keys() and max(seen.values()) < 30


def test_cutout(changed):
    boxes = {}
    for row in range(HEIGHT + 1):
        for column in range(WIDTH + 1):
            boxes[slow_cutout(IMAGE, row, column).tobytes()] = row, column
    centres = [boxes[image.tobytes()] for image in changed['cutout']]
    rows, columns = zip(*centres, strict=True)
    assert set(rows) == set(range(HEIGHT + 1)) and set(columns) == set(range(WIDTH + 1))


def test_a_box_of_an_odd_size_has_its_centre_within_the_image():
    images = jnp.ones((COUNT, 6, 6, 1))  # the box has 3 pixels
    empty = np.asarray(run(KEYS, images, ('cutout',)) == 0).sum((1, 2, 3))
    assert set(empty) == {4, 6, 9}


def test_images_of_a_pixel():
    found = run(KEYS, jnp.ones((COUNT, 1, 1, 3)), tuple(CHANGES))
    assert np.isfinite(found).all()


def test_an_image_depends_on_its_key_alone(changed):
    images = jax.random.normal(jax.random.key(1), (8, HEIGHT, WIDTH, 3))
    whole = run(KEYS[:8], images, tuple(CHANGES))
    np.testing.assert_allclose(run(KEYS[6:8], images[6:], tuple(CHANGES)), whole[6:], atol=1e-6)
    # A change draws the same, whatever else is done.
    both = run(KEYS, jnp.asarray(changed['color']), ('cutout',))
    images = jnp.broadcast_to(jnp.asarray(IMAGE), (COUNT, *IMAGE.shape))
    np.testing.assert_allclose(run(KEYS, images, ('color', 'cutout')), both, atol=1e-6)


def test_they_follow_each_other_as_they_are_named():
    images = jnp.broadcast_to(jnp.asarray(IMAGE), (COUNT, *IMAGE.shape))
    last = np.asarray(run(KEYS, images, ('color', 'cutout')))
    first = np.asarray(run(KEYS, images, ('cutout', 'color')))
    assert (last == 0).any() and not (first == 0).any()  # the box gets a colour


@pytest.mark.parametrize('name', CHANGES)
def test_gradients(name):
    """All changes are affine: f(x + u) - f(x) is their derivative along u, whatever u is."""
    x, u, v = (jax.random.normal(jax.random.key(k), (4, HEIGHT, WIDTH, 3)) for k in range(3))
    now, back = jax.vjp(lambda x: run(KEYS[:4], x, (name,)), x)
    along = run(KEYS[:4], x + u, (name,)) - now
    assert float((v * along).sum()) == pytest.approx(float((back(v)[0] * u).sum()), rel=1e-3)
    assert np.asarray(back(v)[0]).any((1, 2, 3)).all()


def test_what_is_not_shown_has_no_gradient():
    _, back = jax.vjp(lambda x: run(KEYS[:1], x, ('cutout',)), jnp.asarray(IMAGE)[None])
    found, shown = back(jnp.ones((1, *IMAGE.shape)))[0], run(KEYS[:1], IMAGE[None], ('cutout',))
    np.testing.assert_array_equal(found, shown != 0)


def test_an_unknown_change_is_refused():
    with pytest.raises(ValueError, match=r"'colour' is unknown; .*did you mean 'color'\?"):
        diffaugment(KEYS[:1], jnp.asarray(IMAGE)[None], ('colour',))
