"""EfficientNet-B0 to B3 (Tan & Le 2019).

Stochastic depth drops whole examples (torchvision's 'row') at rates that grow linearly from 0 in
the first block to 0.2 (n - 1) / n in the last of n.

The tf_efficientnet_* weights of timm are not supported: they were trained with TensorFlow's padding
and an epsilon of 1e-3. Their names and shapes are those of timm's other files, so that they cannot
be told apart and load without an error.
"""

import math

import flax.linen as nn
from jaxtyping import Array, Float, Key

from skinjax.models.layers import Add, ConvNorm, Scale, Sigmoid, SiLU, drop_branch, fold
from skinjax.models.options import Encoded, Options, one_of
from skinjax.models.pooling import GlobalMeanPool

DEFAULTS = {
    'variant': 'efficientnet_b0',  # one of VARIANTS
    'dropout': 0.2,  # before the main head; B0 and B1 as published, B2 and B3 have 0.3 there
    'stochastic_depth': 0.2,  # the rate of dropped branches, towards the last block
}

NAMES = {
    'torchvision': (
        (r'encoder/stem/conv/conv', r'features.0.0'),
        (r'encoder/stem/norm', r'features.0.1'),
        (r'encoder/stage1_(\d+)/depthwise/conv/conv', r'features.1.\1.block.0.0'),
        (r'encoder/stage1_(\d+)/depthwise/norm', r'features.1.\1.block.0.1'),
        (r'encoder/stage1_(\d+)/squeeze/fc(\d)/conv', r'features.1.\1.block.1.fc\2'),
        (r'encoder/stage1_(\d+)/project/conv/conv', r'features.1.\1.block.2.0'),
        (r'encoder/stage1_(\d+)/project/norm', r'features.1.\1.block.2.1'),
        (r'encoder/stage(\d)_(\d+)/expand/conv/conv', r'features.\1.\2.block.0.0'),
        (r'encoder/stage(\d)_(\d+)/expand/norm', r'features.\1.\2.block.0.1'),
        (r'encoder/stage(\d)_(\d+)/depthwise/conv/conv', r'features.\1.\2.block.1.0'),
        (r'encoder/stage(\d)_(\d+)/depthwise/norm', r'features.\1.\2.block.1.1'),
        (r'encoder/stage(\d)_(\d+)/squeeze/fc(\d)/conv', r'features.\1.\2.block.2.fc\3'),
        (r'encoder/stage(\d)_(\d+)/project/conv/conv', r'features.\1.\2.block.3.0'),
        (r'encoder/stage(\d)_(\d+)/project/norm', r'features.\1.\2.block.3.1'),
        (r'encoder/last/conv/conv', r'features.8.0'),
        (r'encoder/last/norm', r'features.8.1'),
        (r'head', r'classifier.1'),
    ),
    'timm': (
        (r'encoder/stem/conv/conv', r'conv_stem'),
        (r'encoder/stem/norm', r'bn1'),
        (r'encoder/stage1_(\d+)/depthwise/conv/conv', r'blocks.0.\1.conv_dw'),
        (r'encoder/stage1_(\d+)/depthwise/norm', r'blocks.0.\1.bn1'),
        (r'encoder/stage1_(\d+)/squeeze/fc1/conv', r'blocks.0.\1.se.conv_reduce'),
        (r'encoder/stage1_(\d+)/squeeze/fc2/conv', r'blocks.0.\1.se.conv_expand'),
        (r'encoder/stage1_(\d+)/project/conv/conv', r'blocks.0.\1.conv_pw'),
        (r'encoder/stage1_(\d+)/project/norm', r'blocks.0.\1.bn2'),
        *(
            (rf'encoder/stage{stage}_(\d+)/{ours}', rf'blocks.{stage - 1}.\1.{theirs}')
            for stage in range(2, 8)
            for ours, theirs in (
                ('expand/conv/conv', 'conv_pw'),
                ('expand/norm', 'bn1'),
                ('depthwise/conv/conv', 'conv_dw'),
                ('depthwise/norm', 'bn2'),
                ('squeeze/fc1/conv', 'se.conv_reduce'),
                ('squeeze/fc2/conv', 'se.conv_expand'),
                ('project/conv/conv', 'conv_pwl'),
                ('project/norm', 'bn3'),
            )
        ),
        (r'encoder/last/conv/conv', r'conv_head'),
        (r'encoder/last/norm', r'bn2'),
        (r'head', r'classifier'),
    ),
}

VARIANTS = {  # factors of width and depth
    'efficientnet_b0': (1.0, 1.0),
    'efficientnet_b1': (1.0, 1.1),
    'efficientnet_b2': (1.1, 1.2),
    'efficientnet_b3': (1.2, 1.4),
}
# Of each stage: expansion, kernel, stride of the first block, channels, blocks.
STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
ENDS = (1, 2, 3, 5)  # the last stages before the resolution falls


def channels(count: int, factor: float) -> int:
    """`count` times `factor`, rounded to a multiple of 8 and down by at most a tenth."""
    wanted = count * factor
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * wanted else rounded + 8


class SqueezeExcite(nn.Module):
    """Gates of the channels from their means (Hu et al. 2018), with `inner` hidden units."""

    inner: int
    options: Options

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b h w c']:
        gate = GlobalMeanPool(name='pool')(x)[:, None, None].astype(x.dtype)
        gate = self.options.conv(self.inner, 1, use_bias=True, name='fc1')(gate)
        gate = SiLU(name='silu')(gate)
        gate = self.options.conv(x.shape[-1], 1, use_bias=True, name='fc2')(gate)
        return Scale(name='scale')(x, Sigmoid(name='sigmoid')(gate))


class MBConv(nn.Module):
    """Expand, filter every channel, gate, project back without activation."""

    features: int
    expansion: int
    kernel: int
    stride: int
    drop: float
    options: Options

    @nn.compact
    def __call__(
        self, x: Float[Array, 'b h w c'], train: bool, keys: Key[Array, ' b'] | None = None
    ) -> Float[Array, 'b i j f']:
        o, narrow, y = self.options, x.shape[-1], x
        wide = narrow * self.expansion
        if self.expansion > 1:
            y = ConvNorm(o, wide, 1, activation=SiLU, name='expand')(y, train)
        depthwise = ConvNorm(
            o, wide, self.kernel, self.stride, wide, activation=SiLU, name='depthwise'
        )
        y = SqueezeExcite(max(1, narrow // 4), o, name='squeeze')(depthwise(y, train))
        y = ConvNorm(o, self.features, 1, activation=None, name='project')(y, train)
        if x.shape != y.shape:
            return y
        return Add(name='add')(x, drop_branch(keys, y, self.drop))


class EfficientNet(nn.Module):
    """The encoder. Maps: the last block before each loss of resolution, and the last layer."""

    width: float
    depth: float
    drop: float = 0.2
    options: Options = Options()

    @nn.compact
    def __call__(
        self, images: Float[Array, 'b h w 3'], train: bool, keys: Key[Array, ' b'] | None = None
    ) -> Encoded:
        o, maps, number = self.options, [], 0
        total = sum(math.ceil(count * self.depth) for *_, count in STAGES)
        x = ConvNorm(o, channels(32, self.width), 3, 2, activation=SiLU, name='stem')(images, train)
        block = o.block(MBConv)
        for stage, (expansion, kernel, stride, base, count) in enumerate(STAGES, start=1):
            features = channels(base, self.width)
            for i in range(math.ceil(count * self.depth)):
                rate, step = self.drop * number / total, 1 if i else stride
                x = block(features, expansion, kernel, step, rate, o, name=f'stage{stage}_{i}')(
                    x, train, fold(keys, number)
                )
                number += 1
            if stage in ENDS:
                maps.append(x)
        last = 4 * channels(STAGES[-1][3], self.width)
        x = ConvNorm(o, last, 1, activation=SiLU, name='last')(x, train)
        return GlobalMeanPool(name='pool')(x), [*maps, x]


def build(config) -> EfficientNet:
    """The encoder that `config` (with the fields of DEFAULTS) describes.

    Raises:
        ValueError: unknown variant or dtype.
    """
    variant = one_of('model.variant', config.variant, VARIANTS)
    return EfficientNet(*VARIANTS[variant], config.stochastic_depth, Options.read(config))
