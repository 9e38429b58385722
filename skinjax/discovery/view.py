"""All points in two dimensions, to look at: neighbours stay together, distances mean little."""

from typing import Any

import numpy as np
from jaxtyping import Float

from skinjax.discovery.graph import Points

FEWEST = 4  # points below which there is nothing to arrange


def tsne(
    points: Points, start: Float[np.ndarray, 'n m'], perplexity: float = 30.0, seed: int = 0
) -> Float[np.ndarray, 'n 2']:
    """t-SNE (van der Maaten and Hinton 2008) of points.

    Args:
        points: that are compared by their Euclidean distance.
        start: coordinates of which the first two columns, scaled, are where the points begin, such
            as the eigenvectors of their graph without the first: clusters then begin apart.
        perplexity: about how many neighbours count; a third of the points at most.
        seed: of what `start` does not say.

    Returns:
        Coordinates; zeros where there are less than FEWEST points, or all are the same.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    n = len(points)
    if n < FEWEST or np.ptp(points, axis=0).max() == 0:
        return np.zeros((n, 2))
    begin = np.random.default_rng(seed).standard_normal((n, 2)) * 1e-4
    known = start[:, :2]
    spread = known.std(axis=0)
    scale = np.where(spread > 0, spread, 1)
    # Points that begin in one place would stay together: the random part keeps them apart.
    begin[:, : known.shape[1]] += (known - known.mean(axis=0)) / scale * 1e-2
    centred = (points - points.mean(axis=0)).astype(np.float32)
    size = np.abs(centred).max()
    first: Any = begin.astype(np.float32)
    model = TSNE(perplexity=min(perplexity, (n - 1) / 3), init=first, random_state=seed)
    # Threads that wait for each other take several times as long as one here.
    with threadpool_limits(1):
        return np.asarray(model.fit_transform(centred / size), np.float64)
