"""Relevance maps of any records, a batch at a time, by programs that are compiled once."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer, Num

from skinjax import config as configs
from skinjax import explainers
from skinjax.data.records import Records
from skinjax.engine import mapping
from skinjax.engine.mesh import Mesh
from skinjax.engine.objective import Variables
from skinjax.objectives.network import Bound
from skinjax.relevance import gradients
from skinjax.relevance.subject import subject


class Mapper:
    """An explainer on a network, for images of one size.

    Attributes:
        subject: the network as explainers see it.
        mesh: of the devices.
        batch_size: images that are explained at once, a multiple of the devices.
    """

    def __init__(
        self, explain: explainers.Explain, net: Bound, data: Any, mesh: Mesh, batch_size: int
    ):
        """Args:
        explain: of an explainer module.
        net: the network.
        data: section of the config of the run.
        mesh: of the devices.
        batch_size: images that are explained at once; rounded up to a multiple of the devices.
        """
        self.subject, self._data = subject(net), data
        self.mesh, count = mesh, len(mesh.devices)
        self.batch_size = -(-batch_size // count) * count
        self._normalise = jax.jit(net.images)
        self._explain = explainers.compiled(explain, self.subject)
        self._score = jax.jit(
            functools.partial(gradients.score, self.subject), out_shardings=mesh.replicated
        )
        self._tidy = jax.jit(
            lambda found: found.astype(jnp.float32).sum(-1),
            out_shardings=mesh.replicated,
        )

    def heat(
        self, variables: Variables, images: Num[Array, 'b h w 3'], targets: Integer[Array, ' b']
    ) -> Float[Array, 'b h w']:
        """Relevance of uint8 images of a whole batch, summed over channels."""
        return self._tidy(self._explain(variables, self._normalise(images), targets))

    def __call__(
        self, variables: Variables, records: Records, targets: Integer[np.ndarray, ' n']
    ) -> Float[np.ndarray, 'n h w']:
        """Relevance of class targets[i] of the image of row i.

        Raises:
            ValueError: a map is not finite.
        """
        # A batch brings the labels of its rows along.
        given = dataclasses.replace(records, labels=np.asarray(targets, np.int32))
        size = self.batch_size
        maps = mapping.map_split(self._run, variables, given, self._data, self.mesh, size)['maps']
        check_finite(np.isfinite(maps.sum((1, 2))), records.ids)
        return maps

    def scores(
        self, variables: Variables, records: Records, targets: Integer[np.ndarray, ' n']
    ) -> Float[np.ndarray, ' n']:
        """What is explained of row i: the logit of class targets[i]."""
        given = dataclasses.replace(records, labels=np.asarray(targets, np.int32))

        def run(variables, batch):
            images = self._normalise(batch['image'])
            return {'score': self._score(variables, images, batch['label'])}

        return mapping.map_split(run, variables, given, self._data, self.mesh, self.batch_size)[
            'score'
        ]

    def _run(self, variables: Variables, batch: dict[str, Any]) -> dict[str, Any]:
        return {'maps': self.heat(variables, batch['image'], batch['label'])}


@dataclasses.dataclass(frozen=True)
class Explainer:
    """An explainer on a trained network.

    Attributes:
        section: its config.
        made: its programs, which are compiled once, for all records.
        variables: of the network.
    """

    section: Any
    made: Mapper
    variables: Variables

    def __call__(
        self, records: Records, targets: Integer[np.ndarray, ' n']
    ) -> Float[np.ndarray, 'n h w']:
        """As `Mapper.__call__`."""
        return self.made(self.variables, records, targets)

    def remarks(self, records: Records, targets: Integer[np.ndarray, ' n']) -> Iterator[str]:
        """What the explainer has to say of the maps of these images."""
        told = getattr(configs.find('explainers', self.section.name), 'remarks', None)
        if told:
            scores = self.made.scores(self.variables, records, targets)
            yield from told(self.section, self.made.subject, scores)


def check_finite(finite: Bool[np.ndarray, ' n'], ids: np.ndarray) -> None:
    """ValueError that names the first image whose map is not finite."""
    if not finite.all():
        raise ValueError(
            f'the map of image {str(ids[~finite][0])!r} is not finite: try other options of the '
            'explainer, such as a larger epsilon'
        )
