"""Per-example losses; all take logits and are finite for every finite logit."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int


def classification(
    logits: Float[Array, 'b c'], labels: Int[Array, ' b'], smoothing: float = 0.0
) -> Float[Array, ' b']:
    """Cross-entropy of the main head.

    One column is the logit of class 1 (binary cross-entropy); more columns are a softmax. Labels
    are moved towards uniform by `smoothing`. Labels below 0 count as class 0 and must be given
    weight 0.
    """
    labels = jnp.maximum(labels, 0)
    if logits.shape[-1] == 1:
        target = labels.astype(logits.dtype) * (1 - smoothing) + smoothing / 2
        return optax.sigmoid_binary_cross_entropy(logits[:, 0], target)
    target = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), smoothing)
    return optax.softmax_cross_entropy(logits, target)


def cross_entropy(logits: Float[Array, 'b k'], values: Int[Array, ' b']) -> Float[Array, ' b']:
    """-log p of the true value; values below 0 (unknown) must be given weight 0."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, jnp.maximum(values, 0))


def negative_entropy(logits: Float[Array, 'b k']) -> Float[Array, ' b']:
    """sum_k p_k log p_k: least (-log K) where the head is undecided.

    The pseudo-loss of LNTL (Kim et al. 2019, eq. 3).
    """
    log_p = jax.nn.log_softmax(logits)
    return (jnp.exp(log_p) * log_p).sum(-1)


def confusion(
    logits: Float[Array, 'b k'], target: Float[Array, 'b k'] | None = None
) -> Float[Array, ' b']:
    """-sum_k q_k log p_k with q = 1/K unless given: least (log K) at uniform p.

    The confusion loss of TABE (Alvi et al. 2018, eq. 2).
    """
    log_p = jax.nn.log_softmax(logits)
    return -(log_p.mean(-1) if target is None else (target * log_p).sum(-1))


def class_logits(logits: Float[Array, 'b c']) -> Float[Array, 'b k']:
    """A logit for each class: beside one column alone, the logit of class 1, stands a 0."""
    if logits.shape[-1] > 1:
        return logits
    return jnp.concatenate([jnp.zeros_like(logits), logits], -1)


def focal(
    logits: Float[Array, 'b c'],
    labels: Int[Array, ' b'],
    gamma: float = 2.0,
    smoothing: float = 0.0,
) -> Float[Array, ' b']:
    """(1 - p_y)^gamma times the cross-entropy of `classification` (Lin et al. 2017, eq. 4).

    Without their alpha. 1 - p_y is summed over the other classes, so that it keeps its digits, and
    its gradient is finite, where p_y is almost 1.
    """
    values = classification(logits, labels, smoothing)
    if gamma == 0:
        return values
    every = class_logits(logits)
    others = jnp.arange(every.shape[-1])[None] != jnp.maximum(labels, 0)[:, None]
    log_rest = jax.nn.logsumexp(every, axis=-1, where=others) - jax.nn.logsumexp(every, axis=-1)
    return jnp.exp(gamma * log_rest) * values


def with_margins(
    logits: Float[Array, 'b k'], labels: Int[Array, ' b'], margins: Float[Array, ' k']
) -> Float[Array, 'b k']:
    """The logit of the true class less the margin of that class: LDAM (Cao et al. 2019, eq. 12)."""
    true = jax.nn.one_hot(jnp.maximum(labels, 0), logits.shape[-1])
    return logits - true * margins[None]
