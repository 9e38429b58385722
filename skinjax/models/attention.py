"""Attention after the last map of any encoder: `config.model.attention = 'cbam'`.

Woo et al. 2018, section 3: a gate for every channel, then one for every pixel,

    x' = x sigma(M(mean_pixels x) + M(max_pixels x)),    M two dense layers, C -> C/16 -> C
    y  = x' sigma(N(conv7x7[max_channels x'; mean_channels x'])),    N batch normalisation

The paper puts it into every block; here it follows the encoder, whose features are then the mean
of the refined map. VGG's last map is the one before its last pooling, which is thereby left out.
The parameters are those of a module `attention` in the group `encoder`, so that every objective
trains them with the encoder; weights of other programs leave them as they are.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from skinjax import config as configs
from skinjax.models.layers import ReLU, Scale, Sigmoid
from skinjax.models.options import Encoded, Options, one_of
from skinjax.models.pooling import GlobalMeanPool


class ChannelGate(nn.Module):
    """A factor for each channel, from its mean and its maximum."""

    ratio: int = 16

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b h w c']:
        channels = x.shape[-1]
        hidden = nn.Dense(max(1, channels // self.ratio), name='hidden')
        out, relu = nn.Dense(channels, name='out'), ReLU(name='relu')
        wide = x.astype(jnp.float32)
        total = out(relu(hidden(wide.mean((1, 2))))) + out(relu(hidden(wide.max((1, 2)))))
        gate = Sigmoid(name='sigmoid')(total)[:, None, None]
        return Scale(name='scale')(x, gate.astype(x.dtype))


class SpatialGate(nn.Module):
    """A factor for each pixel, from the maximum and the mean of its channels."""

    options: Options

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c'], train: bool) -> Float[Array, 'b h w c']:
        wide = x.astype(jnp.float32)
        pooled = jnp.stack([wide.max(-1), wide.mean(-1)], -1).astype(x.dtype)
        gate = self.options.norm(name='norm')(self.options.conv(1, 7, name='conv')(pooled), train)
        return Scale(name='scale')(x, Sigmoid(name='sigmoid')(gate).astype(x.dtype))


class CBAM(nn.Module):
    """The convolutional block attention module: channels, then pixels."""

    options: Options = Options()
    ratio: int = 16

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c'], train: bool) -> Float[Array, 'b h w c']:
        x = ChannelGate(self.ratio, name='channels')(x)
        return SpatialGate(self.options, name='spatial')(x, train)


class Attended(nn.Module):
    """An encoder with attention after its last map; the names of its parameters stay."""

    encoder: nn.Module
    options: Options = Options()

    def setup(self):
        self.attention = CBAM(self.options)
        self.attended = GlobalMeanPool()  # `pool` is taken by encoders
        nn.share_scope(self, self.encoder)

    def __call__(
        self, images: Float[Array, 'b h w 3'], train: bool, keys: Key[Array, ' b'] | None = None
    ) -> Encoded:
        _, maps = self.encoder(images, train, keys)
        refined = self.attention(maps[-1], train)
        return self.attended(refined), [*maps[:-1], refined]


def encoder(config: Any) -> nn.Module:
    """The encoder of a `model` section, with its attention.

    Raises:
        ValueError: unknown attention, or an encoder with dense layers, which would be passed by.
    """
    plain = configs.find('models', config.name).build(config)
    if not (name := config.get('attention', '')):
        return plain
    one_of('model.attention', name, ('cbam',))
    needs_map(config, 'model.attention')
    return Attended(plain, Options.read(config))


def needs_map(config: Any, what: str) -> None:
    """Raise ValueError where dense layers of an encoder follow its last map."""
    if config.get('top', 'mean') != 'mean':
        raise ValueError(
            f'{what} acts on the last map of {config.name}, which dense layers follow: set '
            "config.model.top to 'mean'"
        )
