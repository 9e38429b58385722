"""Residual networks (He et al. 2016, v1.5; Xie et al. 2017) and a narrow one for small images.

    resnet18 resnet34        basic blocks, 64-512 channels
    resnet50 resnet101       bottlenecks with the stride on the 3x3 convolution
    resnext50_32x4d          bottlenecks with 32 groups of 4 channels
    resnext101_32x8d         bottlenecks with 32 groups of 8 channels
    narrow                   5x5 stem and one basic block of 16, 32, 64 channels: 64-px images

The last normalisation of every block starts at zero, so that each block starts as the identity
(Goyal et al. 2017).
"""

import dataclasses

import flax.linen as nn
from jaxtyping import Array, Float, Key

from skinjax.models.layers import Add, ReLU
from skinjax.models.options import Encoded, Options, one_of
from skinjax.models.pooling import GlobalMeanPool, MaxPool

DEFAULTS = {
    'variant': 'resnet50',  # one of VARIANTS
    'dropout': 0.0,  # before the main head, as published
}

_NAMES = (
    (r'encoder/stem_conv/conv', r'conv1'),
    (r'encoder/stem_norm', r'bn1'),
    (r'encoder/stage(\d)_(\d+)/conv(\d)/conv', r'layer\1.\2.conv\3'),
    (r'encoder/stage(\d)_(\d+)/norm(\d)', r'layer\1.\2.bn\3'),
    (r'encoder/stage(\d)_(\d+)/shortcut_conv/conv', r'layer\1.\2.downsample.0'),
    (r'encoder/stage(\d)_(\d+)/shortcut_norm', r'layer\1.\2.downsample.1'),
    (r'head', r'fc'),
)
NAMES = {'torchvision': _NAMES, 'timm': _NAMES}


@dataclasses.dataclass(frozen=True)
class Variant:
    """Shape of one network."""

    blocks: tuple[int, ...]
    width: int = 64
    bottleneck: bool = True
    cardinality: int = 1
    group_width: int = 64
    stem_kernel: int = 7
    pool: int = 3


VARIANTS = {
    'resnet18': Variant((2, 2, 2, 2), bottleneck=False),
    'resnet34': Variant((3, 4, 6, 3), bottleneck=False),
    'resnet50': Variant((3, 4, 6, 3)),
    'resnet101': Variant((3, 4, 23, 3)),
    'resnext50_32x4d': Variant((3, 4, 6, 3), cardinality=32, group_width=4),
    'resnext101_32x8d': Variant((3, 4, 23, 3), cardinality=32, group_width=8),
    'narrow': Variant((1, 1, 1), width=16, bottleneck=False, stem_kernel=5, pool=2),
}


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    features: int
    stride: int
    variant: Variant
    options: Options

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c'], train: bool) -> Float[Array, 'b i j f']:
        o = self.options
        y = o.conv(self.features, 3, stride=self.stride, name='conv1')(x)
        y = ReLU(name='relu1')(o.norm(name='norm1')(y, train))
        y = o.conv(self.features, 3, name='conv2')(y)
        y = o.norm(scale_init=nn.initializers.zeros, name='norm2')(y, train)
        return _join(self, x, y, train)


class Bottleneck(nn.Module):
    """1x1, 3x3 (strided, grouped) and 1x1 convolution with four times the channels."""

    features: int
    stride: int
    variant: Variant
    options: Options

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c'], train: bool) -> Float[Array, 'b i j f']:
        o, groups = self.options, self.variant.cardinality
        inner = self.features * self.variant.group_width // 64 * groups
        y = o.conv(inner, 1, name='conv1')(x)
        y = ReLU(name='relu1')(o.norm(name='norm1')(y, train))
        y = o.conv(inner, 3, stride=self.stride, feature_groups=groups, name='conv2')(y)
        y = ReLU(name='relu2')(o.norm(name='norm2')(y, train))
        y = o.conv(4 * self.features, 1, name='conv3')(y)
        y = o.norm(scale_init=nn.initializers.zeros, name='norm3')(y, train)
        return _join(self, x, y, train)


def _join(block: BasicBlock | Bottleneck, x, y, train):
    """relu(shortcut(x) + y), with a projection where the shapes differ."""
    if x.shape != y.shape:
        x = block.options.conv(y.shape[-1], 1, stride=block.stride, name='shortcut_conv')(x)
        x = block.options.norm(name='shortcut_norm')(x, train)
    return ReLU(name='relu')(Add(name='add')(x, y))


class ResNet(nn.Module):
    """The encoder. Maps: the stem's output after pooling and each stage's output."""

    variant: Variant
    options: Options = Options()

    @nn.compact
    def __call__(
        self, images: Float[Array, 'b h w 3'], train: bool, keys: Key[Array, ' b'] | None = None
    ) -> Encoded:
        del keys  # nothing here is random
        v, o = self.variant, self.options
        x = o.conv(v.width, v.stem_kernel, stride=2, name='stem_conv')(images)
        x = ReLU(name='stem_relu')(o.norm(name='stem_norm')(x, train))
        x = MaxPool(v.pool, 2, (v.pool - 1) // 2, name='stem_pool')(x)
        maps = [x]
        block = o.block(Bottleneck if v.bottleneck else BasicBlock)
        for stage, count in enumerate(v.blocks):
            for i in range(count):
                stride = 2 if stage and not i else 1
                name = f'stage{stage + 1}_{i}'
                x = block(v.width * 2**stage, stride, v, o, name=name)(x, train)
            maps.append(x)
        return GlobalMeanPool(name='pool')(x), maps


def build(config) -> ResNet:
    """The encoder that `config` (with the fields of DEFAULTS) describes.

    Raises:
        ValueError: unknown variant or dtype.
    """
    variant = one_of('model.variant', config.variant, VARIANTS)
    return ResNet(VARIANTS[variant], Options.read(config))
