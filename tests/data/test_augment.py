import numpy as np
import pytest

from skinjax.data import augment


def example(size=33):
    mask = np.zeros((size, size), np.uint8)
    mask[4:12, 6:20] = 255
    image = np.full((size, size, 3), 90, np.uint8)
    image[mask > 0] = (200, 40, 60)
    return {'image': image, 'mask': mask}


@pytest.mark.parametrize('name', ['flip', 'd4', 'affine'])
def test_host_geometry_moves_masks_with_images(name):
    change = augment.augment((name,))
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
