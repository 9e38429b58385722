"""Isomap: coordinates in which distances are those along a neighbour graph.

Tenenbaum, de Silva and Langford 2000. With the geodesics G of the graph and J = I - 1 1ᵀ / n,

    B = -1/2 J G² J        coordinates: the eigenvectors of the largest λ > 0 of B, times √λ
"""

import dataclasses
from typing import Any

import numpy as np
import scipy.linalg
from jaxtyping import Float
from scipy.sparse import csgraph
from scipy.sparse.linalg import LinearOperator, eigsh

from skinjax.discovery import graph
from skinjax.discovery.graph import BLOCK, Points

DENSE = 600  # points up to which B is written out, in double precision
MOST = 20_000  # points: G² takes 4 n² bytes
_NONE = 1e-6  # eigenvalues below this share of the largest are noise


@dataclasses.dataclass(frozen=True)
class Embedding:
    """Coordinates of points.

    Attributes:
        points: [n, m] coordinates, the entry of largest size of each column positive; m is less
            than asked for where B has no more positive eigenvalues.
        parts: connected parts of the neighbour graph, before they were joined.
    """

    points: Float[np.ndarray, 'n m']
    parts: int


def embed(points: Points, dimensions: int, neighbours: int = 8, seed: int = 0) -> Embedding:
    """Isomap of points on their graph of nearest neighbours (union).

    Parts of the graph that are not connected are joined by their shortest edges, since distances
    between them would be infinite.

    Raises:
        ValueError: more than MOST points, less than two, no dimension, or values that are not
            finite.
    """
    n = len(points)
    if dimensions < 1:
        raise ValueError(f'Isomap into {dimensions} dimensions')
    if n > MOST:
        raise ValueError(
            f'Isomap of {n} points would take {4e-9 * n * n:.0f} GB: {MOST} points at most'
        )
    whole, parts = graph.joined(graph.distances(points, neighbours), points)
    values, vectors = _largest(squared_geodesics(whole), min(dimensions, n - 1), seed)
    kept = values > _NONE * max(values.max(), 0)
    found = vectors[:, kept] * np.sqrt(values[kept])
    top = np.abs(found).argmax(axis=0)
    found *= np.where(found[top, np.arange(found.shape[1])] < 0, -1, 1)
    return Embedding(found, parts)


def squared_geodesics(whole: Any) -> Float[np.ndarray, 'n n']:
    """G² of an undirected sparse graph; in single precision if there are more than DENSE nodes.

    Written block by block, so that one matrix of this size exists and not several.
    """
    n = whole.shape[0]
    squared = np.empty((n, n), np.float64 if n <= DENSE else np.float32)
    # Both directions at hand, or every call would make them.
    both = whole.maximum(whole.T) if whole.data.all() else whole
    for start in range(0, n, BLOCK):
        rows = slice(start, min(start + BLOCK, n))
        lengths = csgraph.dijkstra(both, directed=False, indices=np.arange(n)[rows])
        squared[rows] = lengths**2
    return squared


def _largest(
    squared: Float[np.ndarray, 'n n'], count: int, seed: int
) -> tuple[Float[np.ndarray, ' m'], Float[np.ndarray, 'n m']]:
    """The largest eigenvalues of -1/2 J S J and their eigenvectors, in falling order."""
    n = len(squared)
    if n <= DENSE:
        centred = squared - squared.mean(axis=0)
        centred -= centred.mean(axis=1, keepdims=True)
        values, vectors = scipy.linalg.eigh(-0.5 * centred, subset_by_index=[n - count, n - 1])
        return values[::-1], vectors[:, ::-1]

    def apply(vector):
        vector = np.asarray(vector, np.float32).ravel()
        product = -0.5 * (squared @ (vector - vector.mean()))
        return product - product.mean()

    operator = LinearOperator((n, n), matvec=apply, dtype=np.float32)  # pyright: ignore
    start = np.random.default_rng(seed).standard_normal(n).astype(np.float32)
    found: Any = eigsh(operator, count, which='LA', v0=start, tol=1e-5)  # pyright: ignore
    order = np.argsort(found[0])[::-1]
    return found[0][order].astype(np.float64), found[1][:, order].astype(np.float64)
