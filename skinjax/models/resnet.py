"""Residual networks (He et al. 2016, v1.5; Xie et al. 2017) and a narrow one for small images.

    resnet18 resnet34        basic blocks, 64-512 channels
    resnet50 resnet101       bottlenecks with the stride on the 3x3 convolution
    resnext101_32x8d         bottlenecks with 32 groups of 8 channels
    narrow                   5x5 stem and one basic block of 16, 32, 64 channels: 64-px images

The last normalisation of every block starts at zero, so that each block starts as the identity
(Goyal et al. 2017).
"""

import dataclasses
from functools import partial

import flax.linen as nn
from jaxtyping import Array, Float

from skinjax.models.layers import Add, BatchNorm, Conv, Dtype, GlobalMeanPool, MaxPool, ReLU

DEFAULTS = {
    'variant': 'resnet50',  # one of VARIANTS
    'norm_groups': 1,  # slices of the global batch with their own statistics
    'norm_momentum': 0.9,
    'dtype': 'float32',  # of the computation; parameters and statistics stay float32
}


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
    'resnext101_32x8d': Variant((3, 4, 23, 3), cardinality=32, group_width=8),
    'narrow': Variant((1, 1, 1), width=16, bottleneck=False, stem_kernel=5, pool=2),
}


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    features: int
    stride: int
    variant: Variant
    norm: partial
    dtype: Dtype

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c'], train: bool) -> Float[Array, 'b i j f']:
        y = Conv(self.features, 3, self.stride, dtype=self.dtype, name='conv1')(x)
        y = ReLU(name='relu1')(self.norm(name='norm1')(y, train))
        y = Conv(self.features, 3, dtype=self.dtype, name='conv2')(y)
        y = self.norm(scale_init=nn.initializers.zeros, name='norm2')(y, train)
        return _join(self, x, y, train)


class Bottleneck(nn.Module):
    """1x1, 3x3 (strided, grouped) and 1x1 convolution with four times the channels."""

    features: int
    stride: int
    variant: Variant
    norm: partial
    dtype: Dtype

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c'], train: bool) -> Float[Array, 'b i j f']:
        v = self.variant
        inner = self.features * v.group_width // 64 * v.cardinality
        y = Conv(inner, 1, dtype=self.dtype, name='conv1')(x)
        y = ReLU(name='relu1')(self.norm(name='norm1')(y, train))
        y = Conv(inner, 3, self.stride, v.cardinality, dtype=self.dtype, name='conv2')(y)
        y = ReLU(name='relu2')(self.norm(name='norm2')(y, train))
        y = Conv(4 * self.features, 1, dtype=self.dtype, name='conv3')(y)
        y = self.norm(scale_init=nn.initializers.zeros, name='norm3')(y, train)
        return _join(self, x, y, train)


def _join(block: BasicBlock | Bottleneck, x, y, train):
    """relu(shortcut(x) + y), with a projection where the shapes differ."""
    if x.shape != y.shape:
        x = Conv(y.shape[-1], 1, block.stride, dtype=block.dtype, name='shortcut_conv')(x)
        x = block.norm(name='shortcut_norm')(x, train)
    return ReLU(name='relu')(Add(name='add')(x, y))


class ResNet(nn.Module):
    """Encoder: images -> features [b, d] and the map of every stage.

    The maps are the stem's output after pooling and each stage's output, finest first.
    """

    variant: Variant
    norm_groups: int = 1
    norm_momentum: float = 0.9
    dtype: Dtype = None

    @nn.compact
    def __call__(
        self, images: Float[Array, 'b h w 3'], train: bool
    ) -> tuple[Float[Array, 'b d'], list[Array]]:
        v = self.variant
        norm = partial(
            BatchNorm, momentum=self.norm_momentum, groups=self.norm_groups, dtype=self.dtype
        )
        x = Conv(v.width, v.stem_kernel, 2, dtype=self.dtype, name='stem_conv')(images)
        x = ReLU(name='stem_relu')(norm(name='stem_norm')(x, train))
        x = MaxPool(v.pool, 2, (v.pool - 1) // 2, name='stem_pool')(x)
        maps = [x]
        block = Bottleneck if v.bottleneck else BasicBlock
        for stage, count in enumerate(v.blocks):
            for i in range(count):
                stride = 2 if stage and not i else 1
                x = block(
                    v.width * 2**stage, stride, v, norm, self.dtype, name=f'stage{stage + 1}_{i}'
                )(x, train)
            maps.append(x)
        return GlobalMeanPool(name='pool')(x), maps


def build(config) -> ResNet:
    """The encoder that `config` (with the fields of DEFAULTS) describes.

    Raises:
        ValueError: unknown variant or dtype.
    """
    if config.dtype not in ('float32', 'bfloat16'):
        raise ValueError(f"model.dtype is {config.dtype!r}: choose 'float32' or 'bfloat16'")
    if config.variant not in VARIANTS:
        raise ValueError(
            f'unknown resnet variant {config.variant!r}: choose one of {", ".join(VARIANTS)}'
        )
    return ResNet(
        VARIANTS[config.variant],
        config.norm_groups,
        config.norm_momentum,
        None if config.dtype == 'float32' else config.dtype,
    )
