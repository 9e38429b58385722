"""Saliency: how much the score answers to a small change of each pixel (Simonyan et al. 2014).

    max over channels |d score / d x|, brought to 0 ... 1 in each image

as in the unlearning study. It has no sign, and depends on nothing but the slope.
"""

from typing import Any

from skinjax.explainers import Explain
from skinjax.relevance.gradients import gradient, size_of

DEFAULTS: dict[str, Any] = {}


def build(config: Any) -> Explain:
    """The explainer; it has no options."""
    del config

    def part(subject, variables, images, targets, k):
        del k
        return size_of(gradient(subject, variables, images, targets))

    return Explain(part)
