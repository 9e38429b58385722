"""The oracles of hair removal, pictures of all sorts and sizes, and (slow) its speed."""

import time

import cv2
import numpy as np
import pytest
import scipy.ndimage
from ml_collections import ConfigDict

from skinjax import quality
from skinjax.data import images, rendering
from skinjax.editors import elongated, filling, hair, markings
from tests.helpers import ISIC2017

SKIN = (205, 160, 140)


def options(**fields):
    return ConfigDict({**hair.DEFAULTS, **fields})


def edit(image, **fields):
    """Edited picture and mask; `mask` and `artefact` go into the example."""
    given = {name: fields.pop(name) for name in ('mask', 'artefact') if name in fields}
    (found,) = hair.build(options(**fields))([{'image': image, **given}])
    return found['image'], found['artefact']


def skin(size=128, seed=0):
    noise = np.random.default_rng(seed).normal(0, 2, (size, size, 3))
    return np.clip(np.array(SKIN) + noise, 0, 255).astype(np.uint8)


def hairy(size=128, width=2):
    """Skin, the same with five hairs, and where these are."""
    clean, drawn = skin(size), np.zeros((size, size), np.uint8)
    for k in range(5):
        start, end = (size * (2 * k + 1) // 12, 0), (size * (2 * k + 2) // 12, size - 1)
        cv2.line(drawn, start, end, (255,), width, cv2.LINE_AA)
    share = drawn[..., None] / 255
    image = np.round(clean * (1 - share) + np.array([60, 40, 35]) * share).astype(np.uint8)
    return clean, image, drawn > 127


def lesion(size=128):
    mask = np.zeros((size, size), np.uint8)
    cv2.circle(mask, (size // 2, size // 2), size // 4, (255,), -1)
    return mask


def test_closing_fills_a_thin_line_and_nothing_else():
    values = np.zeros((400, 400, 3), np.float32)
    values[..., 0] = 70
    values[:, 200, 0] = 20
    closed = hair.lightness_closing(values)
    np.testing.assert_array_equal(closed, 70)
    assert (closed - values[..., 0]).max() == 50


def test_closing_keeps_what_holds_a_disk():
    """Of a dark square of 7 x 7 the 29 pixels of the disk of radius 3 stay dark."""
    values = np.full((400, 400, 3), 70, np.float32)
    values[100:107, 100:107, 0] = 20
    closed = hair.lightness_closing(values)
    np.testing.assert_array_equal(closed[100:107, 100:107] == 20, elongated.disk(3) > 0)
    assert (closed == 20).sum() == elongated.disk(3).sum() == 29


@pytest.mark.parametrize('space', ['lab', 'luv'])
def test_paper_is_the_procedure_pixel_by_pixel(space):
    _, image, _ = hairy(100)
    inside = lesion(100)
    result, found = edit(image, mask=inside, mode='paper', space=space)
    values = filling.to_space(image, space)
    footprint = elongated.disk(1)  # 3 at 400 pixels is 0.75 at 100
    closed = scipy.ndimage.grey_closing(values[..., 0], footprint=footprint)
    changed = (closed - values[..., 0] > 0.1) & (inside == 0)
    core = (slice(2, -2), slice(2, -2))  # borders differ between the libraries
    np.testing.assert_array_equal(found[core] > 0, changed[core])
    values[..., 0] = np.where(changed, closed, values[..., 0])
    expected = filling.from_space(values, space)[core].astype(int)
    assert np.abs(result[core] - expected).max() <= 1  # rounding
    assert (result[core] == expected).mean() > 0.999
    np.testing.assert_array_equal(result[inside > 0], image[inside > 0])


def test_compat_closes_across_the_channels():
    _, image, _ = hairy(64)
    values = filling.to_space(image, 'lab')
    plain, ball = hair.lightness_closing(values), hair.lightness_closing(values, compat=True)
    cross = np.zeros((3, 3, 3), bool)
    cross[1, 1], cross[1, :, 1], cross[:, 1, 1] = True, True, True
    expected = scipy.ndimage.grey_closing(values, footprint=cross)[..., 0]
    np.testing.assert_array_equal(ball, expected)
    assert np.abs(plain - ball).max() > 1
    result, _ = edit(image, mode='paper', compat=True)
    assert (result != edit(image, mode='paper')[0]).any()


@pytest.mark.parametrize('size', [64, 128, 256, 420])
def test_hair_is_found_and_removed(size):
    clean, image, drawn = hairy(size, max(1, size // 100))
    result, found = edit(image)
    assert (found[drawn] > 0).mean() > 0.9
    assert (found > 0).sum() < 4.5 * drawn.sum()
    assert quality.psnr(result, clean) > quality.psnr(image, clean) + 8
    np.testing.assert_array_equal(result[found == 0], image[found == 0])


@pytest.mark.parametrize('fill', filling.FILLS)
def test_fills_change_the_mask_alone(fill):
    clean, image, drawn = hairy()
    before = image.copy()
    result, found = edit(image, fill=fill)
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(result[found == 0], image[found == 0])
    if fill == 'none':
        np.testing.assert_array_equal(result, image)
        return
    assert np.abs(result.astype(float) - clean)[drawn].mean() < 12
    ghost = filling.to_space(result, 'lab') - filling.to_space(clean, 'lab')
    assert np.abs(ghost[drawn][:, 1:].mean(axis=0)).max() < 2


def test_light_hair_is_found_if_asked():
    clean, dark, drawn = hairy()
    image = np.where(drawn[..., None], np.array([250, 245, 240], np.uint8), clean)
    result, found = edit(image)
    assert (found[drawn] > 0).mean() > 0.9
    assert quality.psnr(result, clean) > quality.psnr(image, clean) + 8
    assert (edit(image, light=False)[1] > 0).mean() < 0.05 < (edit(dark, light=False)[1] > 0).mean()


def test_a_ruler_goes_with_its_ticks():
    clean = skin(256)
    image, ticks = clean.copy(), np.zeros((256, 256), np.uint8)
    cv2.line(image, (70, 220), (180, 216), (40, 40, 45), 2, cv2.LINE_AA)
    for k in range(12):
        x = 70 + 10 * k
        end = (x, round(220 - (x - 70) * 4 / 110) - (9 if k % 5 == 0 else 5))
        for canvas, value in ((image, (40, 40, 45)), (ticks, (255,))):
            cv2.line(canvas, (x, 218), end, value, 1)
    result, found = edit(image)
    assert (found[ticks > 0] > 0).mean() > 0.95
    assert quality.psnr(result, clean) > quality.psnr(image, clean) + 10
    parts = hair.find(image, np.zeros((256, 256), bool), options())
    assert parts['ruler'].sum() > 10 * parts['hair'].sum()
    curved = clean.copy()
    cv2.ellipse(curved, (128, 260), (90, 90), 0, 200, 340, (40, 40, 45), 2, cv2.LINE_AA)
    parts = hair.find(curved, np.zeros((256, 256), bool), options())
    assert not parts['ruler'].any() and parts['hair'].sum() > 200


def test_ink_is_found_outside_the_lesion_and_veils_are_left():
    clean = skin(256)
    image = clean.copy()
    cv2.line(image, (40, 30), (90, 50), (95, 50, 140), 14, cv2.LINE_AA)
    result, found = edit(image)
    assert quality.psnr(result, clean) > quality.psnr(image, clean) + 8
    drawn = (image != clean).any(axis=2)
    assert (found[drawn] > 0).mean() > 0.95 > 0.5 > (edit(image, ink=False)[1][drawn] > 0).mean()
    where = np.zeros((256, 256), np.uint8)
    where[10:70, 20:110] = 255
    assert not markings.ink(image, where > 0).any()
    # A violet region in the middle of a lesion is no ink, though nobody says where the lesion is.
    veiled = clean.copy()
    cv2.circle(veiled, (128, 128), 60, (120, 75, 55), -1)
    cv2.circle(veiled, (128, 128), 25, (95, 50, 140), -1)
    assert not markings.ink(cv2.GaussianBlur(veiled, (0, 0), 1), np.zeros((256, 256), bool)).any()


def test_lesion_pixels_stay_bit_for_bit():
    _, image, drawn = hairy()
    inside = lesion()
    result, found = edit(image, mask=inside)
    np.testing.assert_array_equal(result[inside > 0], image[inside > 0])
    assert not found[inside > 0].any() and found[(inside == 0) & drawn].mean() > 200
    across, open_ = (inside > 0) & drawn, edit(image, mask=inside, protect_lesion=False)[0]
    assert (open_[across] != image[across]).any()


def test_what_is_given_is_filled_as_well():
    clean = skin()
    image, given = clean.copy(), np.zeros((128, 128), np.uint8)
    image[40:50, 60:80] = (20, 160, 60)
    given[40:50, 60:80] = 255
    result, found = edit(image, artefact=given)
    assert (found[given > 0] == 255).all()
    assert np.abs(result.astype(float) - clean)[given > 0].mean() < 8
    protected, _ = edit(image, artefact=given, mask=given)
    np.testing.assert_array_equal(protected[given > 0], image[given > 0])


@pytest.mark.parametrize('shape', [(16, 16), (50, 50), (40, 96), (1, 7), (300, 200)])
@pytest.mark.parametrize('mode', hair.MODES)
def test_any_size_and_constant_pictures(shape, mode):
    for value in (0, 128, 255):
        image = np.full((*shape, 3), value, np.uint8)
        result, found = edit(image, mode=mode, mask=np.zeros(shape, np.uint8))
        np.testing.assert_array_equal(result, image)
        assert found.shape == shape and not found.any()
    image = np.random.default_rng(1).integers(0, 256, (*shape, 3)).astype(np.uint8)
    result, found = edit(image, mode=mode)
    assert result.shape == image.shape and result.dtype == found.dtype == np.uint8
    np.testing.assert_array_equal(result[found == 0], image[found == 0])


def test_pictures_without_hair_stay_as_they_are():
    for index in range(12):
        image = rendering.render(5, index, index % 2, 128, (), index % 8).image
        result, _ = edit(image)
        assert (result != image).any(axis=2).mean() < 0.02
    disks = skin()
    for centre in ((30, 30), (70, 40), (90, 90), (40, 100)):  # globules
        cv2.circle(disks, centre, 4, (90, 60, 45), -1)
    assert not edit(disks)[1].any()


def test_hair_everywhere():
    image = skin()
    image[:, ::8] = image[:, 1::8] = (60, 40, 35)
    result, found = edit(image)
    assert 0.3 < (found > 0).mean() < 1
    assert result[found > 0].mean() > image[found > 0].mean() + 20
    everything = np.full((128, 128), 255, np.uint8)
    for fill in filling.FILLS:
        result, found = edit(image, artefact=everything, fill=fill)
        np.testing.assert_array_equal(result, image)
        assert (found == 255).all()


def test_examples_keep_order_and_do_not_see_each_other():
    pictures = [hairy()[1], skin(), hairy(64)[1]]
    examples = [{'image': image, 'label': np.int32(k)} for k, image in enumerate(pictures)]
    editor = hair.build(options())
    together = editor(examples)
    assert [int(one['label']) for one in together] == [0, 1, 2]
    for one, alone in zip(together, examples, strict=True):
        np.testing.assert_array_equal(one['image'], editor([alone])[0]['image'])
    assert editor([]) == [] and set(examples[0]) == {'image', 'label'}


@pytest.mark.parametrize(
    ('image', 'found'),
    [
        (np.zeros((8, 8), np.uint8), r'uint8 \[8, 8\]'),
        (np.zeros((8, 8, 1), np.uint8), r'uint8 \[8, 8, 1\]'),
        (np.zeros((8, 8, 4), np.uint8), r'uint8 \[8, 8, 4\]'),
        (np.zeros((8, 8, 3), np.float32), r'float32 \[8, 8, 3\]'),
        (np.zeros((0, 8, 3), np.uint8), r'uint8 \[0, 8, 3\]'),
    ],
)
def test_what_is_no_rgb_is_refused(image, found):
    with pytest.raises(ValueError, match=rf'image 1 is {found}.*grey channel three times'):
        hair.build(options())([{'image': skin(16)}, {'image': image}])


@pytest.mark.parametrize('name', ['mask', 'artefact'])
def test_masks_of_other_sizes_are_refused(name):
    for wrong in (np.zeros((64, 128), np.uint8), np.zeros((128, 128), bool)):
        with pytest.raises(ValueError, match=rf'{name} 0 is \w+ \[.*expected uint8 \[128, 128\]'):
            edit(skin(), **{name: wrong})


@pytest.mark.parametrize(
    ('fields', 'found'),
    [
        ({'mode': 'robst'}, "mode 'robst'.*robust"),
        ({'fill': 'telia'}, "fill 'telia'.*telea"),
        ({'space': 'hsv'}, "space 'hsv'"),
        ({'radius': 0.0}, 'radius must be above 0'),
        ({'threshold': 101.0}, 'threshold 0 to 100'),
        ({'compat': True}, 'compat belongs to'),
    ],
)
def test_impossible_options_are_refused(fields, found):
    with pytest.raises(ValueError, match=found):
        hair.build(options(**fields))


# Images of ISIC 2017, and the least and most of the frame that is to be found: dense hair, a scale
# bar with ticks, nothing at all (as people flagged them).
REAL = {
    'ISIC_0000095': (0.25, 0.6),
    'ISIC_0000219': (0.12, 0.35),
    'ISIC_0000505': (0.02, 0.1),
    'ISIC_0000000': (0, 0.002),
    'ISIC_0000007': (0, 0.002),
}


@pytest.mark.skipif(not ISIC2017.is_dir(), reason='no ../shared/data/isic2017')
@pytest.mark.parametrize('name', REAL)
def test_real_pictures(name):
    image = images.decode(ISIC2017 / 'images' / f'{name}.jpg', 256)
    result, found = edit(image)
    least, most = REAL[name]
    assert least <= (found > 0).mean() <= most
    np.testing.assert_array_equal(result[found == 0], image[found == 0])


@pytest.mark.slow
def test_speed():
    """At least 40 images of 256 x 256 a second on one core: pytest -m slow -s"""
    pictures = [
        rendering.render(3, k, k % 2, 256, ('hair', 'ruler')[: k % 3], k % 8).image
        for k in range(60)
    ]
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        for mode in hair.MODES:
            editor = hair.build(options(mode=mode))
            editor([{'image': pictures[0]}])
            start = time.process_time()
            editor([{'image': image} for image in pictures])
            rate = len(pictures) / (time.process_time() - start)
            print(f'{mode}: {rate:.0f} images/s')
            assert rate > 40
    finally:
        cv2.setNumThreads(before)
