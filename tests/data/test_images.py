import cv2
import numpy as np
import pytest
from PIL import Image

from skinjax.data import images

RNG = np.random.default_rng(0)


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
