"""Layers against PyTorch, and what makes them independent of the number of devices."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from skinjax.models import conv
from skinjax.models.conv import Conv, depthwise
from skinjax.models.layers import ReLU, ReLU6, drop_branch, dropout, fold
from skinjax.models.norm import BatchNorm
from skinjax.models.pooling import AdaptiveMeanPool, AvgPool, GlobalMeanPool, MaxPool

torch = pytest.importorskip('torch')
nn = torch.nn
IMAGES = np.random.default_rng(0).normal(0.5, 2.0, (8, 6, 6, 4)).astype(np.float32)


def normalized(layer, x, train=True, stats=None, params=None):
    """(output, new running mean, new running variance) of a BatchNorm."""
    c = x.shape[-1]
    stats = stats or {'mean': jnp.zeros(c), 'var': jnp.ones(c)}
    variables = {'params': params or {}, 'batch_stats': stats}
    out, new = layer.apply(variables, jnp.asarray(x), train, mutable=['batch_stats'])
    new = new.get('batch_stats', stats)
    return np.asarray(out), np.asarray(new['mean']), np.asarray(new['var'])


def applied(layer, *args, variables=None) -> Any:
    """The output of a layer."""
    return layer.apply(variables or {}, *args)


def nchw(x):
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(np.asarray(x), -1, 1)))


def nhwc(x):
    return np.moveaxis(x.detach().numpy(), 1, -1)


def test_batch_norm_trains_and_evaluates_as_pytorch_does():
    rng = np.random.default_rng(1)
    scale, bias = rng.uniform(0.5, 1.5, 4), rng.normal(size=4)
    params = {'scale': jnp.asarray(scale, jnp.float32), 'bias': jnp.asarray(bias, jnp.float32)}
    layer, reference = BatchNorm(), nn.BatchNorm2d(4)
    reference.load_state_dict(
        {'weight': torch.from_numpy(scale), 'bias': torch.from_numpy(bias)}, strict=False
    )
    stats = None
    for images in (IMAGES, 3 * IMAGES + 1):
        out, mean, var = normalized(layer, images, stats=stats, params=params)
        stats = {'mean': jnp.asarray(mean), 'var': jnp.asarray(var)}
        np.testing.assert_allclose(out, nhwc(reference(nchw(images))), atol=2e-6)
        want = reference.state_dict()
        np.testing.assert_allclose(mean, want['running_mean'].numpy(), rtol=1e-6)
        np.testing.assert_allclose(var, want['running_var'].numpy(), rtol=1e-6)
    out, mean, var = normalized(layer, IMAGES, train=False, stats=stats, params=params)
    np.testing.assert_allclose(out, nhwc(reference.eval()(nchw(IMAGES))), atol=2e-6)
    np.testing.assert_array_equal(mean, stats['mean'])
    np.testing.assert_array_equal(var, stats['var'])


def test_gradients_of_batch_norm_in_training_are_those_of_pytorch():
    rng = np.random.default_rng(6)
    scale, bias = (rng.normal(1, 0.3, 4).astype(np.float32) for _ in range(2))
    stats = {'mean': jnp.zeros(4), 'var': jnp.ones(4)}

    def ours(x, scale, bias) -> Any:
        variables = {'params': {'scale': scale, 'bias': bias}, 'batch_stats': stats}
        return BatchNorm().apply(variables, x, True, mutable=['batch_stats'])[0]

    out, back = jax.vjp(ours, *map(jnp.asarray, (IMAGES, scale, bias)))
    gradient = rng.normal(size=out.shape).astype(np.float32)
    given = [v.requires_grad_() for v in (nchw(IMAGES), *map(torch.from_numpy, (scale, bias)))]
    x, *affine = given
    nn.functional.batch_norm(x, None, None, *affine, training=True).backward(nchw(gradient))
    want = [v.grad.numpy() for v in given]
    want[0] = np.moveaxis(want[0], 1, -1)
    for here, there in zip(back(jnp.asarray(gradient)), want, strict=True):
        np.testing.assert_allclose(here, there, atol=1e-6 * max(1, np.abs(there).max()))


def test_running_variance_is_unbiased():
    x = np.array([[1.0], [3.0]], np.float32)
    _, mean, var = normalized(BatchNorm(affine=False), x)
    np.testing.assert_allclose(mean, 0.1 * 2.0, rtol=1e-6)
    np.testing.assert_allclose(var, 0.9 + 0.1 * 2.0, rtol=1e-6)  # biased: 0.9 + 0.1 * 1


def test_groups_are_slices_normalised_apart():
    whole, mean, var = normalized(BatchNorm(affine=False, groups=4), IMAGES)
    slices = [normalized(BatchNorm(affine=False), part) for part in np.split(IMAGES, 4)]
    np.testing.assert_allclose(whole, np.concatenate([s[0] for s in slices]), atol=1e-6)
    np.testing.assert_allclose(mean, np.mean([s[1] for s in slices], 0), rtol=1e-5)
    np.testing.assert_allclose(var, np.mean([s[2] for s in slices], 0), rtol=1e-5)
    together, *_ = normalized(BatchNorm(affine=False), IMAGES)
    assert np.abs(whole - together).max() > 0.05


def test_groups_must_divide_the_batch():
    with pytest.raises(ValueError, match='norm_groups = 3 does not divide the batch of 8'):
        normalized(BatchNorm(affine=False, groups=3), IMAGES)


def test_initialisation_leaves_the_running_statistics_alone():
    variables = BatchNorm().init(jax.random.key(0), jnp.asarray(IMAGES), True)
    np.testing.assert_array_equal(variables['batch_stats']['mean'], np.zeros(4))
    np.testing.assert_array_equal(variables['batch_stats']['var'], np.ones(4))
    assert set(variables['params']) == {'scale', 'bias'}
    bare = BatchNorm(affine=False).init(jax.random.key(0), jnp.asarray(IMAGES), True)
    assert 'params' not in bare


def test_batch_norm_takes_statistics_in_float32():
    x = (IMAGES + 300).astype(jnp.bfloat16)  # neighbours of 300 are 2 apart
    out, mean, _ = normalized(BatchNorm(affine=False, momentum=0.0, dtype=jnp.bfloat16), x)
    assert out.dtype == jnp.bfloat16
    assert mean.dtype == np.float32
    np.testing.assert_allclose(mean, x.astype(np.float32).mean((0, 1, 2)), rtol=1e-6)


@pytest.mark.parametrize(
    ('size', 'kernel', 'stride', 'groups'), [(6, 3, 2, 1), (6, 7, 2, 1), (6, 3, 1, 2), (5, 1, 2, 1)]
)
def test_convolution_pads_as_pytorch_does(size, kernel, stride, groups):
    images = jnp.asarray(IMAGES[:, :size, :size])
    layer = Conv(8, kernel, stride, groups)
    variables = layer.init(jax.random.key(0), images)
    weight = np.array(variables['params']['conv']['kernel']).transpose(3, 2, 0, 1)
    reference = nn.functional.conv2d(
        nchw(images), torch.from_numpy(weight), None, stride, kernel // 2, groups=groups
    )
    out = np.asarray(layer.apply(variables, images))
    np.testing.assert_allclose(out, nhwc(reference), atol=2e-5)


@pytest.mark.parametrize(
    ('window', 'padding', 'side'), [(3, 1, 6), (3, 1, 5), (2, 0, 5), (3, 0, 6)]
)
def test_max_pooling_sends_gradients_to_the_first_of_equal_maxima(window, padding, side):
    rng = np.random.default_rng(5)
    images = rng.integers(0, 3, (2, side, side + 1, 4)).astype(np.float32)  # full of ties
    out, back = jax.vjp(lambda x: applied(MaxPool(window, 2, padding), x), jnp.asarray(images))
    gradient = rng.normal(size=out.shape).astype(np.float32)
    x = nchw(images).requires_grad_()
    nn.functional.max_pool2d(x, window, 2, padding).backward(nchw(gradient))
    (have,) = back(jnp.asarray(gradient))
    np.testing.assert_allclose(have, np.moveaxis(x.grad.numpy(), 1, -1), atol=1e-6)


@pytest.mark.parametrize(('window', 'padding'), [(3, 1), (2, 0)])
def test_max_pooling_pads_with_minus_infinity(window, padding):
    images = IMAGES - 100  # zeros from the padding would win
    out = MaxPool(window, 2, padding).apply({}, jnp.asarray(images))
    reference = nn.functional.max_pool2d(nchw(images), window, 2, padding)
    np.testing.assert_array_equal(out, nhwc(reference))


def test_global_mean_is_taken_in_float32():
    x = jnp.asarray(IMAGES, jnp.bfloat16)
    pooled = np.asarray(GlobalMeanPool().apply({}, x))
    assert pooled.dtype == np.float32
    np.testing.assert_allclose(pooled, np.asarray(x, np.float32).mean((1, 2)), rtol=1e-5)


def test_dropout_does_not_depend_on_how_the_batch_is_divided():
    keys = jax.random.split(jax.random.key(1), 8)
    x = jnp.asarray(IMAGES[:, 0, 0])
    whole = dropout(keys, x, 0.5)
    halves = [dropout(keys[part], x[part], 0.5) for part in (slice(4), slice(4, 8))]
    np.testing.assert_array_equal(whole, np.concatenate(halves))
    assert (np.asarray(whole) == 0).any()


def test_dropout_keeps_the_mean_and_the_share():
    keys = jax.random.split(jax.random.key(2), 200)
    out = np.asarray(dropout(keys, jnp.ones((200, 100)), 0.2))
    assert set(np.unique(out)) == {0.0, np.float32(1.25)}
    assert abs((out == 0).mean() - 0.2) < 0.01
    assert len(np.unique(out, axis=0)) == 200, 'two examples share a mask'


def test_dropout_can_be_off():
    x = jnp.asarray(IMAGES[:, 0, 0])
    assert dropout(jax.random.split(jax.random.key(0), 8), x, 0.0) is x
    assert dropout(None, x, 0.5) is x


@pytest.mark.parametrize(
    ('window', 'stride', 'pads'),
    [(3, 1, ((1, 1), (1, 1))), (3, 2, ((0, 1), (1, 0))), (5, 2, ((2, 2), (2, 2)))],
)
def test_depthwise_convolution_and_its_gradients_equal_xlas(window, stride, pads):
    rng = np.random.default_rng(2)
    x = jnp.asarray(rng.normal(size=(3, 9, 8, 4)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(window, window, 4)), jnp.float32)

    def plain(x, kernel):
        return lax.conv_general_dilated(
            x,
            kernel[:, :, None],
            (stride, stride),
            pads,
            dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
            feature_group_count=4,
        )

    want, back = jax.vjp(plain, x, kernel)
    have, back_here = jax.vjp(lambda x, kernel: depthwise(x, kernel, stride, pads), x, kernel)
    np.testing.assert_allclose(np.asarray(have), want, atol=1e-5)
    gradient = jnp.asarray(rng.normal(size=want.shape), jnp.float32)
    for ours, theirs in zip(back_here(gradient), back(gradient), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())


ROUNDING = 2.0**-8  # of bfloat16, relative; to the nearest is half of it


def rounded_once(have: Any, want: Any) -> None:
    """`have` is the float32 result `want` in bfloat16."""
    assert have.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(have, np.float32), want, rtol=ROUNDING, atol=1e-5)


def test_depthwise_convolution_adds_up_in_float32():
    rng = np.random.default_rng(4)
    x, kernel, gradient = (
        jnp.asarray(rng.normal(size=size), jnp.bfloat16)
        for size in ((2, 9, 8, 4), (5, 5, 4), (2, 9, 8, 4))
    )

    def ours(x, kernel):
        return depthwise(x, kernel, 1, ((2, 2), (2, 2)))

    have, back = jax.vjp(ours, x, kernel)
    want, back_there = jax.vjp(ours, *(v.astype(jnp.float32) for v in (x, kernel)))
    rounded_once(have, want)
    for here, there in zip(back(gradient), back_there(gradient.astype(jnp.float32)), strict=True):
        rounded_once(here, there)


@pytest.mark.parametrize('frozen', [False, True])
def test_running_statistics_are_applied_in_float32(frozen):
    x = jnp.asarray(IMAGES + 300, jnp.bfloat16)
    variables = {'batch_stats': {'mean': jnp.full(4, 300.7), 'var': jnp.full(4, 0.3)}}
    layer = BatchNorm(affine=False, frozen=frozen)
    have, want = (
        applied(layer, v, frozen, variables=variables) for v in (x, x.astype(jnp.float32))
    )
    np.testing.assert_allclose(np.asarray(want).std(), np.asarray(x, float).std() / 0.3**0.5, 1e-3)
    rounded_once(have, want)


@pytest.mark.parametrize('layer', [AvgPool(5, 1, 1), AdaptiveMeanPool(4)])
def test_average_pooling_adds_up_in_float32(layer):
    x = jnp.asarray(IMAGES, jnp.bfloat16)
    have, want = (applied(layer, v) for v in (x, x.astype(jnp.float32)))
    rounded_once(have, want)


@pytest.mark.parametrize(
    ('kernel', 'stride', 'groups', 'shape', 'features', 'form'),
    [
        (1, 1, 1, (3, 6, 5, 4), 3, 'pointwise'),
        (1, 1, 1, (3, 6, 5, 4), 7, 'pointwise'),
        (1, 2, 1, (3, 6, 5, 4), 7, 'pointwise'),
        (3, 1, 1, (2, 4, 5, 6), 512, 'gathered'),
        (3, 2, 1, (2, 5, 4, 6), 512, 'gathered'),
        (3, 1, 6, (2, 6, 5, 24), 48, 'grouped'),  # four channels each: all six are joined
        (3, 2, 4, (2, 6, 5, 64), 64, 'grouped'),  # sixteen: two and two
        (3, 1, 2, (2, 6, 5, 80), 80, 'grouped'),  # forty: none
    ],
)
def test_convolutions_for_cpus_and_their_gradients_equal_xlas(
    kernel, stride, groups, shape, features, form, monkeypatch
):
    rng, used = np.random.default_rng(3), []
    own = getattr(conv, form)
    monkeypatch.setattr(conv, form, lambda *a: (used.append(form), own(*a))[1])
    x = jnp.asarray(rng.normal(size=shape), jnp.float32)
    layer = Conv(features, kernel, stride, groups)
    weights = rng.normal(size=(kernel, kernel, shape[-1] // groups, features))
    weights = jnp.asarray(weights, jnp.float32)

    def plain(x, weights):
        return lax.conv_general_dilated(
            x,
            weights,
            (stride, stride),
            (((kernel - 1) // 2,) * 2,) * 2,
            dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
            feature_group_count=groups,
        )

    def ours(x, weights) -> Any:
        return applied(layer, x, variables={'params': {'conv': {'kernel': weights}}})

    want, back = jax.vjp(plain, x, weights)
    have, back_here = jax.vjp(ours, x, weights)
    assert set(used) == {form}
    np.testing.assert_allclose(np.asarray(have), want, atol=1e-5 * np.abs(want).max())
    gradient = jnp.asarray(rng.normal(size=want.shape), jnp.float32)
    for here, there in zip(back_here(gradient), back(gradient), strict=True):
        np.testing.assert_allclose(here, there, atol=1e-4 * np.abs(there).max())


@pytest.mark.parametrize(
    ('window', 'stride', 'padding', 'size'),
    [
        (3, 2, 1, 9),
        (3, 2, 1, 8),
        (2, 2, 0, 8),
        (2, 2, 0, 7),
        (3, 2, 0, 8),
        (3, 1, 1, 5),
        (3, 3, 0, 8),
    ],
)
def test_max_pooling_gives_its_gradient_to_the_first_maximum(window, stride, padding, size):
    """As PyTorch does; ties are common: half of the values are the 0 of a ReLU."""
    rng = np.random.default_rng(5)
    images = np.maximum(rng.integers(-3, 3, (2, size, size - 1, 3)), 0).astype(np.float32)
    theirs = nchw(images).requires_grad_()
    want = nn.functional.max_pool2d(theirs, window, stride, padding)
    have, back = jax.vjp(
        lambda x: applied(MaxPool(window, stride, padding), x), jnp.asarray(images)
    )
    np.testing.assert_array_equal(have, nhwc(want))
    gradient = rng.normal(size=have.shape).astype(np.float32)
    want.backward(nchw(gradient))
    np.testing.assert_allclose(back(jnp.asarray(gradient))[0], nhwc(theirs.grad), atol=1e-6)


def test_tensorflows_padding_puts_the_odd_zero_last():
    x = jnp.asarray(IMAGES)
    for groups in (1, 4):
        ours, theirs = (Conv(4, 3, 2, groups, padding=padding) for padding in ('SAME', 'symmetric'))
        variables = ours.init(jax.random.key(0), x)
        shifted = jnp.pad(x[:, 1:, 1:], ((0, 0), (0, 1), (0, 1), (0, 0)))
        np.testing.assert_allclose(
            applied(ours, x, variables=variables)[:, 1:, 1:],
            applied(theirs, shifted, variables=variables)[:, 1:, 1:],
            atol=1e-5,
        )


@pytest.mark.parametrize(('size', 'side'), [(3, 6), (3, 5), (4, 2)])
def test_adaptive_pooling_divides_as_pytorch_does(size, side):
    images = IMAGES[:, :side, : side - 1]
    out = applied(AdaptiveMeanPool(size), jnp.asarray(images))
    np.testing.assert_allclose(
        out, nhwc(nn.functional.adaptive_avg_pool2d(nchw(images), size)), atol=1e-5
    )


@pytest.mark.parametrize(('window', 'stride', 'padding'), [(2, 2, 0), (3, 1, 1)])
def test_average_pooling_counts_the_padding(window, stride, padding):
    out = applied(AvgPool(window, stride, padding), jnp.asarray(IMAGES))
    reference = nn.functional.avg_pool2d(nchw(IMAGES), window, stride, padding)
    np.testing.assert_allclose(out, nhwc(reference), atol=1e-5)


@pytest.mark.parametrize(
    ('layer', 'values', 'slopes'),
    [(ReLU(), (0, 0, 3, 6, 7), (0, 0, 1, 1, 1)), (ReLU6(), (0, 0, 3, 6, 6), (0, 0, 1, 0, 0))],
)
def test_rectifiers_are_flat_outside_and_at_their_kinks(layer, values, slopes):
    x = jnp.asarray([-1.0, 0.0, 3.0, 6.0, 7.0])
    out, back = jax.vjp(lambda x: applied(layer, x), x)
    np.testing.assert_array_equal(out, values)
    np.testing.assert_array_equal(back(jnp.ones(5))[0], slopes)
    assert np.isnan(applied(layer, jnp.asarray([jnp.nan])))


def test_frozen_normalisation_keeps_its_statistics():
    stats = {'mean': jnp.full(4, 0.5), 'var': jnp.full(4, 4.0)}
    out, mean, var = normalized(BatchNorm(affine=False, frozen=True), IMAGES, stats=stats)
    np.testing.assert_allclose(out, (IMAGES - 0.5) / np.sqrt(4 + 1e-5), atol=1e-5)
    np.testing.assert_array_equal(mean, stats['mean'])
    np.testing.assert_array_equal(var, stats['var'])


def test_stochastic_depth_drops_whole_examples():
    keys = jax.random.split(jax.random.key(3), 400)
    out = np.asarray(drop_branch(keys, jnp.ones((400, 2, 2, 3)), 0.25)).reshape(400, -1)
    assert set(np.unique(out)) == {0.0, np.float32(1 / 0.75)}
    assert (out == out[:, :1]).all()
    assert abs((out[:, 0] == 0).mean() - 0.25) < 0.07


def test_folded_keys_are_others():
    keys = jax.random.split(jax.random.key(0), 3)
    drawn: list[Any] = [keys, fold(keys, 0), fold(keys, 1)]
    assert len({np.asarray(jax.random.key_data(d)).tobytes() for d in drawn}) == 3
    assert fold(None, 1) is None
