"""Small modules that every encoder is built from.

ReLU, addition and pooling are modules rather than function calls, so that explainers can find and
replace them by name without touching an encoder.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Dtype = Any


class ReLU(nn.Module):
    """max(x, 0)."""

    @nn.compact
    def __call__(self, x: Float[Array, '...']) -> Float[Array, '...']:
        return nn.relu(x)


class Add(nn.Module):
    """Sum of a residual branch and its shortcut."""

    @nn.compact
    def __call__(self, x: Float[Array, '...'], y: Float[Array, '...']) -> Float[Array, '...']:
        return x + y


class MaxPool(nn.Module):
    """Spatial maximum over `window` x `window`, padded by -inf as in PyTorch."""

    window: int
    stride: int
    padding: int = 0

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b i j c']:
        pad = ((self.padding, self.padding),) * 2
        return nn.max_pool(x, (self.window,) * 2, (self.stride,) * 2, pad)


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
            factor = scale * jax.lax.rsqrt(var.value + self.epsilon)
            return self._affine(x, factor, bias - mean.value * factor)
        if x.shape[0] % self.groups:
            raise ValueError(
                f'norm_groups = {self.groups} does not divide the batch of {x.shape[0]}: '
                'choose a divisor of the global batch size'
            )
        y = x.reshape(self.groups, -1, c).astype(jnp.float32)
        m = y.mean(1)
        v = jnp.square(y - m[:, None]).mean(1)
        if not self.is_initializing():
            n = y.shape[1]
            unbiased = v * (n / max(n - 1, 1))
            for running, now in ((mean, m), (var, unbiased)):
                running.value = self.momentum * running.value + (1 - self.momentum) * now.mean(0)
        factor = scale * jax.lax.rsqrt(v + self.epsilon)
        grouped = x.reshape(self.groups, -1, c)
        out = self._affine(grouped, factor[:, None], (bias - m * factor)[:, None])
        return out.reshape(x.shape)

    def _affine(self, x, factor, offset):
        dtype = self.dtype or x.dtype
        return x.astype(dtype) * factor.astype(dtype) + offset.astype(dtype)


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
