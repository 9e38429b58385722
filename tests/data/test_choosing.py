"""Some rows of many."""

import numpy as np

from skinjax.data import choosing


def test_some_of_each_class():
    labels = np.array([0] * 10 + [2] * 3)
    assert list(choosing.some_of_each(labels, 4)) == [0, 9, 10, 12]
    assert list(choosing.some_of_each(labels, 0)) == []
    assert list(choosing.some_of_each(labels, 100)) == list(range(13))
    assert list(choosing.some_of_each(labels, 9)) == [0, 1, 3, 5, 7, 9, 10, 11, 12]
    seven = np.repeat(np.arange(7), 5)
    assert list(choosing.some_of_each(seven, 2)) == [0, 30]
    assert list(np.bincount(seven[choosing.some_of_each(seven, 8)])) == [2, 1, 1, 1, 1, 1, 1]


def test_what_alternates_keeps_its_share():
    """Evenly spaced rows of a table that alternates have one of both alone."""
    rows = choosing.by_chance(800, 400, 0)
    assert len(np.unique(rows)) == 400 and (np.diff(rows) > 0).all()
    assert 0.4 < np.mean(rows % 2) < 0.6
    assert np.array_equal(rows, choosing.by_chance(800, 400, 0))
    assert not np.array_equal(rows, choosing.by_chance(800, 400, 1))
    for most in (0, 5, 9):
        assert choosing.by_chance(5, most, 0).tolist() == [0, 1, 2, 3, 4]
