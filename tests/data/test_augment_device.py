import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax.data import augment, augment_device

RNG = np.random.default_rng(0)
TABLE = ['1234', '3412', '2143', '4321', '1324', '2413', '3142', '4231']


@pytest.fixture(autouse=True)
def strict():
    with jax.numpy_dtype_promotion('strict'), jax.numpy_rank_promotion('raise'):
        yield


def reference_d4(image, i):
    if i >= 4:
        image = np.transpose(image, (1, 0, 2))
    if i % 4 in (1, 3):
        image = np.flipud(image)
    if i % 4 in (2, 3):
        image = np.fliplr(image)
    return image


@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_d4_table(dtype):
    image = jnp.asarray(np.array([[1, 2], [3, 4]], dtype)[None, ..., None])
    expected = [[int(digit) for digit in row] for row in TABLE]
    one = [augment_device.d4(image, i).ravel().tolist() for i in range(8)]
    assert one == expected
    each = jax.jit(augment_device.d4)(jnp.repeat(image, 8, 0), jnp.arange(8))
    assert each.dtype == dtype
    assert each.reshape(8, 4).tolist() == expected
    mapped = jax.lax.map(lambda i: augment_device.d4(image, i), jnp.arange(8))
    assert mapped.reshape(8, 4).tolist() == expected


def test_d4_of_larger_images():
    batch = RNG.integers(0, 256, (8, 5, 5, 3), np.uint8)
    found = augment_device.d4(jnp.asarray(batch), jnp.arange(8))
    for i in range(8):
        np.testing.assert_array_equal(found[i], reference_d4(batch[i], i))
    oblong = jnp.asarray(batch[:, :4])
    np.testing.assert_array_equal(augment_device.d4(oblong, 3), batch[:, :4][:, ::-1, ::-1])
    for i in (4, jnp.zeros(8, int)):
        with pytest.raises(ValueError, match='square images expected, found 4 x 5'):
            augment_device.d4(oblong, i)


def test_device_d4_draws_all_eight_alike():
    n = 4000
    batch = jnp.tile(jnp.arange(4, dtype=jnp.uint8).reshape(1, 2, 2, 1), (n, 1, 1, 1))
    keys = jax.random.split(jax.random.key(0), n)
    found = np.asarray(augment_device.augment_batch(keys, batch, ('d4',))).reshape(n, 4)
    _, counts = np.unique(found, axis=0, return_counts=True)
    assert len(counts) == 8
    assert ((counts - n / 8) ** 2 / (n / 8)).sum() < 24.3  # chi-square, 7 degrees: p = 0.001


def test_device_changes_depend_on_the_key_alone():
    batch = jnp.asarray(RNG.integers(0, 256, (16, 8, 8, 3), np.uint8))
    keys = jax.random.split(jax.random.key(1), 16)
    change = jax.jit(augment_device.augment_batch, static_argnums=2)
    whole = change(keys, batch, ('d4', 'colour'))
    np.testing.assert_array_equal(change(keys[8:], batch[8:], ('d4', 'colour')), whole[8:])
    # A mask moves with its image whatever else happens to the image.
    moved = change(keys, batch[..., :1], ('d4',))
    np.testing.assert_array_equal(moved, change(keys, batch, ('d4',))[..., :1])
    with pytest.raises(ValueError, match=r"augmentation 'flips' is unknown.*mean 'flip'"):
        augment_device.augment_batch(keys, batch, ('flips',))


def test_device_flip_keeps_oblong_images_whole():
    batch = jnp.asarray(RNG.integers(0, 256, (64, 3, 4, 1), np.uint8))
    found = np.asarray(
        augment_device.augment_batch(jax.random.split(jax.random.key(2), 64), batch, ('flip',))
    )
    seen = set()
    for one, flipped in zip(np.asarray(batch), found, strict=True):
        seen.add(next(i for i in range(4) if np.array_equal(reference_d4(one, i), flipped)))
    assert seen == {0, 1, 2, 3}


def test_device_colour_within_its_bounds():
    flat = jnp.full((200, 4, 4, 3), 100, jnp.uint8)
    keys = jax.random.split(jax.random.key(3), 200)
    found = np.asarray(augment_device.augment_batch(keys, flat, ('colour',))).astype(int)
    shift = found[:, 0, 0, 0] - 100
    np.testing.assert_array_equal(
        found - 100, np.broadcast_to(shift[:, None, None, None], found.shape)
    )
    assert shift.min() < -20 and shift.max() > 20  # contrast leaves a flat image alone
    assert np.abs(shift).max() <= 255 * augment.BRIGHTNESS + 0.5
    steps = jnp.tile(jnp.array([0.25, 0.75]).reshape(1, 1, 2, 1), (200, 2, 1, 3))
    found = np.asarray(augment_device.augment_batch(keys, steps, ('colour',)))
    contrast = (found[:, 0, 1, 0] - found[:, 0, 0, 0]) / 0.5
    assert contrast.min() == pytest.approx(1 - augment.CONTRAST, abs=0.01)
    assert contrast.max() == pytest.approx(1 + augment.CONTRAST, abs=0.01)


def test_normalize():
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    batch = RNG.integers(0, 256, (2, 4, 4, 3), np.uint8)
    found = augment_device.normalize(jnp.asarray(batch), mean, std)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, (batch / 255 - mean) / std, atol=2e-6)
