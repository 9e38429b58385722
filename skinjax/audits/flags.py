"""What is known of images beside their class: flags of people, and what detectors find."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int

from skinjax.data import detected
from skinjax.data.records import Records


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
