"""Gradient reversal (Ganin & Lempitsky 2015)."""

import jax
from jaxtyping import Array, Float


@jax.custom_vjp
def reverse(x: Float[Array, '...'], strength: Float[Array, '...'] | float) -> Float[Array, '...']:
    """Identity whose backward pass multiplies by -strength.

    Args:
        x: features.
        strength: scalar, or broadcastable to `x` (a strength per example is [b, 1]). It receives
            no gradient.
    """
    del strength
    return x


def _forward(x, strength):
    return x, strength


def _backward(strength, gradient):
    return -strength * gradient, jax.tree.map(jax.numpy.zeros_like, strength)


reverse.defvjp(_forward, _backward)
