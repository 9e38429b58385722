"""Densely connected networks with bottlenecks and compression 1/2 (Huang et al. 2017).

    densenet121    growth 32, blocks of 6, 12, 24, 16 layers, 1024 features
    densenet161    growth 48, blocks of 6, 12, 36, 24 layers, 2208 features

He initialisation over the fan-in, from normal distributions that are not truncated, as in
torchvision.
"""

import dataclasses

import flax.linen as nn
from jaxtyping import Array, Float, Key

from skinjax.models.layers import Concat, ReLU
from skinjax.models.options import Encoded, Options, one_of
from skinjax.models.pooling import AvgPool, GlobalMeanPool, MaxPool

DEFAULTS = {
    'variant': 'densenet121',  # one of VARIANTS
    'dropout': 0.0,  # before the main head, as in torchvision
}

_NAMES = (
    (r'encoder/stem_conv/conv', r'features.conv0'),
    (r'encoder/stem_norm', r'features.norm0'),
    (r'encoder/block(\d)_layer(\d+)/norm(\d)', r'features.denseblock\1.denselayer\2.norm\3'),
    (r'encoder/block(\d)_layer(\d+)/conv(\d)/conv', r'features.denseblock\1.denselayer\2.conv\3'),
    (r'encoder/transition(\d)/norm', r'features.transition\1.norm'),
    (r'encoder/transition(\d)/conv/conv', r'features.transition\1.conv'),
    (r'encoder/last_norm', r'features.norm5'),
    (r'head', r'classifier'),
)
NAMES = {'torchvision': _NAMES, 'timm': _NAMES}
# The files that torchvision publishes write norm.1 for norm1 and so on inside dense layers.
RENAMED = ((r'(.*\.denselayer\d+\.(?:norm|conv))\.([12]\..*)', r'\1\2'),)

_INIT = nn.initializers.variance_scaling(2.0, 'fan_in', 'normal')
_BOTTLENECK = 4  # width of the 1x1 convolutions in units of the growth


@dataclasses.dataclass(frozen=True)
class Variant:
    """Shape of one network."""

    blocks: tuple[int, ...]
    growth: int = 32
    width: int = 64


VARIANTS = {
    'densenet121': Variant((6, 12, 24, 16)),
    'densenet161': Variant((6, 12, 36, 24), growth=48, width=96),
}


class DenseLayer(nn.Module):
    """All maps so far -> `growth` new channels, by a 1x1 and a 3x3 convolution."""

    growth: int
    options: Options

    @nn.compact
    def __call__(
        self, parts: list[Float[Array, 'b h w _']], train: bool
    ) -> Float[Array, 'b h w {self.growth}']:
        o, x = self.options, Concat(name='concat')(parts)
        x = ReLU(name='relu1')(o.norm(name='norm1')(x, train))
        x = o.conv(_BOTTLENECK * self.growth, 1, kernel_init=_INIT, name='conv1')(x)
        x = ReLU(name='relu2')(o.norm(name='norm2')(x, train))
        return o.conv(self.growth, 3, kernel_init=_INIT, name='conv2')(x)


class Transition(nn.Module):
    """Half the channels and half the resolution."""

    options: Options

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c'], train: bool) -> Float[Array, 'b i j d']:
        half = x.shape[-1] // 2
        x = ReLU(name='relu')(self.options.norm(name='norm')(x, train))
        x = self.options.conv(half, 1, kernel_init=_INIT, name='conv')(x)
        return AvgPool(2, 2, name='pool')(x)


class DenseNet(nn.Module):
    """The encoder. Maps: the stem's output after pooling, each dense block's output before its
    transition, and of the last block the normalised and rectified output.
    """

    variant: Variant
    options: Options = Options()

    @nn.compact
    def __call__(
        self, images: Float[Array, 'b h w 3'], train: bool, keys: Key[Array, ' b'] | None = None
    ) -> Encoded:
        del keys  # nothing here is random
        v, o = self.variant, self.options
        x = o.conv(v.width, 7, stride=2, kernel_init=_INIT, name='stem_conv')(images)
        x = ReLU(name='stem_relu')(o.norm(name='stem_norm')(x, train))
        x = MaxPool(3, 2, 1, name='stem_pool')(x)
        maps = [x]
        layer = o.block(DenseLayer)
        for block, count in enumerate(v.blocks, start=1):
            if block > 1:
                x = Transition(o, name=f'transition{block - 1}')(x, train)
            parts = [x]
            for i in range(1, count + 1):
                parts = [*parts, layer(v.growth, o, name=f'block{block}_layer{i}')(parts, train)]
            x = Concat(name=f'block{block}_concat')(parts)
            maps.append(x)
        maps[-1] = ReLU(name='last_relu')(o.norm(name='last_norm')(x, train))
        return GlobalMeanPool(name='pool')(maps[-1]), maps


def build(config) -> DenseNet:
    """The encoder that `config` (with the fields of DEFAULTS) describes.

    Raises:
        ValueError: unknown variant or dtype.
    """
    variant = one_of('model.variant', config.variant, VARIANTS)
    return DenseNet(VARIANTS[variant], Options.read(config))
