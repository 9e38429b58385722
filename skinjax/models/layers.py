"""Small modules that every encoder is built from.

ReLU, addition and pooling are modules rather than function calls, so that explainers can find and
replace them by name without touching an encoder.
"""

import itertools
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Dtype = Any


class ReLU(nn.Module):
    """max(x, 0)."""

    @nn.compact
    def __call__(self, x: Float[Array, '...']) -> Float[Array, '...']:
        return _relu(x)


@jax.custom_vjp
def _relu(x):
    """Rectifier whose backward pass needs its output alone, which the next layer keeps anyway."""
    return jnp.where(x <= 0, jnp.zeros((), x.dtype), x)  # NaN stays NaN


_relu.defvjp(
    lambda x: (y := _relu(x), y), lambda y, g: (jnp.where(y > 0, g, jnp.zeros((), g.dtype)),)
)


class Add(nn.Module):
    """Sum of a residual branch and its shortcut."""

    @nn.compact
    def __call__(self, x: Float[Array, '...'], y: Float[Array, '...']) -> Float[Array, '...']:
        return x + y


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
        if jax.default_backend() == 'cpu':
            return _max_pool(x, self.window, self.stride, self.padding)
        pad: Any = ((self.padding, self.padding),) * 2
        return nn.max_pool(x, (self.window,) * 2, (self.stride,) * 2, pad)


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


class Conv(nn.Module):
    """Square convolution with explicit symmetric padding of (kernel - 1) / 2, as in PyTorch.

    He initialisation over the fan-out (He et al. 2015), the default of the published ResNets.
    """

    features: int
    kernel: int
    stride: int = 1
    feature_groups: int = 1
    dtype: Dtype = None

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b i j f']:
        side = (self.kernel - 1) // 2
        return nn.Conv(
            self.features,
            (self.kernel, self.kernel),
            (self.stride, self.stride),
            ((side, side), (side, side)),
            feature_group_count=self.feature_groups,
            use_bias=False,
            dtype=self.dtype,
            kernel_init=nn.initializers.variance_scaling(2.0, 'fan_out', 'normal'),
            name='conv',
        )(x)


class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe & Szegedy 2015) over equal slices of the batch.

    With `groups` = 1 the statistics are those of the whole (global) batch. With g groups, rows
    [i b/g, (i+1) b/g) are normalised by their own statistics: what g devices with a batch of b/g
    each would compute, on any number of devices. Running averages take the mean over the groups
    of their means and of their *unbiased* variances, as PyTorch does.

    Attributes:
        momentum: weight of the old running value (PyTorch's 0.1 is 0.9 here).
        affine: learn a scale and an offset.

    Raises:
        ValueError: the batch does not divide into `groups` equal slices.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    groups: int = 1
    affine: bool = True
    scale_init: nn.initializers.Initializer = nn.initializers.ones
    dtype: Dtype = None

    @nn.compact
    def __call__(self, x: Float[Array, 'b ... c'], train: bool) -> Float[Array, 'b ... c']:
        c = x.shape[-1]
        mean = self.variable('batch_stats', 'mean', jnp.zeros, (c,), jnp.float32)
        var = self.variable('batch_stats', 'var', jnp.ones, (c,), jnp.float32)
        scale = self.param('scale', self.scale_init, (c,)) if self.affine else jnp.ones((c,))
        bias = self.param('bias', nn.initializers.zeros, (c,)) if self.affine else jnp.zeros((c,))
        if not train:
            factor = scale * lax.rsqrt(var.value + self.epsilon)
            return self._affine(x, factor, bias - mean.value * factor)
        if x.shape[0] % self.groups:
            raise ValueError(
                f'norm_groups = {self.groups} does not divide the batch of {x.shape[0]}: '
                'choose a divisor of the global batch size'
            )
        grouped = x.reshape(self.groups, -1, c)
        normalised: Any = _standardize(
            grouped.astype(jnp.float32), scale[None], bias[None], self.epsilon
        )
        y, m, v = normalised
        if not self.is_initializing():
            n = grouped.shape[1]
            unbiased = v * (n / max(n - 1, 1))
            for running, now in ((mean, m), (var, unbiased)):
                running.value = self.momentum * running.value + (1 - self.momentum) * now.mean(0)
        return y.reshape(x.shape).astype(self.dtype or x.dtype)

    def _affine(self, x, factor, offset):
        dtype = self.dtype or x.dtype
        shape = (1,) * (x.ndim - 1) + (-1,)
        factor, offset = (v.astype(dtype).reshape(shape) for v in (factor, offset))
        return x.astype(dtype) * factor + offset


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _standardize(x, scale, bias, epsilon):
    """(scale (x - mean) / sqrt(var + epsilon) + bias, mean, var) of each group of x [g, n, c].

    Scale and bias are [1, c].

    The backward pass is written out: two sums and one affine map of (gradient, x). No gradient
    flows through the returned statistics, which only feed the running averages.
    """
    return _standardize_forward(x, scale, bias, epsilon)[0]


def _standardize_forward(x, scale, bias, epsilon):
    mean = x.mean(1)
    var = jnp.square(x - mean[:, None]).mean(1)
    rate = lax.rsqrt(var + epsilon)
    factor = rate * scale
    y = x * factor[:, None] + (bias - mean * factor)[:, None]
    return (y, mean, var), (x, mean, rate, scale)


def _standardize_backward(epsilon, residual, gradients):
    del epsilon
    x, mean, rate, scale = residual
    g, n = gradients[0], x.shape[1]
    total = _channel_sum(g)
    along = (_channel_sum(g * x) - mean * total) * rate
    factor = rate * scale
    slope = -factor * rate * along / n
    offset = -factor * total / n - slope * mean
    dx = g * factor[:, None] + x * slope[:, None] + offset[:, None]
    return dx, along.sum(0, keepdims=True), total.sum(0, keepdims=True)


def _channel_sum(x):
    """Sum over n of [g, n, c]; on CPUs as a product, since XLA joins plain sums to a slow loop."""
    if jax.default_backend() != 'cpu':
        return x.sum(1)
    return jnp.einsum('gn,gnc->gc', jnp.ones(x.shape[:2], x.dtype), x, precision='highest')


_standardize.defvjp(_standardize_forward, _standardize_backward)


def dropout(
    keys: Array, x: Float[Array, 'b d'], rate: float, train: bool = True
) -> Float[Array, 'b d']:
    """Zero each feature with probability `rate` and scale the rest by 1 / (1 - rate).

    One key per example ([b] typed keys): the mask of an example does not depend on how the batch
    is divided over devices.
    """
    if not train or rate == 0.0:
        return x
    keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - rate, x.shape[1:]))(keys)
    return jnp.where(keep, x / (1 - rate), jnp.zeros((), x.dtype))
