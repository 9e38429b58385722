"""Images as audits see them: flags of people and of detectors, maps of relevance, clusters."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from skinjax.data import detected
from skinjax.data.records import Records
from skinjax.discovery.graph import Points
from skinjax.discovery.spectral import Clustering
from skinjax.predictions import Predictions
from skinjax.relevance.explained import Explained


@dataclasses.dataclass(frozen=True, eq=False)
class Flags:
    """Variables over images.

    Attributes:
        codes: name -> value of each image, -1 is unknown.
        names: name -> name of each value.
        detected: names of those that no person has flagged.
    """

    codes: Mapping[str, Int[np.ndarray, ' n']]
    names: Mapping[str, Sequence[str]]
    detected: frozenset[str] = frozenset()

    def text(self, name: str, row: int) -> str:
        """The value of a variable for one image; '' where it is unknown."""
        code = int(self.codes[name][row])
        return self.names[name][code] if code >= 0 else ''

    def select(self, rows: Int[np.ndarray, ' k']) -> 'Flags':
        """The same of some images."""
        codes = {name: values[rows] for name, values in self.codes.items()}
        return dataclasses.replace(self, codes=codes)


def known_flags(
    records: Records,
    bias: Mapping[str, Sequence[str]],
    rows: Int[np.ndarray, ' k'],
    threads: int = 0,
) -> Flags:
    """Bias variables of the data, and what detectors find.

    Args:
        records: the images.
        bias: names of the values of their bias variables.
        rows: that the detectors look at.
        threads: of the detectors; 0: they are not asked.
    """
    codes = {name: values for name, values in records.bias.items() if name in bias}
    names: dict[str, Sequence[str]] = {name: bias[name] for name in codes}
    if not threads:
        return Flags(codes, names)
    columns = detected.table(records, rows, threads)
    found = detected.variables(columns, rows, len(records))
    codes |= {name: variable.codes for name, variable in found.items()}
    names |= {name: variable.values for name, variable in found.items()}
    return Flags(codes, names, frozenset(found))


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
