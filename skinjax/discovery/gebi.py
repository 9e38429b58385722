"""GEBI: clusters of relevance maps together with the images (Mikołajczyk et al. 2021).

Maps alone are alike where their shapes are, whatever is there; images alone are alike where the
classifier need not look. Both go through an Isomap of their own, every coordinate is brought to
[0, 1], and the spectral clusters of all coordinates side by side are looked at.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from skinjax.data.records import choices
from skinjax.discovery import isomap, spectral, spray
from skinjax.discovery.graph import Points
from skinjax.discovery.spectral import Clustering

CHANNELS = ('luminance', 'mean', 'colour')
SCALES = ('each', 'whole')
DEFAULTS: dict[str, Any] = {
    **spray.DEFAULTS,
    'size': 45,  # of maps and of images
    'clusters': 4,
    'assign': 'discretize',
    'channels': 'luminance',  # of images; 'mean' is what the published code does to colours
    'map_dimensions': 20,
    'image_dimensions': 10,
    'isomap_neighbours': 8,
    # What [0, 1] is the range of: 'each' coordinate, as published, or the first of a space, so that
    # the others keep their length beside it.
    'scale': 'each',
}


@dataclasses.dataclass(frozen=True)
class Found:
    """Clusters, and the points that they are clusters of."""

    clustering: Clustering
    points: Points


def check(config: Any) -> None:
    """ValueError for an option of DEFAULTS that is out of range."""
    spray.check(config)
    for field, known in (('channels', CHANNELS), ('scale', SCALES)):
        if config[field] not in known:
            raise ValueError(f'{field} is {config[field]!r}; {choices(config[field], known)}')
    for field in ('map_dimensions', 'image_dimensions', 'isomap_neighbours'):
        if config[field] < 1:
            raise ValueError(f'{field} is {config[field]}, expected at least 1')


def preprocess_images(
    images: Iterable[UInt8[np.ndarray, 'h w 3']], size: int, channels: str = 'luminance'
) -> Points:
    """Images as points [n, size²] (or 3 size²) from 0 to 1."""
    points = []
    for image in images:
        if channels == 'colour':
            seen = image.astype(np.float32)
        elif channels == 'mean':
            seen = image.mean(axis=2, dtype=np.float32)
        else:
            seen = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
        points.append(spray.shrink(seen / 255, size).ravel())
    return np.stack(points)


def gebi(
    maps: Float[np.ndarray, 'n d'], images: Float[np.ndarray, 'k e'], config: Any, seed: int = 0
) -> Found:
    """Clusters of preprocessed maps and images; row i of both is of the same picture.

    Maps that are zero everywhere are left out as `spray.without_empty` says; their points
    are 0.

    Raises:
        ValueError: unequal numbers, or as `isomap.embed` and `spectral.cluster`.
    """
    if len(maps) != len(images):
        raise ValueError(f'{len(maps)} maps and {len(images)} images: expected as many')
    points = np.zeros((len(maps), 1))

    def cluster(seen: np.ndarray) -> Clustering:
        nonlocal points
        found = _together(maps[seen], images[seen], config, seed)
        points = np.zeros((len(maps), found.points.shape[1]))
        points[seen] = found.points
        return found.clustering

    clustering = spray.without_empty(maps, config, cluster)
    return Found(clustering, points)


def _together(
    maps: Float[np.ndarray, 'n d'], images: Float[np.ndarray, 'n e'], config: Any, seed: int
) -> Found:
    """Clusters of maps, none of which is empty, beside their images."""
    notes, spaces = [], []
    for name, points in (('maps', maps), ('images', images)):
        if np.ptp(points, axis=0).max() == 0:
            notes.append(f'All {name} are the same: they tell nothing.')
            continue
        dimensions = config['map_dimensions' if name == 'maps' else 'image_dimensions']
        found = isomap.embed(points, dimensions, config['isomap_neighbours'], seed)
        if found.parts > 1:
            notes.append(
                f'The neighbour graph of {name} fell into {found.parts} parts, which were joined '
                'by their shortest edges.'
            )
        spaces.append(scaled(found.points, config['scale']))
    points = np.concatenate([*spaces, np.zeros((len(maps), 0 if spaces else 1))], axis=1)
    clustering = spectral.cluster(points, config, seed)
    notes += clustering.notes
    return Found(dataclasses.replace(clustering, notes=tuple(notes)), points)


def scaled(points: Float[np.ndarray, 'n d'], scale: str = 'each') -> Float[np.ndarray, 'n d']:
    """Coordinates from 0 on, to 1 ('each'), or divided by the range of the widest ('whole')."""
    width = np.ptp(points, axis=0)
    if scale == 'whole':
        width = np.full_like(width, width.max())
    return (points - points.min(axis=0)) / np.where(width > 0, width, 1)
