"""SpRAy: does a classifier look at some of the images of a class in another way?

Reads the relevance maps of a run of kind 'explain' (skinjax/discovery/spray.py).
"""

from typing import Any

from skinjax import making
from skinjax.auditing import clusters
from skinjax.auditing.clusters import Audit, Divide
from skinjax.discovery import spray

DEFAULTS: dict[str, Any] = {**clusters.DEFAULTS, **spray.DEFAULTS, 'least_clusters': 2}
TEXT = (
    'Relevance maps were reduced, and divided by spectral clustering of their nearest neighbours '
    '(SpRAy, Lapuschkin et al. 2019). A cluster is a way of looking: whether it is a shortcut is '
    'for a person to say, who sees the exemplars, and for an insertion to test.'
)


def build(config: Any) -> Audit:
    """The audit.

    Raises:
        ValueError: no maps are named, or an option is out of range.
    """
    return clusters.audit(config, divider(config), TEXT)


def divider(config: Any) -> Divide:
    """How maps are divided.

    Raises:
        ValueError: an option is out of range.
    """
    spray.check(config)

    def divide(maps, records):
        with making.counted(lambda one: one, len(records), 'map', clusters.SHOWN_AFTER) as told:
            maps = map(told, maps)
            points = spray.preprocess(maps, config.size, config.absolute, config.normalise)
        return spray.spray(points, config, config.seed), points

    return divide
