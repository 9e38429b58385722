"""Pooling as modules, so that explainers can find and replace it by name."""

import itertools
from functools import partial
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


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _max_pool(x, window, stride, padding):
    return _max_pool_forward(x, window, stride, padding)[0]


def _max_pool_forward(x, window, stride, padding):
    b, h, w, c = x.shape
    rows, cols = ((side + 2 * padding - window) // stride for side in (h, w))
    side = (padding, padding)
    padded = jnp.pad(x, ((0, 0), side, side, (0, 0)), constant_values=-jnp.inf)
    best = jnp.full((b, rows + 1, cols + 1, c), -jnp.inf, x.dtype)
    winner = jnp.zeros(best.shape, jnp.int8)
    for tap, (i, j) in enumerate(itertools.product(range(window), repeat=2)):
        last = (b, i + rows * stride + 1, j + cols * stride + 1, c)
        part = lax.slice(padded, (0, i, j, 0), last, (1, stride, stride, 1))
        winner = jnp.where(part > best, jnp.int8(tap), winner)
        best = jnp.maximum(best, part)
    return best, (winner, x.shape)


def _max_pool_backward(window, stride, padding, residual, gradient):
    winner, (_, h, w, _) = residual
    zero = jnp.zeros((), gradient.dtype)
    rows, cols = ((n - 1) * stride for n in gradient.shape[1:3])

    def place(tap):
        i, j = divmod(tap, window)
        mine = jnp.where(winner == tap, gradient, zero)
        at = lambda k, size, reach: (k - padding, size - 1 - reach - k + padding, stride - 1)  # noqa: E731
        return lax.pad(mine, zero, ((0, 0, 0), at(i, h, rows), at(j, w, cols), (0, 0, 0)))

    return (sum((place(tap) for tap in range(1, window**2)), start=place(0)),)


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
    ceil((i + 1) h / size), as in PyTorch. A map of that size stays as it is.
    """

    size: int

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b s s c']:
        if x.shape[1:3] == (self.size, self.size):
            return x
        rows, cols = (jnp.asarray(_bins(side, self.size), x.dtype) for side in x.shape[1:3])
        return jnp.einsum('bhwc,ih,jw->bijc', x, rows, cols, precision='highest')


def _bins(side: int, size: int) -> np.ndarray:
    """[size, side] weights of the mean over each bin."""
    weights = np.zeros((size, side))
    for i in range(size):
        first, last = i * side // size, -(-(i + 1) * side // size)
        weights[i, first:last] = 1 / (last - first)
    return weights
