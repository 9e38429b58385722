"""Partial convolution (Liu et al. 2018, eq. 1 and 2): a convolution that does not see holes.

Masks have far fewer channels than maps: what one layer gives shares one mask, and a concatenation
of two such maps has two. A mask [b, h, w, g] therefore says with `shares` how many channels each of
its channels stands for, and the sum over a window is exactly that of the mask of every channel.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from skinjax.models.options import Options

HE_FAN_IN = nn.initializers.he_normal()


class PartialConv(nn.Module):
    """A window W over an image X with a mask M (1 = valid):

        x' = W^T (X * M) |W| / sum(M) + b    where sum(M) > 0, else 0
        m' = 1                               where sum(M) > 0, else 0

    |W| is the number of taps of the window times that of channels. Zeros of the padding count as
    holes, so that the response does not fade towards the edges.

    Attributes:
        kernel: side of the window.
        compat: divide by sum(M) without the factor |W|, as widespread copies do.

    Raises:
        ValueError: the mask has neither one channel, nor that many as the image, nor `shares`.
    """

    options: Options
    features: int
    kernel: int
    stride: int = 1
    padding: str = 'symmetric'
    use_bias: bool = False
    compat: bool = False

    @nn.compact
    def __call__(
        self,
        x: Float[Array, 'b h w c'],
        mask: Float[Array, 'b h w g'],
        shares: tuple[int, ...] = (),
    ) -> tuple[Float[Array, 'b i j f'], Float[Array, 'b i j 1']]:
        shares = _shares(x.shape[-1], mask.shape[-1], shares)
        seen = x * widen(mask, shares).astype(x.dtype)
        y = self.options.conv(
            self.features,
            self.kernel,
            stride=self.stride,
            padding=self.padding,
            kernel_init=HE_FAN_IN,
            name='conv',
        )(seen)
        count = (mask * jnp.asarray(shares, mask.dtype)[None, None, None]).sum(-1, keepdims=True)
        count = window_sum(count, self.kernel, self.stride, self.padding)
        new = (count > 0).astype(mask.dtype)
        taps = 1 if self.compat else self.kernel**2 * x.shape[-1]
        factor = new * taps / jnp.maximum(count, 1)
        y = y.astype(jnp.float32) * factor
        if self.use_bias:
            bias = self.param('bias', nn.initializers.zeros, (self.features,))
            y = y + new * bias[None, None, None]
        return y.astype(self.options.dtype or x.dtype), new


def _shares(channels: int, masks: int, shares: tuple[int, ...]) -> tuple[int, ...]:
    shares = shares or (channels // masks,) * masks
    if len(shares) != masks or sum(shares) != channels:
        raise ValueError(
            f'a mask of {masks} channels that stand for {shares} of the image, which has {channels}'
        )
    return shares


def widen(mask: Float[Array, 'b h w g'], shares: tuple[int, ...]) -> Float[Array, 'b h w #c']:
    """The mask of every channel; of one channel where all share it."""
    if len(shares) == 1:
        return mask
    return jnp.repeat(mask, jnp.asarray(shares), axis=-1, total_repeat_length=sum(shares))


def window_sum(
    x: Float[Array, 'b h w 1'], kernel: int, stride: int = 1, padding: str = 'symmetric'
) -> Float[Array, 'b i j 1']:
    """Sums over square windows, as a convolution by ones with the same fields gives them.

    The rows are added first: XLA makes one loop of 2 `kernel` sums, many times as fast as its
    convolution of a single channel on CPUs.
    """
    pads = [((kernel - 1) // 2,) * 2] * 2
    if padding != 'symmetric':
        pads = lax.padtype_to_pads(x.shape[1:3], (kernel, kernel), (stride, stride), padding)
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    for axis in (1, 2):
        last = (x.shape[axis] - kernel) // stride * stride + 1
        x = sum(
            (lax.slice_in_dim(x, k, k + last, stride, axis) for k in range(1, kernel)),
            start=lax.slice_in_dim(x, 0, last, stride, axis),
        )
    return x
