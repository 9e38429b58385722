"""SmoothGrad (Smilkov et al. 2017): saliency of the mean gradient at noisy copies of the image.

    size(1/n sum_k d score / d x at x + e_k),    e_k ~ N(0, (noise (max x - min x))^2)

The noise is the same for every image, so that a map does not depend on the others.
"""

from typing import Any

import jax
import jax.numpy as jnp

from skinjax.explainers import Explain
from skinjax.relevance.gradients import gradient, size_of

DEFAULTS: dict[str, Any] = {
    'samples': 25,
    'noise': 0.15,  # deviation, as a share of the range of the image; 0.1 to 0.2 in the paper
    'seed': 0,
}


def build(config: Any) -> Explain:
    """The explainer that `config` (with the fields of DEFAULTS) describes.

    Raises:
        ValueError: fewer than one sample, or negative noise.
    """
    if config.samples < 1 or config.noise < 0:
        raise ValueError(
            f'config.explainer.samples is {config.samples}, expected at least 1, and noise '
            f'{config.noise}, expected at least 0'
        )

    def part(subject, variables, images, targets, k):
        low, high = (end(images, axis=(1, 2, 3), keepdims=True) for end in (jnp.min, jnp.max))
        key = jax.random.split(jax.random.key(config.seed), config.samples)[k]
        noise = jax.random.normal(key, (1, *images.shape[1:]), images.dtype)
        return gradient(subject, variables, images + config.noise * (high - low) * noise, targets)

    return Explain(part, config.samples, lambda _, total: size_of(total / config.samples))
