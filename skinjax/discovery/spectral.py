"""Spectral clustering of a neighbour graph: eigenvalues, eigengaps and clusters.

With the affinity A = (N + Nᵀ) / 2, N_ij = 1 where j is among the k nearest of i, and D = diag(A 1),

    L = I - D^-1/2 A D^-1/2        (Ng, Jordan and Weiss 2001; von Luxburg 2007)

has an eigenvalue 0 for every connected part of the graph and small ones for every group that is
nearly one. The number of clusters is k where λ_(k+1) - λ_k is largest; the points are then divided
by their rows of the first k eigenvectors.
"""

import dataclasses
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from jaxtyping import Float, Int
from scipy.sparse import csgraph
from scipy.sparse.linalg import eigsh

from skinjax.data.records import choices
from skinjax.discovery import graph
from skinjax.discovery.graph import Points

AFFINITIES, ASSIGN = ('knn', 'rbf'), ('kmeans', 'discretize')
DEFAULTS: dict[str, Any] = {
    'affinity': 'knn',  # or 'rbf': exp(-gamma d²) between all points, as scikit-learn's default
    'neighbours': 10,
    'gamma': 1.0,  # of 'rbf'
    'clusters': 0,  # 0: where the eigengap is largest
    'least_clusters': 1,  # of the eigengap
    'eigenvalues': 32,  # smallest ones that are computed
    'assign': 'kmeans',  # or 'discretize' (Yu and Shi 2003)
}
FEWEST = 3  # points that can be clustered
DENSE = 600  # points up to which all of a matrix is decomposed
RBF_MOST = 5000  # points up to which all pairs are held
_ZERO = 1e-12  # below it eigenvalues are rounding errors, whose order means nothing
_RESTARTS, _ROUNDS = 10, 50  # of k-means; of discretize


@dataclasses.dataclass(frozen=True)
class Clustering:
    """Points divided into clusters.

    Attributes:
        labels: [n] cluster of each point, 0 is the largest; -1 was left out.
        eigenvalues: the smallest of L, in order.
        gap: k of the largest eigengap, whatever number of clusters was asked for.
        parts: connected parts of the neighbour graph.
        vectors: [n, m] eigenvectors of `eigenvalues`.
        notes: sentences that a reader of the clusters should know.
    """

    labels: Int[np.ndarray, ' n']
    eigenvalues: Float[np.ndarray, ' m']
    gap: int
    parts: int
    vectors: Float[np.ndarray, 'n m']
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many clusters there are."""
        return int(self.labels.max()) + 1

    @property
    def gaps(self) -> Float[np.ndarray, ' g']:
        """λ_(k+1) - λ_k for k = 1, 2, ..."""
        return np.diff(self.eigenvalues)


def check(config: Any) -> None:
    """ValueError for an option of DEFAULTS that is out of range."""
    for field, known in (('affinity', AFFINITIES), ('assign', ASSIGN)):
        if config[field] not in known:
            raise ValueError(f'{field} is {config[field]!r}; {choices(config[field], known)}')
    least = {'neighbours': 1, 'clusters': 0, 'least_clusters': 1, 'eigenvalues': 2}
    for field, bound in least.items():
        if config[field] < bound:
            raise ValueError(f'{field} is {config[field]}, expected at least {bound}')
    if config['gamma'] <= 0:
        raise ValueError(f'gamma is {config["gamma"]}, expected more than 0')
    for field, affinity in (('neighbours', 'knn'), ('gamma', 'rbf')):
        if config[field] != DEFAULTS[field] and config['affinity'] != affinity:
            raise ValueError(
                f'{field} is {config[field]}, but only affinity {affinity} reads it, and it is '
                f'{config["affinity"]}'
            )


def cluster(points: Points, config: Any, seed: int = 0) -> Clustering:
    """Spectral clustering of points.

    Points that are all the same are one cluster. Where fewer clusters are asked for than the graph
    has parts, these are joined by `graph.bridges` first.

    Args:
        points: that are compared by their Euclidean distance.
        config: with the fields of DEFAULTS, a mapping.
        seed: of k-means.

    Raises:
        ValueError: less than FEWEST points, more than RBF_MOST with 'rbf', an option out of range,
            more clusters than points, or values that are not finite.
    """
    check(config)
    n, asked = len(points), config['clusters']
    if n < FEWEST or asked > n:
        raise ValueError(f'{n} points cannot be divided into {asked or "several"} clusters')
    if np.ptp(points, axis=0).max() == 0:
        note = f'All {n} points are the same: there is nothing to tell clusters by.'
        return Clustering(
            np.zeros(n, np.int64), np.zeros(1), 1, 1, np.full((n, 1), n**-0.5), (note,)
        )
    weights, notes = affinity(points, config), []
    count, of = graph.parts(weights)
    if count > 1:
        sizes = ', '.join(map(str, np.sort(np.bincount(of))[::-1][:5]))
        more = ', ...' if count > 5 else ''
        notes.append(f'The neighbour graph falls into {count} parts (of {sizes}{more} points).')
    if 0 < asked < count:
        weights = _with_bridges(weights, points, of)
        notes.append(f'They were joined where they are nearest, since {asked} clusters were asked.')
    least = max(asked, min(config['least_clusters'], n))
    values, vectors = spectrum(weights, max(config['eigenvalues'], least + 1), seed)
    scattered = count >= len(values)  # so many parts that the eigenvalues are all zero
    gap = count if scattered else eigengap(values, n)
    number = asked or (gap if gap >= least else eigengap(values, n, least))
    if not asked and gap < least:
        notes.append(
            f'The largest eigengap is that after eigenvalue {gap}: the points do not fall into '
            f'{least} clusters by themselves. {number} are taken, by the largest gap from there on.'
        )
    by_parts = scattered and not asked
    labels = of if by_parts else divide(vectors[:, :number], config['assign'], seed)
    return Clustering(by_size(labels), values, gap, count, vectors, tuple(notes))


def affinity(points: Points, config: Any) -> sp.csr_array:
    """The symmetric affinities of points: see the module, or exp(-gamma d²) without the diagonal.

    Raises:
        ValueError: more than RBF_MOST points with 'rbf'.
    """
    if config['affinity'] == 'knn':
        indices = graph.nearest(points, config['neighbours'])[1]
        one_way = graph.directed(np.ones(indices.shape), indices)
        return sp.csr_array((one_way + one_way.T) / 2)
    if len(points) > RBF_MOST:
        raise ValueError(
            f"affinity 'rbf' compares all pairs, and {len(points)} points are more than "
            f"{RBF_MOST}: use affinity 'knn'"
        )
    from sklearn.metrics.pairwise import rbf_kernel

    dense = rbf_kernel(points.astype(np.float64), gamma=config['gamma'])
    np.fill_diagonal(dense, 0)
    return sp.csr_array(dense)


def _with_bridges(weights: sp.csr_array, points: Points, of: Int[np.ndarray, ' n']) -> sp.csr_array:
    _, left, right = graph.bridges(points, of)
    # As heavy as an edge of which only one end has the other among its neighbours.
    one_way = sp.csr_array((np.full(len(left), 0.5), (left, right)), shape=weights.shape)
    return sp.csr_array(weights + one_way + one_way.T)


def spectrum(
    weights: sp.csr_array, count: int = 32, seed: int = 0
) -> tuple[Float[np.ndarray, ' m'], Float[np.ndarray, 'n m']]:
    """The smallest eigenvalues of L and their eigenvectors, m = min(count, n).

    Each connected part is decomposed by itself: an iteration from one start vector need not find
    an eigenvalue as often as it is there, and each part brings one zero.
    """
    number, of = graph.parts(weights)
    values, at, n = [], [], len(of)
    columns: list[Float[np.ndarray, ' n']] = []
    order = np.argsort(of, kind='stable')
    for rows in np.split(order, np.cumsum(np.bincount(of, minlength=number))[:-1]):
        part = csgraph.laplacian(weights[rows][:, rows], normed=True)
        some, vectors = _smallest(part, min(count, len(rows)), seed)
        values += np.where(some < _ZERO, 0, some).tolist()
        at += [rows] * len(some)
        columns += list(vectors.T)
    kept = np.argsort(values, kind='stable')[: min(count, n)]
    found = np.zeros((n, len(kept)))
    for column, k in enumerate(kept):
        found[at[k], column] = columns[k]
    return np.array(values)[kept], found


def _smallest(
    matrix: Any, count: int, seed: int
) -> tuple[Float[np.ndarray, ' m'], Float[np.ndarray, 'n m']]:
    n = matrix.shape[0]
    if n <= DENSE:
        return scipy.linalg.eigh(matrix.toarray(), subset_by_index=[0, count - 1])
    start = np.random.default_rng(seed).standard_normal(n)
    room = min(n, 3 * count + 20)
    found: Any = eigsh(matrix, count, which='SA', v0=start, ncv=room, tol=1e-6)  # pyright: ignore
    order = np.argsort(found[0])
    return found[0][order], found[1][:, order]


def eigengap(values: Float[np.ndarray, ' m'], n: int, least: int = 1) -> int:
    """k where λ_(k+1) - λ_k is largest, k = `least` ... n / 2; `least` where there is no such k.

    More clusters than that would mostly be single points.
    """
    gaps = np.diff(values)[least - 1 : max(n // 2, 1)]
    return least + int(gaps.argmax()) if len(gaps) else least


def divide(vectors: Float[np.ndarray, 'n k'], assign: str, seed: int) -> Int[np.ndarray, ' n']:
    """Each point's cluster, of k, by its row of the eigenvectors brought to length 1."""
    from sklearn.cluster import KMeans

    if vectors.shape[1] == 1:
        return np.zeros(len(vectors), np.int64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = vectors / np.where(lengths > 0, lengths, 1)
    if assign == 'discretize':
        return discretize(rows, seed)
    means: Any = KMeans(vectors.shape[1], n_init=_RESTARTS, random_state=seed)  # pyright: ignore
    return means.fit_predict(rows).astype(np.int64)


def discretize(rows: Float[np.ndarray, 'n k'], seed: int) -> Int[np.ndarray, ' n']:
    """The discrete division nearest to a rotation of `rows` (Yu and Shi 2003, algorithm 1).

    Starting with rows that are as orthogonal as possible, X = argmax of each row of (rows R), and
    R = V Uᵀ of the decomposition U S Vᵀ = Xᵀ rows, until trace(S) does not grow any more.
    """
    n, k = rows.shape
    rotation, seen = np.zeros((k, k)), np.zeros(n)
    rotation[:, 0] = rows[np.random.default_rng(seed).integers(n)]
    for j in range(1, k):
        seen += np.abs(rows @ rotation[:, j - 1])
        rotation[:, j] = rows[seen.argmin()]
    labels, last = np.zeros(n, np.int64), -1.0
    for _ in range(_ROUNDS):
        labels = (rows @ rotation).argmax(axis=1)
        left, sizes, right = np.linalg.svd(np.eye(k)[labels].T @ rows)
        if sizes.sum() - last < 1e-12 * n:
            break
        last, rotation = sizes.sum(), right.T @ left.T
    return labels


def by_size(labels: Int[np.ndarray, ' n']) -> Int[np.ndarray, ' n']:
    """The same clusters, numbered from the largest to the smallest; of equal ones the first."""
    names, first, inverse, sizes = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    rank = np.empty(len(names), np.int64)
    rank[np.lexsort((first, -sizes))] = np.arange(len(names))
    return rank[inverse]
