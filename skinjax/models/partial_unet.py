"""U-Net of partial convolutions that fills holes (Liu et al. 2018, as in Bisla et al. 2019).

For 256 pixels it has seven levels:

    encoder   64 k7, 128 k5, 256 k5, 512 k3 four times; stride 2, normalisation (but in the first
              level) and ReLU
    decoder   twice as large by repetition, features and mask; beside them those of the encoder of
              that size, at last the image itself; k3, normalisation, LeakyReLU 0.2. The last layer
              has three channels, an offset, and neither normalisation nor activation.

Convolutions have no offset but the last. `frozen_encoder_norm` is the second stage of training: the
statistics of the encoder, in which holes have a part, are no longer those of the batch.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from skinjax.models.options import Options
from skinjax.models.partial_conv import PartialConv

TASK = 'inpainting'
DEFAULTS = {
    'variant': 'partial_unet',
    'levels': 7,  # halvings of the resolution; other sides than multiples of 2^levels are padded
    'width': 1.0,  # factor of all numbers of channels
    'frozen_encoder_norm': False,  # the second stage: running statistics in the encoder alone
    'compat': False,  # windows are divided by the sum of the mask alone; see partial_conv.py
}
VARIANTS = ('partial_unet',)
# The fields of options.COMMON that it knows.
OPTIONS = (
    'norm_groups', 'norm_momentum', 'frozen_norm', 'dtype', 'remat', 'pretrained', 'leave_out',
)  # fmt: skip
CHANNELS, KERNELS = (64, 128, 256), (7, 5, 5)  # of the first levels; then DEEP and 3
DEEP = 512
SLOPE = 0.2

Masked = tuple[Float[Array, 'b _ _ _'], Float[Array, 'b _ _ 1']]  # a map and its mask


class Level(nn.Module):
    """Partial convolution, normalisation and a rectifier of slope `slope` below 0."""

    options: Options
    features: int
    kernel: int
    stride: int = 1
    normalized: bool = True
    slope: float = 0.0
    compat: bool = False

    @nn.compact
    def __call__(
        self,
        x: Float[Array, 'b h w c'],
        train: bool,
        mask: Float[Array, 'b h w g'],
        shares: tuple[int, ...],
    ) -> tuple[Float[Array, 'b i j f'], Float[Array, 'b i j 1']]:
        x, mask = PartialConv(
            self.options, self.features, self.kernel, self.stride, compat=self.compat, name='conv'
        )(x, mask, shares)
        if self.normalized:
            x = self.options.norm(name='norm')(x, train)
        return nn.leaky_relu(x, self.slope), mask


class Encoder(nn.Module):
    """(image, mask) -> those of every level, finest first."""

    options: Options
    channels: tuple[int, ...]
    compat: bool = False

    @nn.compact
    def __call__(
        self, x: Float[Array, 'b h w 3'], mask: Float[Array, 'b h w 1'], train: bool
    ) -> list[Masked]:
        found, level = [], _level(self.options)
        for i, features in enumerate(self.channels):
            kernel = KERNELS[i] if i < len(KERNELS) else 3
            x, mask = level(
                self.options, features, kernel, 2, i > 0, compat=self.compat, name=f'level{i + 1}'
            )(x, train, mask, (x.shape[-1],))
            found.append((x, mask))
        return found


class Decoder(nn.Module):
    """The deepest level and the others, coarsest first and the image last, -> image."""

    options: Options
    compat: bool = False

    @nn.compact
    def __call__(self, deep: Masked, skips: list[Masked], train: bool) -> Float[Array, 'b h w 3']:
        (x, mask), level = deep, _level(self.options)
        for i, (other, seen) in zip(range(len(skips), 0, -1), skips, strict=True):
            shares = x.shape[-1], other.shape[-1]
            x = jnp.concatenate([twice(x), other.astype(x.dtype)], -1)
            mask = jnp.concatenate([twice(mask), seen], -1)
            if i > 1:
                x, mask = level(
                    self.options, shares[1], 3, slope=SLOPE, compat=self.compat, name=f'level{i}'
                )(x, train, mask, shares)
            else:
                x, mask = PartialConv(
                    self.options, 3, 3, use_bias=True, compat=self.compat, name='out'
                )(x, mask, shares)
        return x.astype(jnp.float32)


class PartialUNet(nn.Module):
    """The network. Parameters are in the groups `encoder` and `decoder`."""

    options: Options = Options()
    levels: int = 7
    width: float = 1.0
    frozen_encoder_norm: bool = False
    compat: bool = False

    def setup(self):
        channels = [*CHANNELS, *([DEEP] * self.levels)][: self.levels]
        channels = tuple(max(1, round(self.width * n)) for n in channels)
        fixed = self.options.frozen_norm or self.frozen_encoder_norm
        options = dataclasses.replace(self.options, frozen_norm=fixed)
        self.encoder = Encoder(options, channels, self.compat)
        self.decoder = Decoder(self.options, self.compat)

    def __call__(
        self, images: Float[Array, 'b h w 3'], valid: Float[Array, 'b h w'], train: bool
    ) -> Float[Array, 'b h w 3']:
        """The images with their holes filled, everywhere anew: what is seen changes slightly.

        Args:
            images: normalised; what they have in holes does not matter.
            valid: 1 where there is no hole. An image that is all hole gives zeros.
            train: normalise by the batch.

        A side that is no multiple of 2^levels is padded, as a hole, at its end.
        """
        height, width = images.shape[1:3]
        pads = [(0, -side % 2**self.levels) for side in (height, width)]
        mask = jnp.pad(valid[..., None], ((0, 0), *pads, (0, 0)))
        x = jnp.pad(images, ((0, 0), *pads, (0, 0)))
        maps = self.encoder(x, mask, train)
        skips = [*maps[-2::-1], (x, mask)]
        return self.decoder(maps[-1], skips, train)[:, :height, :width]


def twice(x: Float[Array, 'b h w c']) -> Float[Array, 'b i j c']:
    """Every pixel as a square of four."""
    b, h, w, c = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None], (b, h, 2, w, 2, c))
    return x.reshape(b, 2 * h, 2 * w, c)


def _level(options: Options) -> Any:
    return nn.remat(Level, static_argnums=(2, 4)) if options.remat else Level


def build(config) -> PartialUNet:
    """The network that `config` (with the fields of DEFAULTS) describes.

    Raises:
        ValueError: unknown variant or dtype, no level, or a width that is not positive.
    """
    if config.variant not in VARIANTS:
        raise ValueError(f'model.variant is {config.variant!r}: choose {VARIANTS[0]}')
    if config.levels < 1 or config.width <= 0:
        raise ValueError(
            'model.levels must be at least 1 and model.width above 0, found '
            f'{config.levels} and {config.width}'
        )
    return PartialUNet(
        Options.read(config),
        config.levels,
        config.width,
        config.frozen_encoder_norm,
        config.compat,
    )
