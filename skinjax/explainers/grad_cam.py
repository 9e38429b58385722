"""Grad-CAM (Selvaraju et al. 2017, eqs. 1 and 2) on one stage of the encoder:

    max(0, sum_k a_k A_k),    a_k = mean over pixels of d score / d A_k

bilinearly enlarged to the image.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from skinjax.explainers import Explain
from skinjax.relevance import stages
from skinjax.relevance.gradients import score

DEFAULTS: dict[str, Any] = {
    'stage': -1,  # whose output is A: -1 the last one, 0 the finest
    'rectify': True,  # False keeps what speaks against the target
}


def build(config: Any) -> Explain:
    """The explainer that `config` (with the fields of DEFAULTS) describes.

    Raises:
        ValueError: when it runs, as `stages.Look.place_of`.
    """

    def part(subject, variables, images, targets, k):
        del k
        place, empty = stages.placed(subject, variables, images, config.stage)

        def total(change):
            seen = stages.Look(place=place, change=change)
            with nn.intercept_methods(seen):
                found = score(subject, variables, images, targets)
            return found.sum(), seen.outputs[place]

        slope, maps = jax.grad(total, has_aux=True)(jnp.zeros(empty.shape, empty.dtype))
        maps, slope = maps.astype(jnp.float32), slope.astype(jnp.float32)
        found = (slope.mean((1, 2), keepdims=True) * maps).sum(-1, keepdims=True)
        found = jax.nn.relu(found) if config.rectify else found
        return jax.image.resize(found, (*images.shape[:3], 1), 'bilinear')

    return Explain(part)
