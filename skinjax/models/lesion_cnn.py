"""The five-block network that restyles lesions (Debiasing-Melanoma-Images, published code).

Blocks of 2, 2, 3, 3, 3 convolutions 3x3 with bias, each followed by ReLU and normalisation, then
2x2 pooling and dropout; on top dense layers of 256 and 64. With nine classes it has 5,177,649
parameters for images of 224 px and 6,160,689 for 256 px, normalisation having none: the next
convolution can scale and shift.

Departure from the published code, which always normalises by the batch at hand: evaluation uses
running statistics. `train=True` gives the published behaviour.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from skinjax.models.layers import Flatten, ReLU, dropout, fold
from skinjax.models.options import Encoded, Options, one_of
from skinjax.models.pooling import AvgPool, GlobalMeanPool, MaxPool

DEFAULTS = {
    'variant': 'max',  # pooling of every block: max, or avg for the style of an image
    'dropout': 0.3,  # before the main head
    'block_dropout': 0.3,  # at the end of every block
    'top': 'fc',  # 64 features of the dense layers; or mean: 256 of the last map, without them
}

_NAMES = (
    (r'encoder/block(\d)/conv(\d)/conv', r'block\1.conv\2'),
    (r'encoder/block(\d)/norm(\d)', r'block\1.norm\2'),
    (r'encoder/(fc\d)', r'\1'),
    (r'head', r'head'),
)
NAMES = {'torch_baselines': _NAMES}
UNUSED = {'top': {'mean': r'fc\d\..*|params/encoder/fc\d/.*'}}

BLOCKS = ((2, 8), (2, 32), (3, 64), (3, 128), (3, 256))  # convolutions and their channels
VARIANTS = {'max': MaxPool, 'avg': AvgPool}


class Block(nn.Module):
    """Convolutions at one resolution, pooling, dropout."""

    count: int
    features: int
    pool: str
    drop: float
    options: Options

    @nn.compact
    def __call__(
        self, x: Float[Array, 'b h w c'], train: bool, keys: Key[Array, ' b'] | None = None
    ) -> Float[Array, 'b i j f']:
        for i in range(1, self.count + 1):
            x = self.options.conv(self.features, 3, use_bias=True, name=f'conv{i}')(x)
            x = ReLU(name=f'relu{i}')(x)
            x = self.options.norm(affine=False, name=f'norm{i}')(x, train)
        return dropout(keys, VARIANTS[self.pool](2, 2, name='pool')(x), self.drop)


class LesionCNN(nn.Module):
    """The encoder. Maps: every block's output.

    The first dense layer belongs to one image size; `dense=False` fits every size and has the
    same parameters otherwise.
    """

    pool: str = 'max'
    drop: float = 0.3
    dense: bool = True
    options: Options = Options()

    @nn.compact
    def __call__(
        self, images: Float[Array, 'b h w 3'], train: bool, keys: Key[Array, ' b'] | None = None
    ) -> Encoded:
        o, x, maps = self.options, images, []
        block = o.block(Block)
        for i, (count, features) in enumerate(BLOCKS, start=1):
            x = block(count, features, self.pool, self.drop, o, name=f'block{i}')(
                x, train, fold(keys, i)
            )
            maps.append(x)
        if not self.dense:
            return GlobalMeanPool(name='pool')(x), maps
        x = Flatten(name='flatten')(x)
        for i, size in enumerate((256, 64), start=1):
            x = ReLU(name=f'fc_relu{i}')(nn.Dense(size, dtype=o.dtype, name=f'fc{i}')(x))
        return x.astype(jnp.float32), maps


def build(config) -> LesionCNN:
    """The encoder that `config` (with the fields of DEFAULTS) describes.

    Raises:
        ValueError: unknown variant, top or dtype.
    """
    pool = one_of('model.variant', config.variant, VARIANTS)
    top = one_of('model.top', config.top, ('fc', 'mean'))
    return LesionCNN(pool, config.block_dropout, top == 'fc', Options.read(config))
