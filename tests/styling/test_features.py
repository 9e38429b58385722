"""The network of style transfer: its layers, its pooling, its normalisation, its weights."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax import config as configs
from skinjax.models import lesion_cnn, pooling
from skinjax.styling import features as sf
from skinjax.styling.options import DEFAULTS, PUBLISHED
from tests.helpers import SHARED

WEIGHTS = SHARED / 'weights' / 'mobilenet_v2_1.0_224_dequantised_f32.npz'
RNG = np.random.default_rng(0)
IMAGES = jnp.asarray(RNG.random((2, 32, 32, 3)), jnp.float32)


def made(**fields: Any) -> sf.Features:
    """The five blocks with random weights; convolutions without bias."""
    config = configs.make({**configs.plugin('models', 'lesion_cnn', top='mean')})
    module = lesion_cnn.build(config)
    images = {'mean': (0.0,) * 3, 'std': (1.0,) * 3}
    network = sf.network('lesion_cnn', module, {**DEFAULTS, **fields}, images)
    variables = jax.jit(lambda key: module.init(key, IMAGES, False))(jax.random.key(0))
    return sf.Features(network, variables)


def maps(found: sf.Features, images: Any = IMAGES) -> tuple[list[Any], list[Any]]:
    return jax.jit(found.network)(found.variables, images)


def test_pooling_of_style_and_content():
    square = jnp.asarray([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 2, 1)
    for kind, want in ((pooling.AvgPool, 2.5), (pooling.MaxPool, 4)):
        pooled: Any = kind(2, 2).apply({}, square)
        assert pooled.item() == want
    plain = made(style_layers=('map1',), content_layers=('map1',))
    both = made(
        style_layers=('map1',), content_layers=('map1',), style_pool='avg', content_pool='max'
    )
    (average,), (most,) = maps(both)
    np.testing.assert_allclose(most, maps(plain)[0][0], rtol=1e-6)
    assert (average <= most + 1e-6).all() and float(jnp.abs(average - most).max()) > 0.01
    (average,), (most,) = maps(both, jnp.full((1, 32, 32, 3), 0.4))
    np.testing.assert_allclose(average[:, 1:-1, 1:-1], most[:, 1:-1, 1:-1], rtol=1e-5)
    assert float(jnp.abs(average - most)[:, 0].max()) > 1e-4  # zeros lie beside the border


def test_moments_of_the_image_make_maps_blind_to_exposure():
    """The published normalisation loses what running statistics keep (all biases are 0)."""
    for bn, blind in (('batch', True), ('running', False)):
        found = made(bn=bn, style_layers=('map1', 'map2'), content_layers=('map2',))
        bright, dark = (maps(found, scale * IMAGES)[0] for scale in (32.0, 16.0))
        difference = max(float(jnp.abs(a - b).max()) for a, b in zip(bright, dark, strict=True))
        assert (difference < 1e-2) == blind, difference
        if blind:  # and each image has its own
            alone = maps(found, 32 * IMAGES[1:])[0]
            for a, b in zip(alone, bright, strict=True):
                np.testing.assert_allclose(a, b[1:], atol=1e-4)


def test_layers_by_number_and_by_path():
    found = made(style_layers=('block1/relu2', 'map2'), content_layers=('block2/conv1',))
    (first, second), (third,) = maps(found)
    assert first.shape == (2, 32, 32, 8) and (first >= 0).all()
    assert second.shape == (2, 8, 8, 32) and third.shape == (2, 16, 16, 32)
    default = made().network
    assert default.style == ('map1', 'map2', 'map3', 'map4', 'map5')
    assert default.content == ('map4',)
    for layer, message in (('map6', 'has 5 maps'), ('block1/relu3', "no layer 'block1/relu3'")):
        with pytest.raises(ValueError, match=message):
            maps(made(style_layers=(layer,)))


@pytest.mark.parametrize(('size', 'total'), [(224, 5_177_649), (256, 6_160_689)])
def test_parameters_of_the_published_classifier(size, total):
    config = configs.make(configs.plugin('models', 'lesion_cnn'))
    shapes = jax.eval_shape(
        lambda key, x: lesion_cnn.build(config).init(key, x, False),
        jax.random.key(0),
        jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32),
    )['params']
    sizes = {name: sum(x.size for x in jax.tree.leaves(part)) for name, part in shapes.items()}
    assert sum(sizes.values()) + 9 * (64 + 1) == total
    assert sum(n for name, n in sizes.items() if name.startswith('block')) == 1_949_096


def test_weights_of_a_run_fit_images_of_any_size(trained):
    found = sf.load({**DEFAULTS, **PUBLISHED, 'weights': str(trained)})
    assert found.network.mean == (0.0,) * 3 and found.network.batch_norm
    style, content = maps(found, jnp.zeros((1, 64, 64, 3)))
    assert [x.shape[1] for x in style] == [32, 16, 8, 4, 2] and content[0].shape == (1, 4, 4, 128)


def test_weights_of_mobilenet():
    if not WEIGHTS.is_file():
        pytest.skip('no ../shared/weights')
    found = sf.load({**DEFAULTS, 'weights': str(WEIGHTS)})
    style, content = maps(found, jnp.asarray(RNG.random((1, 64, 64, 3)), jnp.float32))
    assert [x.shape[1:] for x in style] == [(32, 32, 32), (32, 32, 96), (16, 16, 144)]
    assert [x.shape[1:] for x in content] == [(16, 16, 144)]
    assert all((x >= 0).all() and x.max() <= 6 for x in style)
    for field in ('style_pool', 'content_pool'):
        with pytest.raises(ValueError, match="no pooling, so that 'max' in its place does nothing"):
            sf.load({**DEFAULTS, 'weights': str(WEIGHTS), field: 'max'})
    with pytest.raises(ValueError, match='has 5 maps'):
        sf.load({**DEFAULTS, 'weights': str(WEIGHTS), 'style_layers': ('map99',)})


def test_layers_of_vgg_are_those_of_the_literature():
    """relu1_1, relu2_1, relu3_1, relu4_1, relu5_1; relu4_2."""
    model = configs.make(configs.plugin('models', 'vgg', top='mean'))
    module = configs.find('models', 'vgg').build(model)
    images = {'mean': (0.0,) * 3, 'std': (1.0,) * 3}
    network = sf.network('vgg', module, DEFAULTS, images)
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    shapes = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, False), image)
    style, content = jax.eval_shape(network, shapes, image)
    sizes = [(32, 64), (16, 128), (8, 256), (4, 512), (2, 512)]
    assert [(x.shape[1], x.shape[3]) for x in style] == sizes
    assert [(x.shape[1], x.shape[3]) for x in content] == [(4, 512)]
    sf.check(network, shapes)
    sf.check(sf.network('vgg', module, {**DEFAULTS, 'style_pool': 'avg'}, images), shapes)
    with pytest.raises(ValueError, match="bn 'batch' does nothing with an encoder that normalises"):
        sf.check(sf.network('vgg', module, {**DEFAULTS, 'bn': 'batch'}, images), shapes)


def test_weights_that_are_not_there(tmp_path):
    with pytest.raises(ValueError, match='weights is empty'):
        sf.load(DEFAULTS)
    with pytest.raises(FileNotFoundError, match='does not exist'):
        sf.load({**DEFAULTS, 'weights': str(tmp_path / 'none')})
    with pytest.raises(ValueError, match='bn'):
        sf.network('vgg', pooling.GlobalMeanPool(), {**DEFAULTS, 'bn': 'none'}, {})
