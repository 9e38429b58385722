"""Targeted data augmentation: artefacts put into training images, whatever their class.

An artefact that is as frequent in one class as in the other tells nothing, and a network need not
look at it (Mikołajczyk et al., "Towards Explainable Classifiers Using the Counterfactual Approach",
2021, and the targeted augmentation that followed it). `data.insert` names kinds of the editor
'insert', joined by +, `data.insert_probability` says how often one of them is inserted.

What departs from the published code: a row is marked if a uniform number of [0, 1) is below p
(there `randint(0, 100) <= 100 p`, which is (100 p + 1) / 101, and not 0 for p = 0), and an artefact
is laid over a picture that is not turned or cut with it.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from skinjax.data.augment import Example
from skinjax.data.records import UNKNOWN, present
from skinjax.editors import insert

STREAM = 3  # of random numbers, beside those of pipeline.py
SPREAD = 0.1  # by which frames differ in size, else all of them were alike
# Bias variables that an inserted artefact makes true.
SHOWS: Mapping[str, tuple[str, ...]] = {
    'frame': ('dark_corner', 'frame'),
    'frame_rectangular': ('dark_corner', 'frame'),
    'ruler': ('ruler',),
    'ruler_varied': ('ruler',),
    'hair_short': ('hair',),
    'hair_medium': ('hair',),
    'hair_dense': ('hair',),
    'ink': ('ink', 'marking', 'marked'),
    'gel_bubbles': ('gel_bubble', 'bubbles'),
    'patches': ('patches', 'sticker'),
}


@dataclasses.dataclass(frozen=True)
class Insertion:
    """One of `kinds`, each as likely, in a share `probability` of the rows drawn.

    Whether, which and where depend on seed, position in the order of rows and id alone: another
    epoch has others, and a run that is resumed has the same.

    Attributes:
        kinds: of the editor 'insert'.
        probability: 0 to 1.
        seed: of the run.
        values: bias variable -> the value that says that what it is named for is there.
    """

    kinds: tuple[str, ...]
    probability: float
    seed: int
    values: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def __call__(self, example: Example, name: str, position: int) -> tuple[Example, str]:
        """The example, perhaps with an artefact in 'image', and the kind; '' is none."""
        rng = np.random.default_rng((self.seed, STREAM, position))
        if rng.random() >= self.probability:
            return example, ''
        kind = self.kinds[int(rng.integers(len(self.kinds)))]
        options = insert.options(kind=kind, seed=int(rng.integers(2**31)), spread=SPREAD)
        return {**example, 'image': insert.insert(example['image'], name, options)[0]}, kind

    def shown(self, kind: str) -> dict[str, int]:
        """Values of the bias variables that the artefact makes true."""
        return {flag: self.values[flag] for flag in SHOWS.get(kind, ()) if flag in self.values}


def named(
    config: Any, seed: int, bias: Mapping[str, Sequence[str]] | None = None
) -> Insertion | None:
    """What `config.insert` and `config.insert_probability` ask for; None if nothing.

    Args:
        config: of the data.
        seed: of the run.
        bias: variable -> names of its values. Where they do not say which of them means that it is
            there, its value becomes unknown.

    Raises:
        ValueError: an unknown kind, or one that a variable of `config.bias` is named for whose
            values do not say which of them it makes true.
    """
    if not config.insert:
        return None
    kinds = tuple(kind.strip() for kind in config.insert.split('+'))
    for kind in kinds:
        try:
            insert.check(insert.options(kind=kind))
        except ValueError as error:
            raise ValueError(f'data.insert={config.insert!r}: {error}') from None
    bias, flags = bias or {}, {flag for kind in kinds for flag in SHOWS.get(kind, ())}
    values = {flag: present(flag, bias[flag]) for flag in sorted(flags & set(bias))}
    for flag in sorted(set(config.bias) & set(values)):
        if values[flag] is None:
            raise ValueError(
                f'data.insert={config.insert!r} changes the bias variable {flag!r}, whose values '
                f'({", ".join(bias[flag])}) do not say which of them means that it is there: call '
                "them 'absent' and 'present'"
            )
    known = {flag: UNKNOWN if value is None else value for flag, value in values.items()}
    return Insertion(kinds, float(config.insert_probability), seed, known)
