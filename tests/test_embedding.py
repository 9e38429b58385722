"""Features of images: random and trained encoders, any number of images."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from skinjax import embedding
from skinjax.models import attention
from skinjax.objectives import perceptual
from tests.helpers import SHARED, tiny_records


def pictures(n: int, size: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, 3)).astype(np.uint8)


def test_features_are_those_of_the_encoder_whatever_the_batch():
    """Of a linear layer, so that they can be written down."""
    config: Any = ConfigDict(perceptual.section('tests.objectives.linear_encoder', features=5))
    config.update(mean=(0.5,) * 3, std=(0.25,) * 3)
    encoder = perceptual.read(config, seed=3)
    images = pictures(7)
    found = embedding.Embedding(encoder, True, 3)(images)
    kernel = np.asarray(encoder.variables['params']['out']['kernel'])
    want = ((images / 255 - 0.5) / 0.25).reshape(7, -1) @ kernel
    np.testing.assert_allclose(found, want, atol=1e-3)
    np.testing.assert_allclose(found, embedding.Embedding(encoder, True, 8)(images), atol=1e-4)
    both = embedding.Embedding(encoder, False, 8)(images)
    both = both / 10
    np.testing.assert_allclose(both[:, :5], want, atol=1e-3)
    seen = np.asarray(embedding.detail(jnp.asarray(images / 255, jnp.float32)))
    np.testing.assert_allclose(
        both[:, 5:], ((seen - 0.5) / 0.25).reshape(7, -1) @ kernel, atol=1e-3
    )


def test_detail_is_what_a_blur_takes_away():
    image = np.full((1, 9, 9, 3), 0.3, np.float32)
    np.testing.assert_allclose(embedding.detail(jnp.asarray(image)), 0.5, atol=1e-6)
    image[0, 4, 4] = 0.8
    found = np.asarray(embedding.detail(jnp.asarray(image)))
    assert found[0, 4, 4, 0] == pytest.approx(0.5 + 4 * 0.5 * 24 / 25)
    assert found[0, 2, 2, 1] == pytest.approx(0.5 - 4 * 0.5 / 25)
    image[:] = np.linspace(0, 1, 9)[:, None, None]
    edge = np.asarray(embedding.detail(jnp.asarray(image)))[0, 0, 0, 0]
    assert edge == pytest.approx(0.5 - 4 * image[0, :3, 0, 0].mean())  # of the pixels there are


def test_without_weights_it_is_one_random_network():
    sections = (embedding.NONE, perceptual.section('mobilenet'))
    found = [embedding.load(ConfigDict(one), batch_size=2) for one in sections]
    jax.tree.map(np.testing.assert_array_equal, *(one.encoder.variables for one in found))
    images = pictures(3, size=32)
    features = found[0](images)
    assert features.shape == (3, 512) and 'random' in found[0].name and not found[0].trained
    # An image that is blurred is another, as one that is darker is.
    for other in (images // 2 + images.mean(dtype=int) // 2, (0.8 * images).astype(np.uint8)):
        assert np.abs(found[0](other.astype(np.uint8)) - features).max() > 0.1 * features.std()


def test_trained_weights():
    path = SHARED / 'weights' / 'mobilenet_v2_1.0_224_dequantised_f32.npz'
    if not path.is_file():
        pytest.skip('no ../shared/weights')
    section = perceptual.section('mobilenet', padding='tf', pretrained=str(path))
    found = embedding.load(ConfigDict(section), batch_size=2)
    assert found.trained and found.name == 'mobilenet'
    assert found(pictures(2, size=32)).shape == (2, 1280)


def test_images_of_another_size():
    """As of the resized images: linear, and averaged where they become smaller."""
    config: Any = ConfigDict(perceptual.section('tests.objectives.linear_encoder', features=5))
    encoder = perceptual.read(config, seed=3)
    images = pictures(3, size=128)
    found = embedding.Embedding(encoder, True, 2, size=64)
    shape = (3, 64, 64, 3)
    small = jax.image.resize(jnp.asarray(images / 255, jnp.float32), shape, 'linear')
    want, _ = encoder(encoder.variables, small)
    np.testing.assert_allclose(found(images), want, atol=1e-3)
    assert found.name.endswith('linear_encoder, images of 64 pixels')
    np.testing.assert_allclose(
        found(pictures(3)), embedding.Embedding(encoder, True, 2)(pictures(3)), atol=1e-3
    )
    found.check(128)


def test_inception_sees_images_of_299_pixels(monkeypatch):
    """So that 64 are enough; without computing any."""
    config: Any = ConfigDict(perceptual.section('inception'))
    module = attention.encoder(config)
    image = jax.ShapeDtypeStruct((1, 299, 299, 3), jnp.float32)
    known = jax.eval_shape(lambda key, x: module.init(key, x, False), jax.random.key(0), image)
    encoder = perceptual.Encoder('inception', module, known, (0.5,) * 3, (0.5,) * 3)
    monkeypatch.setattr(perceptual, 'read', lambda *given: encoder)
    with config.unlocked():
        config.pretrained = 'weights'
    images = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.uint8)
    found = [embedding.load(config, size=size) for size in (0, 128)]
    assert [one.size for one in found] == [299, 128] and '299' in found[0].name
    assert [jax.eval_shape(one._run, known, images).shape for one in found] == [(2, 2048)] * 2


def test_what_is_missing_is_named():
    section = ConfigDict({**embedding.NONE, 'pretrained': 'nowhere'})
    with pytest.raises(FileNotFoundError, match=r'config\.evaluate\.features\.pretrained: nowhere'):
        embedding.load(section)
    section.name = 'vgg'
    with pytest.raises(ValueError, match=r"config\.evaluate\.features lacks .* of 'vgg'"):
        embedding.load(section)


def test_pictures():
    records = tiny_records(10)
    images = embedding.images_of(records, 8)
    np.testing.assert_array_equal(images[3], records.read(3)['image'])
    all_of = embedding.Pictures(images, np.arange(20.0).reshape(10, 2), records.labels)
    some = all_of.spread(4)
    assert some.features[:, 0].tolist() == [0, 6, 12, 18] and len(all_of.spread(50).labels) == 10
    own = all_of.of_class(1)
    np.testing.assert_array_equal(own.images, images[records.labels == 1])
    assert len(all_of.of_class(2).labels) == 0
