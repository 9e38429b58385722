"""Deep convolutional generative adversarial network (Radford et al. 2016; Bisla et al. 2019).

For 256 pixels, as Bisla et al. have it (supplement, tables 2 and 3; published code), with half as
many pixels from layer to layer of the discriminator and twice as many in the generator:

    generator        z -> 256x4 -> 128x8 -> 64x16 -> 32x32 -> 16x64 -> 8x128 -> 3x256
                     normalisation and ReLU; the last layer tanh
    discriminator    3x256 -> 16x128 -> 32x64 -> 64x32 -> 128x16 -> 256x8 -> 512x4 -> 1
                     normalisation (but in the first layer) and LeakyReLU 0.2; the last a logit

Smaller images do without the layers next to them. Kernels are 4x4, without offsets, and stride 2,
but for the first of the generator and the last of the discriminator, which meet single pixels.
(The tables have stride 1 between 256x8 and 512x4, which would give 7x7; the code has 2.)
"""

import dataclasses
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from skinjax.models.layers import ReLU
from skinjax.models.options import Options, one_of
from skinjax.models.strided import NARROW, Doubling, Halving, leaky

TASK = 'generation'
DEFAULTS = {
    'variant': 'dcgan',
    'latent': 10,  # numbers that an image is made from
    'width': 1.0,  # factor of all numbers of channels
    'first_norm': False,  # normalisation in the discriminator's first layer, as captions have it
    'minibatch': 0,  # kernels of minibatch discrimination (Salimans et al. 2016); 0 for none
}
# The fields of options.COMMON that it knows.
OPTIONS = ('norm_groups', 'norm_momentum', 'frozen_norm', 'dtype', 'remat')
SIZES = (64, 128, 256)
RISING = (256, 128, 64, 32, 16, 8)  # channels of the generator, from 4x4 pixels on
FALLING = (16, 32, 64, 128, 256, 512)  # and of the discriminator, to 4x4 pixels
AROUND_ONE = nn.initializers.normal(0.02)
DIMENSIONS = 5  # of a kernel of minibatch discrimination


def around_one(key, shape, dtype=jnp.float32) -> Array:
    """Normal, mean 1 and standard deviation 0.02."""
    return 1 + AROUND_ONE(key, shape, dtype)


class Root(nn.Module):
    """Numbers to 4x4 pixels: the transposed convolution of a single pixel."""

    features: int
    dtype: Any = None

    @nn.compact
    def __call__(self, z: Float[Array, 'b l']) -> Float[Array, 'b 4 4 f']:
        kernel = self.param('kernel', NARROW, (4, 4, z.shape[-1], self.features))
        dtype = self.dtype or z.dtype
        turned = kernel[::-1, ::-1].astype(dtype)
        return jnp.einsum('bl,hwlf->bhwf', z.astype(dtype), turned)


class RisingLayer(nn.Module):
    """Transposed convolution, normalisation and ReLU, or tanh where `last`."""

    options: Options
    features: int
    last: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, 'b ...'], train: bool) -> Float[Array, 'b i j f']:
        layer = Root if x.ndim == 2 else Doubling
        x = layer(self.features, dtype=self.options.dtype, name='conv')(x)
        if self.last:
            return jnp.tanh(x.astype(jnp.float32))
        return ReLU()(self.options.norm(scale_init=around_one, name='norm')(x, train))


class Rise(nn.Module):
    """Layers of a generator with these numbers of channels; `last`: down to the image."""

    options: Options
    channels: tuple[int, ...]
    first: int = 1
    last: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, 'b ...'], train: bool) -> Float[Array, 'b i j f']:
        layer, end = self.options.block(RisingLayer), len(self.channels) - 1
        for i, features in enumerate(self.channels):
            x = layer(
                self.options, features, self.last and i == end, name=f'layer{self.first + i}'
            )(x, train)
        return x

    def result(self, x: Float[Array, 'b h w c']) -> jax.ShapeDtypeStruct:
        """Shape and type of what comes of a map."""
        sides = (n * 2 ** len(self.channels) for n in x.shape[1:3])
        dtype = jnp.float32 if self.last else self.options.dtype or x.dtype
        return jax.ShapeDtypeStruct((x.shape[0], *sides, self.channels[-1]), dtype)


class FallingLayer(nn.Module):
    """Convolution, normalisation and LeakyReLU."""

    options: Options
    features: int
    normalized: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c'], train: bool) -> Float[Array, 'b i j f']:
        x = Halving(self.features, dtype=self.options.dtype, name='conv')(x)
        if self.normalized:
            x = self.options.norm(scale_init=around_one, name='norm')(x, train)
        return leaky(x)


class Fall(nn.Module):
    """Layers of a discriminator with these numbers of channels."""

    options: Options
    channels: tuple[int, ...]
    first: int = 1
    first_norm: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c'], train: bool) -> Float[Array, 'b i j f']:
        layer = self.options.block(FallingLayer)
        for number, features in enumerate(self.channels, start=self.first):
            normalized = number > 1 or self.first_norm
            x = layer(self.options, features, normalized, name=f'layer{number}')(x, train)
        return x

    def result(self, x: Float[Array, 'b h w c']) -> jax.ShapeDtypeStruct:
        """Shape and type of what comes of a map."""
        sides = (n // 2 ** len(self.channels) for n in x.shape[1:3])
        dtype = self.options.dtype or x.dtype
        return jax.ShapeDtypeStruct((x.shape[0], *sides, self.channels[-1]), dtype)


class Verdict(nn.Module):
    """(one logit, features) of 4x4 pixels; features are the flattened pixels.

    With minibatch discrimination (Salimans et al. 2016, section 3.2) the logit also sees, for each
    of `kernels` projections M of the features to DIMENSIONS numbers, how close the other images of
    the batch are: o[i] = sum over j other than i of exp(-|M[i] - M[j]|_1). In training the batch
    is the slice of `groups` slices that an image is in, as for normalisation.
    """

    kernels: int = 0
    groups: int = 1

    @nn.compact
    def __call__(
        self, x: Float[Array, 'b 4 4 c'], train: bool
    ) -> tuple[Float[Array, ' b'], Float[Array, 'b d']]:
        x = x.astype(jnp.float32)
        features = x.reshape(x.shape[0], -1)
        kernel = self.param('kernel', NARROW, (4, 4, x.shape[-1], 1))
        logits = features @ kernel.reshape(-1)
        if self.kernels:
            shape = (features.shape[-1], self.kernels * DIMENSIONS)
            found = features @ self.param('projection', NARROW, shape)
            groups = self.groups if train else 1
            found = found.reshape(groups, -1, self.kernels, DIMENSIONS)
            apart = jnp.abs(found[:, :, None] - found[:, None]).sum(-1)
            close = jnp.exp(-apart).sum(2) - 1
            logits = logits + close.reshape(-1, self.kernels) @ self.param(
                'closeness', NARROW, (self.kernels,)
            )
        return logits, features


class Generator(nn.Module):
    """Latents to images from -1 to 1, whatever their labels."""

    options: Options
    channels: tuple[int, ...]

    @nn.compact
    def __call__(
        self, z: Float[Array, 'b l'], labels: Int[Array, ' b'], train: bool
    ) -> Float[Array, 'b h w 3']:
        del labels
        return Rise(self.options, self.channels, name='shared')(z, train)


class Discriminator(nn.Module):
    """Images to (logits, which are high for real ones; features), whatever their labels."""

    options: Options
    channels: tuple[int, ...]
    first_norm: bool = False
    minibatch: int = 0

    @nn.compact
    def __call__(
        self, x: Float[Array, 'b h w 3'], labels: Int[Array, ' b'], train: bool
    ) -> tuple[Float[Array, ' b'], Float[Array, 'b d']]:
        del labels
        x = Fall(self.options, self.channels, 1, self.first_norm, name='shared')(x, train)
        return Verdict(self.minibatch, self.options.norm_groups, name='verdict')(x, train)


@dataclasses.dataclass(frozen=True)
class Family:
    """Networks for images of any class.

    Attributes:
        latent: numbers that an image is made from.
        balanced: whether batches to train on must have equally many rows of every class.
    """

    balanced: ClassVar[bool] = False
    latent: int
    width: float
    first_norm: bool
    minibatch: int
    options: Options

    def channels(self, image_size: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """(generator's with the image's, discriminator's) numbers of channels.

        Raises:
            ValueError: a size that is not in SIZES.
        """
        if image_size not in SIZES:
            raise ValueError(
                f'data.image_size is {image_size}: a DCGAN has images of '
                f'{", ".join(map(str, SIZES))} pixels'
            )
        count = image_size.bit_length() - 3  # layers from or to 4x4 pixels
        rising, falling = (
            tuple(max(1, round(self.width * n)) for n in part)
            for part in (RISING[:count], FALLING[-count:])
        )
        return (*rising, 3), falling

    def networks(self, classes: int, image_size: int) -> tuple[nn.Module, nn.Module]:
        """(generator, discriminator): `(z, labels, train)` and `(images, labels, train)`.

        Raises:
            ValueError: a size that is not in SIZES.
        """
        del classes
        rising, falling = self.channels(image_size)
        return (
            Generator(self.options, rising),
            Discriminator(self.options, falling, self.first_norm, self.minibatch),
        )


def fields(config: Any, variant: str) -> dict[str, Any]:
    """What `config` (with the fields of DEFAULTS) says about a Family.

    Raises:
        ValueError: unknown variant or dtype, or numbers that make no network.
    """
    one_of('model.variant', config.variant, (variant,))
    if config.latent < 1 or config.width <= 0 or config.minibatch < 0:
        raise ValueError(
            'model.latent must be at least 1, width above 0 and minibatch at least 0, found '
            f'{config.latent}, {config.width} and {config.minibatch}'
        )
    named = {name: config[name] for name in ('latent', 'width', 'first_norm', 'minibatch')}
    return {**named, 'options': Options.read(config)}


def build(config: Any) -> Family:
    """The family that `config` (with the fields of DEFAULTS) describes.

    Raises:
        ValueError: unknown variant or dtype, or numbers that make no network.
    """
    return Family(**fields(config, 'dcgan'))
