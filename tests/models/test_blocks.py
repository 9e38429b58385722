"""Blocks of every family under rematerialisation, and stochastic depth within one."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax import config as configs
from skinjax.models import densenet, efficientnet, inception, lesion_cnn, mobilenet, resnet, vgg
from skinjax.models.options import Options

# Each sees a map of 32 channels.
BLOCKS: dict[str, tuple[type, Callable[[Options], tuple[Any, ...]]]] = {
    'resnet': (resnet.Bottleneck, lambda o: (8, 1, resnet.Variant((1,)), o)),
    'densenet': (densenet.DenseLayer, lambda o: (8, o)),
    'vgg': (vgg.Stage, lambda o: (0, 2, 8, True, o)),
    'inception': (inception.Mixed, lambda o: (inception._a(32), o)),
    'efficientnet': (efficientnet.MBConv, lambda o: (32, 2, 3, 1, 0.5, o)),
    'mobilenet': (mobilenet.InvertedResidual, lambda o: (32, 2, 1, 'symmetric', o)),
    'lesion_cnn': (lesion_cnn.Block, lambda o: (2, 8, 'max', 0.5, o)),
}
IMAGES = jax.random.normal(jax.random.key(0), (8, 6, 6, 32))
KEYS = jax.random.split(jax.random.key(1), 8)


def arguments(family: str) -> tuple[Any, ...]:
    """What the block is called with in training."""
    x = [IMAGES[..., :16], IMAGES[..., 16:]] if family == 'densenet' else IMAGES
    keys = (KEYS,) if family in ('efficientnet', 'lesion_cnn') else ()
    return x, True, *keys


def block(family: str, *, remat: bool = False) -> Any:
    options = Options(remat=remat)
    module, fields = BLOCKS[family]
    return options.block(module)(*fields(options))


def test_every_family_has_a_block():
    assert set(BLOCKS) == set(configs.siblings('models', 'classification'))


@pytest.mark.parametrize('family', BLOCKS)
def test_rematerialisation_changes_nothing(family):
    """Output, statistics and gradients in training, with the same random numbers."""
    x, *rest = arguments(family)
    variables = jax.jit(lambda: block(family).init(jax.random.key(2), x, *rest))()

    def run(remat):
        def loss(params, x):
            now = {**variables, 'params': params}
            y, new = block(family, remat=remat).apply(now, x, *rest, mutable=['batch_stats'])
            return jnp.square(y - 1).sum(), (y, new)

        return jax.grad(loss, argnums=(0, 1), has_aux=True)

    given = variables['params'], x
    assert 'remat' in str(jax.make_jaxpr(run(True))(*given))
    have, want = (jax.tree.leaves(jax.jit(run(remat))(*given)) for remat in (True, False))
    for again, plain in zip(have, want, strict=True):
        np.testing.assert_allclose(again, plain, atol=1e-5 * np.abs(plain).max())


def test_stochastic_depth_drops_the_branch_of_whole_examples():
    net, (x, *_) = block('efficientnet'), arguments('efficientnet')
    variables = jax.jit(lambda: net.init(jax.random.key(2), x, False))()
    apply = jax.jit(net.apply, static_argnums=2)
    branch = np.asarray(apply(variables, x, False) - x)
    kept = np.asarray(apply(variables, x, False, KEYS) - x)
    gone = np.array([not example.any() for example in kept])
    assert 0 < gone.sum() < len(gone)
    assert np.abs(branch).max() > 0.1
    np.testing.assert_allclose(kept[~gone], branch[~gone] / 0.5, atol=1e-5)
