"""Shapes of the residual encoders, and how they start; see test_encoders.py for all families."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from skinjax.models import resnet
from skinjax.models.options import Options


def build(variant, **fields):
    return resnet.build(ConfigDict({'variant': variant, **fields}))


def shapes(variant, size=64, **fields):
    """(variables, (features, maps)) of one image, as shapes."""
    init = functools.partial(build(variant, **fields).init_with_output, train=True)
    images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    outputs, variables = jax.eval_shape(init, jax.random.key(0), images)
    return variables, outputs


@pytest.mark.parametrize(
    ('variant', 'features', 'sides', 'channels'),
    [
        ('resnet18', 512, (16, 16, 8, 4, 2), (64, 64, 128, 256, 512)),
        ('resnet50', 2048, (16, 16, 8, 4, 2), (64, 256, 512, 1024, 2048)),
        ('narrow', 64, (16, 16, 8, 4), (16, 16, 32, 64)),
    ],
)
def test_features_and_maps(variant, features, sides, channels):
    _, (out, maps) = shapes(variant)
    assert out.shape == (1, features)
    assert [m.shape for m in maps] == [(1, s, s, c) for s, c in zip(sides, channels, strict=True)]


def test_bottlenecks_put_the_stride_on_the_3x3_convolution():
    variables, _ = shapes('resnext101_32x8d')
    block = variables['params']['stage2_0']
    assert block['conv1']['conv']['kernel'].shape == (1, 1, 256, 512)
    assert block['conv2']['conv']['kernel'].shape == (3, 3, 16, 512)
    assert block['conv3']['conv']['kernel'].shape == (1, 1, 512, 512)
    images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    _, seen = jax.eval_shape(
        functools.partial(
            build('resnext101_32x8d').apply, train=True, capture_intermediates=True, mutable=True
        ),
        variables,
        images,
    )
    inside = seen['intermediates']['stage2_0']
    assert inside['conv1']['__call__'][0].shape == (1, 16, 16, 512)
    assert inside['conv2']['__call__'][0].shape == (1, 8, 8, 512)


def test_blocks_start_as_the_identity():
    net = resnet.ResNet(resnet.Variant((2,), width=4, bottleneck=False))

    @jax.jit
    def maps(key):
        images = jax.random.normal(key, (2, 16, 16, 3))
        variables = net.init(key, images, True)
        return net.apply(variables, images, True, mutable='batch_stats')[0][1]

    before, after = maps(jax.random.key(0))
    np.testing.assert_array_equal(before, after)
    assert float(before.max()) > 0


def test_norm_groups_give_each_slice_its_own_statistics():
    images = jax.random.normal(jax.random.key(1), (4, 8, 8, 3))
    images *= jnp.asarray([1.0, 1.0, 5.0, 5.0])[:, None, None, None]
    variant = resnet.Variant((1,), width=4, bottleneck=False)
    together, apart = (resnet.ResNet(variant, Options(norm_groups=g)) for g in (1, 2))
    variables = jax.jit(together.init, static_argnums=2)(jax.random.key(0), images, True)

    @functools.partial(jax.jit, static_argnums=0)
    def features(net, x):
        return net.apply(variables, x, True, mutable='batch_stats')[0][0]

    slices = [features(together, images[part]) for part in (slice(2), slice(2, 4))]
    np.testing.assert_allclose(features(apart, images), np.concatenate(slices), atol=1e-5)
    assert np.abs(features(apart, images) - features(together, images)).max() > 0.1
