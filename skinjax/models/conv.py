"""Convolution as every encoder uses it, with operations that are fast on CPUs.

XLA's grouped convolution is slow there, its gradients above all. Where every channel has a filter
of its own, a sum of shifted products takes a thirtieth of the time; groups of several channels are
joined to dense convolutions with zeros between them, which takes a three-hundredth. A 1x1
convolution is one matrix product, and so are its gradients; with a stride, of some of the pixels.
The input's gradient of many channels at few pixels is one product too, whose columns are added up
where they belong. Where zeros make the output larger than the input, they are put there before the
kernel's gradient is taken. Other platforms keep XLA's (see `forms.py`).
"""

import itertools
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from skinjax.models.forms import choose

Dtype = Any
Pads = tuple[tuple[int, int], tuple[int, int]]
FEW_PIXELS, MANY_FEATURES = 1024, 512  # of an output for which `gathered` is the faster form
JOINED = 32  # channels to which groups are joined: more zeros cost more than they save
HE_FAN_OUT = nn.initializers.variance_scaling(2.0, 'fan_out', 'normal')


class Conv(nn.Module):
    """Convolution with explicit padding.

    He initialisation over the fan-out (He et al. 2015) unless told otherwise, the default of the
    published ResNets.

    Attributes:
        kernel: size of the window, or (rows, columns).
        feature_groups: equal slices of the channels that are convolved apart; as many as there
            are channels for a depthwise convolution.
        padding: 'symmetric', as many zeros on every side as keep the size, as in PyTorch; 'SAME',
            which puts the odd zero of a strided window last, as in TensorFlow; 'VALID', none; or
            'full', wherever the window meets one pixel: a transposed convolution of stride 1, the
            kernel being that of PyTorch's turned by 180 degrees.
        dilation: distance of the taps of the window.
    """

    features: int
    kernel: int | tuple[int, int]
    stride: int = 1
    feature_groups: int = 1
    padding: str = 'symmetric'
    use_bias: bool = False
    kernel_init: nn.initializers.Initializer = HE_FAN_OUT
    dtype: Dtype = None
    dilation: int = 1
    bias_init: nn.initializers.Initializer = nn.initializers.zeros

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b i j f']:
        window = (self.kernel,) * 2 if isinstance(self.kernel, int) else self.kernel
        padding: Any = self.padding
        if padding in ('symmetric', 'full'):
            reach = [(side - 1) * self.dilation for side in window]
            padding = [(n if padding == 'full' else n // 2,) * 2 for n in reach]
        return nn.Conv(
            self.features,
            window,
            (self.stride, self.stride),
            padding,
            kernel_dilation=self.dilation,
            feature_group_count=self.feature_groups,
            use_bias=self.use_bias,
            dtype=self.dtype,
            kernel_init=self.kernel_init,
            bias_init=self.bias_init,
            conv_general_dilated=_convolve,
            name='conv',
        )(x)


def _convolve(x, kernel, strides, padding, *, feature_group_count, **options):
    """`lax.conv_general_dilated` as `nn.Conv` calls it."""
    dilation = options['rhs_dilation']
    window = [(k - 1) * d + 1 for k, d in zip(kernel.shape, dilation, strict=False)]
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(x.shape[1:3], window, strides, padding)
    pads: Any = tuple(map(tuple, padding))

    def plain(x, kernel):
        return lax.conv_general_dilated(
            x, kernel, strides, pads, feature_group_count=feature_group_count, **options
        )

    def by_channel(x, kernel) -> Any:
        return depthwise(x, kernel[:, :, 0], strides[0], pads)

    def by_pixel(x, kernel):
        x = x[:, :: strides[0], :: strides[1]]
        flat = pointwise(x.reshape(-1, x.shape[-1]), kernel[0, 0])
        return flat.reshape(*x.shape[:-1], -1)

    def by_group(x, kernel) -> Any:
        return grouped(x, kernel, feature_group_count, strides[0], pads)

    def by_column(x, kernel) -> Any:
        return gathered(x, kernel, strides[0], pads)

    def by_padding(x, kernel) -> Any:
        return padded(x, kernel, pads, dilation)

    larger = any(sum(pair) >= side for pair, side in zip(pads, window, strict=True))
    if larger and feature_group_count == 1 and strides == (1, 1):
        return choose(by_padding, plain, x, kernel)
    if larger or set(dilation) != {1}:
        return plain(x, kernel)
    if 1 < feature_group_count == x.shape[-1] == kernel.shape[-1]:
        return choose(by_channel, plain, x, kernel)
    if feature_group_count > 1:
        return choose(by_group, plain, x, kernel)
    if kernel.shape[:2] == (1, 1) and pads == ((0, 0), (0, 0)):
        return choose(by_pixel, plain, x, kernel)
    if kernel.shape[-1] >= MANY_FEATURES and isinstance(x.shape[0], int) and _few(x, strides):
        return choose(by_column, plain, x, kernel)
    return plain(x, kernel)


def _few(x, strides) -> bool:
    return x.shape[0] * (x.shape[1] // strides[0]) * (x.shape[2] // strides[1]) <= FEW_PIXELS


@jax.custom_vjp
def pointwise(x: Float[Array, 'n c'], kernel: Float[Array, 'c f']) -> Float[Array, 'n f']:
    """x kernel, the convolution of single pixels."""
    return x @ kernel


def _pointwise_backward(residual, gradient):
    """The kernel's gradient, with the narrower factor on the left: twice as fast in XLA."""
    x, kernel = residual
    turned = x.shape[1] > gradient.shape[1]
    pair = (gradient, x) if turned else (x, gradient)
    dk = lax.dot_general(*pair, (((0,), (0,)), ((), ())))
    return gradient @ kernel.T, dk.T if turned else dk


pointwise.defvjp(lambda x, kernel: (pointwise(x, kernel), (x, kernel)), _pointwise_backward)


def grouped(
    x: Float[Array, 'b h w c'],
    kernel: Float[Array, 'k l d f'],
    groups: int,
    stride: int,
    pads: Pads,
) -> Float[Array, 'b i j f']:
    """Convolution of `groups` slices of the channels, d channels each, apart.

    Neighbours are joined until they have JOINED channels: one dense convolution whose kernel is 0
    where a feature meets the channels of another group.
    """
    *window, d, f = kernel.shape
    together = max(n for n in range(1, groups + 1) if groups % n == 0 and n * d <= max(d, JOINED))
    parts = groups // together
    apart = kernel.reshape(*window, d, parts, together, f // groups)
    same = jnp.eye(together, dtype=kernel.dtype)
    wide = jnp.einsum('kldpgf,gh->klhdpgf', apart, same)
    wide = wide.reshape(*window, together * d, f)
    pairs = zip(jnp.split(x, parts, -1), jnp.split(wide, parts, -1), strict=True)
    return jnp.concatenate([_dense(*pair, stride, pads) for pair in pairs], -1)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def gathered(
    x: Float[Array, 'b h w c'], kernel: Float[Array, 'k l c f'], stride: int, pads: Pads
) -> Float[Array, 'b i j f']:
    """XLA's convolution with another gradient of its input.

    The gradient meets all taps of the kernel in one product; each tap's columns are then added
    where the tap took its pixels from.
    """
    return _dense(x, kernel, stride, pads)


def _dense(x, kernel, stride, pads, dilation=(1, 1)) -> Any:
    numbers = ('NHWC', 'HWIO', 'NHWC')
    return lax.conv_general_dilated(
        x, kernel, (stride,) * 2, pads, rhs_dilation=dilation, dimension_numbers=numbers
    )


def _gathered_backward(stride, pads, residual, gradient):
    x, kernel = residual
    (dk,) = jax.vjp(lambda kernel: _dense(x, kernel, stride, pads), kernel)[1](gradient)
    k, l, c, f = kernel.shape  # noqa: E741
    columns = gradient.reshape(-1, f) @ kernel.reshape(-1, f).T
    columns = columns.reshape(*gradient.shape[:3], k, l, c)
    parts = [
        _spread(columns[:, :, :, i, j], x.shape, (i, j), stride, pads)
        for i, j in itertools.product(range(k), range(l))
    ]
    return sum(parts[1:], start=parts[0]), dk


def _spread(part, shape, tap, stride, pads):
    """Pixels placed where `tap` of a strided window took them from an input of `shape`."""
    sides = [
        (at - low, size - 1 - (n - 1) * stride - (at - low), stride - 1)
        for at, (low, _), size, n in zip(tap, pads, shape[1:3], part.shape[1:3], strict=True)
    ]
    return lax.pad(part, jnp.zeros((), part.dtype), ((0, 0, 0), *sides, (0, 0, 0)))


gathered.defvjp(
    lambda x, kernel, stride, pads: (gathered(x, kernel, stride, pads), (x, kernel)),
    _gathered_backward,
)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def padded(
    x: Float[Array, 'b h w c'], kernel: Float[Array, 'k l c f'], pads: Pads, dilation: Any
) -> Float[Array, 'b i j f']:
    """XLA's convolution of stride 1 with another gradient of its kernel.

    It is taken on an input that was padded beforehand. Where the output is larger than the input,
    XLA would else exchange the two, and a naive loop takes hundreds of times longer.
    """
    return _dense(x, kernel, 1, pads, dilation)


def _padded_backward(pads, dilation, residual, gradient):
    x, kernel = residual
    (dx,) = jax.vjp(lambda x: _dense(x, kernel, 1, pads, dilation), x)[1](gradient)
    wide, none = jnp.pad(x, ((0, 0), *pads, (0, 0))), ((0, 0), (0, 0))
    (dk,) = jax.vjp(lambda kernel: _dense(wide, kernel, 1, none, dilation), kernel)[1](gradient)
    return dx, dk


padded.defvjp(lambda x, kernel, *how: (padded(x, kernel, *how), (x, kernel)), _padded_backward)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def depthwise(
    x: Float[Array, 'b h w c'], kernel: Float[Array, 'k l c'], stride: int, pads: Pads
) -> Float[Array, 'b i j c']:
    """y[b, i, j, c] = sum over (k, l) of kernel[k, l, c] padded x[b, s i + k, s j + l, c]."""
    return _filter(jnp.pad(x, ((0, 0), *pads, (0, 0))), kernel, stride)


def _filter(padded, kernel, stride) -> Any:
    """The sum over the taps, in float32: bfloat16 would round it after each of them."""
    wide = kernel.astype(jnp.float32)
    parts = _taps(padded, kernel.shape, stride)
    total: Any = sum(part.astype(jnp.float32) * wide[tap][None, None, None] for tap, part in parts)
    return total.astype(padded.dtype)


def _taps(padded, window, stride):
    """((k, l), the pixels that tap (k, l) meets) for every tap of the window."""
    last = [(n - k) // stride * stride + 1 for n, k in zip(padded.shape[1:3], window, strict=False)]
    for k, l in itertools.product(*map(range, window[:2])):  # noqa: E741
        stop = (padded.shape[0], k + last[0], l + last[1], padded.shape[-1])
        yield (k, l), lax.slice(padded, (0, k, l, 0), stop, (1, stride, stride, 1))


def _depthwise_forward(x, kernel, stride, pads):
    return depthwise(x, kernel, stride, pads), (x, kernel)


def _depthwise_backward(stride, pads, residual, gradient):
    """The input's gradient filters the spread-out gradient; the kernel's adds up image by image."""
    x, kernel = residual
    sides = []
    for size, window, (low, _), out in zip(
        x.shape[1:3], kernel.shape, pads, gradient.shape[1:3], strict=False
    ):
        before = window - 1 - low
        sides.append((before, size + low - 1 - (out - 1) * stride, stride - 1))
    none = (0, 0, 0)
    spread = lax.pad(gradient, jnp.zeros((), gradient.dtype), (none, *sides, none))
    dx = _filter(spread, kernel[::-1, ::-1], 1)

    def add(n, totals):
        image, mine = (
            lax.dynamic_slice_in_dim(a, n, 1) for a in (padded, gradient.astype(jnp.float32))
        )
        parts = _taps(image, kernel.shape, stride)
        return [t + (p * mine)[0] for t, (_, p) in zip(totals, parts, strict=True)]

    padded = jnp.pad(x, ((0, 0), *pads, (0, 0))).astype(jnp.float32)
    zeros = [jnp.zeros(gradient.shape[1:]) for _ in range(kernel.shape[0] * kernel.shape[1])]
    totals = lax.fori_loop(0, x.shape[0], add, zeros)
    dk = jnp.stack([total.sum((0, 1)) for total in totals]).reshape(kernel.shape)
    return dx, dk.astype(kernel.dtype)


depthwise.defvjp(_depthwise_forward, _depthwise_backward)
