"""The network around an encoder."""

import jax
import jax.numpy as jnp
import numpy as np

from skinjax import config as configs
from skinjax import kinds
from skinjax.models.classifier import Classifier


def test_maps_are_those_of_the_encoder_in_evaluation():
    config = kinds.convert('narrow').model
    network = Classifier(configs.find('models', config.name).build(config), 1)
    images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 32, 32, 3)), jnp.float32)

    @jax.jit
    def run(images):
        variables = network.init(jax.random.key(0), images, False)
        maps = network.apply(variables, images, method='maps')
        return maps, network.apply(variables, images, False)

    maps, out = run(images)
    assert [m.shape[1] for m in maps] == [8, 8, 4, 2]
    np.testing.assert_allclose(maps[-1].mean((1, 2)), out['features'], atol=1e-5)
