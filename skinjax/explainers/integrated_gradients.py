"""Integrated gradients (Sundararajan et al. 2017, eq. 1), by the midpoint rule:

    (x - x') 1/n sum_k d score / d x at x' + (k + 1/2)/n (x - x'),    k = 0 ... n - 1

Adds up to score(x) - score(x') as n grows. A black image, the usual x', is further from skin than
any picture of it: maps made with the mean colour find more of what matters (docs/explain.md).
"""

from typing import Any

import jax.numpy as jnp

from skinjax.explainers import Explain
from skinjax.models.options import one_of
from skinjax.relevance.gradients import gradient

DEFAULTS: dict[str, Any] = {
    'steps': 32,
    'baseline': 'mean',  # x': the colour of config.data.mean; or black, white
}


def build(config: Any) -> Explain:
    """The explainer that `config` (with the fields of DEFAULTS) describes.

    Raises:
        ValueError: fewer than one step, or an unknown baseline.
    """
    baseline = one_of('explainer.baseline', config.baseline, ('black', 'white', 'mean'))
    if config.steps < 1:
        raise ValueError(f'config.explainer.steps is {config.steps}, expected at least 1')

    def part(subject, variables, images, targets, k):
        colours = {'black': subject.low, 'white': subject.high, 'mean': 0 * subject.low}
        start = jnp.broadcast_to(jnp.asarray(colours[baseline])[None, None, None], images.shape)
        away = images - start
        share = (k.astype(images.dtype) + 0.5) / config.steps
        return away * gradient(subject, variables, start + share * away, targets)

    return Explain(part, config.steps, lambda _, total: total / config.steps)
