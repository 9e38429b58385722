"""Batch normalisation with a closed-form backward pass, group-wise or frozen statistics."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from skinjax.models.forms import choose

Dtype = Any


class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe & Szegedy 2015) over equal slices of the batch.

    With `groups` = 1 the statistics are those of the whole (global) batch. With g groups, rows
    [i b/g, (i+1) b/g) are normalised by their own statistics: what g devices with a batch of b/g
    each would compute, on any number of devices. Running averages take the mean over the groups
    of their means and of their *unbiased* variances, as PyTorch does. All is computed in float32.

    Attributes:
        momentum: weight of the old running value (PyTorch's 0.1 is 0.9 here).
        affine: learn a scale and an offset.
        frozen: normalise by the running averages in training too, and leave them as they are.

    Raises:
        ValueError: the batch does not divide into `groups` equal slices.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    groups: int = 1
    affine: bool = True
    frozen: bool = False
    scale_init: nn.initializers.Initializer = nn.initializers.ones
    dtype: Dtype = None

    @nn.compact
    def __call__(self, x: Float[Array, 'b ... c'], train: bool) -> Float[Array, 'b ... c']:
        c = x.shape[-1]
        mean = self.variable('batch_stats', 'mean', jnp.zeros, (c,), jnp.float32)
        var = self.variable('batch_stats', 'var', jnp.ones, (c,), jnp.float32)
        scale = self.param('scale', self.scale_init, (c,)) if self.affine else jnp.ones((c,))
        bias = self.param('bias', nn.initializers.zeros, (c,)) if self.affine else jnp.zeros((c,))
        if self.frozen or not train:
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
        shape = (1,) * (x.ndim - 1) + (-1,)
        y = x.astype(jnp.float32) * factor.reshape(shape) + offset.reshape(shape)
        return y.astype(self.dtype or x.dtype)


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

    def product(x):
        return jnp.einsum('gn,gnc->gc', jnp.ones(x.shape[:2], x.dtype), x, precision='highest')

    return choose(product, lambda x: x.sum(1), x)


_standardize.defvjp(_standardize_forward, _standardize_backward)
