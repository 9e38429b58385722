"""An explainer plug-in whose maps have one value everywhere, which can be no number."""

import jax.numpy as jnp

DEFAULTS = {'value': 0.0}


def build(config):
    def explain(subject, variables, images, targets):
        del subject, variables, targets
        return jnp.full((*images.shape[:3], 1), config.value, jnp.float32)

    return explain
