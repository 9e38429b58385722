"""Layer-wise relevance propagation (Bach et al. 2015) through every encoder.

The score of the target, a logit before any softmax, is handed down layer by layer, each output's
relevance to the inputs that made it, until it lies on the pixels. See `lrp_rules.py` for how,
`lrp_composites.py` for where, and `lrp_rewriter.py` for all that is no linear layer.

For class 0 of a network with one logit for two classes, that logit and the weights of its layer
change their sign. A head that is not made of layers (hierarchical networks) is explained by the
gradient of the score times its input; what the encoder hands to it starts with that.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from skinjax.engine.objective import Variables
from skinjax.explainers import Explain, Subject, weights
from skinjax.explainers.lrp_composites import Composite, read
from skinjax.explainers.lrp_rewriter import Probes, Rewriter

DEFAULTS: dict[str, Any] = {
    'composite': 'epsilon_plus',  # one of lrp_composites.COMPOSITES; GEBI's maps are deep_taylor
    # Rules in place of the composite's, of lrp_composites.RULES: of convolutions, of dense layers
    # and of the first layer.
    'conv': '',
    'dense': '',
    'first': '',
    'epsilon': 1e-6,  # of rule epsilon
    'relative_epsilon': 0.0,  # times the root mean square of the outputs, added; 0.25 denoises
    'gamma': 0.25,
    'alpha': 2.0,  # beta is alpha - 1
    'stabilizer': 1e-6,  # epsilon of all other rules
    'zero_bias': False,  # biases take no relevance
    'diagonal': 'pass',  # of a normalisation behind no linear layer; or epsilon
    # To the winner, which equal ones share; or first: the first of them has it, as in gradients and
    # in zennit; or average, as if it were a mean.
    'max_pool': 'winner',
}


def build(config: Any) -> Explain:
    """The explainer that `config` (with the fields of DEFAULTS) describes.

    Raises:
        ValueError: as `lrp_composites.read`; when it runs, as `lrp_rewriter.Rewriter`.
    """
    composite = read(config)

    def explain(subject, variables, images, targets):
        given = jnp.asarray(images), jnp.asarray(targets)
        return _propagate(composite, subject, variables, *given, None)[0]

    return explain


def conservation(
    config: Any,
    subject: Subject,
    variables: Variables,
    images: Float[Array, 'b h w c'],
    targets: Int[Array, ' b'],
) -> dict[str, dict[str, Float[Array, ' b']]]:
    """Layer -> the relevance of its output ('out') and of its inputs ('in'), summed by example.

    In the order in which they run (`jax.jit` sorts them by name). The inputs of a layer are all
    that it adds or joins. Gates get no relevance. A normalisation that is merged stands for both.
    """
    composite, found = read(config), []

    def names(images):
        rewriter = Rewriter(composite, (subject.low, subject.high))
        reached = _forward(rewriter, subject, variables, images, targets)
        found.extend(rewriter.names)
        return reached

    jax.eval_shape(names, images)
    probes = {name: {end: jnp.zeros(len(images)) for end in ('out', 'in')} for name in found}
    return _propagate(composite, subject, variables, images, targets, probes)[1]


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
