"""Pooling as modules, so that explainers can find and replace it by name."""

import functools
import itertools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from skinjax.models.forms import choose


class MaxPool(nn.Module):
    """Spatial maximum over `window` x `window`, padded by -inf; of equal maxima the first counts.

    On CPUs the winning tap is kept for the backward pass, several times faster there than the
    select-and-scatter that `nn.max_pool` differentiates to.
    """

    window: int
    stride: int
    padding: int = 0

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b i j c']:
        pad: Any = ((self.padding, self.padding),) * 2

        def plain(x):
            return nn.max_pool(x, (self.window,) * 2, (self.stride,) * 2, pad)

        return choose(lambda x: _max_pool(x, self.window, self.stride, self.padding), plain, x)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _max_pool(x, window, stride, padding):
    return _max_pool_forward(x, window, stride, padding)[0]


def _max_pool_forward(x, window, stride, padding):
    """The maximum, and which tap of the window (row by row) it came from first."""
    b, h, w, c = x.shape
    rows, cols = ((side + 2 * padding - window) // stride for side in (h, w))
    side = (padding, padding)
    padded = jnp.pad(x, ((0, 0), side, side, (0, 0)), constant_values=-jnp.inf)
    parts = []
    for i, j in itertools.product(range(window), repeat=2):
        last = (b, i + rows * stride + 1, j + cols * stride + 1, c)
        parts.append(lax.slice(padded, (0, i, j, 0), last, (1, stride, stride, 1)))
    best = functools.reduce(jnp.maximum, parts)
    winner = jnp.full(best.shape, len(parts) - 1, jnp.int8)
    for tap in reversed(range(len(parts) - 1)):
        winner = jnp.where(parts[tap] == best, jnp.int8(tap), winner)
    return best, (winner, x.shape)


def _max_pool_backward(window, stride, padding, residual, gradient):
    """Pixels that are equal modulo the stride see the same taps: a sum for each, interleaved."""
    winner, (b, h, w, c) = residual
    gradient = lax.optimization_barrier(gradient)  # or XLA computes it again for every tap
    zero = jnp.zeros((), gradient.dtype)
    reach = (window - 1) // stride
    high, wide = (n + reach for n in gradient.shape[1:3])

    def place(i, j):
        mine = jnp.where(winner == i * window + j, gradient, zero)
        down, right = i // stride, j // stride
        sides = ((down, reach - down, 0), (right, reach - right, 0))
        return lax.pad(mine, zero, ((0, 0, 0), *sides, (0, 0, 0)))

    def phase(p, q):
        taps = itertools.product(range(p, window, stride), range(q, window, stride))
        parts = [place(i, j) for i, j in taps]
        return functools.reduce(jnp.add, parts, jnp.zeros((b, high, wide, c), gradient.dtype))

    rows = [jnp.stack([phase(p, q) for q in range(stride)], 3) for p in range(stride)]
    whole = jnp.stack(rows, 2).reshape(b, high * stride, wide * stride, c)
    # Rows that no window reaches are cut off there; they get nothing.
    missing = [max(0, padding + n - m) for n, m in zip((h, w), whole.shape[1:3], strict=True)]
    whole = jnp.pad(whole, ((0, 0), (0, missing[0]), (0, missing[1]), (0, 0)))
    return (whole[:, padding : padding + h, padding : padding + w],)


_max_pool.defvjp(_max_pool_forward, _max_pool_backward)


class GlobalMeanPool(nn.Module):
    """Mean over both spatial axes, in float32."""

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b c']:
        return x.astype(jnp.float32).mean((1, 2))


class AvgPool(nn.Module):
    """Mean over `window` x `window`, in float32; zeros of the padding count, as in PyTorch."""

    window: int
    stride: int
    padding: int = 0

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b i j c']:
        side, none = (self.padding, self.padding), (0, 0)
        window, strides = (1, *(self.window,) * 2, 1), (1, *(self.stride,) * 2, 1)
        pads, zero = (none, side, side, none), np.zeros((), np.float32)
        total = lax.reduce_window(x.astype(jnp.float32), zero, lax.add, window, strides, pads)
        return (total / self.window**2).astype(x.dtype)


class AdaptiveMeanPool(nn.Module):
    """Means over `size` x `size` bins that cover the map: row i is rows floor(i h / size) to
    ceil((i + 1) h / size), as in PyTorch, in float32. A map of that size stays as it is.
    """

    size: int

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b s s c']:
        if x.shape[1:3] == (self.size, self.size):
            return x
        rows, cols = (jnp.asarray(_bins(side, self.size), jnp.float32) for side in x.shape[1:3])
        wide = x.astype(jnp.float32)
        means = jnp.einsum('bhwc,ih,jw->bijc', wide, rows, cols, precision='highest')
        return means.astype(x.dtype)


def _bins(side: int, size: int) -> np.ndarray:
    """[size, side] weights of the mean over each bin."""
    weights = np.zeros((size, side))
    for i in range(size):
        first, last = i * side // size, -(-(i + 1) * side // size)
        weights[i, first:last] = 1 / (last - first)
    return weights
