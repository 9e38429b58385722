"""Spectral clustering: worked values, scikit-learn beside it, and graphs that fall apart."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.cluster import spectral_clustering
from sklearn.datasets import make_circles
from sklearn.metrics import adjusted_rand_score

from skinjax.discovery import graph, spectral

KNN = spectral.DEFAULTS
# Three sets of four points, each within itself as near as can be: three cliques with k = 3.
CLIQUES = np.repeat(np.eye(3) * 10, 4, axis=0) + np.tile(np.eye(4)[:, :3] * 0.1, (3, 1))
BLOBS = np.random.default_rng(0).normal(size=(90, 4)) + 9 * np.eye(4)[np.arange(90) % 3]


def options(**fields):
    assert not set(fields) - set(KNN)
    return {**KNN, **fields}


def test_three_cliques():
    found = spectral.cluster(CLIQUES, options(neighbours=3))
    np.testing.assert_allclose(found.eigenvalues, [0] * 3 + [4 / 3] * 9, atol=1e-12)
    assert (found.gap, found.parts, found.count) == (3, 3, 3)
    np.testing.assert_array_equal(found.labels, np.repeat([0, 1, 2], 4))
    assert found.gaps.argmax() == 2 and found.gaps.max() == pytest.approx(4 / 3)
    assert any('3 parts (of 4, 4, 4 points)' in note for note in found.notes)


def test_affinity_by_hand():
    """On a line each end has the middle as its neighbour, and the middle the nearer end."""
    points = np.array([[0.0], [1.0], [3.0]])
    found = spectral.affinity(points, options(neighbours=1)).toarray()
    np.testing.assert_array_equal(found, [[0, 1, 0], [1, 0, 0.5], [0, 0.5, 0]])


@pytest.mark.parametrize('assign', spectral.ASSIGN)
@pytest.mark.parametrize('affinity', spectral.AFFINITIES)
def test_blobs(assign, affinity):
    own = {'knn': {'neighbours': 8}, 'rbf': {'gamma': 0.1}}[affinity]
    config = options(assign=assign, affinity=affinity, clusters=3, **own)
    found = spectral.cluster(BLOBS, config)
    assert adjusted_rand_score(np.arange(90) % 3, found.labels) == 1


@pytest.mark.parametrize('assign', spectral.ASSIGN)
def test_the_same_clusters_as_scikit_learn(assign):
    points = np.asarray(make_circles(120, factor=0.5, noise=0.04, random_state=3)[0])
    weights = spectral.affinity(points, options(neighbours=12))
    expected = spectral_clustering(
        sp.csr_matrix(weights), n_clusters=4, assign_labels=assign, random_state=0
    )
    found = spectral.cluster(points, options(clusters=4, assign=assign, neighbours=12))
    assert adjusted_rand_score(expected, found.labels) > 0.95


def test_large_parts_have_the_eigenvalues_of_a_full_decomposition(monkeypatch):
    points = np.random.default_rng(1).normal(size=(150, 3))
    points[100:] += 50
    weights = spectral.affinity(points, KNN)
    expected, vectors = spectral.spectrum(weights, 12)
    monkeypatch.setattr(spectral, 'DENSE', 0)
    found, others = spectral.spectrum(weights, 12)
    np.testing.assert_allclose(found, expected, atol=1e-8)
    np.testing.assert_allclose(np.abs((vectors * others).sum(0)), 1, atol=1e-4)
    assert (found[:2] < 1e-12).all() and found[2] > 1e-3


def test_parts_are_joined_when_fewer_clusters_are_asked_for():
    # The third set is far away, the first two are near each other.
    points = CLIQUES @ np.diag([0.1, 0.1, 1])
    found = spectral.cluster(points, options(neighbours=3, clusters=2))
    np.testing.assert_array_equal(found.labels, np.repeat([0, 0, 1], 4))
    assert found.parts == 3 and 'joined where they are nearest' in found.notes[-1]


def test_more_parts_than_eigenvalues_are_the_clusters():
    points = np.repeat(np.arange(20.0) ** 2 * 9, 3)[:, None] + np.tile([0, 0.1, 0.2], 20)[:, None]
    found = spectral.cluster(points, options(neighbours=2, eigenvalues=8))
    assert found.count == found.parts == found.gap == 20
    assert adjusted_rand_score(np.repeat(np.arange(20), 3), found.labels) == 1
    assert len(found.eigenvalues) == 8


def test_least_clusters():
    points = np.random.default_rng(2).normal(size=(60, 12))
    found = spectral.cluster(points, KNN)
    assert found.gap == found.count == 1
    forced = spectral.cluster(points, options(least_clusters=2))
    assert forced.count == spectral.eigengap(forced.eigenvalues, 60, 2) >= 2
    assert 'do not fall into 2 clusters by themselves' in forced.notes[0]
    assert f'{forced.count} are taken' in forced.notes[0]


def test_the_largest_gap_from_the_least_number_on():
    values = np.array([0, 0.5, 0.55, 0.9, 0.92])
    assert spectral.eigengap(values, 20) == 1
    assert spectral.eigengap(values, 20, 2) == 3
    assert spectral.eigengap(values, 20, 4) == 4
    assert spectral.eigengap(values, 4, 3) == 3  # no gap up to n / 2


def test_points_that_are_all_the_same():
    found = spectral.cluster(np.full((20, 5), 0.3), KNN)
    assert found.count == 1 and 'All 20 points are the same' in found.notes[0]


def test_many_equal_points_beside_others():
    points = np.concatenate([np.zeros((40, 3)), BLOBS[:30, :3] + 50])
    found = spectral.cluster(points, options(clusters=2))
    np.testing.assert_array_equal(found.labels, np.repeat([0, 1], [40, 30]))


def test_same_seed_same_clusters():
    points = np.random.default_rng(2).normal(size=(60, 2))
    one, other = (spectral.cluster(points, options(clusters=5), seed=4) for _ in range(2))
    np.testing.assert_array_equal(one.labels, other.labels)
    np.testing.assert_array_equal(one.vectors, other.vectors)


def test_clusters_are_numbered_by_size():
    found = spectral.by_size(np.array([7, 2, 2, 5, 5, 2, 9]))
    np.testing.assert_array_equal(found, [2, 0, 0, 1, 1, 0, 3])


def test_bridges_are_the_shortest():
    points = np.array([[0.0], [1], [4], [5], [11], [12]])
    lengths, left, right = graph.bridges(points, np.array([0, 0, 1, 1, 2, 2]))
    edges = {(*sorted((i, j)), d) for d, i, j in zip(lengths, left, right, strict=True)}
    assert edges == {(1, 2, 3), (3, 4, 6)}
    whole, parts = graph.joined(graph.distances(points, 1), points)
    assert parts == 3 and graph.parts(whole)[0] == 1


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'affinity': 'rfb'}, "did you mean 'rbf'"),
        ({'assign': 'x'}, "assign is 'x'; known: 'kmeans', 'discretize'"),
        ({'neighbours': 0}, 'neighbours is 0, expected at least 1'),
        ({'gamma': 0.0}, 'gamma is 0.0, expected more than 0'),
        ({'gamma': 2.0}, 'gamma is 2.0, but only affinity rbf reads it, and it is knn'),
        ({'affinity': 'rbf', 'neighbours': 5}, 'only affinity knn reads it'),
        ({'clusters': 13}, '12 points cannot be divided into 13 clusters'),
    ],
)
def test_refusals(fields, message):
    with pytest.raises(ValueError, match=message):
        spectral.cluster(CLIQUES, options(**fields))


def test_refused_points(monkeypatch):
    with pytest.raises(ValueError, match='2 points cannot be divided into several'):
        spectral.cluster(CLIQUES[:2], KNN)
    broken = CLIQUES.copy()
    broken[5] = np.nan
    with pytest.raises(ValueError, match='1 points are not finite, the first is row 5'):
        spectral.cluster(broken, KNN)
    monkeypatch.setattr(spectral, 'RBF_MOST', 10)
    with pytest.raises(ValueError, match="12 points are more than 10: use affinity 'knn'"):
        spectral.cluster(CLIQUES, options(affinity='rbf'))
