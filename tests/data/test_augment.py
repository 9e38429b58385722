import cv2
import numpy as np
import pytest

from skinjax.data import augment


def example(size=33):
    mask = np.zeros((size, size), np.uint8)
    mask[4:12, 6:20] = 255
    image = np.full((size, size, 3), 90, np.uint8)
    image[mask > 0] = (200, 40, 60)
    return {'image': image, 'mask': mask}


@pytest.mark.parametrize('name', augment.GEOMETRIC)
def test_host_geometry_moves_masks_and_further_images_with_the_image(name):
    change = augment.augment((name,))
    kept = 0
    for seed in range(30):
        source = example()
        twin = 255 - source['image']
        found = change({**source, 'twin': twin}, np.random.default_rng(seed))
        assert np.abs(255 - found['twin'].astype(int) - found['image']).max() <= 1  # rounding
        assert set(np.unique(found['mask'])) <= {0, 255}
        inside = found['image'][..., 0] > 145
        assert (inside == (found['mask'] > 0)).mean() > 0.97
        kept += np.array_equal(found['mask'], example()['mask'])
    assert kept < 15
    again = change(example(), np.random.default_rng(29))
    np.testing.assert_array_equal(again['image'], found['image'])


def test_host_d4_draws_all_eight():
    change = augment.augment(('d4',))
    source = {'image': np.arange(4, dtype=np.uint8).reshape(2, 2, 1)}
    seen = {change(source, np.random.default_rng(seed))['image'].tobytes() for seed in range(100)}
    assert len(seen) == 8


def test_host_colour():
    change = augment.augment(('colour',))
    before = example()
    found = [change(before, np.random.default_rng(seed)) for seed in range(50)]
    assert all(np.array_equal(one['mask'], before['mask']) for one in found)
    greys = np.array([np.dot(one['image'].mean((0, 1)), augment.GREY) for one in found])
    centre = np.dot(before['image'].mean((0, 1)), augment.GREY)
    assert np.abs(greys - centre).max() < 255 * augment.BRIGHTNESS + 1
    assert greys.std() > 5
    # The background is grey and must stay grey: saturation and contrast add no tint.
    assert max(np.ptp(one['image'][-1, -1].astype(int)) for one in found) <= 1


def test_host_changes_leave_read_only_images_alone():
    source = example()
    before = {name: array.copy() for name, array in source.items()}
    for array in source.values():
        array.setflags(write=False)
    augment.augment(tuple(augment.HOST))(source, np.random.default_rng(0))
    for name, array in source.items():
        np.testing.assert_array_equal(array, before[name])
    assert augment.augment(())(source, np.random.default_rng(0)) is source
    with pytest.raises(ValueError, match=r"augmentation 'color' is unknown.*mean 'colour'"):
        augment.augment(('color',))


@pytest.mark.parametrize('name', [name for name in augment.HOST if name not in augment.GEOMETRIC])
def test_other_host_changes_leave_all_but_the_image_alone(name):
    source = {**example(128), 'twin': example(128)['image']}
    found = augment.augment((name,))(source, np.random.default_rng(1))
    assert not np.array_equal(found['image'], source['image'])
    for other in ('mask', 'twin'):
        np.testing.assert_array_equal(found[other], source[other])


def test_host_draws_come_in_the_order_that_earlier_runs_saw():
    names = ('flip', 'd4', 'affine', 'colour')
    rng, twin = np.random.default_rng(5), np.random.default_rng(5)
    found = [augment.HOST[name].draw(rng) for name in names]
    flips = int(twin.integers(4)), 4 * int(twin.integers(2)) + int(twin.integers(4))
    assert tuple(found[:2]) == flips
    np.testing.assert_array_equal(found[2], twin.uniform(-1, 1, 4))
    np.testing.assert_array_equal(found[3], twin.uniform(-1, 1, 3))


@pytest.mark.parametrize('name', ['crop', 'affine', 'colour', 'blur', 'cutout'])
def test_host_draws_are_uniform(name):
    rng = np.random.default_rng(0)
    draws = np.array([augment.HOST[name].draw(rng) for _ in range(4000)])
    assert np.abs(draws).max() <= 1
    np.testing.assert_allclose(draws.mean(0), 0, atol=4 / np.sqrt(3 * 4000))
    np.testing.assert_allclose(draws.var(0), 1 / 3, atol=0.02)
    assert np.abs(np.corrcoef(draws.T) - np.eye(draws.shape[1])).max() < 0.07


def ramp(size=96):
    """Red grows by two for each pixel to the right, green downwards."""
    places = 2 * np.arange(size, dtype=np.uint8)
    image = np.zeros((size, size, 3), np.uint8)
    image[..., 0], image[..., 1] = places, places[:, None]
    return {'image': image}


def crop(*draws):
    """(left, right, top, bottom) of what a crop of 96 x 96 pixels shows, in pixels."""
    image = augment.HOST['crop'].apply(ramp(), np.array(draws))['image'] / 2
    # The second and the last but one: at the edges the mirror image mixes in.
    step = (image[1, -2, 0] - image[1, 1, 0]) / 93, (image[-2, 1, 1] - image[1, 1, 1]) / 93
    left, top = image[1, 1, 0] - 1.5 * step[0] + 0.5, image[1, 1, 1] - 1.5 * step[1] + 0.5
    return left, left + 96 * step[0], top, top + 96 * step[1]


def test_host_crop():
    np.testing.assert_array_equal(
        augment.HOST['crop'].apply(ramp(), np.array([1, 0, 0.3, -0.7]))['image'], ramp()['image']
    )
    side = 96 * np.sqrt(0.5)
    np.testing.assert_allclose(crop(-1, 0, -1, 1), [0, side, 96 - side, 96], atol=1)
    np.testing.assert_allclose(crop(-1, 0, 0, 0), [48 - side / 2, 48 + side / 2] * 2, atol=1)
    wide, tall = side * np.sqrt(4 / 3), side / np.sqrt(4 / 3)
    np.testing.assert_allclose(crop(-1, 1, -1, -1), [0, wide, 0, tall], atol=1)
    np.testing.assert_allclose(crop(1, -1, -1, -1), [0, 96 * np.sqrt(3 / 4), 0, 96], atol=1)


def test_host_blur_widens_a_square_by_sigma():
    image = np.zeros((99, 99, 3), np.uint8)
    image[40:50, 50:60] = 255
    assert augment.HOST['blur'].apply({'image': image}, np.array([-1.0]))['image'] is image
    for draw in (0.3, 1.0):
        found = augment.HOST['blur'].apply({'image': image}, np.array([draw]))['image'][..., 0]
        rows = found.sum(1) / found.sum()
        places = np.arange(99)
        mean = (rows * places).sum()
        spread = (rows * (places - mean) ** 2).sum() - (10**2 - 1) / 12
        sigma = augment.BLUR * 99 * (draw + 1) / 2
        assert mean == pytest.approx(44.5, abs=0.02)
        assert np.sqrt(spread) == pytest.approx(sigma, rel=0.05)
        assert found.sum() == pytest.approx(25500, rel=0.02)


def test_host_cutout():
    image = np.random.default_rng(0).integers(0, 256, (50, 40, 3), np.uint8)
    for draws, (top, bottom, left, right) in {
        (1, -1, -1): (0, 15, 0, 12),
        (1, 1, 1): (35, 50, 28, 40),
        (0, 1, -1): (0, 8, 34, 40),
        (-1, 0, 0): (0, 0, 0, 0),
    }.items():
        found = augment.HOST['cutout'].apply({'image': image}, np.array(draws, float))['image']
        expected = image.copy()
        expected[top:bottom, left:right] = np.rint(cv2.mean(image)[:3])
        np.testing.assert_array_equal(found, expected)
