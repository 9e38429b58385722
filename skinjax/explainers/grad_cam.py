"""Grad-CAM (Selvaraju et al. 2017, eqs. 1 and 2) on one stage of the encoder:

    max(0, sum_k a_k A_k),    a_k = mean over pixels of d score / d A_k

bilinearly enlarged to the image.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from skinjax.explainers import Explain, stages
from skinjax.explainers.gradients import score

DEFAULTS: dict[str, Any] = {
    'stage': -1,  # whose output is A: -1 the last one, 0 the finest
    'rectify': True,  # False keeps what speaks against the target
}


def build(config: Any) -> Explain:
    """The explainer that `config` (with the fields of DEFAULTS) describes.

    Raises:
        ValueError: when it runs, as `stages.Look.place_of`.
    """

    def explain(subject, variables, images, targets):
        looked = stages.look(subject, variables, images)
        place = looked.place_of(config.stage)

        def total(change):
            seen = stages.Look(place=place, change=change)
            with nn.intercept_methods(seen):
                found = score(subject, variables, images, targets)
            return found.sum(), seen.outputs[place]

        slope, maps = jax.grad(total, has_aux=True)(jnp.zeros_like(looked.outputs[place]))
        maps, slope = maps.astype(jnp.float32), slope.astype(jnp.float32)
        found = (slope.mean((1, 2), keepdims=True) * maps).sum(-1, keepdims=True)
        found = jax.nn.relu(found) if config.rectify else found
        return jax.image.resize(found, (*images.shape[:3], 1), 'bilinear')

    return explain
