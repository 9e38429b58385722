"""GEBI: clusters of images and of what a classifier looks at in them, together.

Reads the relevance maps of a run of kind 'explain' and their images (skinjax/discovery/gebi.py).
"""

from typing import Any

from skinjax import making
from skinjax.auditing import clusters
from skinjax.auditing.clusters import Audit, Divide
from skinjax.discovery import gebi, spray

DEFAULTS: dict[str, Any] = {**clusters.DEFAULTS, **gebi.DEFAULTS}
TEXT = (
    'Relevance maps and images went through an Isomap each; their coordinates, side by side, were '
    'divided by spectral clustering (GEBI, Mikołajczyk et al. 2021). Maps alone are alike where '
    'they have one shape, whatever is seen there. A cluster is a hypothesis: insert what its '
    'images share into others and see whether predictions move.'
)


def build(config: Any) -> Audit:
    """The audit.

    Raises:
        ValueError: no maps are named, or an option is out of range.
    """
    return clusters.audit(config, divider(config), TEXT)


def divider(config: Any) -> Divide:
    """How maps and their images are divided.

    Raises:
        ValueError: an option is out of range.
    """
    gebi.check(config)

    def divide(maps, records):
        count, delay = len(records), clusters.SHOWN_AFTER
        with making.counted(lambda one: one, count, 'map', delay) as told:
            maps = map(told, maps)
            points = spray.preprocess(maps, config.size, config.absolute, config.normalise)
        with making.counted(lambda row: records.read(row)['image'], count, 'image', delay) as told:
            pictures = map(told, range(count))
            seen = gebi.preprocess_images(pictures, config.size, config.channels)
        found = gebi.gebi(points, seen, config, config.seed)
        return found.clustering, found.points

    return divide
