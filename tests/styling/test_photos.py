"""Photographs that give their skin's colours."""

import shutil

import cv2
import numpy as np
import pytest

from skinjax import skin
from skinjax.styling import photos as style_photos
from tests.test_skin import scene

BROWN = (42.0, 12.0, 19.0)


def write(folder, rows=('dark.png,consent',), header='image,licence', **images):
    """A folder of photographs; `dark.png` is brown skin."""
    folder.mkdir(exist_ok=True)
    for name, image in {'dark': scene(80, BROWN)[0], **images}.items():
        cv2.imwrite(str(folder / f'{name}.png'), image[..., ::-1])
    (folder / 'styles.csv').write_text('\n'.join([header, *rows]) + '\n')
    return folder


def test_a_folder_and_one_file_of_it(tmp_path):
    light, mask = scene(100)
    folder = write(tmp_path / 'styles', light=light[:, :90])
    cv2.imwrite(str(folder / 'lesion.png'), mask[:, :90])
    (folder / 'styles.csv').write_text(
        'id,image,licence,mask\nA,dark.png,consent 12,\nB,light.png,CC-0,lesion.png\n'
    )
    dark, other = style_photos.load(folder, 64)
    assert (dark.id, other.id) == ('A', 'B') and dark.mask is None
    assert dark.image.shape == other.image.shape == (64, 64, 3)
    assert other.mask is not None and other.mask.shape == (64, 64) and other.mask.any()
    assert dark.skin.ita == pytest.approx(skin.ita(BROWN[0], BROWN[2]), abs=3)
    assert other.skin.ita == pytest.approx(53.13, abs=3)
    [one] = style_photos.load(folder / 'light.png', 64)
    assert one.id == 'B'
    np.testing.assert_array_equal(one.image, other.image)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere does not exist'):
        style_photos.load(tmp_path / 'nowhere')
    with pytest.raises(FileNotFoundError, match=r'styles.csv does not exist: list the photographs'):
        style_photos.load(tmp_path)
    folder = write(tmp_path / 'styles', rows=['dark.png,'])
    with pytest.raises(ValueError, match=r"row 2, column 'licence': empty; say what allows"):
        style_photos.load(folder)
    with pytest.raises(ValueError, match=r'styles.csv has no row of styles.csv'):
        style_photos.load(folder / 'styles.csv')
    for second, message in (
        (',dark.png,mine', r"row 3, column 'id': empty; name every photograph"),
        ('A,dark.png,mine', r"row 3, .* is called 'A', too, by .* row 2, column 'id'; give each"),
    ):
        write(folder, rows=['A,dark.png,mine', second], header='id,image,licence')
        with pytest.raises(ValueError, match=message):
            style_photos.load(folder)
    (folder / 'other').mkdir()
    shutil.copy(folder / 'dark.png', folder / 'other')
    write(folder, rows=['dark.png,mine', 'other/dark.png,mine'])
    with pytest.raises(
        ValueError, match=r"row 3, column 'image': another .* 'dark', too, by .* row"
    ):
        style_photos.load(folder)
    assert [one.id for one in style_photos.load(folder / 'dark.png')] == ['dark']
    write(folder, header='image,license')
    with pytest.raises(ValueError, match=r"no column 'licence'; did you mean 'license'"):
        style_photos.load(folder)


@pytest.mark.parametrize(
    ('shown', 'message'),
    [
        (np.full((50, 50, 3), 128, np.uint8), r'odd.png: no bare skin found'),
        (scene(60, (50.0, -30.0, 25.0))[0], r'odd.png shows no skin: most of it is of the colour'),
    ],
    ids=['grey', 'green'],
)
def test_a_photograph_without_skin(tmp_path, shown, message):
    folder = write(tmp_path / 'styles', rows=['odd.png,mine'], odd=shown)
    with pytest.raises(ValueError, match=message):
        style_photos.load(folder)
