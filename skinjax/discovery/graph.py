"""Graphs of nearest neighbours, in memory that grows with n k and never with n²."""

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int
from scipy.sparse import csgraph

BLOCK = 512  # rows whose distances to all others are held at once

Points = Float[np.ndarray, 'n d']


def nearest(
    points: Points, neighbours: int
) -> tuple[Float[np.ndarray, 'n k'], Int[np.ndarray, 'n k']]:
    """Euclidean distances and indices of the nearest other points; k = min(neighbours, n - 1).

    Raises:
        ValueError: less than two points, no neighbours asked for, or values that are not finite.
    """
    from sklearn.neighbors import NearestNeighbors

    if len(points) < 2 or neighbours < 1:
        raise ValueError(f'{neighbours} nearest neighbours of {len(points)} points')
    if not np.isfinite(points).all():
        rows = np.flatnonzero(~np.isfinite(points).all(axis=1))
        raise ValueError(f'{len(rows)} points are not finite, the first is row {rows[0]}')
    # Distances are computed from products: what all points share would cost digits.
    centred = points - points.mean(axis=0)
    search = NearestNeighbors(n_neighbors=min(neighbours, len(points) - 1), algorithm='brute')
    distances, indices = search.fit(centred).kneighbors()
    return distances.astype(np.float64), indices.astype(np.int64)


def directed(values: Float[np.ndarray, 'n k'], indices: Int[np.ndarray, 'n k']) -> sp.csr_array:
    """[n, n] with values[i, j] at (i, indices[i, j]); a value of zero is an edge too."""
    n, k = indices.shape
    starts = np.arange(0, n * k + 1, k)
    return sp.csr_array((values.ravel(), indices.ravel(), starts), shape=(n, n))


def distances(points: Points, neighbours: int) -> sp.csr_array:
    """[n, n] of the distances of neighbours; to be read as an undirected graph (union)."""
    return directed(*nearest(points, neighbours))


def parts(graph: sp.csr_array) -> tuple[int, Int[np.ndarray, ' n']]:
    """How many connected parts an undirected graph has, and the part of each node."""
    count, of = csgraph.connected_components(graph, directed=False)
    return int(count), of.astype(np.int64)


def bridges(
    points: Points, of: Int[np.ndarray, ' n']
) -> tuple[Float[np.ndarray, ' b'], Int[np.ndarray, ' b'], Int[np.ndarray, ' b']]:
    """Edges that make one whole of the parts: length and both ends.

    As in Borůvka's minimum spanning tree every part, except the largest of them, is joined to the
    point outside that is nearest to one of its own, until there is a single part.

    Args:
        points: of the graph.
        of: the part of each point, from 0 on.
    """
    found: list[tuple[float, int, int]] = []
    of = of.copy()
    while of.max() > 0:
        new = _shortest(points, of)
        found += new
        ends = of[[i for _, i, _ in new]], of[[j for _, _, j in new]]
        count = int(of.max()) + 1
        joins = sp.csr_array((np.ones(len(new)), ends), shape=(count, count))
        of = parts(joins)[1][of]
    lengths, left, right = np.array(found).reshape(-1, 3).T
    return lengths, left.astype(np.int64), right.astype(np.int64)


def _shortest(points: Points, of: Int[np.ndarray, ' n']) -> list[tuple[float, int, int]]:
    """The shortest edge (length, point inside, point outside) of each part but the largest."""
    from sklearn.metrics import euclidean_distances

    inside = np.flatnonzero(of != np.bincount(of).argmax())
    lengths, ends = np.empty(len(inside)), np.empty(len(inside), np.int64)
    for start in range(0, len(inside), BLOCK):
        rows = inside[start : start + BLOCK]
        apart = euclidean_distances(points[rows], points)
        apart[of[rows][:, None] == of[None, :]] = np.inf
        ends[start : start + BLOCK] = apart.argmin(axis=1)
        lengths[start : start + BLOCK] = apart.min(axis=1)
    order = np.lexsort((lengths, of[inside]))
    first = np.unique(of[inside][order], return_index=True)[1]
    return [(float(lengths[k]), int(inside[k]), int(ends[k])) for k in order[first]]


def joined(graph: sp.csr_array, points: Points) -> tuple[sp.csr_array, int]:
    """The graph of `distances` with `bridges` between its parts, and how many parts there were."""
    count, of = parts(graph)
    if count == 1:
        return graph, 1
    lengths, left, right = bridges(points, of)
    whole = graph.tocoo()
    values = np.concatenate([whole.data, lengths])
    ends = (np.concatenate([whole.row, left]), np.concatenate([whole.col, right]))
    # Built from scratch, since a sum of sparse arrays would lose edges of length zero.
    return sp.csr_array(sp.coo_array((values, ends), shape=graph.shape)), count
