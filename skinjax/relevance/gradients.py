"""What the explainers that differentiate have in common."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from skinjax.engine.objective import Variables
from skinjax.relevance.subject import Subject, weights


def score(
    subject: Subject,
    variables: Variables,
    images: Float[Array, 'b h w c'],
    targets: Int[Array, ' b'],
) -> Float[Array, ' b']:
    """Logit of the target; that of class 0 is minus the logit where there is but one."""
    logits = subject.scores(variables, images)
    return (weights(logits, targets) * logits).sum(-1)


def gradient(
    subject: Subject,
    variables: Variables,
    images: Float[Array, 'b h w c'],
    targets: Int[Array, ' b'],
) -> Float[Array, 'b h w c']:
    """d score / d normalised image."""
    return jax.grad(lambda x: score(subject, variables, x, targets).sum())(images)


def size_of(slope: Float[Array, 'b h w c']) -> Float[Array, 'b h w 1']:
    """Absolute value, maximum over the channels, brought to 0 ... 1 in each image."""
    return unit(jnp.abs(slope).max(-1, keepdims=True))


def unit(maps: Float[Array, 'b h w c']) -> Float[Array, 'b h w c']:
    """(x - min) / (max - min) of each image; 0 where all its values are equal."""
    low, high = (end(maps, axis=(1, 2, 3), keepdims=True) for end in (jnp.min, jnp.max))
    span = high - low
    return jnp.where(span > 0, (maps - low) / jnp.where(span > 0, span, 1), 0)
