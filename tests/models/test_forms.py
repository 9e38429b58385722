"""Operations with two forms: each platform gets its own, also from one trace for all of them."""

import flax.linen as nn
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax.models.conv import Conv
from skinjax.models.forms import for_several_platforms
from skinjax.models.options import Options
from skinjax.models.pooling import MaxPool
from tests.models import small


class Net(nn.Module):
    """A full, a depthwise and a 1x1 convolution, and pooling."""

    @nn.compact
    def __call__(self, x):
        x = Conv(4, 3, name='full')(x)
        x = Conv(4, 3, stride=2, feature_groups=4, name='depthwise')(x)
        return MaxPool(2, 2)(Conv(6, 1, name='pointwise')(x))


IMAGES = np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype(np.float32)


@pytest.fixture(scope='module')
def variables():
    return jax.jit(Net().init)(jax.random.key(0), IMAGES)


def exported(variables, *platforms: str) -> jax.export.Exported:
    shape = jax.ShapeDtypeStruct(jax.export.symbolic_shape('b, 8, 8, 3'), jnp.float32)
    with for_several_platforms():
        function = jax.jit(lambda x: Net().apply(variables, x))
        return jax.export.export(function, platforms=platforms)(shape)


@pytest.mark.parametrize(
    ('platform', 'convolutions', 'products', 'windows'),
    [('cpu', 1, 1, 0), ('cuda', 3, 0, 1), ('rocm', 3, 0, 1), ('tpu', 3, 0, 1)],
)
def test_each_platform_gets_its_own(platform, convolutions, products, windows, variables):
    text = exported(variables, platform).mlir_module()
    assert text.count('stablehlo.convolution') == convolutions
    assert text.count('stablehlo.dot_general') == products
    assert text.count('stablehlo.reduce_window') == windows


def test_of_one_trace_for_all_a_cpu_runs_its_own(variables):
    several = exported(variables, 'cpu', 'cuda', 'tpu')
    text = several.mlir_module()
    assert text.count('stablehlo.dot_general') and text.count('stablehlo.reduce_window')
    compiled = jax.jit(several.call).lower(IMAGES).compile()
    program = compiled.as_text() or ''
    assert program.count(' convolution(') == 1 and ' reduce-window(' not in program
    assert ' conditional(' not in program
    plain = jax.jit(Net().apply)(variables, IMAGES)
    np.testing.assert_allclose(compiled(IMAGES), plain, atol=1e-6)


@pytest.mark.parametrize('family', small.SMALL)
def test_every_family_is_exported_for_any_batch_size(family):
    side = {'inception': 96}.get(family, 64)
    net = small.SMALL[family](Options())
    one = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    variables = jax.eval_shape(lambda x: net.init(jax.random.key(0), x, False), one)
    images = jax.ShapeDtypeStruct(jax.export.symbolic_shape(f'b, {side}, {side}, 3'), jnp.float32)
    with for_several_platforms():
        function = jax.jit(lambda v, x: net.apply(v, x, False)[0])
        whole = jax.export.export(function, platforms=('cpu', 'cuda', 'tpu'))(variables, images)
    assert [str(size) for size in whole.out_avals[0].shape[:1]] == ['b']


def test_both_forms_agree(variables, monkeypatch):
    images = jnp.asarray(IMAGES)
    want = np.asarray(Net().apply(variables, images))
    monkeypatch.setattr(jax, 'default_backend', lambda: 'tpu')
    np.testing.assert_allclose(np.asarray(Net().apply(variables, images)), want, atol=1e-6)


def test_training_holds_one_form_alone(variables):
    """A choice would keep for the backward pass what both forms need."""

    def loss(variables, x):
        return jnp.sum(jnp.asarray(Net().apply(variables, x)))

    def program():
        return str(jax.make_jaxpr(jax.grad(loss))(variables, IMAGES))

    with for_several_platforms():
        assert 'platform_index' in program()
    assert 'platform_index' not in program() and 'reduce_window' not in program()
