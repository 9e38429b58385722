import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from skinjax.data import images

RNG = np.random.default_rng(0)
TABLE = ['1234', '3412', '2143', '4321', '1324', '2413', '3142', '4231']


@pytest.fixture(autouse=True)
def strict():
    with jax.numpy_dtype_promotion('strict'), jax.numpy_rank_promotion('raise'):
        yield


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


def quarters(height, width):
    """Red, green / blue, white."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2, 0] = 255
    image[: height // 2, width // 2 :, 1] = 255
    image[height // 2 :, : width // 2, 2] = 255
    image[height // 2 :, width // 2 :] = 255
    return image


@pytest.mark.parametrize('ending', ['png', 'jpg', 'bmp', 'tiff', 'webp'])
@pytest.mark.parametrize('size', [16, 60])
def test_decode(tmp_path, ending, size):
    options = {'quality': 95} if ending in ('jpg', 'webp') else {}
    path = save(tmp_path / f'a.{ending}', quarters(32, 48), **options)
    image = images.decode(path, size)
    assert image.dtype == np.uint8
    assert image.shape == (size, size, 3)
    k = size // 4
    corners = image[[k, k, -k, -k], [k, -k, k, -k]].astype(int)
    expected = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]
    np.testing.assert_allclose(corners, expected, atol=12)


def test_shrinking_averages(tmp_path):
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    np.testing.assert_array_equal(images.decode(save(tmp_path / 'a.png', stripes), 16), 100)
    # One side shrinks, the other grows: still averaged.
    np.testing.assert_array_equal(images.fit(stripes[:8], 16), 100)


def test_a_large_jpeg_is_the_same_as_when_decoded_in_full(tmp_path):
    smooth = cv2.GaussianBlur(RNG.integers(0, 256, (600, 800, 3), np.uint8), (0, 0), 8)
    smooth = cv2.normalize(smooth, smooth, 0, 255, cv2.NORM_MINMAX)
    quick = images.decode(save(tmp_path / 'a.jpg', smooth, quality=98), 32).astype(int)
    full = images.fit(smooth, 32).astype(int)
    assert np.abs(quick - full).mean() < 1.5


def test_geometry(tmp_path):
    path = save(tmp_path / 'a.png', quarters(20, 40))
    white = np.array([255, 255, 255])
    squashed, cropped, padded = (images.decode(path, 20, geometry=g) for g in images.GEOMETRIES)
    np.testing.assert_array_equal(squashed[-1, -1], white)
    np.testing.assert_array_equal(cropped, quarters(20, 40)[:, 10:30])
    np.testing.assert_array_equal(padded[5:15], squashed[::2])
    np.testing.assert_array_equal(padded[:5], padded[5:10][::-1])
    with pytest.raises(ValueError, match=r"geometry 'squish' is unknown.*mean 'squash'"):
        images.decode(path, 20, geometry='squish')


@pytest.mark.parametrize('ending', ['jpg', 'png'])
def test_exif_orientation_is_applied_to_images_and_masks(tmp_path, ending):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees, clockwise
    picture = quarters(32, 32)
    turned = np.rot90(picture, -1)
    image = images.decode(save(tmp_path / f'a.{ending}', picture, exif=exif), 32)
    np.testing.assert_allclose(image[[4, 4], [4, -4]].astype(int), turned[[4, 4], [4, -4]], atol=9)
    mask = images.decode_mask(save(tmp_path / f'm.{ending}', picture[..., 0], exif=exif), 32)
    np.testing.assert_array_equal(mask[[4, 4], [4, -4]], turned[..., 0][[4, 4], [4, -4]])


@pytest.mark.parametrize('top', [1, 255])
def test_masks_are_binary_and_keep_their_area(tmp_path, top):
    mask = np.zeros((90, 90), np.uint8)
    cv2.circle(mask, (45, 45), 30, top, -1)
    for size in (30, 200):
        found = images.decode_mask(save(tmp_path / 'm.png', mask), size)
        assert found.shape == (size, size)
        assert set(np.unique(found)) == {0, 255}
        assert (found > 0).mean() == pytest.approx((mask > 0).mean(), abs=0.01)


def test_files_that_cannot_be_decoded(tmp_path):
    good = save(tmp_path / 'good.jpg', RNG.integers(0, 256, (64, 64, 3), np.uint8)).read_bytes()
    cases = {
        'empty.jpg': (b'', 'the file is empty'),
        'garbage.jpg': (b'garbage' * 20, 'not a readable image'),
        'cut.jpg': (good[: len(good) // 2], 'the JPEG data are damaged or cut off'),
    }
    for name, (data, message) in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=f'{name}: {message}'):
            images.decode(tmp_path / name, 8)
    with pytest.raises(FileNotFoundError, match=r'none\.jpg: no such image'):
        images.decode(tmp_path / 'none.jpg', 8)


def test_too_many_pixels_are_refused_before_decoding(tmp_path, monkeypatch):
    path = tmp_path / 'a.png'
    Image.new('1', (20_000, 20_000)).save(path)
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: pytest.fail('it was decoded'))
    with pytest.raises(ValueError, match=r'a\.png: too many pixels'):
        images.decode(path, 8)
    path = save(tmp_path / 'b.png', np.zeros((30, 20), np.uint8))
    with pytest.raises(ValueError, match='20 x 30 pixels are more than the limit of 599'):
        images.decode(path, 8, max_pixels=599)


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
    one = [images.d4(image, i).ravel().tolist() for i in range(8)]
    assert one == expected
    each = jax.jit(images.d4)(jnp.repeat(image, 8, 0), jnp.arange(8))
    assert each.dtype == dtype
    assert each.reshape(8, 4).tolist() == expected
    mapped = jax.lax.map(lambda i: images.d4(image, i), jnp.arange(8))
    assert mapped.reshape(8, 4).tolist() == expected


def test_d4_of_larger_images():
    batch = RNG.integers(0, 256, (8, 5, 5, 3), np.uint8)
    found = images.d4(jnp.asarray(batch), jnp.arange(8))
    for i in range(8):
        np.testing.assert_array_equal(found[i], reference_d4(batch[i], i))
    oblong = jnp.asarray(batch[:, :4])
    np.testing.assert_array_equal(images.d4(oblong, 3), batch[:, :4][:, ::-1, ::-1])
    for i in (4, jnp.zeros(8, int)):
        with pytest.raises(ValueError, match='square images expected, found 4 x 5'):
            images.d4(oblong, i)


def test_device_d4_draws_all_eight_alike():
    n = 4000
    batch = jnp.tile(jnp.arange(4, dtype=jnp.uint8).reshape(1, 2, 2, 1), (n, 1, 1, 1))
    keys = jax.random.split(jax.random.key(0), n)
    found = np.asarray(images.augment_batch(keys, batch, ('d4',))).reshape(n, 4)
    _, counts = np.unique(found, axis=0, return_counts=True)
    assert len(counts) == 8
    assert ((counts - n / 8) ** 2 / (n / 8)).sum() < 24.3  # chi-square, 7 degrees: p = 0.001


def test_device_changes_depend_on_the_key_alone():
    batch = jnp.asarray(RNG.integers(0, 256, (16, 8, 8, 3), np.uint8))
    keys = jax.random.split(jax.random.key(1), 16)
    change = jax.jit(images.augment_batch, static_argnums=2)
    whole = change(keys, batch, ('d4', 'colour'))
    np.testing.assert_array_equal(change(keys[8:], batch[8:], ('d4', 'colour')), whole[8:])
    # A mask moves with its image whatever else happens to the image.
    moved = change(keys, batch[..., :1], ('d4',))
    np.testing.assert_array_equal(moved, change(keys, batch, ('d4',))[..., :1])
    with pytest.raises(ValueError, match=r"augmentation 'flips' is unknown.*mean 'flip'"):
        images.augment_batch(keys, batch, ('flips',))


def test_device_flip_keeps_oblong_images_whole():
    batch = jnp.asarray(RNG.integers(0, 256, (64, 3, 4, 1), np.uint8))
    found = np.asarray(
        images.augment_batch(jax.random.split(jax.random.key(2), 64), batch, ('flip',))
    )
    seen = set()
    for one, flipped in zip(np.asarray(batch), found, strict=True):
        seen.add(next(i for i in range(4) if np.array_equal(reference_d4(one, i), flipped)))
    assert seen == {0, 1, 2, 3}


def test_device_colour_within_its_bounds():
    flat = jnp.full((200, 4, 4, 3), 100, jnp.uint8)
    keys = jax.random.split(jax.random.key(3), 200)
    found = np.asarray(images.augment_batch(keys, flat, ('colour',))).astype(int)
    shift = found[:, 0, 0, 0] - 100
    np.testing.assert_array_equal(
        found - 100, np.broadcast_to(shift[:, None, None, None], found.shape)
    )
    assert shift.min() < -20 and shift.max() > 20  # contrast leaves a flat image alone
    assert np.abs(shift).max() <= 255 * images.BRIGHTNESS + 0.5
    steps = jnp.tile(jnp.array([0.25, 0.75]).reshape(1, 1, 2, 1), (200, 2, 1, 3))
    found = np.asarray(images.augment_batch(keys, steps, ('colour',)))
    contrast = (found[:, 0, 1, 0] - found[:, 0, 0, 0]) / 0.5
    assert contrast.min() == pytest.approx(1 - images.CONTRAST, abs=0.01)
    assert contrast.max() == pytest.approx(1 + images.CONTRAST, abs=0.01)


def test_normalize():
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    batch = RNG.integers(0, 256, (2, 4, 4, 3), np.uint8)
    found = images.normalize(jnp.asarray(batch), mean, std)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, (batch / 255 - mean) / std, atol=2e-6)


def example(size=33):
    mask = np.zeros((size, size), np.uint8)
    mask[4:12, 6:20] = 255
    image = np.full((size, size, 3), 90, np.uint8)
    image[mask > 0] = (200, 40, 60)
    return {'image': image, 'mask': mask}


@pytest.mark.parametrize('name', ['flip', 'd4', 'affine'])
def test_host_geometry_moves_masks_with_images(name):
    change = images.augment((name,))
    kept = 0
    for seed in range(30):
        found = change(example(), np.random.default_rng(seed))
        assert set(np.unique(found['mask'])) <= {0, 255}
        inside = found['image'][..., 0] > 145
        assert (inside == (found['mask'] > 0)).mean() > 0.97
        kept += np.array_equal(found['mask'], example()['mask'])
    assert kept < 15
    again = change(example(), np.random.default_rng(29))
    np.testing.assert_array_equal(again['image'], found['image'])


def test_host_d4_draws_all_eight():
    change = images.augment(('d4',))
    source = {'image': np.arange(4, dtype=np.uint8).reshape(2, 2, 1)}
    seen = {change(source, np.random.default_rng(seed))['image'].tobytes() for seed in range(100)}
    assert len(seen) == 8


def test_host_colour():
    change = images.augment(('colour',))
    before = example()
    found = [change(before, np.random.default_rng(seed)) for seed in range(50)]
    assert all(np.array_equal(one['mask'], before['mask']) for one in found)
    greys = np.array([np.dot(one['image'].mean((0, 1)), images.GREY) for one in found])
    centre = np.dot(before['image'].mean((0, 1)), images.GREY)
    assert np.abs(greys - centre).max() < 255 * images.BRIGHTNESS + 1
    assert greys.std() > 5
    # The background is grey and must stay grey: saturation and contrast add no tint.
    assert max(np.ptp(one['image'][-1, -1].astype(int)) for one in found) <= 1


def test_host_changes_leave_read_only_images_alone():
    source = example()
    before = {name: array.copy() for name, array in source.items()}
    for array in source.values():
        array.setflags(write=False)
    images.augment(tuple(images.HOST))(source, np.random.default_rng(0))
    for name, array in source.items():
        np.testing.assert_array_equal(array, before[name])
    assert images.augment(())(source, np.random.default_rng(0)) is source
    with pytest.raises(ValueError, match=r"augmentation 'color' is unknown.*mean 'colour'"):
        images.augment(('color',))
