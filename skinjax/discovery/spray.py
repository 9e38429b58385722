"""SpRAy: spectral clusters of relevance maps (Lapuschkin et al. 2019).

A classifier with a shortcut looks at it in some of the images of a class: their maps have a shape
of their own. Maps are made comparable, small and few-dimensional, and clustered as `spectral` does.
"""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, Num

from skinjax.data.records import choices
from skinjax.discovery import spectral
from skinjax.discovery.graph import Points
from skinjax.discovery.spectral import Clustering

NORMALISE = ('sum', 'absolute_sum', 'none')
DEFAULTS: dict[str, Any] = {
    **spectral.DEFAULTS,
    'size': 32,  # pixels a side to which maps are reduced; published: 20 to 45
    'absolute': False,  # the sizes of relevance, whatever its sign
    'normalise': 'sum',  # divide a map by its sum, by the 'absolute_sum', or 'none'
}
_CANCELLED = 0.01  # share of the sum of sizes below which a sum is not divided by


def check(config: Any) -> None:
    """ValueError for an option of DEFAULTS that is out of range."""
    spectral.check(config)
    if config['normalise'] not in NORMALISE:
        known = choices(config['normalise'], NORMALISE)
        raise ValueError(f'normalise is {config["normalise"]!r}; {known}')
    if config['size'] < 2:
        raise ValueError(f'size is {config["size"]} pixels, expected at least 2')


def shrink(image: Num[np.ndarray, 'h w *c'], size: int) -> Float[np.ndarray, 's s *c']:
    """An image or map at size x size: means of areas, or linear where it becomes larger."""
    kind = cv2.INTER_AREA if size <= min(image.shape[:2]) else cv2.INTER_LINEAR
    return cv2.resize(np.asarray(image, np.float32), (size, size), interpolation=kind)


def preprocess(
    maps: Iterable[Num[np.ndarray, 'h w']],
    size: int,
    absolute: bool = False,
    normalise: str = 'sum',
) -> Points:
    """Maps as points [n, size²]: made absolute if asked for, normalised, reduced.

    A map that is zero everywhere stays so. Divided by its sum, a map that speaks against its target
    looks like one that speaks for it; divided by the sum of sizes it does not. The relevance of a
    signed map can cancel: its sum is then taken as 1 % of the sum of sizes, lest noise become the
    longest of all points.

    Raises:
        ValueError: a map that is not finite.
    """
    points = []
    for row, one in enumerate(maps):
        values = np.asarray(one, np.float32)
        if not np.isfinite(values).all():
            raise ValueError(f'map {row} is not finite')
        if absolute:
            values = np.abs(values)
        points.append(shrink(values / _divisor(values, normalise), size).ravel())
    return np.stack(points)


def _divisor(values: Float[np.ndarray, 'h w'], normalise: str) -> float:
    sizes = float(np.abs(values).sum(dtype=np.float64))
    if normalise == 'none' or sizes == 0:
        return 1.0
    total = float(values.sum(dtype=np.float64))
    if normalise == 'absolute_sum':
        return sizes
    return total if abs(total) >= _CANCELLED * sizes else np.copysign(_CANCELLED * sizes, total)


def spray(points: Points, config: Any, seed: int = 0) -> Clustering:
    """Spectral clusters of preprocessed maps, as `without_empty` says.

    Raises:
        ValueError: as `spectral.cluster`.
    """
    return without_empty(points, config, lambda seen: spectral.cluster(points[seen], config, seed))


def without_empty(
    points: Points, config: Any, cluster: Callable[[Bool[np.ndarray, ' n']], Clustering]
) -> Clustering:
    """The clusters of maps that are not zero everywhere; the others are in none (-1).

    Where too few maps are left there is no cluster at all, and a note says why.

    Args:
        points: preprocessed maps.
        config: with the fields of DEFAULTS.
        cluster: (which maps are not empty) -> their clusters.
    """
    seen = np.any(points, axis=1)
    empty = int((~seen).sum())
    if not empty:
        return cluster(seen)
    note = f'{empty} of {len(points)} maps are zero everywhere and are in no cluster.'
    if len(points) - empty < max(spectral.FEWEST, config['clusters']):
        none = np.zeros(0)
        text = f'{note} The others are too few: does the explainer fit the network?'
        nowhere = np.full(len(points), -1, np.int64)
        return Clustering(nowhere, none, 0, 0, np.zeros((len(points), 0)), (text,))
    found = cluster(seen)
    labels = np.full(len(points), -1, np.int64)
    labels[seen] = found.labels
    vectors = np.zeros((len(points), found.vectors.shape[1]))
    vectors[seen] = found.vectors
    return dataclasses.replace(found, labels=labels, vectors=vectors, notes=(note, *found.notes))
