"""VGG-16 without and with batch normalisation (Simonyan & Zisserman 2015).

Layers are numbered as in torchvision, which counts every convolution, normalisation, ReLU and
pooling. Without normalisation relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1 of the literature are
stage1/relu_1, stage2/relu_6, stage3/relu_11, stage4/relu_18 and stage5/relu_25.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from skinjax.models.layers import Flatten, ReLU, dropout
from skinjax.models.options import Encoded, Options, one_of
from skinjax.models.pooling import AdaptiveMeanPool, GlobalMeanPool, MaxPool

DEFAULTS = {
    'variant': 'vgg16',  # or vgg16_bn
    'dropout': 0.5,  # after both dense layers, as published
    # 4096 features of fc7; or mean: 512 of the last map, without dense layers; or hidden: 512 of
    # one dense layer on that mean.
    'top': 'fc',
}

_CONVOLUTIONS = (
    (r'encoder/stage\d/conv_(\d+)/conv', r'features.\1'),
    (r'encoder/stage\d/norm_(\d+)', r'features.\1'),
)
NAMES = {
    'torchvision': (
        *_CONVOLUTIONS,
        (r'encoder/fc6', r'classifier.0'),
        (r'encoder/fc7', r'classifier.3'),
        (r'encoder/hidden', ''),
        (r'head', r'classifier.6'),
    ),
    # timm keeps the dense layers as convolutions: [4096, 512, 7, 7] and [4096, 4096, 1, 1].
    'timm': (
        *_CONVOLUTIONS,
        (r'encoder/fc6', r'pre_logits.fc1'),
        (r'encoder/fc7', r'pre_logits.fc2'),
        (r'encoder/hidden', ''),
        (r'head', r'head.fc'),
    ),
}
_DENSE = r'classifier\.[03]\..*|pre_logits\..*'
_OURS = r'params/encoder/(fc[67]|hidden)/.*'  # of a run
UNUSED = {'top': {'mean': rf'{_DENSE}|{_OURS}', 'hidden': _DENSE}}
# Dense layers that see a flattened map, and its shape (h, w, c): torch flattens (c, h, w).
FLATTENED = {'encoder/fc6': (7, 7, 512)}
WINDOWS = {'timm': {'encoder/fc6': (7, 7), 'encoder/fc7': (1, 1)}}

STAGES = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))  # convolutions and their channels
VARIANTS = {'vgg16': False, 'vgg16_bn': True}
_DENSE_INIT = nn.initializers.normal(0.01)


class Stage(nn.Module):
    """3x3 convolutions at one resolution; `first` is the number of the first layer."""

    first: int
    count: int
    features: int
    normalized: bool
    options: Options

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c'], train: bool) -> Float[Array, 'b h w f']:
        number = self.first
        for _ in range(self.count):
            x = self.options.conv(self.features, 3, use_bias=True, name=f'conv_{number}')(x)
            if self.normalized:
                number += 1
                x = self.options.norm(name=f'norm_{number}')(x, train)
            x = ReLU(name=f'relu_{number + 1}')(x)
            number += 2
        return x


class VGG(nn.Module):
    """The encoder. Maps: every stage's output before its pooling.

    Before the dense layers the last map is pooled to 7x7, so that images of any size fit. Dropout
    after fc6 has the rate of the one before the head.
    """

    normalized: bool
    dense: int = 4096  # width of the dense layers; 0 for none
    options: Options = Options()
    hidden: int = 0  # without them, width of one on the mean of the last map; 0 for none

    @nn.compact
    def __call__(
        self, images: Float[Array, 'b h w 3'], train: bool, keys: Key[Array, ' b'] | None = None
    ) -> Encoded:
        o, x, maps, number = self.options, images, [], 0
        stage = o.block(Stage)
        for i, (count, features) in enumerate(STAGES, start=1):
            x = stage(number, count, features, self.normalized, o, name=f'stage{i}')(x, train)
            maps.append(x)
            number += count * (3 if self.normalized else 2)
            x = MaxPool(2, 2, name=f'pool_{number}')(x)
            number += 1
        if not self.dense:
            x = GlobalMeanPool(name='pool')(x)
            if self.hidden:
                x = ReLU(name='relu')(nn.Dense(self.hidden, name='hidden')(x))
            return x, maps
        x = AdaptiveMeanPool(7, name='pool')(x)
        x = Flatten(name='flatten')(x)
        for i in (6, 7):
            x = nn.Dense(self.dense, dtype=o.dtype, kernel_init=_DENSE_INIT, name=f'fc{i}')(x)
            x = ReLU(name=f'relu{i}')(x)
            if i == 6:
                x = dropout(keys, x, o.dropout)
        return x.astype(jnp.float32), maps


def build(config) -> VGG:
    """The encoder that `config` (with the fields of DEFAULTS) describes.

    Raises:
        ValueError: unknown variant, top or dtype.
    """
    variant = one_of('model.variant', config.variant, VARIANTS)
    top = one_of('model.top', config.top, ('fc', 'mean', 'hidden'))
    dense, hidden = (4096 if top == 'fc' else 0), (512 if top == 'hidden' else 0)
    return VGG(VARIANTS[variant], dense, Options.read(config), hidden)
