"""An explainer plug-in whose maps have one value everywhere, which can be no number."""

import jax.numpy as jnp

from skinjax.explainers import Explain

DEFAULTS = {'value': 0.0}


def build(config):
    def part(subject, variables, images, targets, k):
        del subject, variables, targets, k
        return jnp.full((*images.shape[:3], 1), config.value, jnp.float32)

    return Explain(part)
