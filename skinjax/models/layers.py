"""Small modules that every encoder is built from.

Activations, flattening, addition, joining and scaling are modules rather than function calls, so
that explainers can find and replace them by name without touching an encoder. Convolution,
normalisation and pooling have files of their own.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from skinjax.models.options import Options


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


class ReLU6(nn.Module):
    """min(max(x, 0), 6)."""

    @nn.compact
    def __call__(self, x: Float[Array, '...']) -> Float[Array, '...']:
        return _relu6(x)


@jax.custom_vjp
def _relu6(x):
    """As `_relu`; the slope is 0 at both kinks."""
    return jnp.clip(x, 0, 6)


_relu6.defvjp(
    lambda x: (y := _relu6(x), y),
    lambda y, g: (jnp.where((y > 0) & (y < 6), g, jnp.zeros((), g.dtype)),),
)


class SiLU(nn.Module):
    """x sigmoid(x)."""

    @nn.compact
    def __call__(self, x: Float[Array, '...']) -> Float[Array, '...']:
        return nn.silu(x)


class Sigmoid(nn.Module):
    """1 / (1 + exp(-x))."""

    @nn.compact
    def __call__(self, x: Float[Array, '...']) -> Float[Array, '...']:
        return nn.sigmoid(x)


class Flatten(nn.Module):
    """All but the first axis as one, rows first."""

    @nn.compact
    def __call__(self, x: Float[Array, 'b ...']) -> Float[Array, 'b d']:
        return x.reshape(x.shape[0], -1)


class Add(nn.Module):
    """Sum of a residual branch and its shortcut."""

    @nn.compact
    def __call__(self, x: Float[Array, '...'], y: Float[Array, '...']) -> Float[Array, '...']:
        return x + y


class Concat(nn.Module):
    """The channels of several maps, one after the other."""

    @nn.compact
    def __call__(self, parts: list[Float[Array, 'b h w _']]) -> Float[Array, 'b h w c']:
        return jnp.concatenate(parts, axis=-1)


class Scale(nn.Module):
    """A map times its gate, which has a factor for each channel or for each pixel."""

    @nn.compact
    def __call__(
        self, x: Float[Array, 'b h w c'], gate: Float[Array, 'b #h #w #c']
    ) -> Float[Array, 'b h w c']:
        return x * gate


class ConvNorm(nn.Module):
    """Convolution without bias, batch normalisation and, unless None, an activation."""

    options: Options
    features: int
    kernel: int | tuple[int, int]
    stride: int = 1
    feature_groups: int = 1
    padding: str = 'symmetric'
    epsilon: float = 1e-5
    activation: type[nn.Module] | None = ReLU
    kernel_init: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c'], train: bool) -> Float[Array, 'b i j f']:
        given = {} if self.kernel_init is None else {'kernel_init': self.kernel_init}
        x = self.options.conv(
            self.features,
            self.kernel,
            stride=self.stride,
            feature_groups=self.feature_groups,
            padding=self.padding,
            name='conv',
            **given,
        )(x)
        x = self.options.norm(epsilon=self.epsilon, name='norm')(x, train)
        return x if self.activation is None else self.activation(name='activation')(x)


def fold(keys: Key[Array, ' b'] | None, number: int) -> Key[Array, ' b'] | None:
    """Other keys for place `number` of a network; None stays None."""
    if keys is None:
        return None
    return jax.vmap(lambda key: jax.random.fold_in(key, number))(keys)


def dropout(
    keys: Key[Array, ' b'] | None, x: Float[Array, 'b *shape'], rate: float
) -> Float[Array, 'b *shape']:
    """Zero each value with probability `rate` and scale the rest by 1 / (1 - rate).

    One key per example ([b] typed keys; None for no dropout): the mask of an example does not
    depend on how the batch is divided over devices.
    """
    return _drop(keys, x, rate, x.shape[1:])


def drop_branch(
    keys: Key[Array, ' b'] | None, x: Float[Array, 'b h w c'], rate: float
) -> Float[Array, 'b h w c']:
    """Stochastic depth (Huang et al. 2016): as `dropout`, but examples are zeroed as a whole."""
    return _drop(keys, x, rate, (1,) * (x.ndim - 1))


def _drop(keys, x, rate, shape):
    if keys is None or rate == 0.0:
        return x
    keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - rate, shape))(keys)
    return jnp.where(keep, x / (1 - rate), jnp.zeros((), x.dtype))
