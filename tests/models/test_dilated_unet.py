"""The dilated U-Net: the published table of layers, any image size, and what is fast on CPUs."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from ml_collections import ConfigDict

from skinjax.models import conv, dilated_unet, doubling, options
from skinjax.models.conv import Conv
from skinjax.models.dilated_unet import DilatedUNet, legal, pad_to_legal
from skinjax.models.doubling import DoublingConv
from skinjax.models.options import Options

NARROW = 1 / 32
# Compiling costs far more here than running.
QUICK = {'xla_backend_optimization_level': '0'}
# Bisla et al. 2019, table 1, and published code: layer, pixels of a side, channels, parameters.
TABLE = [
    ('down1/conv1', 378, 64, 4_096),
    ('down1/conv2', 376, 64, 36_928),
    ('pool1', 188, 64, 0),
    ('down2/conv1', 186, 128, 73_856),
    ('down2/conv2', 184, 128, 147_584),
    ('pool2', 92, 128, 0),
    ('down3/conv1', 90, 256, 295_168),
    ('down3/conv2', 88, 256, 590_080),
    ('pool3', 44, 256, 0),
    ('bottom/conv1', 40, 512, 1_179_648),
    ('bottom/conv2', 36, 512, 2_359_296),
    ('bottom/conv3', 28, 1024, 4_718_592),
    ('bottom/conv4', 20, 1024, 9_437_184),
    ('bottom/tconv1', 28, 1024, 9_437_184),
    ('bottom/tconv2', 36, 512, 4_718_592),
    ('bottom/tconv3', 40, 512, 2_359_296),
    ('bottom/tconv4', 44, 512, 2_359_296),
    ('up3/conv', 88, 256, 1_179_904),
    ('up3/concat', 88, 512, 0),
    ('up3/tconv1', 90, 256, 1_179_904),
    ('up3/tconv2', 92, 256, 590_080),
    ('up2/conv', 184, 128, 295_040),
    ('up2/concat', 184, 256, 0),
    ('up2/tconv1', 186, 128, 295_040),
    ('up2/tconv2', 188, 128, 147_584),
    ('up1/conv', 376, 64, 73_792),
    ('up1/concat', 376, 128, 0),
    ('up1/tconv1', 378, 64, 73_792),
    ('up1/tconv2', 380, 64, 36_928),
    ('out', 380, 1, 64),
]


def at(tree: Any, path: str) -> Any:
    """The part of nested dicts that a path names; {} where there is none."""
    return functools.reduce(lambda node, name: node.get(name, {}), path.split('/'), tree)


def count(tree: Any) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def shapes(net: DilatedUNet, size: int = 380) -> Any:
    """Shapes of parameters and of every layer's output."""
    images = jnp.zeros((1, size, size, 7))

    def run():
        return net.init_with_output(
            jax.random.key(0), images, False, capture_intermediates=True,
            mutable=['params', 'intermediates'],
        )[1]  # fmt: skip

    return jax.eval_shape(run)


def test_every_layer_is_as_published():
    found = shapes(DilatedUNet())
    for name, side, channels, parameters in TABLE:
        (out,) = at(found['intermediates'], name)['__call__']
        assert out.shape == (1, side, side, channels), name
        assert count(at(found['params'], name)) == parameters, name
    assert sum(row[-1] for row in TABLE) == count(found['params']) == 41_588_928
    (logits,) = found['intermediates']['__call__']
    assert logits.shape == (1, 380, 380)


@pytest.mark.parametrize(
    ('fields', 'total'),
    [({'bias': 'all'}, 41_594_561), ({'skips': False}, 40_814_784), ({'width': 0.5}, 10_398_816)],
)
def test_parameters_of_the_other_forms(fields, total):
    assert count(shapes(build(**fields))['params']) == total


def build(**fields: Any) -> DilatedUNet:
    return dilated_unet.build(ConfigDict({**options.COMMON, **dilated_unet.DEFAULTS, **fields}))


@pytest.mark.parametrize(
    ('fields', 'said'),
    [
        ({'variant': 'unet'}, "variant is 'unet': choose one of dilated_unet"),
        ({'bias': 'none'}, "bias is 'none': choose one of published, all"),
        ({'width': 0.0}, 'width is 0.0'),
    ],
)
def test_unknown_fields_are_named(fields, said):
    with pytest.raises(ValueError, match=said):
        build(**fields)


@functools.cache
def narrow() -> tuple[Any, Any]:
    """(compiled logits of a narrow network, its variables)."""
    net = DilatedUNet(NARROW)
    return jax.jit(functools.partial(net.apply, train=False), compiler_options=QUICK), fresh(net)


def fresh(net: DilatedUNet) -> Any:
    """Initial variables."""
    init = jax.jit(functools.partial(net.init, train=False), compiler_options=QUICK)
    return init(jax.random.key(0), jnp.zeros((1, 228, 228, 7)))


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def test_sizes_that_fit_are_taken_as_they_are():
    for side in (228, 236, 380):
        x = jnp.zeros((1, side, side, 7))
        padded, first = pad_to_legal(x)
        assert padded is x and first == (0, 0)
    assert [legal(side) for side in (1, 229, 384, 388)] == [228, 236, 388, 388]


@pytest.mark.parametrize('size', [(50, 50), (231, 50), (1, 228)])
def test_other_sizes_are_padded_by_reflection_and_cropped(size):
    """50 pixels need 178 more: the reflections are reflected."""
    run, variables = narrow()
    x = images(1, *size, 7)
    sides = [(legal(n) - n) // 2 for n in size]
    pads = [(low, legal(n) - n - low) for low, n in zip(sides, size, strict=True)]
    whole = run(variables, np.pad(x, ((0, 0), *pads, (0, 0)), 'reflect'))
    cut = tuple(slice(low, low + n) for low, n in zip(sides, size, strict=True))
    have = run(variables, x)
    assert have.shape == (1, *size) and np.std(have) > 0
    np.testing.assert_allclose(have, whole[:, cut[0], cut[1]], atol=1e-5 * np.abs(whole).max())


def test_384_pixels_are_padded_to_388():
    x = jax.ShapeDtypeStruct((1, 384, 384, 7), jnp.float32)
    run, variables = narrow()
    assert jax.eval_shape(run, variables, x).shape == (1, 384, 384)
    assert pad_to_legal(jnp.zeros((1, 384, 300, 7)))[0].shape == (1, 388, 300, 7)


@pytest.mark.parametrize('dilation', [1, 2, 4])
def test_a_transposed_convolution_is_a_full_one_turned(dilation):
    """Every pixel of x adds its product with torch's kernel [in, out, k, l], tap by tap."""
    rng, d = np.random.default_rng(1), dilation
    x, kernel = rng.normal(size=(2, 5, 4, 3)), rng.normal(size=(3, 6, 3, 3))
    want = np.zeros((2, 5 + 2 * d, 4 + 2 * d, 6))
    for i, j, k, l in np.ndindex(5, 4, 3, 3):  # noqa: E741
        want[:, i + d * k, j + d * l] += x[:, i, j] @ kernel[:, :, k, l]
    turned = kernel.transpose(2, 3, 0, 1)[::-1, ::-1]
    layer = Conv(6, 3, padding='full', dilation=d)
    variables = {'params': {'conv': {'kernel': jnp.asarray(turned, jnp.float32)}}}
    have = layer.apply(variables, jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(np.asarray(have), want, atol=1e-5)


def both_forms(layer, x, kernel, monkeypatch) -> tuple[Any, Any]:
    """(output, gradients of x and kernel) as on CPUs, and as elsewhere."""

    def run(x, kernel) -> Any:
        return layer.apply({'params': {'conv': {'kernel': kernel, 'bias': jnp.zeros(5)}}}, x)

    found = []
    for backend in ('cpu', 'tpu'):
        monkeypatch.setattr(jax, 'default_backend', lambda backend=backend: backend)
        out, back = jax.vjp(run, x, kernel)
        gradient = np.random.default_rng(3).normal(size=out.shape)
        found.append((out, *back(jnp.asarray(gradient, jnp.float32))))
    return found[0], found[1]


@pytest.mark.parametrize(
    ('module', 'form', 'layer'),
    [
        (conv, 'padded', Conv(5, 3, padding='full', use_bias=True)),
        (conv, 'padded', Conv(5, 3, padding='full', dilation=2, use_bias=True)),
        (doubling, 'merged', DoublingConv(5)),
    ],
)
def test_forms_for_cpus_and_their_gradients_equal_xlas(module, form, layer, monkeypatch):
    used, own, rng = [], getattr(module, form), np.random.default_rng(2)
    monkeypatch.setattr(module, form, lambda *a: (used.append(form), own(*a))[1])
    x, kernel = (
        jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((2, 7, 6, 4), (3, 3, 4, 5))
    )
    here, there = both_forms(layer, x, kernel, monkeypatch)
    assert set(used) == {form}
    for have, want in zip(here, there, strict=True):
        np.testing.assert_allclose(have, want, atol=1e-5 * np.abs(want).max())


def test_doubling_repeats_every_pixel(monkeypatch):
    monkeypatch.setattr(jax, 'default_backend', lambda: 'tpu')
    x = jnp.asarray([[1.0, 2.0], [3.0, 4.0]])[None, :, :, None]
    centre = jnp.zeros((3, 3, 1, 1)).at[1, 1].set(1.0)
    layer = DoublingConv(1)
    out = layer.apply({'params': {'conv': {'kernel': centre, 'bias': jnp.zeros(1)}}}, x)
    np.testing.assert_array_equal(
        np.asarray(out)[0, :, :, 0], [[1, 1, 2, 2]] * 2 + [[3, 3, 4, 4]] * 2
    )


def test_dilated_convolutions_on_few_pixels_equal_xlas():
    """Many channels at few pixels have a form of their own, for windows without gaps."""
    rng = np.random.default_rng(4)
    x, kernel = (
        jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((1, 9, 9, 2), (3, 3, 2, 512))
    )
    want = lax.conv_general_dilated(
        x, kernel, (1, 1), 'VALID', rhs_dilation=(2, 2), dimension_numbers=('NHWC', 'HWIO', 'NHWC')
    )
    layer = Conv(512, 3, padding='VALID', dilation=2)
    have = layer.apply({'params': {'conv': {'kernel': kernel}}}, x)
    np.testing.assert_allclose(np.asarray(have), want, atol=1e-5)
    same: Any = Conv(512, 3, dilation=2).apply({'params': {'conv': {'kernel': kernel}}}, x)
    assert same.shape == (1, 9, 9, 512)


@functools.cache
def trained(**fields: Any) -> tuple[Any, Any]:
    """Loss and gradients of a narrow network with these options."""
    net, (_, variables) = DilatedUNet(NARROW, options=Options(**fields)), narrow()
    x, weights = jnp.asarray(images(1, 228, 228, 7)), jnp.asarray(images(1, 228, 228))

    def loss(params) -> Any:
        logits: Any = net.apply({'params': params}, x, True)
        assert logits.dtype == jnp.float32
        return (logits * weights).sum()

    return jax.jit(jax.value_and_grad(loss), compiler_options=QUICK)(variables['params'])


def test_recomputing_blocks_changes_no_gradient():
    for have, want in zip(*map(jax.tree.leaves, (trained(remat=True), trained())), strict=True):
        np.testing.assert_allclose(have, want, atol=1e-5 * np.abs(want).max() + 1e-12)


def test_bfloat16_computes_in_it_and_keeps_parameters_in_float32():
    (value, gradients), (want, exact) = trained(dtype='bfloat16'), trained()
    assert {leaf.dtype for leaf in jax.tree.leaves(gradients)} == {jnp.dtype('float32')}
    assert value != want
    have, exact = (
        np.concatenate([np.ravel(g) for g in jax.tree.leaves(t)]) for t in (gradients, exact)
    )
    assert np.linalg.norm(have - exact) < 0.1 * np.linalg.norm(exact)


def test_initial_weights_are_those_of_the_published_code():
    variables = fresh(DilatedUNet(0.25))['params']
    for name, deviation in (
        ('down3/conv2', math.sqrt(2 / (9 * 64))),
        ('up2/conv', math.sqrt(2 / (9 * 32))),
    ):
        kernel = at(variables, name)['conv']['kernel']
        assert abs(np.std(kernel) / deviation - 1) < 0.03
        assert np.abs(kernel).max() > 3 * deviation  # normal, not cut off
    kernel, bias = (at(variables, 'up3/tconv1')['conv'][leaf] for leaf in ('kernel', 'bias'))
    bound = 1 / math.sqrt(9 * 64)
    assert 0.99 * bound < np.abs(kernel).max() < bound
    assert 0.8 * bound < np.abs(bias).max() < bound
    bias, bound = at(variables, 'down2/conv1')['conv']['bias'], 1 / math.sqrt(9 * 16)
    assert 0.7 * bound < np.abs(bias).max() < bound
