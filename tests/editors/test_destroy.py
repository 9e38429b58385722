"""Destroyed lesions: which pixels are black."""

import cv2
import numpy as np
import pytest

from skinjax import config as configs
from skinjax import editing, kinds, purify
from skinjax.data import groups, writing
from skinjax.editors import destroy
from tests.helpers import write_folder

SIDE = 299


def box(top, bottom, left, right, side=SIDE):
    mask = np.zeros((side, side), np.uint8)
    mask[top : bottom + 1, left : right + 1] = 255
    return mask


def rows_and_columns(black):
    """First and last of each; all between them are black."""
    rows, columns = np.flatnonzero(black.any(1)), np.flatnonzero(black.any(0))
    assert black.sum() == len(rows) * len(columns)
    return int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])


def test_the_rectangle_is_strictly_inside_of_the_extremes():
    mask = np.zeros((30, 30), np.uint8)
    mask[10, 8] = mask[20, 9] = mask[15, 5] = mask[14, 15] = 255
    black = destroy.destroyed(mask, 'bbox')
    assert rows_and_columns(black) == (11, 19, 6, 14) and black.sum() == 81
    assert not destroy.destroyed(mask, 'traditional').any()
    np.testing.assert_array_equal(destroy.destroyed(mask, 'only_skin'), mask == 255)
    assert not destroy.destroyed(box(3, 3, 4, 9, 30), 'bbox').any()  # nothing is inside of a line


def published(mask):
    """The published code, pixel by pixel, in other words."""
    where = np.argwhere(mask == 255)
    (top, left), (bottom, right) = where.min(0), where.max(0)
    middle_y, middle_x = (top + bottom) / 2, (left + right) / 2
    black = np.zeros(mask.shape, bool)
    for i in range(len(mask)):
        for j in range(len(mask[0])):
            if (right - left) * (bottom - top) < 0.7 * 299 * 299:
                black[i, j] = abs(i - middle_y) < 125 and abs(j - middle_x) < 125
            else:
                black[i, j] = top < i < bottom and left < j < right
    return black


@pytest.mark.parametrize(
    ('ends', 'rows', 'columns'),
    [
        ((100, 198, 100, 198), 249, 249),  # a whole middle
        ((100, 199, 100, 198), 250, 249),
        ((100, 199, 100, 199), 250, 250),
        ((0, 60, 150, 160), 155, 249),  # cut off at the upper edge
        ((250, 298, 200, 298), 149, 174),
        ((10, 280, 10, 280), 269, 269),  # the rectangle is larger than 70 %
    ],
)
def test_compat_is_the_published_square(ends, rows, columns):
    mask = box(*ends)
    black = destroy.destroyed(mask, 'bbox70', compat=True)
    np.testing.assert_array_equal(black, published(mask))
    top, bottom, left, right = rows_and_columns(black)
    assert (bottom - top + 1, right - left + 1) == (rows, columns)
    if (rows, columns) == (249, 249):
        assert black.mean() == pytest.approx(0.6935, abs=5e-5)


@pytest.mark.parametrize('ends', [(100, 198, 100, 198), (0, 60, 150, 160), (250, 298, 200, 298)])
@pytest.mark.parametrize('side', [SIDE, 224, 64])
def test_without_it_the_square_is_moved_inside(ends, side):
    first, last, left, right = (end * (side - 1) // (SIDE - 1) for end in ends)
    black = destroy.destroyed(box(first, last, left, right, side), 'bbox70')
    top, bottom, *columns = rows_and_columns(black)
    length = round(side * 0.7**0.5)
    assert bottom - top + 1 == columns[1] - columns[0] + 1 == length
    assert abs(black.mean() - 0.7) < 1.5 / side
    if top > 0 and bottom < side - 1:  # then it is in the middle
        assert abs((top + bottom) - (first + last)) <= 1


def test_the_area_that_decides_is_that_between_the_extremes():
    """0.7 of 100 x 101 pixels are 7,070: 70 x 100 are less, 71 x 100 are more."""
    mask = np.zeros((100, 101), np.uint8)
    mask[0, 0] = mask[70, 100] = 255
    assert rows_and_columns(destroy.destroyed(mask, 'bbox70')) == (0, 83, 8, 92)
    mask[71, 100] = 255
    assert rows_and_columns(destroy.destroyed(mask, 'bbox70')) == (1, 70, 1, 99)


def test_the_editor_marks_what_is_gone_and_keeps_the_rest():
    edit = editing.named('destroy:bbox')
    rng = np.random.default_rng(0)
    image = rng.integers(1, 256, (40, 40, 3)).astype(np.uint8)
    before, mask = image.copy(), box(10, 20, 5, 15, 40)
    marked = np.zeros((40, 40), np.uint8)
    marked[0, 0] = 255
    (found,) = edit([{'image': image, 'mask': mask, 'artefact': marked}])
    black = destroy.destroyed(mask, 'bbox')
    assert not found['image'][black].any() and black.sum() == 81
    np.testing.assert_array_equal(found['image'][~black], image[~black])
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(found['mask'], mask)
    assert found['artefact'][0, 0] == 255 and (found['artefact'] > 0).sum() == 82
    for name, share in (('traditional', 0), ('only_skin', 121), ('bbox70_compat', None)):
        (other,) = editing.named(f'destroy:{name}')([{'image': image, 'mask': mask}])
        assert share is None or (other['image'] == 0).all(-1).sum() == share
    assert (editing.named('destroy')([{'image': image, 'mask': mask}])[0]['image'] == 0).any()


@pytest.mark.parametrize('what', destroy.VARIANTS)
@pytest.mark.parametrize('ends', [(3, 3, 4, 9), (3, 9, 4, 5)])
def test_what_a_rectangle_would_leave_whole_is_in_no_set(what, ends):
    image = np.full((30, 30, 3), 9, np.uint8)
    edit = editing.named(f'destroy:{what}')
    size = f'{ends[1] - ends[0] + 1} x {ends[3] - ends[2] + 1}'
    with pytest.raises(ValueError, match=f'the lesion mask is {size} pixels: nothing lies'):
        edit([{'image': image, 'mask': box(*ends, side=30)}])
    assert edit([{'image': image, 'mask': box(3, 5, 4, 6, 30)}])


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('destroy:bbox7', r"editor 'destroy' has no variant 'bbox7'.*did you mean 'bbox70'"),
        ('hair:bbox', r"editor 'hair' has no variant 'bbox'; known: none"),
    ],
)
def test_variants_that_are_unknown(name, message):
    with pytest.raises(ValueError, match=message):
        editing.named(name)
    with pytest.raises(ValueError, match=r"destroy.what 'box' is unknown.*did you mean 'bbox'"):
        destroy.build(configs.make({'what': 'box', 'compat': False}))


def section(root, **fields):
    config = configs.train(data='folder').data
    config.update(root=str(root), image_size=16, batch_size=8, purify='destroy:only_skin', **fields)
    return config


def test_images_without_a_mask_are_named(tmp_path):
    root = write_folder(tmp_path / 'data', n=12)
    (root / 'masks').mkdir()
    table = writing.read_rows(root)
    for row in table:
        row['mask'] = '' if row['id'] == 'test-3' else f'masks/{row["id"]}.png'
        empty, last = row['id'] == 'val-1', 5 if row['id'] == 'test-5' else 9
        mask = box(4, last, 4, 9, 16) * (not empty)
        cv2.imwrite(str(root / 'masks' / f'{row["id"]}.png'), mask)
    writing.write_csv(root / 'records.csv', table)
    build = configs.find('data', 'folder').build
    data = groups.load(build, section(root, with_mask=True, on_error='skip'), 0)
    assert [(split, name) for split, name, _ in data.info['skipped']] == [
        ('val', 'val-1'),
        ('test', 'test-3'),
        ('test', 'test-5'),
    ]
    assert 'the lesion mask is empty' in data.info['skipped'][0][2]
    assert 'the lesion mask is 2 x 6 pixels' in data.info['skipped'][2][2]
    example = data.splits['test'].read(0)
    assert not example['image'][4:10, 4:10].any() and example['image'].any()
    config = configs.override(
        kinds.purify('folder', ('destroy',)), {'data.root': str(root), 'data.image_size': 16}
    )
    with pytest.raises(ValueError, match=r'val-1: the lesion mask is empty'):
        purify.run(config, tmp_path / 'w')
    with pytest.raises(
        ValueError, match=r'train-0: there is no lesion mask .* data.with_mask=True'
    ):
        purify.run(configs.override(config, {'data.with_mask': False}), tmp_path / 'other')
