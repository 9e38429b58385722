"""Layer-wise relevance propagation (Bach et al. 2015) through every encoder.

The score of the target, a logit before any softmax, is handed down layer by layer, each output's
relevance to the inputs that made it, until it lies on the pixels. See `relevance/lrp/rules.py`
for how, `composites.py` there for where, and `rewriter.py` for all that is no linear layer.

For class 0 of a network with one logit for two classes, that logit and the weights of its layer
change their sign. A head that is not made of layers (hierarchical networks) is explained by the
gradient of the score times its input; what the encoder hands to it starts with that.
"""

from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from skinjax.engine.objective import Variables
from skinjax.explainers import Explain
from skinjax.relevance.lrp import composites
from skinjax.relevance.lrp.composites import Composite, read
from skinjax.relevance.lrp.rewriter import Probes, Rewriter
from skinjax.relevance.subject import Subject, weights

DEFAULTS: dict[str, Any] = {
    'composite': 'epsilon_plus',  # one of composites.COMPOSITES; GEBI's maps are deep_taylor
    # Rules in place of the composite's, of composites.RULES: of convolutions, of dense layers
    # and of the first layer.
    'conv': '',
    'dense': '',
    'first': '',
    **composites.NUMBERS,
    'zero_bias': False,  # biases take no relevance
    'diagonal': 'pass',  # of a normalisation behind no linear layer; or epsilon
    # To the winner, which equal ones share; or first: the first of them has it, as in gradients and
    # in zennit; or average, as if it were a mean.
    'max_pool': 'winner',
}


def build(config: Any) -> Explain:
    """The explainer that `config` (with the fields of DEFAULTS) describes.

    Raises:
        ValueError: as `composites.read`; when it runs, as `rewriter.Rewriter`.
    """
    composite = read(config)

    def part(subject, variables, images, targets, k):
        del k
        return _propagate(composite, subject, variables, images, targets, None)[0]

    return Explain(part)


def remarks(config: Any, subject: Subject, scores: Float[np.ndarray, ' n']) -> Iterator[str]:
    """What has to be said of the maps of these scores."""
    count, rule = int((scores < 0).sum()), composites.chosen(config)[1]
    if count and subject.layered and rule not in composites.SIGNED:
        yield (
            f'{count} of {len(scores)} scores are negative, for which rule {rule} in dense layers '
            '(as in deep Taylor decomposition) is not defined: in their maps what speaks for the '
            'class is blue'
        )


def conservation(
    config: Any,
    subject: Subject,
    variables: Variables,
    images: Float[Array, 'b h w c'],
    targets: Int[Array, ' b'],
) -> tuple[Float[Array, 'b h w c'], dict[str, dict[str, Float[Array, ' b']]]]:
    """The relevance of the pixels; and layer -> that of its output ('out') and of its inputs
    ('in'), summed by example.

    Layers are in the order in which they run (`jax.jit` sorts them by name). The inputs of a layer
    are all that it adds or joins. Gates get no relevance. A normalisation that is merged stands for
    both.
    """
    composite, found = read(config), []

    def names(images):
        rewriter = Rewriter(composite, (subject.low, subject.high))
        reached = _forward(rewriter, subject, variables, images, targets)
        found.extend(rewriter.names)
        return reached

    jax.eval_shape(names, images)
    probes = {name: {end: jnp.zeros(len(images)) for end in ('out', 'in')} for name in found}
    return _propagate(composite, subject, variables, images, targets, probes)


def _propagate(
    composite: Composite,
    subject: Subject,
    variables: Variables,
    images: Array,
    targets: Array,
    probes: Probes | None,
) -> tuple[Array, Any]:
    """Relevance of the pixels, and that noted by the probes."""

    def run(images, probes):
        rewriter = Rewriter(composite, (subject.low, subject.high), probes)
        return _forward(rewriter, subject, variables, images, targets)

    reached, back = jax.vjp(run, images, probes)
    if not subject.layered:
        scores, slope = jax.vjp(lambda x: subject.classify(variables, x), reached)
        (each,) = slope(weights(scores, targets))
    else:
        each = weights(reached, targets) if reached.shape[1] > 1 else jnp.ones_like(reached)
    return back(reached * each)


def _forward(
    rewriter: Rewriter, subject: Subject, variables: Variables, images: Array, targets: Array
) -> Array:
    """What relevance starts from: logits, a single one as that of the target; or what is handed to
    the head.
    """
    with nn.intercept_methods(rewriter):
        reached = subject.encode(variables, images)
        if not subject.layered:
            return reached
        logits = subject.classify(variables, reached)
    if logits.shape[1] > 1:
        return logits
    return rewriter.turned(logits, weights(logits, targets))
