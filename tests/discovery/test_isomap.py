"""Isomap: the worked values, scikit-learn beside it, and graphs that fall apart."""

import numpy as np
import pytest
from sklearn.datasets import make_swiss_roll
from sklearn.manifold import Isomap

from skinjax.discovery import graph, isomap

PATH = np.array([[0.0, 0], [1, 0], [2, 0], [2, 1], [2, 2]])
ROLL = make_swiss_roll(150, random_state=0)[0]


def geodesics(points, neighbours):
    whole, _ = graph.joined(graph.distances(points, neighbours), points)
    return np.sqrt(isomap.squared_geodesics(whole))


def test_a_path_around_a_corner():
    steps = np.abs(np.subtract.outer(np.arange(5), np.arange(5)))
    np.testing.assert_allclose(geodesics(PATH, 2), steps, atol=1e-7)
    found = isomap.embed(PATH, 1, 2).points[:, 0]
    np.testing.assert_allclose(found * np.sign(found[0]), [2, 1, 0, -1, -2], atol=1e-12)


def test_a_line():
    found = isomap.embed(np.arange(4.0)[:, None], 1, 2).points[:, 0]
    np.testing.assert_allclose(found * np.sign(found[3]), [-1.5, -0.5, 0.5, 1.5], atol=1e-12)


def test_the_same_as_scikit_learn(monkeypatch):
    model = Isomap(n_neighbors=8, n_components=3, eigen_solver='dense')
    expected = np.asarray(model.fit_transform(ROLL))
    found = isomap.embed(ROLL, 3, 8)
    assert found.parts == 1
    np.testing.assert_allclose(np.abs(found.points), np.abs(expected), atol=1e-6)
    top = np.abs(found.points).argmax(axis=0)
    assert (found.points[top, np.arange(3)] > 0).all()
    monkeypatch.setattr(isomap, 'DENSE', 0)  # in single precision, block by block
    monkeypatch.setattr(isomap, 'BLOCK', 64)
    np.testing.assert_allclose(isomap.embed(ROLL, 3, 8).points, found.points, atol=2e-3)


def test_parts_are_joined_by_their_shortest_edge():
    points = np.array([[0.0], [1], [2], [10], [11], [12]])
    found = isomap.embed(points, 2, 2)
    assert found.parts == 2
    np.testing.assert_allclose(np.ptp(found.points[:, 0]), 12, rtol=1e-6)
    np.testing.assert_allclose(geodesics(points, 2)[2, 3], 8, rtol=1e-6)


def test_equal_points_are_in_one_place():
    points = np.repeat([[0.0, 0], [3, 4]], 10, axis=0)
    found = isomap.embed(points, 5, 3)
    assert found.points.shape == (20, 1)  # and no dimension of rounding errors
    np.testing.assert_allclose(np.abs(found.points[:, 0]), 2.5)
    assert isomap.embed(np.ones((9, 2)), 3, 2).points.shape == (9, 0)


def test_refusals(monkeypatch):
    with pytest.raises(ValueError, match='Isomap into 0 dimensions'):
        isomap.embed(PATH, 0)
    monkeypatch.setattr(isomap, 'MOST', 4)
    with pytest.raises(ValueError, match='4 points at most'):
        isomap.embed(PATH, 1)
