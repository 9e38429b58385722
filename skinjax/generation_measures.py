"""What sets of generated images are measured by, and the images that a generator is measured on."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from skinjax import fidelity
from skinjax.embedding import Pictures
from skinjax.engine.objective import Variables
from skinjax.engine.writer import read_metrics
from skinjax.sampling import Sampler

Images = UInt8[np.ndarray, '_ h w 3']
Labels = Int[np.ndarray, ' _']


@dataclasses.dataclass(frozen=True)
class Maker:
    """The images of one generator and their features, each mix of labels once.

    Attributes:
        sampler, variables, seed: by which images are made.
        features: of images.
        by_class: the generator knows the classes; if not, labels tell no more than how many.
    """

    sampler: Sampler
    variables: Variables
    seed: int
    features: Callable[[Images], Float[np.ndarray, 'n d']]
    by_class: bool
    _images: dict[bytes | int, Images] = dataclasses.field(default_factory=dict)
    _pictures: dict[bytes | int, Pictures] = dataclasses.field(default_factory=dict)

    def __call__(self, labels: Labels) -> Pictures:
        """As many images as labels."""
        key = self._key(labels)
        if key not in self._pictures:
            images = self.images(labels)
            self._pictures[key] = Pictures(images, self.features(images), labels)
        return self._pictures[key]

    def images(self, labels: Labels) -> Images:
        """As a call, without features."""
        key = self._key(labels)
        if key not in self._images:
            self._images[key] = self.sampler(self.variables, labels, self.seed)
        return self._images[key]

    def _key(self, labels: Labels) -> bytes | int:
        return labels.tobytes() if self.by_class else len(labels)


def diversity(made: Images, real: Images) -> float:
    """Deviation of generated images from each other by that of real ones; 0 after a collapse.

    The standard deviation of a pixel over the images, mean over the pixels; real ones count as if
    they differed by one grey level at least. nan with less than two images on a side.
    """
    if min(len(made), len(real)) < 2:
        return float('nan')
    ours, true = (float(x.std(0, dtype=np.float64).mean()) for x in (made, real))
    return ours / max(true, 1.0)


def collapsed(found: Mapping[str, float], limit: float) -> list[str]:
    """An alarm for each diversity below the limit, by what it is of."""
    return [
        f'{what} differ from each other {value:.2f} times as much as real ones (less than '
        f'{limit:g}): the generator has collapsed, unless training has just begun; try a lower '
        'learning rate, objective.augment, objective.r1 or model.minibatch'
        for what, value in found.items()
        if value < limit
    ]


def compare(real: Pictures, made: Pictures) -> dict[str, Any]:
    """The figures of made images, as nan where there are too few."""
    return {
        'n': len(real.labels),
        **fidelity.measure(real.features, made.features),
        'diversity': diversity(made.images, real.images),
    }


def history(workdir: Path) -> dict[str, Any]:
    """KID of the validation split: of its first and last evaluation, and the least."""
    path = workdir / 'metrics.jsonl'
    lines = [x for x in read_metrics(path) if 'kid' in x] if path.exists() else []
    if not lines:
        return {}
    least = min(lines, key=lambda line: math.inf if line['kid'] is None else line['kid'])
    chosen = {'first': lines[0], 'least': least, 'last': lines[-1]}
    return {name: {k: line[k] for k in ('step', 'kid')} for name, line in chosen.items()}
