"""4x4 convolutions of stride 2 and their transposes, which halve and double a map.

A stride of 2 meets every second pixel with the same taps. With squares of 2x2 pixels as the
channels of one, such a convolution is one of 2x2 windows and stride 1. CPUs get that form of all
gradients, where XLA's own are much slower, and where there are few channels; other platforms get
XLA's strided convolutions (see `forms.py`).
"""

import itertools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from skinjax.models.conv import Dtype
from skinjax.models.forms import choose

NUMBERS = ('NHWC', 'HWIO', 'NHWC')
NONE, ONE, TWO = (((n, n),) * 2 for n in (0, 1, 2))
THIN = 4  # channels up to which squares are the faster form forwards
FEW_PIXELS = 4096  # of a gradient, up to which columns are the faster form
NARROW = nn.initializers.normal(0.02)


class Halving(nn.Module):
    """4x4 convolution of stride 2 with one zero on every side: [h, w] to [h / 2, w / 2]."""

    features: int
    kernel_init: nn.initializers.Initializer = NARROW
    dtype: Dtype = None

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b i j f']:
        shape = (4, 4, x.shape[-1], self.features)
        kernel = self.param('kernel', self.kernel_init, shape)
        dtype = self.dtype or x.dtype
        return self.convolve(x.astype(dtype), kernel.astype(dtype))

    def convolve(self, x: Array, kernel: Array) -> Array:
        return halve(x, kernel)


class Doubling(Halving):
    """The transpose of such a convolution: [h, w] to [2 h, 2 w].

    The kernel is that of PyTorch turned by 180 degrees, [rows, columns, in, out].
    """

    def convolve(self, x: Array, kernel: Array) -> Array:
        return double(x, kernel)


def halve(x: Float[Array, 'b h w c'], kernel: Float[Array, '4 4 c f']) -> Float[Array, 'b i j f']:
    """y[b, i, j] = sum over taps (k, l) of padded x[b, 2 i + k, 2 j + l] kernel[k, l]."""
    return choose(halve_by_squares, plain_halve, x, kernel)


def double(x: Float[Array, 'b h w c'], kernel: Float[Array, '4 4 c f']) -> Float[Array, 'b i j f']:
    """A convolution, padded by 2, of the map whose pixels have zeros between them."""
    return choose(double_by_squares, plain_double, x, kernel)


def plain_halve(x: Array, kernel: Array) -> Array:
    """`halve` by XLA."""
    return lax.conv_general_dilated(x, kernel, (2, 2), ONE, dimension_numbers=NUMBERS)


def plain_double(x: Array, kernel: Array) -> Array:
    """`double` by XLA."""
    return lax.conv_general_dilated(
        x, kernel, (1, 1), TWO, lhs_dilation=(2, 2), dimension_numbers=NUMBERS
    )


@jax.custom_vjp
def halve_by_squares(x: Any, kernel: Any) -> Any:
    """`halve`; `double` is the gradient of its input, as it is that of `double`."""
    if kernel.shape[2] > THIN:
        return plain_halve(x, kernel)
    c, f = kernel.shape[2:]
    kernel = kernel.reshape(2, 2, 2, 2, c, f).transpose(0, 2, 1, 3, 4, 5)
    return _convolve(_padded_squares(x), kernel.reshape(2, 2, 4 * c, f), NONE)


@jax.custom_vjp
def double_by_squares(x: Any, kernel: Any) -> Any:
    """`double` as a 2x2 convolution that gives squares.

    Of few pixels it is one product, whose columns are added up where they belong.
    """
    b, h, w, c = x.shape
    f = kernel.shape[-1]
    kernel = kernel.reshape(2, 2, 2, 2, c, f)[:, ::-1, :, ::-1].transpose(0, 2, 4, 1, 3, 5)
    kernel = kernel.reshape(2, 2, c, 4 * f)
    if b * h * w > FEW_PIXELS:
        return pixels(_convolve(x, kernel, ONE))[:, 1:-1, 1:-1]
    columns = x.reshape(-1, c) @ kernel.transpose(2, 0, 1, 3).reshape(c, -1)
    columns = columns.reshape(b, h, w, 2, 2, 4 * f)
    total: Any = sum(
        jnp.pad(columns[:, :, :, i, j], ((0, 0), (1 - i, i), (1 - j, j), (0, 0)))
        for i, j in itertools.product(range(2), range(2))
    )
    return pixels(total)[:, 1:-1, 1:-1]


def kernel_gradient(x: Any, gradient: Any) -> Any:
    """Of `halve` of x: [4, 4, c, f]."""
    x, c, f = _padded_squares(x), x.shape[-1], gradient.shape[-1]
    zeros = jnp.zeros((2, 2, 4 * c, f), x.dtype)
    (found,) = jax.vjp(lambda kernel: _convolve(x, kernel, NONE), zeros)[1](gradient)
    found = found.reshape(2, 2, 2, 2, c, f).transpose(0, 2, 1, 3, 4, 5)
    return found.reshape(4, 4, c, f)


def turn(kernel: Any) -> Any:
    """A kernel by 180 degrees, in and out exchanged."""
    return kernel[::-1, ::-1].transpose(0, 1, 3, 2)


# In second derivatives through a scan, jax 0.10 mixes up kept values that are inputs themselves;
# behind a barrier they are others.
halve_by_squares.defvjp(
    lambda x, kernel: (halve_by_squares(x, kernel), lax.optimization_barrier((x, kernel))),
    lambda kept, g: (double_by_squares(g, turn(kept[1])), kernel_gradient(kept[0], g)),
)
double_by_squares.defvjp(
    lambda x, kernel: (double_by_squares(x, kernel), lax.optimization_barrier((x, kernel))),
    lambda kept, g: (halve_by_squares(g, turn(kept[1])), turn(kernel_gradient(g, kept[0]))),
)


def _convolve(x: Any, kernel: Any, pads: Any) -> Any:
    return lax.conv_general_dilated(x, kernel, (1, 1), pads, dimension_numbers=NUMBERS)


def _padded_squares(x: Any) -> Any:
    return squares(jnp.pad(x, ((0, 0), *ONE, (0, 0))))


def squares(x: Float[Array, 'b h w c']) -> Float[Array, 'b i j d']:
    """Squares of 2x2 pixels as the channels of one: rows, then columns, then channels."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(b, h // 2, w // 2, 4 * c)


def pixels(x: Float[Array, 'b h w d']) -> Float[Array, 'b i j c']:
    """The inverse of `squares`."""
    b, h, w, d = x.shape
    x = x.reshape(b, h, w, 2, 2, d // 4).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(b, 2 * h, 2 * w, d // 4)


@jax.custom_vjp
def leaky(x: Float[Array, '...']) -> Float[Array, '...']:
    """max(x, x / 5); its backward pass needs its output alone."""
    return jnp.where(x > 0, x, x * jnp.asarray(0.2, x.dtype))


leaky.defvjp(
    lambda x: (y := leaky(x), y),
    lambda y, g: (jnp.where(y > 0, g, g * jnp.asarray(0.2, g.dtype)),),
)
