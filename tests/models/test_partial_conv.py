"""Partial convolution: the worked values of its specification, and a slow twin."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax.models.options import Options
from skinjax.models.partial_conv import PartialConv, window_sum

ONES = jnp.ones((1, 5, 5, 1))
HOLE = ONES.at[0, 2, 2, 0].set(0.0)


def partial_convolution(x, mask, kernel, bias, stride, pad, compat):
    """Window by window, with a mask for every channel."""
    x, mask = (np.pad(a, ((0, 0), (pad, pad), (pad, pad), (0, 0))) for a in (x, mask))
    side = len(kernel)
    rows, columns = ((n - side) // stride + 1 for n in x.shape[1:3])
    y, new = np.zeros((len(x), rows, columns, len(bias))), np.zeros((len(x), rows, columns))
    for b, i, j in np.ndindex(*new.shape):
        window = b, slice(stride * i, stride * i + side), slice(stride * j, stride * j + side)
        if total := mask[window].sum():
            taps = 1 if compat else mask[window].size
            found = np.einsum('klc,klcf->f', x[window] * mask[window], kernel)
            y[b, i, j], new[b, i, j] = found * taps / total + bias, 1
    return y, new


def ones_kernel(x, mask, **fields):
    """A 3x3 kernel of ones over one channel."""
    layer: Any = PartialConv(Options(), 1, 3, **fields)
    return layer.apply({'params': {'conv': {'conv': {'kernel': jnp.ones((3, 3, 1, 1))}}}}, x, mask)


def test_a_hole_in_the_centre_is_made_up_for():
    y, mask = ones_kernel(ONES, HOLE, padding='VALID')
    np.testing.assert_array_equal(y, np.full((1, 3, 3, 1), 9.0))
    np.testing.assert_array_equal(mask, np.ones((1, 3, 3, 1)))


def test_without_the_number_of_taps_the_response_is_a_mean():
    y, mask = ones_kernel(ONES, HOLE, padding='VALID', compat=True)
    np.testing.assert_array_equal(y, np.ones((1, 3, 3, 1)))
    np.testing.assert_array_equal(mask, np.ones((1, 3, 3, 1)))


def test_nothing_seen_gives_zero_even_with_an_offset():
    layer: Any = PartialConv(Options(), 2, 3, use_bias=True)
    variables = layer.init(jax.random.key(0), ONES, ONES)
    variables = jax.tree.map(jnp.ones_like, variables)
    y, mask = layer.apply(variables, ONES, jnp.zeros_like(ONES))
    assert not y.any() and not mask.any()
    y, mask = layer.apply(variables, ONES, jnp.zeros_like(ONES).at[0, 0, 0].set(1))
    np.testing.assert_array_equal(y[0, ..., 1] > 0, mask[0, ..., 0] > 0)
    np.testing.assert_array_equal(y[0, :2, :2], np.full((2, 2, 2), 10.0))
    assert mask.sum() == 4


def test_zeros_at_the_edges_count_as_holes():
    y, mask = ones_kernel(ONES, ONES)
    np.testing.assert_array_equal(y, np.full((1, 5, 5, 1), 9.0))
    np.testing.assert_array_equal(mask, np.ones((1, 5, 5, 1)))
    plain = window_sum(ONES, 3)[0, ..., 0]
    assert (plain[0, 0], plain[0, 2], plain[2, 2]) == (4, 6, 9)


@pytest.mark.parametrize(('kernel', 'stride'), [(3, 1), (3, 2), (5, 2), (7, 2)])
def test_valid_windows_of_a_whole_image_are_ordinary_convolutions(kernel, stride):
    x = jax.random.normal(jax.random.key(0), (2, 12, 11, 3))
    layer: Any = PartialConv(Options(), 4, kernel, stride, 'VALID')
    variables = layer.init(jax.random.key(1), x, jnp.ones((2, 12, 11, 1)))
    y, mask = layer.apply(variables, x, jnp.ones((2, 12, 11, 1)))
    weights = variables['params']['conv']['conv']['kernel']
    numbers = ('NHWC', 'HWIO', 'NHWC')
    want = jax.lax.conv_general_dilated(
        x, weights, (stride, stride), 'VALID', dimension_numbers=numbers
    )
    np.testing.assert_allclose(y, want, atol=2e-6)
    assert mask.shape == (*want.shape[:3], 1) and mask.all()


@pytest.mark.parametrize(
    ('masks', 'shares'), [(1, ()), (2, (3, 2)), (5, ())], ids=['one', 'two', 'each']
)
@pytest.mark.parametrize('compat', [False, True])
@pytest.mark.parametrize(('kernel', 'stride', 'padding'), [(3, 1, 'symmetric'), (5, 2, 'VALID')])
def test_slow_twin(masks, shares, compat, kernel, stride, padding):
    """Shared masks are exactly the masks of all channels."""
    rng = np.random.default_rng(masks)
    x = rng.normal(size=(2, 9, 8, 5)).astype(np.float32)
    mask = (rng.random((2, 9, 8, masks)) < 0.3).astype(np.float32)
    mask[1, :6, :6] = 0
    given = jnp.asarray(x), jnp.asarray(mask), shares
    layer: Any = PartialConv(Options(), 3, kernel, stride, padding, True, compat)
    variables = jax.jit(layer.init, static_argnums=3)(jax.random.key(0), *given)
    variables['params']['bias'] = jnp.asarray([0.5, -1.0, 2.0])
    y, new = jax.jit(layer.apply, static_argnums=3)(variables, *given)
    wide = np.repeat(mask, shares or (5 // masks,) * masks, axis=-1)
    weights = np.asarray(variables['params']['conv']['conv']['kernel'])
    pad = kernel // 2 if padding == 'symmetric' else 0
    want, seen = partial_convolution(
        x, wide, weights, np.array([0.5, -1.0, 2.0]), stride, pad, compat=compat
    )
    np.testing.assert_allclose(y, want, atol=3e-5)
    np.testing.assert_array_equal(new[..., 0], seen)
    assert 0 < new.mean() < 1 or padding == 'VALID'


def test_no_gradient_flows_from_holes():
    x = jax.random.normal(jax.random.key(0), (1, 5, 5, 1))
    gradient = jax.grad(lambda x: jnp.square(ones_kernel(x, HOLE)[0]).sum())(x)
    np.testing.assert_array_equal(gradient[0, ..., 0] == 0, HOLE[0, ..., 0] == 0)


def test_half_precision_keeps_the_mask_exact():
    x = jax.random.normal(jax.random.key(0), (2, 8, 8, 64))
    mask = (jax.random.uniform(jax.random.key(1), (2, 8, 8, 1)) < 0.3).astype(jnp.float32)
    layers: list[Any] = [PartialConv(Options(dtype=dtype), 4, 7) for dtype in (None, jnp.bfloat16)]
    variables = layers[0].init(jax.random.key(2), x, mask)
    (full, one), (half, two) = (layer.apply(variables, x, mask) for layer in layers)
    assert half.dtype == jnp.bfloat16 and two.dtype == jnp.float32
    np.testing.assert_array_equal(one, two)
    np.testing.assert_allclose(half.astype(jnp.float32), full, atol=0.03 * float(full.std()))


def test_masks_that_do_not_fit_are_refused():
    layer: Any = PartialConv(Options(), 1, 3)
    apply = functools.partial(layer.init, jax.random.key(0), jnp.ones((1, 4, 4, 5)))
    with pytest.raises(ValueError, match=r'2 channels that stand for \(3, 3\).*has 5'):
        apply(jnp.ones((1, 4, 4, 2)), (3, 3))
    with pytest.raises(ValueError, match=r'2 channels that stand for \(2, 2\)'):
        apply(jnp.ones((1, 4, 4, 2)))
