import functools

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax.data import augment, augment_device

RNG = np.random.default_rng(0)
TABLE = ['1234', '3412', '2143', '4321', '1324', '2413', '3142', '4231']


def augment_batch(keys, images, names):
    return augment_device.augment(keys, {'image': images}, names)['image']


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
    found = np.asarray(augment_batch(keys, batch, ('d4',))).reshape(n, 4)
    _, counts = np.unique(found, axis=0, return_counts=True)
    assert len(counts) == 8
    assert ((counts - n / 8) ** 2 / (n / 8)).sum() < 24.3  # chi-square, 7 degrees: p = 0.001


NAMES = ('d4', 'crop', 'affine', 'colour', 'blur', 'cutout', 'flip', 'vflip')


def photo(size=48):
    """Smooth patches and noise."""
    rng = np.random.default_rng(1)
    image = cv2.resize(rng.integers(0, 256, (6, 6, 3), np.uint8), (size, size))
    image[: size // 3] = rng.integers(0, 256, (size // 3, size, 3))
    return image


def test_device_changes_depend_on_the_key_alone():
    batch = jnp.asarray(RNG.integers(0, 256, (16, 8, 8, 3), np.uint8))
    keys = jax.random.split(jax.random.key(1), 16)
    change = jax.jit(augment_batch, static_argnums=2)
    whole = change(keys, batch, NAMES)
    part = change(keys[8:], batch[8:], NAMES)
    # Programs for another batch size may round the last bit of a float otherwise.
    assert np.abs(np.asarray(part, int) - np.asarray(whole[8:], int)).max() <= 1
    assert (part == whole[8:]).mean() > 0.99
    exact = change(keys[8:], batch[8:], ('d4', 'flip'))
    np.testing.assert_array_equal(exact, change(keys, batch, ('d4', 'flip'))[8:])
    with pytest.raises(ValueError, match=r"augmentation 'flips' is unknown.*mean 'flip'"):
        augment_batch(keys, batch, ('flips',))


def test_device_changes_stay_on_the_device():
    keys = jax.random.split(jax.random.key(1), 4)
    batch = {'image': jnp.asarray(np.stack([photo()] * 4)), 'mask': jnp.zeros((4, 48, 48), 'u1')}
    change = jax.jit(augment_device.augment, static_argnums=2)
    change(keys, batch, NAMES)
    with jax.transfer_guard('disallow'):
        found = change(keys, batch, NAMES)
    assert found['image'].dtype == found['mask'].dtype == np.uint8


def test_device_moves_masks_and_further_images_with_the_image():
    image = np.where(photo()[..., :1] > 128, 200, 50).astype(np.uint8) * np.ones(3, np.uint8)
    mask = np.where(image[..., 0] > 128, 255, 0).astype(np.uint8)
    n = 32
    one = {'image': image, 'mask': mask, 'twin': 255 - image}
    batch = {name: jnp.asarray(np.stack([array] * n)) for name, array in one.items()}
    batch['label'] = jnp.arange(n)
    keys = jax.random.split(jax.random.key(4), n)
    change = jax.jit(augment_device.augment, static_argnums=2)
    found = {name: np.asarray(x) for name, x in change(keys, batch, augment.GEOMETRIC).items()}
    assert np.abs(255 - found['twin'].astype(int) - found['image']).max() <= 1
    assert set(np.unique(found['mask'])) == {0, 255}
    assert ((found['image'][..., 0] > 125) == (found['mask'] > 0)).mean() > 0.93  # noise: edges
    np.testing.assert_array_equal(found['label'], np.arange(n))
    assert len({one.tobytes() for one in found['mask']}) == n
    changed = change(keys, batch, ('d4', 'colour', 'blur', 'cutout'))
    moved = change(keys, batch, ('d4',))
    for name in ('mask', 'twin'):
        np.testing.assert_array_equal(changed[name], moved[name])
    assert (changed['image'] != moved['image']).mean() > 0.5


OBLONG = [(name, (40, 56)) for name in augment_device.DEVICE if name != 'd4']


@pytest.mark.parametrize(('name', 'size'), [('d4', (48, 48)), ('affine', (48, 48)), *OBLONG])
def test_device_and_host_make_the_same_pixels(name, size):
    """From the same parameters: to one grey level, masks exactly but for ties."""
    image = cv2.resize(photo(), size[::-1])
    mask = np.where(image[..., 0] > 128, 255, 0).astype(np.uint8)
    rng = np.random.default_rng(2)
    change = augment.HOST[name]
    draws = [change.draw(rng) for _ in range(12)]
    hosts = [change.apply({'image': image, 'mask': mask}, one) for one in draws]
    given = np.asarray(draws, np.int32 if name in ('flip', 'vflip', 'd4') else np.float32)
    apply = jax.jit(functools.partial(augment_device.apply, name))
    found = apply(jnp.asarray(np.stack([image] * 12)), given)
    assert found.dtype == np.uint8
    expected = np.stack([one['image'] for one in hosts])
    off = np.abs(np.asarray(found, int) - expected)
    assert off.max() <= 1
    assert (off > 0).mean() < (0.15 if name == 'colour' else 0.01)
    floats = apply(jnp.asarray(np.stack([image / np.float32(255)] * 12)), given)
    assert floats.dtype == np.float32
    # Float images are not clipped, and a colour is not rounded before it fills a rectangle.
    np.testing.assert_allclose(np.clip(floats, 0, 1) * 255, expected, atol=1.01)
    if name in augment.GEOMETRIC:
        moved = apply(jnp.asarray(np.stack([mask] * 12)), given)
        wrong = np.asarray(moved) != np.stack([one['mask'] for one in hosts])
        assert wrong.mean() < 1e-3  # a tie between two pixels may be broken either way


def test_device_draws():
    keys = jax.random.split(jax.random.key(5), 4000)
    draws = {name: jax.vmap(one.draw)(keys) for name, one in augment_device.DEVICE.items()}
    assert len({one.stream for one in augment_device.DEVICE.values()}) == len(draws)
    assert set(draws) == set(augment.HOST)
    for name in ('crop', 'affine', 'colour', 'blur', 'cutout'):
        found = np.asarray(draws[name])
        assert found.shape[1:] == augment.HOST[name].draw(RNG).shape
        assert np.abs(found).max() <= 1
        np.testing.assert_allclose(found.mean(0), 0, atol=4 / np.sqrt(3 * 4000))
        np.testing.assert_allclose(found.var(0), 1 / 3, atol=0.02)
        assert np.abs(np.corrcoef(found.T) - np.eye(found.shape[1])).max() < 0.07
    # What earlier runs drew.
    np.testing.assert_array_equal(
        draws['colour'][:, 1:],
        jax.vmap(lambda key: jax.random.uniform(key, (2,), minval=-1.0))(keys),
    )
    for name, top in (('d4', 8), ('flip', 4), ('vflip', 2)):
        expected = jax.vmap(lambda key, top=top: jax.random.randint(key, (), 0, top))(keys)
        np.testing.assert_array_equal(draws[name], expected)


def test_device_flip_keeps_oblong_images_whole():
    batch = jnp.asarray(RNG.integers(0, 256, (64, 3, 4, 1), np.uint8))
    found = np.asarray(augment_batch(jax.random.split(jax.random.key(2), 64), batch, ('flip',)))
    seen = set()
    for one, flipped in zip(np.asarray(batch), found, strict=True):
        seen.add(next(i for i in range(4) if np.array_equal(reference_d4(one, i), flipped)))
    assert seen == {0, 1, 2, 3}


def test_device_colour_within_its_bounds():
    flat = jnp.full((200, 4, 4, 3), 100, jnp.uint8)
    keys = jax.random.split(jax.random.key(3), 200)
    found = np.asarray(augment_batch(keys, flat, ('colour',))).astype(int)
    shift = found[:, 0, 0, 0] - 100
    np.testing.assert_array_equal(
        found - 100, np.broadcast_to(shift[:, None, None, None], found.shape)
    )
    assert shift.min() < -20 and shift.max() > 20  # contrast leaves a flat image alone
    assert np.abs(shift).max() <= 255 * augment.BRIGHTNESS + 0.5
    steps = jnp.tile(jnp.array([0.25, 0.75]).reshape(1, 1, 2, 1), (200, 2, 1, 3))
    found = np.asarray(augment_batch(keys, steps, ('colour',)))
    contrast = (found[:, 0, 1, 0] - found[:, 0, 0, 0]) / 0.5
    assert contrast.min() == pytest.approx(1 - augment.CONTRAST, abs=0.01)
    assert contrast.max() == pytest.approx(1 + augment.CONTRAST, abs=0.01)


def test_normalize():
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    batch = RNG.integers(0, 256, (2, 4, 4, 3), np.uint8)
    found = augment_device.normalize(jnp.asarray(batch), mean, std)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, (batch / 255 - mean) / std, atol=2e-6)
