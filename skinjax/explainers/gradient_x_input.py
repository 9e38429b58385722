"""Gradient x input (Shrikumar et al. 2016): x_i d score / d x_i, of the normalised image.

The first-order change of the score when a pixel takes the mean colour of `config.data.mean`. In a
ReLU network without biases it adds up to the score, and equals LRP-0.
"""

from typing import Any

from skinjax.explainers import Explain
from skinjax.relevance.gradients import gradient

DEFAULTS: dict[str, Any] = {}


def build(config: Any) -> Explain:
    """The explainer; it has no options."""
    del config

    def part(subject, variables, images, targets, k):
        del k
        return images * gradient(subject, variables, images, targets)

    return Explain(part)
