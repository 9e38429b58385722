"""DCGAN and coupled DCGAN: the published tables, labels, minibatch discrimination, sizes."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from skinjax.models import coupled_dcgan, dcgan
from skinjax.models.conv import Conv
from skinjax.models.options import COMMON

FAMILIES = {'dcgan': dcgan, 'coupled_dcgan': coupled_dcgan}
# The running statistics are those of the last batch.
NARROW: dict[str, Any] = {'width': 0.1, 'latent': 4, 'norm_momentum': 0.0}
CLASSES = 3
# Compiling costs far more here than running.
quick = functools.partial(jax.jit, compiler_options={'xla_backend_optimization_level': '0'})


def build(name: str, **fields) -> Any:
    module = FAMILIES[name]
    known = {field: COMMON[field] for field in module.OPTIONS}
    return module.build(ConfigDict({**known, **module.DEFAULTS, **fields}))


def inputs(family, size, rows=6) -> tuple[Any, Any, Any]:
    """(latents, images, labels in no order)."""
    first, second = jax.random.split(jax.random.key(0))
    labels = jnp.asarray([2, 0, 1, 1, 2, 0] * (rows // 6), jnp.int32)
    images = jnp.tanh(jax.random.normal(second, (rows, size, size, 3)))
    return jax.random.normal(first, (rows, family.latent)), images, labels


def shapes(family, size=256, classes=7) -> tuple[Any, Any]:
    """Parameters of both networks, without computing any."""
    z, images, labels = inputs(family, size)
    pair = zip(family.networks(classes, size), (z, images), strict=True)
    return tuple(
        jax.eval_shape(lambda net=net, x=x: net.init(jax.random.key(0), x, labels, True))['params']
        for net, x in pair
    )


def count(tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@functools.cache
def made(name: str, **fields: Any) -> tuple[Any, Any, tuple]:
    """(networks for 64 pixels, their variables after a batch, inputs)."""
    family = build(name, **NARROW, **fields)
    pair, (z, images, labels) = family.networks(CLASSES, 64), inputs(family, 64)
    variables = []
    for net, x in zip(pair, (z, images), strict=True):

        def run(net=net, x=x):
            fresh = net.init(jax.random.key(1), x, labels, True)
            return fresh, net.apply(fresh, x, labels, True, mutable=['batch_stats'])[1]

        fresh, new = quick(run)()
        variables.append({**fresh, **new})
    return pair, variables, (z, images, labels)


@pytest.mark.parametrize(
    ('name', 'fields', 'generator', 'discriminator'),
    [
        ('dcgan', {}, 740_720, 2_804_416),
        ('dcgan', {'latent': 100, 'first_norm': True}, 1_109_360, 2_804_448),
        ('coupled_dcgan', {}, 1_173_392, 3_055_936),
    ],
)
def test_published_numbers_of_parameters(name, fields, generator, discriminator):
    assert tuple(map(count, shapes(build(name, **fields)))) == (generator, discriminator)


def test_shares_of_the_coupled_networks():
    generator, discriminator = shapes(build('coupled_dcgan'))
    assert (count(generator['shared']), count(generator['own'])) == (1_098_688, 7 * 10_672)
    shared = count(discriminator['shared']) + count(discriminator['verdict'])
    assert (shared, count(discriminator['own'])) == (2_762_496, 7 * 41_920)
    assert [*generator['own']] == ['layer5', 'layer6', 'layer7']
    assert [*discriminator['own']] == ['layer1', 'layer2', 'layer3']


@pytest.mark.parametrize('name', FAMILIES)
@pytest.mark.parametrize('size', [64, 128, 256])
def test_layers_of_the_tables(name, size):
    """Shapes of the maps of both networks from their kernels, strides and paddings."""
    generator, discriminator = (
        {**tree.get('shared', {}), **tree.get('own', {})} for tree in shapes(build(name), size)
    )

    def channels(layers):
        found = [layers[key]['conv']['kernel'].shape for key in sorted(layers)]
        assert all(shape[-4:-2] == (4, 4) for shape in found)
        return [shape[-1] for shape in found]

    doublings = size.bit_length() - 3
    assert channels(generator) == [*(256, 128, 64, 32, 16, 8)[:doublings], 3]
    assert channels(discriminator) == [*(16, 32, 64, 128, 256, 512)][-doublings:]
    assert 'norm' not in generator[f'layer{doublings + 1}']
    assert [key for key in discriminator if 'norm' not in discriminator[key]] == ['layer1']


@pytest.mark.parametrize('name', FAMILIES)
@pytest.mark.parametrize('which', [0, 1])
def test_every_layer_halves_or_doubles(name, which):
    family = build(name, **NARROW)
    z, images, labels = inputs(family, 256)
    net, x = family.networks(CLASSES, 256)[which], (z, images)[which]
    rows: dict[str, int] = {}

    def watch(call, args, kwargs, context):
        out = call(*args, **kwargs)
        if context.method_name == '__call__' and context.module.name == 'conv':
            rows[context.module.path[-2]] = out.shape[-3]
        return out

    with nn.intercept_methods(watch):
        jax.eval_shape(lambda: net.init(jax.random.key(0), x, labels, True))
    want = ([4, 8, 16, 32, 64, 128, 256], [128, 64, 32, 16, 8, 4])[which]
    assert [rows[f'layer{i}'] for i in range(1, len(rows) + 1)] == want


def test_a_stride_of_one_as_printed_would_give_seven_pixels():
    layer = Conv(512, 4)  # padding 1
    x = jnp.zeros((1, 8, 8, 256))
    out = jax.eval_shape(lambda: layer.init_with_output(jax.random.key(0), x)[0])
    assert out.shape == (1, 7, 7, 512)


@pytest.mark.parametrize('name', FAMILIES)
def test_what_comes_out(name):
    (generator, discriminator), (first, second), (z, images, labels) = made(name)
    run = quick(lambda z: generator.apply(first, z, labels, False))
    out = run(z)
    assert out.shape == images.shape and out.dtype == jnp.float32
    assert float(jnp.abs(out).max()) <= 1
    logits, features = quick(lambda: discriminator.apply(second, images, labels, False))()
    assert logits.shape == (6,) and features.shape == (6, 16 * 51)
    assert logits.dtype == features.dtype == jnp.float32
    half = quick(lambda: generator.apply(first, z[:2], labels[:2], False))()
    np.testing.assert_allclose(half, out[:2], atol=1e-6)


def test_initial_weights():
    net = build('dcgan').networks(1, 64)[0]
    z, labels = jnp.zeros((1, 10)), jnp.zeros(1, jnp.int32)
    layers = quick(lambda: net.init(jax.random.key(0), z, labels, False))()['params']['shared']
    kernel, scale = layers['layer2']['conv']['kernel'], layers['layer2']['norm']['scale']
    assert abs(float(kernel.std()) - 0.02) < 5e-4 and abs(float(kernel.mean())) < 2e-4
    assert abs(float(scale.std()) - 0.02) < 5e-3 and abs(float(scale.mean()) - 1) < 5e-3
    assert not layers['layer2']['norm']['bias'].any()


class TestCoupled:
    def test_rows_go_through_the_layers_of_their_class_in_training(self):
        """One class after the other by networks of one class, whose shared layers see all rows."""
        (generator, _), (variables, _), (z, _, labels) = made('coupled_dcgan')
        out, _ = quick(
            lambda: generator.apply(variables, z, labels, True, mutable=['batch_stats'])
        )()

        def alone(c):
            """All rows through the shared layers, then those of class c through its own."""
            bound = generator.bind(variables, mutable=['batch_stats'])
            x = bound.shared(z, True)[labels == c]
            mine = {k: jax.tree.map(lambda a: a[c], variables[k]['own']) for k in ('params',)}
            layers = dcgan.Rise(generator.options, (3,), 5)
            return layers.apply(mine, x, True, mutable=['batch_stats'])[0]

        for c in range(CLASSES):
            np.testing.assert_allclose(out[labels == c], alone(c), atol=1e-5)

    def test_statistics_of_a_class_are_those_of_its_rows(self):
        pair, variables, (_, images, labels) = made('coupled_dcgan', first_norm=True)
        run = quick(
            lambda x: pair[1].apply(variables[1], x, labels, True, mutable=['batch_stats'])[1]
        )
        moved = images + (labels == 1).astype(jnp.float32)[:, None, None, None]
        own = [run(x)['batch_stats']['own']['layer1']['norm']['mean'] for x in (images, moved)]
        assert own[0].shape[0] == CLASSES
        np.testing.assert_allclose(own[0][jnp.asarray([0, 2])], own[1][jnp.asarray([0, 2])])
        assert bool((own[0][1] != own[1][1]).any())

    def test_training_and_evaluation_take_the_same_layers(self):
        """With the statistics of the very batch, both are the same function."""
        pair, variables, (z, images, labels) = made('coupled_dcgan', first_norm=True)
        for net, known, x in zip(pair, variables, (z, images), strict=True):

            def run(train, net=net, known=known, x=x):
                return net.apply(known, x, labels, train, mutable=['batch_stats'])[0]

            there, here = (jax.tree.leaves(quick(run, static_argnums=0)(t)) for t in (True, False))
            # The running variance is the unbiased one.
            np.testing.assert_allclose(there[0], here[0], atol=0.2 * np.abs(there[0]).max())
            assert np.corrcoef(np.ravel(there[0]), np.ravel(here[0]))[0, 1] > 0.99

    def test_both_forms_agree(self, monkeypatch):
        """One class after the other, as on CPUs, and all at once."""
        (net, _), (variables, _), (z, _, labels) = made('coupled_dcgan')

        def loss(params):
            known = {**variables, 'params': params}
            out, new = net.apply(known, z, labels, True, mutable=['batch_stats'])
            return jnp.square(out - 0.5).sum(), (out, new)

        found = []
        for backend in ('cpu', 'tpu'):
            monkeypatch.setattr(jax, 'default_backend', lambda backend=backend: backend)
            run = quick(jax.grad(lambda params: loss(params), has_aux=True))
            found.append(jax.tree.leaves(run(variables['params'])))
        for have, want in zip(*found, strict=True):
            np.testing.assert_allclose(have, want, atol=1e-4 * float(jnp.abs(want).max()))

    def test_any_labels_in_evaluation(self):
        (generator, _), (variables, _), (z, _, labels) = made('coupled_dcgan')
        run = quick(lambda z, labels: generator.apply(variables, z, labels, False))
        mixed = run(z, labels)
        same = [run(z, jnp.full_like(labels, c)) for c in range(CLASSES)]
        for c in range(CLASSES):
            np.testing.assert_allclose(mixed[labels == c], same[c][labels == c], atol=1e-6)
        assert bool((same[0] != same[1]).any())

    def test_order_does_not_matter(self):
        (_, net), (_, variables), (_, images, labels) = made('coupled_dcgan')
        order = jnp.asarray([3, 5, 0, 1, 4, 2])
        run = quick(lambda x, y: net.apply(variables, x, y, True, mutable=['batch_stats'])[0][0])
        np.testing.assert_allclose(
            run(images[order], labels[order]), run(images, labels)[order], atol=1e-5
        )

    def test_a_batch_that_does_not_divide(self):
        (net, _), (variables, _), (z, _, labels) = made('coupled_dcgan')
        with pytest.raises(ValueError, match='a batch of 5 rows does not divide into 3 classes'):
            net.apply(variables, z[:5], labels[:5], True, mutable=['batch_stats'])


def test_closeness_in_a_batch():
    """o[i] = sum over j other than i of exp(-|M[i] - M[j]|_1), beside a slow twin."""
    verdict, x = dcgan.Verdict(2), jax.random.normal(jax.random.key(0), (4, 4, 4, 3))
    params = jax.tree.map(lambda a: 5 * a, verdict.init(jax.random.key(1), x, False)['params'])
    logits, features = verdict.apply({'params': params}, x, True)
    found = np.asarray(features @ params['projection']).reshape(4, 2, 5)
    want = np.array(features @ params['kernel'].reshape(-1))
    for i in range(4):
        for j in {0, 1, 2, 3} - {i}:
            close = np.exp(-np.abs(found[i] - found[j]).sum(1))
            want[i] += close @ np.asarray(params['closeness'])
    np.testing.assert_allclose(logits, want, rtol=1e-5)
    gradient = jax.grad(lambda p: verdict.apply({'params': p}, x, True)[0].sum())(params)
    assert all(bool(jnp.abs(g).max() > 0) for g in jax.tree.leaves(gradient))


@pytest.mark.parametrize('name', FAMILIES)
def test_closeness_is_seen_within_slices(name):
    """As statistics are: of two slices each is a batch of its own."""
    _, images, labels = made(name)[2]
    nets = [
        build(name, **NARROW, minibatch=2, norm_groups=groups).networks(CLASSES, 64)[1]
        for groups in (2, 1)
    ]
    images, labels = jnp.concatenate([images, images[::-1] / 2]), jnp.tile(labels, 2)
    variables = quick(lambda: nets[0].init(jax.random.key(4), images[:1], labels[:1], False))()
    variables = {**variables, 'params': jax.tree.map(lambda a: 3 * a, variables['params'])}

    def logits(net, rows):
        run = quick(lambda x, y: net.apply(variables, x, y, True, mutable=['batch_stats'])[0][0])
        return run(images[rows], labels[rows])

    parts = [logits(nets[1], slice(k, k + 6)) for k in (0, 6)]
    together = logits(nets[1], slice(None))
    sliced = logits(nets[0], slice(None))
    np.testing.assert_allclose(sliced, jnp.concatenate(parts), rtol=1e-4, atol=1e-4)
    assert float(jnp.abs(sliced - together).max()) > 1e-2


@pytest.mark.parametrize('name', FAMILIES)
def test_rematerialisation_changes_nothing(name):
    _, variables, (z, _, labels) = made(name)

    def run(remat):
        net = build(name, **NARROW, remat=remat).networks(CLASSES, 64)[0]

        def loss(params):
            known = {**variables[0], 'params': params}
            out, new = net.apply(known, z, labels, True, mutable=['batch_stats'])
            return jnp.square(out - 0.5).mean(), new

        return jax.grad(loss, has_aux=True)

    assert 'remat' in str(jax.make_jaxpr(run(True))(variables[0]['params']))
    have, want = (quick(run(remat))(variables[0]['params']) for remat in (True, False))
    for again, plain in zip(jax.tree.leaves(have), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(again, plain, atol=1e-5 * max(1, np.abs(plain).max()))


@pytest.mark.parametrize('name', FAMILIES)
def test_half_precision_is_near(name):
    _, variables, (z, images, labels) = made(name)
    for i, x in enumerate((z, images)):
        full, half = (
            quick(lambda net=net, x=x, i=i: net.apply(variables[i], x, labels, False))()
            for net in (
                build(name, **NARROW, dtype=dtype).networks(CLASSES, 64)[i]
                for dtype in ('float32', 'bfloat16')
            )
        )
        full, half = (jax.tree.leaves(out)[0] for out in (full, half))
        assert half.dtype == jnp.float32
        np.testing.assert_allclose(half, full, atol=0.1 * float(jnp.abs(full).max()))


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'variant': 'gan'}, "model.variant is 'gan'"),
        ({'latent': 0}, 'latent must be at least 1'),
        ({'width': 0.0}, 'width above 0'),
        ({'minibatch': -1}, 'minibatch at least 0'),
        ({'dtype': 'float16'}, "model.dtype is 'float16'"),
    ],
)
@pytest.mark.parametrize('name', FAMILIES)
def test_what_cannot_be_built(name, fields, message):
    with pytest.raises(ValueError, match=message):
        build(name, **fields)


@pytest.mark.parametrize('name', FAMILIES)
def test_sizes_that_it_has_no_layers_for(name):
    with pytest.raises(ValueError, match=r'data\.image_size is 96'):
        build(name).networks(2, 96)
