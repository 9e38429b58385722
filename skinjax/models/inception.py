"""Inception-v3 without the auxiliary classifier (Szegedy et al. 2016); meant for 299-px images.

Layers have the names of the published model. Its ImageNet weights expect pixels in [-1, 1]:
`data.mean` and `data.std` of 0.5. Normal initialisation with deviation 0.1, as in torchvision.
"""

import dataclasses

import flax.linen as nn
from jaxtyping import Array, Float, Key

from skinjax.models.layers import Concat, ConvNorm
from skinjax.models.options import Encoded, Options, one_of
from skinjax.models.pooling import AvgPool, GlobalMeanPool, MaxPool

DEFAULTS = {
    'variant': 'inception_v3',
    'dropout': 0.5,  # before the main head, as in torchvision
}
VARIANTS = ('inception_v3',)

_NAMES = (
    (r'encoder/(\w+)/conv/conv', r'\1.conv'),
    (r'encoder/(\w+)/norm', r'\1.bn'),
    (r'encoder/(\w+)/(\w+)/conv/conv', r'\1.\2.conv'),
    (r'encoder/(\w+)/(\w+)/norm', r'\1.\2.bn'),
    (r'head', r'fc'),
)
NAMES = {'torchvision': _NAMES, 'timm': _NAMES}

_INIT = nn.initializers.normal(0.1)


@dataclasses.dataclass(frozen=True)
class Unit:
    """One convolution of a branch; strided ones are not padded."""

    name: str
    features: int
    kernel: int | tuple[int, int] = 1
    stride: int = 1

    def __call__(self, options: Options, x: Array, train: bool, padding: str = '') -> Array:
        return ConvNorm(
            options,
            self.features,
            self.kernel,
            self.stride,
            padding=padding or ('VALID' if self.stride > 1 else 'symmetric'),
            epsilon=1e-3,
            kernel_init=_INIT,
            name=self.name,
        )(x, train)


Branch = tuple[Unit | tuple[Unit, Unit], ...]


@dataclasses.dataclass(frozen=True)
class Shape:
    """Branches of a mixed module; a pair of units works side by side. `pool` is the features of
    the 1x1 convolution after a mean pooling, or 0 for a strided maximum.
    """

    branches: tuple[Branch, ...]
    pool: int = 0


def _a(pool: int) -> Shape:
    double = (Unit('branch3x3dbl_1', 64), *(Unit(f'branch3x3dbl_{i}', 96, 3) for i in (2, 3)))
    wide = (Unit('branch5x5_1', 48), Unit('branch5x5_2', 64, 5))
    return Shape(((Unit('branch1x1', 64),), wide, double), pool)


def _b() -> Shape:
    double = (Unit('branch3x3dbl_1', 64), Unit('branch3x3dbl_2', 96, 3))
    double = (*double, Unit('branch3x3dbl_3', 96, 3, 2))
    return Shape(((Unit('branch3x3', 384, 3, 2),), double))


def _c(width: int) -> Shape:
    row, column = (1, 7), (7, 1)
    single = (
        Unit('branch7x7_1', width),
        Unit('branch7x7_2', width, row),
        Unit('branch7x7_3', 192, column),
    )
    double = (
        Unit('branch7x7dbl_1', width),
        Unit('branch7x7dbl_2', width, column),
        Unit('branch7x7dbl_3', width, row),
        Unit('branch7x7dbl_4', width, column),
        Unit('branch7x7dbl_5', 192, row),
    )
    return Shape(((Unit('branch1x1', 192),), single, double), 192)


def _d() -> Shape:
    single = (Unit('branch3x3_1', 192), Unit('branch3x3_2', 320, 3, 2))
    double = (
        Unit('branch7x7x3_1', 192),
        Unit('branch7x7x3_2', 192, (1, 7)),
        Unit('branch7x7x3_3', 192, (7, 1)),
        Unit('branch7x7x3_4', 192, 3, 2),
    )
    return Shape((single, double))


def _e() -> Shape:
    def fork(name):
        return Unit(f'{name}a', 384, (1, 3)), Unit(f'{name}b', 384, (3, 1))

    single = (Unit('branch3x3_1', 384), fork('branch3x3_2'))
    double = (Unit('branch3x3dbl_1', 448), Unit('branch3x3dbl_2', 384, 3), fork('branch3x3dbl_3'))
    return Shape(((Unit('branch1x1', 320),), single, double), 192)


STEM = (
    (Unit('Conv2d_1a_3x3', 32, 3, 2), Unit('Conv2d_2a_3x3', 32, 3), Unit('Conv2d_2b_3x3', 64, 3)),
    (Unit('Conv2d_3b_1x1', 80), Unit('Conv2d_4a_3x3', 192, 3)),
)
NOT_PADDED = ('Conv2d_2a_3x3', 'Conv2d_4a_3x3')
STAGES = (
    {'5b': _a(32), '5c': _a(64), '5d': _a(64)},
    {'6a': _b(), '6b': _c(128), '6c': _c(160), '6d': _c(160), '6e': _c(192)},
    {'7a': _d(), '7b': _e(), '7c': _e()},
)


class Mixed(nn.Module):
    """Parallel branches, joined."""

    shape: Shape
    options: Options

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c'], train: bool) -> Float[Array, 'b i j d']:
        outs = []
        for branch in self.shape.branches:
            parts = [x]
            for step in branch:
                units = step if isinstance(step, tuple) else (step,)
                parts = [unit(self.options, parts[0], train) for unit in units]
            outs += parts
        if self.shape.pool:
            pooled = AvgPool(3, 1, 1, name='pool')(x)
            outs.append(Unit('branch_pool', self.shape.pool)(self.options, pooled, train))
        else:
            outs.append(MaxPool(3, 2, name='pool')(x))
        return Concat(name='concat')(outs)


class Inception(nn.Module):
    """The encoder. Maps: the stem before either pooling, and the last module of each resolution
    (sides 147, 71, 35, 17 and 8 of an image of 299 px).
    """

    options: Options = Options()

    @nn.compact
    def __call__(
        self, images: Float[Array, 'b h w 3'], train: bool, keys: Key[Array, ' b'] | None = None
    ) -> Encoded:
        del keys  # nothing here is random
        o, x, maps = self.options, images, []
        for i, units in enumerate(STEM, start=1):
            for unit in units:
                x = unit(o, x, train, 'VALID' if unit.name in NOT_PADDED else '')
            maps.append(x)
            x = MaxPool(3, 2, name=f'maxpool{i}')(x)
        mixed = o.block(Mixed)
        for stage in STAGES:
            for name, shape in stage.items():
                x = mixed(shape, o, name=f'Mixed_{name}')(x, train)
            maps.append(x)
        return GlobalMeanPool(name='pool')(x), maps


def build(config) -> Inception:
    """The encoder that `config` (with the fields of DEFAULTS) describes.

    Raises:
        ValueError: unknown variant or dtype.
    """
    one_of('model.variant', config.variant, VARIANTS)
    return Inception(Options.read(config))
