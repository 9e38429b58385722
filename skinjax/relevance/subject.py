"""A network as explainers see it."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from skinjax.engine.objective import Variables


@dataclasses.dataclass(frozen=True)
class Subject:
    """A network as explainers see it, in evaluation mode.

    Attributes:
        encode: (variables, normalised images) -> what the scores are made from.
        classify: (variables, that) -> [b, k] logits; one column for two classes.
        low, high: a black and a white pixel, normalised.
        layered: `classify` is made of layers that an explainer can find; else it is a function to
            be differentiated.
    """

    encode: Callable[[Variables, Array], Array]
    classify: Callable[[Variables, Array], Array]
    low: Float[np.ndarray, ' c']
    high: Float[np.ndarray, ' c']
    layered: bool = True

    def scores(self, variables: Variables, images: Float[Array, 'b h w c']) -> Float[Array, 'b k']:
        """Logits of normalised images."""
        return self.classify(variables, self.encode(variables, images))


def subject(network: Any) -> Subject:
    """What explainers are given of an `objectives.network.Bound`."""

    def encode(variables, images):
        return network.apply(variables, images, False, method='encode')

    mean, std = (np.asarray(network.config.data[name], np.float32) for name in ('mean', 'std'))
    return Subject(encode, network.scores, (0 - mean) / std, (1 - mean) / std, network.layered)


def weights(logits: Float[Array, 'b k'], targets: Int[Array, ' b']) -> Float[Array, 'b k']:
    """w, such that sum_k w logits is the score of the target.

    One-hot; with one logit for two classes +1 for class 1 and -1 for class 0.
    """
    if logits.shape[1] == 1:
        return jnp.where(targets == 1, 1, -1)[:, None].astype(logits.dtype)
    return jax.nn.one_hot(targets, logits.shape[1], dtype=logits.dtype)
