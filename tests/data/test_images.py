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


def tricky(folder):
    """One picture, with a corner that is transparent in some files, as many kinds of pixels."""
    picture = quarters(32, 32)
    alpha = np.full((32, 32), 255, np.uint8)
    alpha[16:, 16:] = 0  # over white
    whole, clear = Image.fromarray(picture), Image.fromarray(np.dstack([picture, alpha]))
    palette = whole.convert('P', palette=Image.Palette.ADAPTIVE)
    corner = np.array(palette)[-1, -1]
    deep = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR).astype(np.uint16) * 257
    palette.save(folder / 'palette.png')
    palette.save(folder / 'palette.bmp')
    palette.save(folder / 'palette_clear.png', transparency=int(corner))
    whole.save(folder / 'colour_clear.png', transparency=(255, 255, 255))
    clear.save(folder / 'clear.png')
    clear.save(folder / 'clear.webp', lossless=True)
    clear.save(folder / 'clear.tiff')
    whole.convert('CMYK').save(folder / 'cmyk.jpg', quality=98)
    whole.convert('CMYK').save(folder / 'cmyk.tiff')
    cv2.imwrite(str(folder / 'deep.png'), deep)
    cv2.imwrite(str(folder / 'deep.tiff'), deep)
    deep_clear = np.dstack([deep, alpha.astype(np.uint16) * 257])
    cv2.imwrite(str(folder / 'deep_clear.png'), deep_clear)
    return picture


def test_all_kinds_of_pixels_become_rgb(tmp_path):
    picture = tricky(tmp_path).astype(int)
    paths = sorted(tmp_path.iterdir())
    assert len(paths) == 12
    for path in paths:
        atol = 3 if path.name == 'cmyk.jpg' else 0
        np.testing.assert_allclose(images.decode(path, 32), picture, atol=atol, err_msg=path.name)
        halved = images.decode(path, 16).astype(int)
        np.testing.assert_allclose(halved, picture[::2, ::2], atol=atol, err_msg=path.name)


def test_grey_with_alpha_and_sixteen_bits(tmp_path):
    ramp = np.repeat(np.arange(0, 256, 8, dtype=np.uint8)[None], 32, 0)
    clear = np.full((32, 32), 255, np.uint8)
    clear[:16] = 0
    clear[16] = 51
    path = tmp_path / 'grey_clear.png'
    Image.fromarray(np.dstack([ramp, clear])).save(path)
    found = images.decode(path, 32)
    np.testing.assert_array_equal(found[:16], 255)
    np.testing.assert_array_equal(found[17:], np.repeat(ramp[17:, :, None], 3, 2))
    blend = np.round(0.2 * ramp[16] + 0.8 * 255.0)
    np.testing.assert_array_equal(found[16], np.repeat(blend[:, None], 3, 1))
    path = save(tmp_path / 'deep.png', ramp.astype(np.uint16) * 256 + 200)
    np.testing.assert_array_equal(images.decode(path, 32), np.repeat(ramp[..., None], 3, 2))


def test_transparency_is_turned_like_the_picture(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    clear = np.dstack([quarters(32, 32) // 255 * 200, np.full((32, 32), 255, np.uint8)])
    clear[:16, :16, 3] = 0  # the red quarter
    found = images.decode(save(tmp_path / 'a.png', clear, exif=exif), 32)
    turned = np.rot90(clear[..., :3], -1).copy()
    turned[:16, 16:] = 255
    np.testing.assert_array_equal(found, turned)


def test_opaque_alpha_changes_nothing(tmp_path):
    pixels = RNG.integers(0, 256, (40, 30, 3), np.uint8)
    opaque = np.dstack([pixels, np.full((40, 30), 255, np.uint8)])
    one = images.decode(save(tmp_path / 'a.png', pixels), 16, geometry='pad')
    other = images.decode(save(tmp_path / 'b.png', opaque), 16, geometry='pad')
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize('top', [1, 255, 65535])
def test_masks_of_sixteen_bits(tmp_path, top):
    mask = np.zeros((32, 32), np.uint16)
    mask[8:, 8:] = top
    for ending in ('png', 'tiff'):
        found = images.decode_mask(save(tmp_path / f'm.{ending}', mask), 32)
        np.testing.assert_array_equal(found, np.where(mask, 255, 0))


def test_masks_with_a_palette(tmp_path):
    """Dark red on black: the second colour is the mask, as dark as it is."""
    mask = np.zeros((32, 32), np.uint8)
    mask[8:, 8:] = 1
    image = Image.fromarray(mask, 'P')
    image.putpalette([0, 0, 0, 128, 0, 0])
    image.save(tmp_path / 'm.png')
    np.testing.assert_array_equal(images.decode_mask(tmp_path / 'm.png', 32), mask * 255)


def test_samples_of_32_bits_are_refused(tmp_path):
    for k, kind in enumerate((np.float32, np.int32)):
        path = save(tmp_path / f'{k}.tiff', np.zeros((8, 8), kind))
        with pytest.raises(ValueError, match=r'\d.tiff: TIFF with 32 bits a sample'):
            images.decode(path, 8)


def test_a_cut_off_file_with_transparency_is_named(tmp_path):
    noise = RNG.integers(0, 256, (64, 64, 4), np.uint8)
    data = save(tmp_path / 'a.png', noise).read_bytes()
    (tmp_path / 'a.png').write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r'a\.png: the PNG data are damaged or cut off'):
        images.decode(tmp_path / 'a.png', 8)


def test_bytes_that_have_been_read_already(tmp_path):
    path = save(tmp_path / 'a.png', quarters(32, 32))
    data = path.read_bytes()
    path.unlink()
    np.testing.assert_array_equal(images.decode('x', 32, data=data), quarters(32, 32))
    assert images.decode_mask('x', 32, data=data)[-1, -1] == 255
    with pytest.raises(ValueError, match='x: the file is empty'):
        images.decode('x', 32, data=b'')


@pytest.mark.parametrize('geometry', images.GEOMETRIES)
@pytest.mark.parametrize('shape', [(48, 64), (64, 48), (10, 64)])
def test_images_and_masks_keep_their_place_on_each_other(tmp_path, geometry, shape):
    """A white square on black is its own mask."""
    mask = np.zeros(shape, np.uint8)
    mask[shape[0] // 4 : -2, 20:40] = 255
    path = save(tmp_path / 'a.png', mask)
    image = images.decode(path, 32, geometry=geometry)
    found = images.decode_mask(path, 32, geometry=geometry)
    np.testing.assert_array_equal(image[..., 0] > 127, found > 0)
