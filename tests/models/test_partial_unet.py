"""The network that fills holes: its layers, its sizes, what it sees and what it does not."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from skinjax import config as configs
from skinjax.models import partial_unet

FIELDS = {'levels': 3, 'width': 0.0625}


def build(**fields) -> Any:
    return partial_unet.build(
        ConfigDict({**configs.train('inpainting', model='partial_unet').model, **fields})
    )


@pytest.fixture(scope='module')
def made():
    """(module, variables, images, valid) of a small network whose statistics are not fresh."""
    net = build(**FIELDS)
    images = jax.random.normal(jax.random.key(0), (3, 16, 16, 3))
    valid = (jax.random.uniform(jax.random.key(1), (3, 16, 16)) > 0.4).astype(jnp.float32)
    valid = valid.at[:, 4:12, 4:12].set(0)
    variables = jax.jit(lambda: net.init(jax.random.key(2), images, valid, True))()
    _, new = jax.jit(lambda v: net.apply(v, images, valid, True, mutable=['batch_stats']))(
        variables
    )
    return net, {**variables, **new}, images, valid


def shapes(**fields):
    net = build(**fields)
    return jax.eval_shape(
        lambda: net.init(
            jax.random.key(0), jnp.zeros((1, 256, 256, 3)), jnp.ones((1, 256, 256)), True
        )
    )['params']


def test_layers_of_the_published_network():
    params = shapes()
    assert set(params) == {'encoder', 'decoder'}
    kernel = {
        part: {name: level['conv']['conv']['conv']['kernel'].shape for name, level in found.items()
               if name != 'out'}
        for part, found in params.items()
    }  # fmt: skip
    assert kernel['encoder'] == {
        'level1': (7, 7, 3, 64),
        'level2': (5, 5, 64, 128),
        'level3': (5, 5, 128, 256),
        'level4': (3, 3, 256, 512),
        **{f'level{i}': (3, 3, 512, 512) for i in (5, 6, 7)},
    }
    assert kernel['decoder'] == {
        **{f'level{i}': (3, 3, 1024, 512) for i in (7, 6, 5)},
        'level4': (3, 3, 768, 256),
        'level3': (3, 3, 384, 128),
        'level2': (3, 3, 192, 64),
    }
    out = params['decoder']['out']
    assert out['conv']['conv']['kernel'].shape == (3, 3, 67, 3) and out['bias'].shape == (3,)
    unnormalised = [name for name in params['encoder'] if 'norm' not in params['encoder'][name]]
    assert unnormalised == ['level1']
    assert all('norm' in level for name, level in params['decoder'].items() if name != 'out')
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 25_779_796


def test_width_and_levels():
    params = shapes(levels=2, width=0.5)
    assert set(params['encoder']) == {'level1', 'level2'}
    assert params['encoder']['level2']['conv']['conv']['conv']['kernel'].shape == (5, 5, 32, 64)
    assert params['decoder']['level2']['conv']['conv']['conv']['kernel'].shape == (3, 3, 96, 32)


def test_what_lies_in_holes_is_not_seen(made):
    net, variables, images, valid = made
    run = jax.jit(lambda images: net.apply(variables, images, valid, False))
    hidden = jnp.where(valid[..., None] > 0, images, 1e4)
    first = run(images)
    np.testing.assert_array_equal(first, run(hidden))
    assert first.shape == images.shape and first.dtype == jnp.float32
    moved = images.at[0, 0, 0].add(valid[0, 0, 0] + (1 - valid[0, 0, 0]))
    seen = bool(valid[0, 0, 0])
    assert bool((run(moved) != first).any()) == seen


def test_all_holes_give_zeros_and_finite_gradients(made):
    net, variables, images, valid = made

    def loss(params, valid):
        out, new = net.apply(
            {**variables, 'params': params}, images, valid, True, mutable=['batch_stats']
        )
        return jnp.abs(out - images).sum(), (out, new)

    run = jax.jit(jax.grad(loss, has_aux=True))
    for seen in (jnp.zeros_like(valid), valid.at[0].set(0)):
        gradients, (out, new) = run(variables['params'], seen)
        assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves((gradients, new)))
        assert not out[0].any()
    assert out[1].any()


def test_other_sides_are_padded_as_holes(made):
    net, variables, images, valid = made
    run = jax.jit(lambda x, m: net.apply(variables, x, m, False))
    out = run(images[:, :13, :10], valid[:, :13, :10])
    assert out.shape == (3, 13, 10, 3)
    padded = valid.at[:, 13:].set(0).at[:, :, 10:].set(0)
    np.testing.assert_allclose(out, run(images, padded)[:, :13, :10], atol=1e-4)
    assert run(images[:, :1, :1], valid[:, :1, :1]).shape == (3, 1, 1, 3)


def test_an_image_does_not_depend_on_the_batch(made):
    net, variables, images, valid = made
    run = jax.jit(lambda x, m: net.apply(variables, x, m, False))
    alone = run(images[1:2], valid[1:2])
    np.testing.assert_allclose(run(images, valid)[1:2], alone, atol=1e-5 * float(alone.max()))


def test_the_second_stage_keeps_the_statistics_of_the_encoder(made):
    _, variables, images, valid = made
    net = build(**FIELDS, frozen_encoder_norm=True)
    run = jax.jit(lambda v: net.apply(v, images, valid, True, mutable=['batch_stats']))
    _, new = run(variables)
    before, after = variables['batch_stats'], new['batch_stats']
    jax.tree.map(np.testing.assert_array_equal, before['encoder'], after['encoder'])
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), before['decoder'], after['decoder'])
    assert all(jax.tree.leaves(moved))


def test_rematerialisation_changes_nothing(made):
    _, variables, images, valid = made

    def run(remat):
        net = build(**FIELDS, remat=remat)

        def loss(params):
            now = {**variables, 'params': params}
            out, new = net.apply(now, images, valid, True, mutable=['batch_stats'])
            return jnp.square(out - images).mean(), new

        return jax.grad(loss, has_aux=True)

    assert 'remat' in str(jax.make_jaxpr(run(True))(variables['params']))
    have, want = (jax.tree.leaves(jax.jit(run(r))(variables['params'])) for r in (True, False))
    for again, plain in zip(have, want, strict=True):
        np.testing.assert_allclose(again, plain, atol=1e-5 * max(1, np.abs(plain).max()))


def test_half_precision_is_near(made):
    net, variables, images, valid = made
    half = build(**FIELDS, dtype='bfloat16')
    full = jax.jit(lambda: net.apply(variables, images, valid, False))()
    near = jax.jit(lambda: half.apply(variables, images, valid, False))()
    assert near.dtype == jnp.float32
    np.testing.assert_allclose(near, full, atol=0.1 * float(jnp.abs(full).max()))


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'variant': 'unet'}, "model.variant is 'unet'"),
        ({'levels': 0}, 'levels must be at least 1'),
        ({'width': 0.0}, 'width above 0'),
        ({'dtype': 'float16'}, "model.dtype is 'float16'"),
    ],
)
def test_what_cannot_be_built(fields, message):
    with pytest.raises(ValueError, match=message):
        build(**fields)
