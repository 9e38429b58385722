"""Explainers: which pixels a prediction came from; one file each.

An explainer module `skinjax/explainers/NAME.py` has DEFAULTS and `build(config) -> Explain`, whose
config is the section with those fields. An Explain is pure and can be jitted,

    relevance = explain(subject, variables, images, targets)

with normalised images, float32 [b, h, w, 3], classes `targets`, int [b], and a relevance that is
float32 [b, h, w, 3], or [b, h, w, 1] where channels mean nothing. No row depends on another.
"""

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


Explain = Callable[[Subject, Variables, Array, Array], Array]


def subject(network: Any) -> Subject:
    """What explainers are given of an `objectives.network.Network` or a hierarchical one.

    The score of a class of a taxonomy is the sum over its path of the logit of each node after the
    nodes before it.
    """
    from skinjax.objectives import hierarchical

    def encode(variables, images):
        return network.apply(variables, images, False, method='encode')

    def classify(variables, features):
        return network.apply(variables, features, method='classify')

    def follow(variables, maps):
        def score(path):
            paths = jnp.broadcast_to(path, (len(maps), len(path)))
            logits, _ = network.apply(variables, maps, paths, method='follow')
            return jnp.take_along_axis(logits, paths[..., None], -1).sum((1, 2))

        return jnp.stack([score(path) for path in jnp.asarray(network.taxonomy.paths)], -1)

    mean, std = (np.asarray(network.config.data[name], np.float32) for name in ('mean', 'std'))
    low, high = (0 - mean) / std, (1 - mean) / std
    if isinstance(network, hierarchical.Network):
        return Subject(encode, follow, low, high, layered=False)
    return Subject(encode, classify, low, high)


def weights(logits: Float[Array, 'b k'], targets: Int[Array, ' b']) -> Float[Array, 'b k']:
    """w, such that sum_k w logits is the score of the target.

    One-hot; with one logit for two classes +1 for class 1 and -1 for class 0.
    """
    if logits.shape[1] == 1:
        return jnp.where(targets == 1, 1, -1)[:, None].astype(logits.dtype)
    return jax.nn.one_hot(targets, logits.shape[1], dtype=logits.dtype)
