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
