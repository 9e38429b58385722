"""Nearest-neighbour doubling of a map and the 3x3 convolution behind it, as one layer.

A window of three rows of the doubled map holds two rows of the map, one of them twice. On CPUs the
taps that meet the same pixel are summed beforehand, which leaves four of nine products: a 2x2
convolution at the lower resolution whose features are those of all four phases (row and column
modulo 2) of the result. Other platforms double first (see `forms.py`).
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from skinjax.models.conv import HE_FAN_OUT, Dtype, padded
from skinjax.models.forms import choose

ONE = ((1, 1), (1, 1))
# [phase, tap of two, tap of three]: the taps around pixel 2 q + phase of the doubled map that meet
# pixels q + phase - 1 and q + phase of the map.
MERGED = (((1, 0, 0), (0, 1, 1)), ((1, 1, 0), (0, 0, 1)))


class DoublingConv(nn.Module):
    """3x3 convolution with bias of the doubled map, whose size it keeps."""

    features: int
    kernel_init: nn.initializers.Initializer = HE_FAN_OUT
    bias_init: nn.initializers.Initializer = nn.initializers.zeros
    dtype: Dtype = None

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b i j f']:
        return nn.Conv(
            self.features,
            (3, 3),
            dtype=self.dtype,
            kernel_init=self.kernel_init,
            bias_init=self.bias_init,
            conv_general_dilated=_convolve,
            name='conv',
        )(x)


def _convolve(x, kernel, strides, padding, **options):
    """In place of `lax.conv_general_dilated` in `nn.Conv`."""
    del padding, options
    numbers = ('NHWC', 'HWIO', 'NHWC')

    def plain(x, kernel):
        wide = jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)
        return lax.conv_general_dilated(wide, kernel, strides, ONE, dimension_numbers=numbers)

    return choose(merged, plain, x, kernel)


def merged(x: Float[Array, 'b h w c'], kernel: Float[Array, '3 3 c f']) -> Float[Array, 'b i j f']:
    """Convolution of the doubled map by the summed taps."""
    (b, h, w, c), f = x.shape, kernel.shape[-1]
    taps = jnp.asarray(MERGED, kernel.dtype)
    sums: Any = jnp.einsum('rtk,sul,klcf->tucrsf', taps, taps, kernel)
    y: Any = padded(x, sums.reshape(2, 2, c, 4 * f), ONE, (1, 1))
    y = y.reshape(b, h + 1, w + 1, 2, 2, f)
    rows = [jnp.stack([y[:, r : r + h, s : s + w, r, s] for s in range(2)], 3) for r in range(2)]
    return jnp.stack(rows, 2).reshape(b, 2 * h, 2 * w, f)
