"""Deletion and insertion on a model that reads one corner."""

import numpy as np
import pytest

from skinjax.relevance import faithfulness

SIDE = 8


def corner(images: np.ndarray) -> np.ndarray:
    """The share of white in the upper left quarter."""
    return images[:, :4, :4].mean((1, 2, 3)) / 255


@pytest.fixture(scope='module')
def case():
    """Images that are white in the corner, and maps that know it."""
    images = np.zeros((3, SIDE, SIDE, 3), np.uint8)
    images[:, :4, :4] = 255
    maps = np.zeros((3, SIDE, SIDE), np.float16)
    maps[:, :4, :4] = 1
    return images, maps


def test_curves_by_hand(case):
    """A quarter of the pixels holds everything; their mean colour is 64 of 255."""
    images, maps = case
    found = faithfulness.curves(corner, images, maps, 'mean', 0)
    shares = np.linspace(0, 1, faithfulness.STEPS + 1)
    taken = np.minimum(np.round(shares * SIDE**2) / 16, 1)
    rest = 64 / 255
    assert np.allclose(found['deletion']['map'], 1 - taken * (1 - rest))
    # Insertion starts where deletion ends, and every cell of the corner is shown first.
    assert np.allclose(found['insertion']['map'], rest + taken * (1 - rest))
    for mode in faithfulness.MODES:
        for order in faithfulness.ORDERS:
            ends = {'deletion': (1, rest), 'insertion': (rest, 1)}[mode]
            assert np.allclose(found[mode][order][:, [0, -1]], ends)


def test_the_network_is_called_as_often_as_is_announced(case):
    images, maps = case
    calls = []

    def chance(images):
        calls.append(len(images))
        return corner(images)

    faithfulness.curves(chance, images, maps, 'mean', 0)
    assert len(calls) == faithfulness.CALLS


def test_areas_and_gains(case):
    images, maps = case
    block = faithfulness.summary(faithfulness.curves(corner, images, maps, 'mean', 0), 0)
    for mode in faithfulness.MODES:
        for order in faithfulness.ORDERS:
            gain = block[mode][f'over_{order}']
            sign = -1 if mode == 'deletion' else 1
            difference = sign * (block[mode]['map']['value'] - block[mode][order]['value'])
            assert gain['value'] == pytest.approx(difference) and gain['low'] > 0.1
    worse = faithfulness.summary(faithfulness.curves(corner, images, -maps, 'mean', 0), 0)
    assert worse['deletion']['over_random']['high'] < 0


def test_area_under_a_straight_line():
    assert faithfulness.area(np.array([[0.0, 0.5, 1.0], [1.0, 1.0, 1.0]])).tolist() == [0.5, 1.0]


def test_orders():
    heat = np.arange(12, dtype=np.float32).reshape(3, 4)
    found = faithfulness.orders(heat, 0)
    assert np.array_equal(found['map'], 11 - heat)
    assert found['centre'][1, 1] < 2 and found['centre'][0, 0] > 7
    assert sorted(found['random'].ravel()) == list(range(12))
    assert not np.array_equal(found['random'], faithfulness.orders(heat, 1)['random'])
    flat = faithfulness.orders(np.zeros((3, 4)), 0)  # equal ones are in the random order
    assert np.array_equal(flat['map'], flat['random'])
    assert faithfulness.orders(np.zeros((224, 224)), 0)['map'].shape == (28, 28)


def test_what_stands_in_place_of_deleted_cells(case):
    image = case[0][0]
    assert (faithfulness.filled(image, 'mean') == 64).all()
    blurred = faithfulness.filled(image, 'blur')
    assert blurred[0, 0, 0] > blurred[-1, -1, 0] and len(np.unique(blurred)) > 4
