"""How near made images are to real ones, as clouds of features: KID, FID and the manifold measures.

All figures are of two matrices of features [n, d], one row an image (`embedding.py`), in float64.
Figures of different numbers of images or of different encoders cannot be compared.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.linalg import svdvals
from scipy.spatial.distance import cdist

Features = Float[np.ndarray, '_ d']
MEASURES = ('kid', 'fid', 'precision', 'recall', 'density', 'coverage')
NEIGHBOURS, DENSITY_NEIGHBOURS = 3, 5  # as published, of precision and recall, and of the others
Z = 1.959964  # of a two-sided interval of 95 %
_BLOCK = 1024  # rows of a kernel matrix that are held at once


def kid(real: Features, made: Features) -> dict[str, float]:
    """Kernel inception distance: the unbiased squared MMD of all rows, with its standard error.

        MMD² = mean k(x, x') + mean k(y, y') - 2 mean k(x, y),  x != x', y != y'
        k(a, b) = (a · b / d + 1)³

    (Bińkowski et al., "Demystifying MMD GANs", 2018). Departure: the mean over all rows, where the
    paper takes that of random subsets, and the standard error of the jackknife over
    both samples. It is unbiased, so that figures below 0 occur where the clouds are alike.

    Returns:
        value, error (the standard error), low, high (value -+ 1.96 error); all nan with less than
        three rows on a side.
    """
    n, m = len(real), len(made)
    if min(n, m) < 3:
        return dict.fromkeys(('value', 'error', 'low', 'high'), float('nan'))
    xx, xy = _kernel_sums(real, real), _kernel_sums(real, made)
    yy, yx = _kernel_sums(made, made), _kernel_sums(made, real)
    xx, yy = xx - _self_kernel(real), yy - _self_kernel(made)
    within_x, within_y = xx.sum() / (n * (n - 1)), yy.sum() / (m * (m - 1))
    across = xy.sum()
    value = within_x + within_y - 2 * across / (n * m)
    # The same without one row: its pairs go, those of the others stay.
    without_x = (xx.sum() - 2 * xx) / ((n - 1) * (n - 2)) + within_y
    without_x -= 2 * (across - xy) / ((n - 1) * m)
    without_y = (yy.sum() - 2 * yy) / ((m - 1) * (m - 2)) + within_x
    without_y -= 2 * (across - yx) / (n * (m - 1))
    error = np.sqrt(sum((len(v) - 1) * v.var() for v in (without_x, without_y)))
    low, high = value - Z * error, value + Z * error
    return {
        name: float(v)
        for name, v in zip(
            ('value', 'error', 'low', 'high'), (value, error, low, high), strict=True
        )
    }


def _kernel_sums(a: Features, b: Features) -> Float[np.ndarray, ' _']:
    """Σ_j k(a_i, b_j) for each i."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    parts = [
        ((a[i : i + _BLOCK] @ b.T / a.shape[1] + 1) ** 3).sum(1) for i in range(0, len(a), _BLOCK)
    ]
    return np.concatenate(parts)


def _self_kernel(a: Features) -> Float[np.ndarray, ' _']:
    """k(a_i, a_i) for each i."""
    a = np.asarray(a, np.float64)
    return ((a * a).sum(1) / a.shape[1] + 1) ** 3


def fid(real: Features, made: Features) -> float:
    """Fréchet inception distance, that of two normal distributions (Heusel et al. 2017).

        |μ1 - μ2|² + tr Σ1 + tr Σ2 - 2 tr (Σ1 Σ2)^½

    With centred rows A, B (Σ1 = AᵀA, Σ2 = BᵀB after division by √(n - 1)) the last trace is the
    sum of the singular values of A Bᵀ: no root of a matrix is taken, and with fewer rows than
    features, where Σ is singular, it is exact as well. Few rows make FID too large; KID is not
    biased. nan with less than two rows on a side.
    """
    if min(len(real), len(made)) < 2:
        return float('nan')
    (mean_a, a), (mean_b, b) = (_moments(x) for x in (real, made))
    spread = (a * a).sum() + (b * b).sum() - 2 * np.sum(svdvals(a @ b.T))
    return float(np.square(mean_a - mean_b).sum() + max(spread, 0.0))


def _moments(x: Features) -> tuple[Float[np.ndarray, ' d'], Float[np.ndarray, 'r d']]:
    """Mean, and a matrix R of at most d rows with RᵀR the covariance (n - 1 in its denominator)."""
    x = np.asarray(x, np.float64)
    mean = x.mean(0)
    rows = (x - mean) / np.sqrt(len(x) - 1)
    if len(x) > x.shape[1]:
        rows: Any = np.linalg.qr(rows, mode='r')
    return mean, rows


def manifold(real: Features, made: Features) -> dict[str, float]:
    """Precision and recall, density and coverage, by balls to the k-th nearest neighbour.

        precision   share of made rows in the ball of any real one (k = 3)
        recall      share of real rows in the ball of any made one (k = 3)
        density     mean over made rows of the number of real balls around it, / k (k = 5)
        coverage    share of real rows with a made one in their ball (k = 5)

    (Kynkäänniemi et al., "Improved precision and recall metric", 2019; Naeem et al., "Reliable
    fidelity and diversity metrics", 2020.) A ball holds its surface, and a row is no neighbour of
    itself. nan with no more than k rows on the side of the balls, or none on the other.
    """
    if not (len(real) and len(made)):
        return dict.fromkeys(MEASURES[2:], float('nan'))
    across = cdist(real, made)
    near, dense = (across <= radii(real, k)[:, None] for k in (NEIGHBOURS, DENSITY_NEIGHBOURS))
    reached = across <= radii(made, NEIGHBOURS)[None]
    found = {
        'precision': (near.any(0).mean(), len(real) > NEIGHBOURS),
        'recall': (reached.any(1).mean(), len(made) > NEIGHBOURS),
        'density': (dense.sum(0).mean() / DENSITY_NEIGHBOURS, len(real) > DENSITY_NEIGHBOURS),
        'coverage': (dense.any(1).mean(), len(real) > DENSITY_NEIGHBOURS),
    }
    return {name: float(value) if known else float('nan') for name, (value, known) in found.items()}


def radii(x: Features, k: int) -> Float[np.ndarray, ' _']:
    """Distance of each row to its k-th nearest other row; nan with no more than k rows."""
    if len(x) <= k:
        return np.full(len(x), np.nan)
    return np.partition(cdist(x, x), k, axis=1)[:, k]  # the nearest of all is the row itself


def covered(
    real: Features, made: Features
) -> tuple[Float[np.ndarray, ' n'], Bool[np.ndarray, ' n']]:
    """For each real row the distance to the nearest made one, and whether it counts as covered."""
    nearest = cdist(real, made).min(1)
    return nearest, nearest <= radii(real, DENSITY_NEIGHBOURS)


def measure(real: Features, made: Features) -> dict[str, Any]:
    """All of MEASURES."""
    return {'kid': kid(real, made), 'fid': fid(real, made), **manifold(real, made)}
