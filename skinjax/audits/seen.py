"""Images with their maps of relevance, and the parts of them that are clustered together."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from skinjax.data.records import Records
from skinjax.discovery.graph import Points
from skinjax.discovery.spectral import Clustering
from skinjax.predictions import Predictions
from skinjax.relevance.explained import Explained


@dataclasses.dataclass(frozen=True, eq=False)
class Seen:
    """Images, where a classifier looks in them and what it says, in one order.

    Attributes:
        maps: of relevance.
        signed: whether they say what speaks against the class, too.
        table: ids, labels, bias variables, and the columns `target` (class that is explained),
            `predicted`, `score` (that of the target) and `scale` (0 where a map is empty).
        records: the images.
        classes, bias: names.
        source: explainer and run, for results.json.
    """

    maps: Float[np.ndarray, 'n h w']
    signed: bool
    table: Predictions
    records: Records
    classes: tuple[str, ...]
    bias: Mapping[str, tuple[str, ...]]
    source: Mapping[str, str]

    @classmethod
    def of(cls, found: Explained) -> 'Seen':
        """What a run of kind 'explain' has left; raises as `Explained.records`."""
        source = {'explainer': found.config.explainer.name, 'run': found.config.init_from}
        signed = bool(found.results['signed'])
        rows = found.records()
        return cls(found.maps, signed, found.table, rows, found.classes, found.bias, source)


@dataclasses.dataclass(frozen=True)
class Part:
    """The images that are clustered together.

    Attributes:
        name: of their class, or 'all'.
        rows: of the explained images.
        clustering: of them.
        points: by which they were clustered.
        view: in two dimensions.
    """

    name: str
    rows: Int[np.ndarray, ' n']
    clustering: Clustering
    points: Points
    view: Float[np.ndarray, 'n 2']

    def members(self, cluster: int) -> Int[np.ndarray, ' m']:
        """Places within the part, those nearest to the middle of the cluster first."""
        inside = np.flatnonzero(self.clustering.labels == cluster)
        own = self.points[inside]
        return inside[np.argsort(((own - own.mean(axis=0)) ** 2).sum(axis=1), kind='stable')]
