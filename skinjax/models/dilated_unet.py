"""Dilated U-Net for lesion masks (Bisla et al. 2019, section 4.1, table 1, and published code).

    down1-3     2 x convolution, then 2x2 pooling                      64, 128, 256 channels
    bottom      convolutions of dilation 2, 2, 4, 4                    512, 512, 1024, 1024
                transposed convolutions of dilation 4, 4, 2, 2         1024, 512, 512, 512
    up3-1       nearest doubling and convolution; joined with the map before the pooling of the
                same level (decoder first); 2 x transposed convolution 256, 128, 64
    out         1x1 convolution to one logit a pixel

All windows are 3x3 and followed by ReLU; convolutions have no padding, except after doubling. From
input to output 41,588,928 parameters. An image of H pixels is cut by 4 and halved three times, so
H has to be 4 modulo 8, and at least 228; others are padded by reflection, around the centre, and
logits are cropped. There is neither normalisation nor dropout: `train` and `keys` change nothing.

A transposed convolution of stride 1 is a convolution padded until the window meets one pixel, with
the kernel turned by 180 degrees; kernels are kept turned, [rows, columns, in, out].
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from skinjax.models.conv import HE_FAN_OUT
from skinjax.models.doubling import DoublingConv
from skinjax.models.layers import Concat, ReLU
from skinjax.models.options import Options, one_of
from skinjax.models.pooling import MaxPool

TASK = 'segmentation'
DEFAULTS = {
    'variant': 'dilated_unet',
    'width': 1.0,  # factor of all numbers of channels
    'bias': 'published',  # none in the convolutions of `bottom` and `out`; or all: everywhere
    'skips': True,  # join the maps of the same level
}

NAMES = {
    'torch_baselines': (
        (r'\w+/((?:down|up)\d)/(t?conv\d?)/conv', r'\1.\2'),
        (r'\w+/bottom/(t?conv\d)/conv', r'bottom.\1'),
        (r'\w+/out/conv', r'out'),
    )
}
# Modules whose kernels torch keeps as those of transposed convolutions.
TRANSPOSED = r'.*/tconv\d/conv'

LEVELS = (64, 128, 256)
BOTTOM = ((512, 2), (512, 2), (1024, 4), (1024, 4))  # channels and dilation
RISE = ((1024, 4), (512, 4), (512, 2), (512, 2))
LEAST, STEP, REST = 228, 8, 4  # sides that fit: at least LEAST, and REST modulo STEP
VARIANTS = ('dilated_unet',)


def uniform(count: int) -> nn.initializers.Initializer:
    """Between -1 / sqrt(count) and 1 / sqrt(count): torch's default for `count` inputs."""
    bound = count**-0.5

    def draw(key, shape, dtype=jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return draw


class Layers(nn.Module):
    """What both kinds of block are made of; initialised as in the published code.

    Kernels of convolutions: normal, variance 2 / (taps x channels out); everything else as torch
    does by default: uniform, up to 1 / sqrt(taps x channels in) for biases of convolutions and up
    to 1 / sqrt(taps x channels out) for kernels and biases of transposed convolutions.
    """

    options: Options
    biased: bool

    def conv(self, x: Array, features: int, dilation: int, name: str) -> Array:
        """3x3 convolution without padding, ReLU."""
        layer = self.options.conv(
            features, 3, padding='VALID', dilation=dilation, use_bias=self.biased,
            bias_init=uniform(9 * x.shape[-1]), name=name,
        )  # fmt: skip
        return ReLU(name=f'{name}_relu')(layer(x))

    def tconv(self, x: Array, features: int, dilation: int, name: str) -> Array:
        """3x3 transposed convolution of stride 1, ReLU."""
        layer = self.options.conv(
            features, 3, padding='full', dilation=dilation, use_bias=self.biased,
            kernel_init=uniform(9 * features), bias_init=uniform(9 * features), name=name,
        )  # fmt: skip
        return ReLU(name=f'{name}_relu')(layer(x))


class Down(Layers):
    """Two convolutions."""

    features: int = 0

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c'], train: bool) -> Float[Array, 'b i j f']:
        x = self.conv(x, self.features, 1, 'conv1')
        return self.conv(x, self.features, 1, 'conv2')


class Bottom(Layers):
    """Dilated convolutions and as many transposed ones, which restore the size."""

    fall: tuple[tuple[int, int], ...] = ()
    rise: tuple[tuple[int, int], ...] = ()

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c'], train: bool) -> Float[Array, 'b i j f']:
        for i, (features, dilation) in enumerate(self.fall, start=1):
            x = self.conv(x, features, dilation, f'conv{i}')
        for i, (features, dilation) in enumerate(self.rise, start=1):
            x = self.tconv(x, features, dilation, f'tconv{i}')
        return x


class Up(Layers):
    """Doubling with a convolution, the skip, two transposed convolutions."""

    features: int = 0

    @nn.compact
    def __call__(
        self, x: Float[Array, 'b h w c'], train: bool, skip: Float[Array, 'b i j f'] | None
    ) -> Float[Array, 'b k l f']:
        layer = DoublingConv(
            self.features, bias_init=uniform(9 * x.shape[-1]), dtype=self.options.dtype, name='conv'
        )
        x = ReLU(name='conv_relu')(layer(x))
        if skip is not None:
            x = Concat(name='concat')([x, skip])
        x = self.tconv(x, self.features, 1, 'tconv1')
        return self.tconv(x, self.features, 1, 'tconv2')


class DilatedUNet(nn.Module):
    """The network: channels of an image in, one logit a pixel out."""

    width: float = 1.0
    bias_everywhere: bool = False
    skips: bool = True
    options: Options = Options()

    def scaled(self, channels: int) -> int:
        """A number of channels times the width."""
        return max(1, round(self.width * channels))

    @nn.compact
    def __call__(
        self, images: Float[Array, 'b h w c'], train: bool, keys: Key[Array, ' b'] | None = None
    ) -> Float[Array, 'b h w']:
        o = self.options
        down, bottom, up = (o.block(block) for block in (Down, Bottom, Up))
        x, (top, left), maps = *pad_to_legal(images), []
        for i, features in enumerate(LEVELS, start=1):
            x = down(o, True, self.scaled(features), name=f'down{i}')(x, train)
            maps.append(x)
            x = MaxPool(2, 2, name=f'pool{i}')(x)
        fall, rise = (tuple((self.scaled(c), d) for c, d in part) for part in (BOTTOM, RISE))
        x = bottom(o, self.bias_everywhere, fall, rise, name='bottom')(x, train)
        for i, features in reversed([*enumerate(LEVELS, start=1)]):
            skip = maps[i - 1] if self.skips else None
            x = up(o, True, self.scaled(features), name=f'up{i}')(x, train, skip)
        bias = {'use_bias': self.bias_everywhere, 'bias_init': uniform(x.shape[-1])}
        x = o.conv(1, 1, kernel_init=HE_FAN_OUT, name='out', **bias)(x)
        height, width = images.shape[1:3]
        return x[:, top : top + height, left : left + width, 0].astype(jnp.float32)


def legal(side: int) -> int:
    """The least side that fits the network and holds `side` pixels."""
    return max(LEAST, side + (REST - side) % STEP)


def pad_to_legal(images: Float[Array, 'b h w c']) -> tuple[Array, tuple[int, int]]:
    """Images in the middle of their reflections, and (row, column) of their first pixel.

    Sides that fit stay as they are; of an odd number of missing pixels the last is at the end.
    Where a side is shorter than what is missing, reflections are reflected.
    """
    starts = []
    for axis in (1, 2):
        side = images.shape[axis]
        missing = legal(side) - side
        starts.append(missing // 2)
        if missing:
            pads = (missing // 2, missing - missing // 2)
            images = jnp.take(images, np.pad(np.arange(side), pads, 'reflect'), axis)
    return images, (starts[0], starts[1])


def build(config) -> DilatedUNet:
    """The network that `config` (with the fields of DEFAULTS) describes.

    Raises:
        ValueError: unknown variant, bias or dtype, or a width that is not positive.
    """
    one_of('model.variant', config.variant, VARIANTS)
    bias = one_of('model.bias', config.bias, ('published', 'all'))
    if not config.width > 0:
        raise ValueError(f'model.width is {config.width}: choose a factor above 0')
    return DilatedUNet(config.width, bias == 'all', config.skips, Options.read(config))
