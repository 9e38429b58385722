"""MobileNetV2 (Sandler et al. 2018).

The weights that Google published were trained with TensorFlow's padding (`padding = 'tf'`) on
(pixel - 128) / 128, which is `data.mean` and `data.std` of 128/255; those of torchvision and timm
with PyTorch's padding.
"""

import flax.linen as nn
from jaxtyping import Array, Float, Key

from skinjax.models.layers import Add, ConvNorm, ReLU6
from skinjax.models.options import Encoded, Options, one_of
from skinjax.models.pooling import GlobalMeanPool

DEFAULTS = {
    'variant': 'mobilenet_v2',
    'dropout': 0.2,  # before the main head, as in torchvision
    'padding': 'torch',  # zeros on both sides of strided windows; tf: only after the last pixel
}
VARIANTS = ('mobilenet_v2',)

# Of each stage: channels, blocks, stride of the first block. All but the first expand sixfold.
STAGES = ((16, 1, 1), (24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
BLOCKS = [
    (channels, 6 if stage else 1, stride if not i else 1, f'{stage}.{i}')
    for stage, (channels, count, stride) in enumerate(STAGES)
    for i in range(count)
]
ENDS = (1, 3, 6, 13)  # the last blocks before the resolution falls


def _timm() -> tuple[tuple[str, str], ...]:
    rows = [
        (r'encoder/stem/conv/conv', 'conv_stem'),
        (r'encoder/stem/norm', 'bn1'),
        (r'encoder/last/conv/conv', 'conv_head'),
        (r'encoder/last/norm', 'bn2'),
        (r'head', 'classifier'),
    ]
    for number, (*_, place) in enumerate(BLOCKS, start=1):
        parts = {'expand': 'conv_pw', 'depthwise': 'conv_dw', 'project': 'conv_pwl'}
        if number == 1:
            parts = {'depthwise': 'conv_dw', 'project': 'conv_pw'}
        for i, (ours, theirs) in enumerate(parts.items(), start=1):
            here = f'encoder/block{number}/{ours}'
            rows += [(f'{here}/conv/conv', f'blocks.{place}.{theirs}')]
            rows += [(f'{here}/norm', f'blocks.{place}.bn{i}')]
    return tuple(rows)


NAMES = {
    'torchvision': (
        (r'encoder/stem/conv/conv', r'features.0.0'),
        (r'encoder/stem/norm', r'features.0.1'),
        (r'encoder/block1/depthwise/conv/conv', r'features.1.conv.0.0'),
        (r'encoder/block1/depthwise/norm', r'features.1.conv.0.1'),
        (r'encoder/block1/project/conv/conv', r'features.1.conv.1'),
        (r'encoder/block1/project/norm', r'features.1.conv.2'),
        (r'encoder/block(\d+)/expand/conv/conv', r'features.\1.conv.0.0'),
        (r'encoder/block(\d+)/expand/norm', r'features.\1.conv.0.1'),
        (r'encoder/block(\d+)/depthwise/conv/conv', r'features.\1.conv.1.0'),
        (r'encoder/block(\d+)/depthwise/norm', r'features.\1.conv.1.1'),
        (r'encoder/block(\d+)/project/conv/conv', r'features.\1.conv.2'),
        (r'encoder/block(\d+)/project/norm', r'features.\1.conv.3'),
        (r'encoder/last/conv/conv', r'features.18.0'),
        (r'encoder/last/norm', r'features.18.1'),
        (r'head', r'classifier.1'),
    ),
    'timm': _timm(),
    # Normalisation is folded into the convolution, whose bias is that of the normalisation.
    'tensorflow': (
        (r'encoder/stem/(?:conv/conv|norm)', r'Conv'),
        (r'encoder/block1/(depthwise|project)/(?:conv/conv|norm)', r'expanded_conv/\1'),
        *(
            (
                rf'encoder/block{i + 1}/(expand|depthwise|project)/(?:conv/conv|norm)',
                rf'expanded_conv_{i}/\1',
            )
            for i in range(1, len(BLOCKS))
        ),
        (r'encoder/last/(?:conv/conv|norm)', r'Conv_1'),
        (r'head', r'Logits/Conv2d_1c_1x1'),
    ),
}
WINDOWS = {'tensorflow': {'head': (1, 1)}}  # the head is a 1x1 convolution there
EXPECTED = {  # fields of the config that weights depend on
    'torchvision': {'padding': 'torch'},
    'timm': {'padding': 'torch'},
    'tensorflow': {'padding': 'tf'},
}


class InvertedResidual(nn.Module):
    """Expand by a 1x1 convolution, filter every channel, project back without activation."""

    features: int
    expansion: int
    stride: int
    padding: str
    options: Options

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c'], train: bool) -> Float[Array, 'b i j f']:
        wide, y = x.shape[-1] * self.expansion, x
        if self.expansion > 1:
            y = ConvNorm(self.options, wide, 1, activation=ReLU6, name='expand')(y, train)
        y = ConvNorm(
            self.options, wide, 3, self.stride, wide, self.padding, activation=ReLU6,
            name='depthwise',
        )(y, train)  # fmt: skip
        y = ConvNorm(self.options, self.features, 1, activation=None, name='project')(y, train)
        return Add(name='add')(x, y) if x.shape == y.shape else y


class MobileNetV2(nn.Module):
    """The encoder. Maps: the last block before each loss of resolution, and the last layer."""

    padding: str = 'symmetric'
    options: Options = Options()

    @nn.compact
    def __call__(
        self, images: Float[Array, 'b h w 3'], train: bool, keys: Key[Array, ' b'] | None = None
    ) -> Encoded:
        del keys  # nothing here is random
        o, maps = self.options, []
        x = ConvNorm(o, 32, 3, 2, padding=self.padding, activation=ReLU6, name='stem')(
            images, train
        )
        block = o.block(InvertedResidual)
        for i, (features, expansion, stride, _) in enumerate(BLOCKS, start=1):
            x = block(features, expansion, stride, self.padding, o, name=f'block{i}')(x, train)
            if i in ENDS:
                maps.append(x)
        x = ConvNorm(o, 1280, 1, activation=ReLU6, name='last')(x, train)
        return GlobalMeanPool(name='pool')(x), [*maps, x]


def build(config) -> MobileNetV2:
    """The encoder that `config` (with the fields of DEFAULTS) describes.

    Raises:
        ValueError: unknown variant, padding or dtype.
    """
    one_of('model.variant', config.variant, VARIANTS)
    padding = one_of('model.padding', config.padding, ('torch', 'tf'))
    return MobileNetV2('symmetric' if padding == 'torch' else 'SAME', Options.read(config))
