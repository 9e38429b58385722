"""Functions that compute what a layer does, and whose gradient is a rule of propagation.

The gradient of a network of them, started with the relevance of its outputs, is the relevance of
its pixels; what goes two ways adds up as gradients do.
"""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from skinjax.relevance.lrp.rules import Layer, Rule, quotient

Function = Callable[..., Array]


def replaced(forward: Function, backward: Callable[..., tuple]) -> Function:
    """`forward(*arrays)`, whose gradient is `backward(arrays, output, relevance)`."""

    @jax.custom_vjp
    def function(*arrays):
        return forward(*arrays)

    def run(*arrays):
        out = forward(*arrays)
        return out, (arrays, out)

    function.defvjp(run, lambda kept, relevance: backward(*kept, relevance))
    return function


def passed(forward: Function) -> Function:
    """The first array gets all relevance as it is, the others none."""
    return replaced(forward, lambda arrays, out, r: (r, *(None for _ in arrays[1:])))


@jax.custom_vjp
def noted(x: Array, probe: Float[Array, ' b']) -> Array:
    """x; the gradient of `probe` is the sum of the relevance of each example."""
    del probe
    return x


noted.defvjp(lambda x, probe: (x, None), lambda _, r: (r, r.reshape(r.shape[0], -1).sum(-1)))


def linear(
    apply: Callable[[Array, Array], Array],
    rule: Rule,
    nonnegative: bool,
    zero_bias: bool,
    bounds: tuple[np.ndarray, np.ndarray],
) -> Function:
    """(x, kernel, bias) -> apply(x, kernel) + bias, with a rule for x."""

    def backward(arrays, z, relevance):
        x, kernel, bias = arrays
        if zero_bias:
            z, bias = apply(x, kernel), jnp.zeros_like(bias)
        return rule(Layer(apply, x, z, kernel, bias, nonnegative, *bounds), relevance), None, None

    return replaced(lambda x, kernel, bias: apply(x, kernel) + bias, backward)


def diagonal(stabilizer: float, zero_bias: bool) -> Function:
    """(x, factor, offset) -> x factor + offset, with the epsilon rule for x."""

    def backward(arrays, z, relevance):
        x, factor, _ = arrays
        z = x * factor if zero_bias else z
        return x * factor * quotient(relevance, z, stabilizer), None, None

    return replaced(lambda x, factor, offset: x * factor + offset, backward)


def share(forward: Function, stabilizer: float) -> Function:
    """A sum or mean of one or several arrays; each of its terms gets its share."""

    def backward(arrays, total, relevance):
        found = jax.vjp(forward, *arrays)[1](quotient(relevance, total, stabilizer))
        return tuple(x * s for x, s in zip(arrays, found, strict=True))

    return replaced(forward, backward)


def winner(forward: Function, window: int, stride: int, padding: int) -> Function:
    """A spatial maximum, whose relevance goes where the maximum is; equal ones share."""

    def backward(arrays, best, relevance):
        taps, back = jax.vjp(lambda x: _taps(x, window, stride, padding, best.shape), *arrays)
        won = taps == best[None]
        each = relevance / won.sum(0).astype(relevance.dtype)
        return back(jnp.where(won, each[None], 0))

    return replaced(forward, backward)


def instead(forward: Function, other: Function, stabilizer: float) -> Function:
    """`forward`, with the relevance that `other`, a mean in its place, would hand down."""

    def backward(arrays, out, relevance):
        total, back = jax.vjp(other, *arrays)
        (s,) = back(quotient(relevance, total, stabilizer))
        return (arrays[0] * s,)

    return replaced(forward, backward)


def _taps(x: Array, window: int, stride: int, padding: int, shape: Any) -> Array:
    """[window^2, ...] what each tap of a window sees, for outputs of `shape`."""
    side, none = (padding, padding), (0, 0)
    padded = jnp.pad(x, (none, side, side, none), constant_values=-jnp.inf)
    b, rows, cols, c = shape
    parts = []
    for i, j in itertools.product(range(window), repeat=2):
        last = (b, i + (rows - 1) * stride + 1, j + (cols - 1) * stride + 1, c)
        parts.append(lax.slice(padded, (0, i, j, 0), last, (1, stride, stride, 1)))
    return jnp.stack(parts)
