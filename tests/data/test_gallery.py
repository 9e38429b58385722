import numpy as np
import pytest

from skinjax.data import gallery


def test_tiles_lie_where_they_should():
    red = np.zeros((4, 6, 3), np.uint8)
    red[..., 0] = 200
    grey = np.full((4, 6), 90, np.uint8)
    page = gallery.sheet([[red, grey], [grey]], gap=1, background=7)
    assert page.shape == (9, 13, 3)
    np.testing.assert_array_equal(page[:4, :6], red)
    assert np.all(page[:4, 7:] == 90)
    assert np.all(page[5:, :6] == 90)
    assert np.all(page[5:, 7:] == 7)
    assert np.all(page[4] == 7)


@pytest.mark.parametrize('odd', [np.zeros((4, 5, 3), np.uint8), np.zeros((4, 6, 3))])
def test_odd_tiles_are_refused(odd: np.ndarray):
    with pytest.raises(ValueError, match='row 0, column 1'):
        gallery.sheet([[np.zeros((4, 6, 3), np.uint8), odd]])


def test_synthetic_sheet_is_full_of_different_pictures():
    page = gallery.sheet(gallery.synthetic_rows(size=32, columns=6))
    rows = (page.shape[0] + 2) // 34
    tiles = [
        page[r * 34 : r * 34 + 32, c * 34 : c * 34 + 32] for r in range(rows) for c in range(6)
    ]
    assert len({tile.tobytes() for tile in tiles}) >= len(tiles) - 6
    assert min(tile.std() for tile in tiles) > 4
