"""The hierarchical head: attention, decoding with and without the tree, randomness.

See tests/third_party/test_hierarchy_parity.py for its values.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax import taxonomy
from skinjax.models.hierarchy import Cell, Hierarchical, SpatialAttention
from skinjax.models.options import Options
from tests.models.sides import random_variables
from tests.models.small import SMALL
from tests.objectives.linear_encoder import LinearEncoder
from tests.test_taxonomy import CLASSES, TREE

QUICK: Any = {'xla_backend_optimization_level': '0'}
BATCH, DEPTH, EMBEDDING = 24, 6, 4


def made(tree: taxonomy.Taxonomy, encoder: Any = None) -> tuple[Any, Any, jax.Array]:
    """(model, variables, maps) with large weights, so that paths differ."""
    rng = np.random.default_rng(0)
    decoder = {'hidden': 5, 'embedding': EMBEDDING, 'channel_attention': 2}
    model: Any = Hierarchical(encoder or LinearEncoder(3), tree, decoder)
    maps = jnp.asarray(rng.normal(size=(BATCH, 3, 2, DEPTH)), jnp.float32)
    init = functools.partial(model.init, method='follow')
    shapes = jax.eval_shape(init, jax.random.key(0), maps, jnp.zeros((BATCH, 1), jnp.int32))
    return model, random_variables(shapes, rng, gain=9.0), maps


@pytest.fixture(scope='module')
def tree():
    return taxonomy.read(TREE, CLASSES)


@pytest.fixture(scope='module')
def found(tree):
    """Everything that is decoded, and the logits along the path of each class [c, b, l, v]."""
    model, variables, maps = made(tree)

    @functools.partial(jax.jit, compiler_options=QUICK)
    def run():
        decode, out = functools.partial(model.apply, variables, maps), {}
        for constrained in (True, False):
            for method in ('chances', 'choose'):
                out[method, constrained] = decode(constrained=constrained, method=method)
        each = [jnp.broadcast_to(path, (BATCH, 3)) for path in tree.paths]
        return out, jnp.stack([decode(paths, method='follow')[0] for paths in each])

    return jax.device_get(run())


def softmax(x: np.ndarray) -> np.ndarray:
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


@pytest.mark.parametrize('constrained', [True, False])
def test_the_chance_of_a_class_is_the_product_along_its_path(tree, found, constrained):
    """Slow twin: every class by itself, its true nodes fed."""
    out, logits = found
    want = np.ones((BATCH, len(CLASSES)))
    for k, path in enumerate(tree.paths):
        for level, node in enumerate(path):
            peers = tree.children(int(tree.parents[node])) if constrained else np.arange(9)
            at = int(np.flatnonzero(peers == node)[0])
            want[:, k] *= softmax(logits[k, :, level][:, peers])[:, at]
    if constrained:
        np.testing.assert_allclose(want.sum(1), 1, atol=1e-5)
    want /= want.sum(1, keepdims=True)
    np.testing.assert_allclose(np.exp(out['chances', constrained]), want, atol=1e-5)


def test_constrained_decoding_never_leaves_the_tree(tree, found):
    out, logits = found
    chosen, last = out['choose', True]
    assert taxonomy.consistent(tree, chosen).all()
    assert len(np.unique(chosen[:, -1])) > 1
    children = tree.allowed()[chosen[:, -2]]
    assert (last[~children] == -1e9).all() and (last[children] > -1e3).all()
    free, _ = out['choose', False]
    assert not taxonomy.consistent(tree, free).all()
    np.testing.assert_array_equal(free[:, 0], logits[0, :, 0].argmax(-1))


def test_a_single_level_is_the_flat_classifier():
    flat = taxonomy.read({}, CLASSES)
    model, variables, maps = made(flat)

    @functools.partial(jax.jit, compiler_options=QUICK)
    def run():
        decode = functools.partial(model.apply, variables, maps)
        logits = decode(jnp.zeros((BATCH, 1), jnp.int32), method='follow')[0][:, 0]
        chances, choices = (
            [decode(constrained=constrained, method=method) for constrained in (True, False)]
            for method in ('chances', 'choose')
        )
        return logits, chances, choices

    logits, chances, choices = run()
    for logs in chances:
        np.testing.assert_allclose(logs, jax.nn.log_softmax(logits), atol=1e-5)
    for chosen, last in choices:
        np.testing.assert_array_equal(chosen[:, 0], logits.argmax(-1))
        np.testing.assert_array_equal(last, logits)


def test_attention_is_a_mean_that_does_not_know_the_place():
    rng = np.random.default_rng(1)
    maps = jnp.asarray(rng.normal(size=(2, 7, 1, 5)), jnp.float32)
    state = jnp.asarray(rng.normal(size=(2, 4)), jnp.float32)
    layer: Any = SpatialAttention()
    shapes = jax.eval_shape(lambda: layer.init(jax.random.key(0), maps, state, None))
    variables = random_variables(shapes, rng, gain=9.0)
    run = jax.jit(lambda maps: layer.apply(variables, maps, state, None))
    context, alpha = run(maps)
    np.testing.assert_allclose(alpha.sum((1, 2)), 1, atol=1e-6)
    assert float(jnp.ptp(alpha)) > 0.05
    np.testing.assert_allclose(context, jnp.einsum('byx,byxd->bd', alpha, maps), atol=1e-6)
    order = rng.permutation(7)
    again, turned = run(maps[:, order])
    np.testing.assert_allclose(turned, alpha[:, order], atol=1e-6)
    np.testing.assert_allclose(again, context, atol=1e-6)


def test_the_input_of_the_cell_has_one_mask_for_all_levels(tree):
    model, variables, maps = made(tree)
    paths = jnp.zeros((BATCH, 3), jnp.int32)

    @functools.partial(jax.jit, compiler_options=QUICK)
    def run(keys):
        seen = []

        def note(call, args, kwargs, context):
            if isinstance(context.module, Cell):
                seen.append(args[1] == 0)
            return call(*args, **kwargs)

        with nn.intercept_methods(note):
            return model.apply(variables, maps, paths, keys, method='follow')[0], seen

    keys = jax.random.split(jax.random.key(0), BATCH)
    first, seen = jax.device_get(run(keys))
    context, *later = seen[0][:, :DEPTH], *seen[1:]  # no node is before the first level
    assert len(later) == 2 and 0.3 < later[0].mean() < 0.7
    for mask in later:
        np.testing.assert_array_equal(mask, later[0])
    np.testing.assert_array_equal(context, later[0][:, :DEPTH])
    assert (context != context[:1]).any(), 'examples have masks of their own'
    other = run(jax.random.split(jax.random.key(1), BATCH))[0]
    assert np.abs(other - first).max() > 0.01


def test_any_encoder_serves(tree):
    """The pixels are those of its last map, or its features where it has no map."""
    images = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)
    for encoder, shape in ((SMALL['resnet'](Options()), (2, 2, 2, 2048)), (None, (2, 1, 1, 3))):
        model, *_ = made(tree, encoder)
        init = functools.partial(model.init, train=True)
        variables = jax.eval_shape(init, jax.random.key(0), images)
        assert set(variables['params']) == {'encoder', 'head'}
        encode = functools.partial(model.apply, train=False, method='encode')
        assert jax.eval_shape(encode, variables, images).shape == shape
