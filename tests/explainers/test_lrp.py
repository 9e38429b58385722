"""Propagation through whole networks: what is kept, what is merged, and what is refused."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax import config as configs
from skinjax import explainers
from skinjax.explainers import lrp
from skinjax.models import layers, resnet
from skinjax.models.norm import BatchNorm
from skinjax.models.options import Options
from skinjax.models.pooling import AvgPool, GlobalMeanPool, MaxPool
from skinjax.objectives import hierarchical, network
from tests.explainers import networks
from tests.helpers import tiny_data

SLOW = ('mobilenet', 'inception', 'efficientnet', 'densenet')  # to compile
TARGETS = np.array([2, 0], np.int32)
NARROW = networks.classifier(networks.NARROW)


FAMILIES = [
    pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
    for name in networks.ENCODERS
]


@pytest.mark.parametrize('name', FAMILIES)
def test_every_layer_of_every_family_keeps_relevance(name):
    """Deep Taylor decomposition ignores biases; layers in gates get nothing and hand nothing on.

    What is lost arrives where no input speaks for an output: in the small groups of ResNeXt.
    """
    net = networks.classifier(networks.ENCODERS[name])
    variables, images = networks.drawn(net, networks.SIZES.get(name, 32))
    subject, config = (
        networks.subject(net),
        networks.config(composite='deep_taylor', stabilizer=1e-9),
    )

    @jax.jit
    def run(variables, images, targets):
        found = lrp.conservation(config, subject, variables, images, targets)
        return found, lrp.build(config)(subject, variables, images, targets)

    notes, maps = run(variables, images, TARGETS)
    score = np.take_along_axis(
        np.asarray(jax.jit(subject.scores)(variables, images)), TARGETS[:, None], 1
    )[:, 0]
    np.testing.assert_allclose(
        notes['head']['out'], score, rtol=1e-4
    )  # and merging changes no logit
    for layer, sums in notes.items():
        error = np.abs(np.asarray(sums['in']) - np.asarray(sums['out']))
        assert (error < 5e-3 * np.abs(score)).all(), (layer, sums)
    np.testing.assert_allclose(maps.sum((1, 2, 3)), score, rtol=1e-2)
    if name in ('vgg', 'lesion_cnn'):  # others have sums and means of values of both signs
        assert (np.asarray(maps) * np.sign(score)[:, None, None, None] >= 0).all()
    gates = [layer for layer in notes if 'squeeze/' in layer or 'attention/channels/' in layer]
    assert bool(gates) == (name in ('efficientnet', 'attended'))
    assert not any(np.any(notes[layer]['out']) for layer in gates if not layer.endswith('/scale'))


def test_lrp_0_without_biases_is_gradient_times_input():
    variables, images = networks.drawn(NARROW)
    variables, subject = networks.without_bias(variables), networks.subject(NARROW)
    fields = {'conv': 'zero', 'dense': 'zero', 'stabilizer': 0.0, 'max_pool': 'first'}
    maps = networks.explain(NARROW, **fields)(variables, images, TARGETS)

    @jax.jit
    def gradient(variables, images):
        def score(images):
            logits = subject.scores(variables, images)
            return (logits * explainers.weights(logits, jnp.asarray(TARGETS))).sum()

        return jax.grad(score)(images) * images

    want = gradient(variables, images)
    np.testing.assert_allclose(maps, want, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize('rule', ['zero', 'gamma', 'z_plus'])
@pytest.mark.parametrize('first', ['', 'z_box', 'w_square', 'flat'])
def test_without_biases_relevance_of_the_pixels_is_the_score(rule, first):
    variables, images = networks.drawn(NARROW)
    variables = networks.without_bias(variables)
    fields = {'conv': rule, 'dense': rule, 'first': first, 'stabilizer': 1e-9}
    maps = networks.explain(NARROW, **fields)(variables, images, TARGETS)
    logits = jax.jit(networks.subject(NARROW).scores)(variables, images)
    score = np.asarray(logits)[np.arange(2), TARGETS]
    np.testing.assert_allclose(np.asarray(maps).sum((1, 2, 3)), score, rtol=1e-4)


def test_normalisation_is_merged_where_it_follows_a_linear_layer():
    config = networks.config()
    for name, merged in (('narrow', True), ('lesion_cnn', False)):
        net = networks.classifier(networks.ENCODERS[name])
        variables, images = networks.drawn(net, 64)
        run = functools.partial(lrp.conservation, config, networks.subject(net))
        seen = list(jax.eval_shape(run, variables, images, TARGETS))
        conv, norm = ('encoder/stem_conv/conv', 'encoder/stem_norm')
        if not merged:  # a ReLU lies between
            conv, norm = ('encoder/block1/conv1/conv', 'encoder/block1/norm1')
        assert (conv in seen, norm in seen) == (not merged, True)


def test_poolings():
    pair = np.array([1.0, 3.0, 1.0, 3.0], np.float32).reshape(1, 2, 2, 1)
    start = np.full((1, 1, 1, 1), 8, np.float32)
    for layer, x, want, fields in (
        (AvgPool(2, 2), pair, [1, 3, 1, 3], {}),
        (GlobalMeanPool(), pair, [1, 3, 1, 3], {}),
        (MaxPool(2, 2), pair, [0, 4, 0, 4], {}),
        (MaxPool(2, 2), pair, [0, 8, 0, 0], {'max_pool': 'first'}),
        (MaxPool(2, 2), pair, [1, 3, 1, 3], {'max_pool': 'average'}),
        (MaxPool(2, 2), pair * 0, [2, 2, 2, 2], {}),
    ):
        given = start[:, 0, 0] if isinstance(layer, GlobalMeanPool) else start
        have = networks.through(layer, x, given, stabilizer=0.0, **fields)
        np.testing.assert_allclose(have.reshape(-1), want, err_msg=f'{layer} {fields}')


def test_overlapping_windows_with_padding_keep_relevance():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 8, 8, 3)).astype(np.float32)
    start = rng.uniform(size=(2, 4, 4, 3)).astype(np.float32)
    have = networks.through(MaxPool(3, 2, 1), x, start)
    np.testing.assert_allclose(have.sum((1, 2)), start.sum((1, 2)), rtol=1e-5)
    gradient = jax.vjp(lambda x: MaxPool(3, 2, 1).apply({}, x), jnp.asarray(x))[1](start)[0]
    np.testing.assert_allclose(have, gradient, rtol=1e-5)


@pytest.mark.parametrize('composite', ['epsilon_plus', 'deep_taylor'])
def test_one_logit_stands_for_both_classes(composite):
    """Class 0 is explained as class 1 of the network whose last layer has the other sign."""
    net = networks.classifier(networks.NARROW, 1)
    variables, images = networks.drawn(net)
    explain = networks.explain(net, composite=composite)
    maps = [np.asarray(explain(variables, images, np.full(2, k, np.int32))) for k in (0, 1)]
    head = jax.tree.map(np.negative, variables['params']['head'])
    other = {**variables, 'params': {**variables['params'], 'head': head}}
    want = explain(other, images, np.ones(2, np.int32))
    np.testing.assert_allclose(maps[0], want, atol=1e-6 * np.abs(maps[0]).max())
    opposite = np.abs(maps[0] + maps[1]).max() < 1e-5 * np.abs(maps[0]).max()
    assert opposite == (composite == 'epsilon_plus')  # z+ sees other evidence for the other class


def test_a_row_does_not_depend_on_the_others():
    variables, images = networks.drawn(NARROW)
    explain = networks.explain(NARROW, composite='epsilon_gamma_box')
    both = np.asarray(explain(variables, images, TARGETS))
    turned = np.asarray(explain(variables, images[::-1], TARGETS[::-1]))[::-1]
    np.testing.assert_allclose(turned, both, atol=1e-5 * np.abs(both).max())
    assert np.abs(np.asarray(explain(variables, images, 1 - TARGETS // 2)) - both).max() > 0


@pytest.mark.parametrize('options', [Options(remat=True), Options(dtype='bfloat16')])
def test_how_a_network_is_trained_does_not_matter(options):
    """Relevance is computed in float32, with and without rematerialisation."""
    variables, images = networks.drawn(NARROW)
    other = networks.classifier(resnet.ResNet(resnet.VARIANTS['narrow'], options))
    want, have = (networks.explain(net)(variables, images, TARGETS) for net in (NARROW, other))
    np.testing.assert_allclose(have, want, atol=1e-5 * np.abs(want).max())


class Gelu(nn.Module):
    """A layer without a rule."""

    @nn.compact
    def __call__(self, x):
        return nn.gelu(x)


def test_what_has_no_rule_is_an_error():
    with pytest.raises(ValueError, match="no rule for Gelu 'layers_0'"):
        networks.through(Gelu(), np.ones((1, 2, 2, 3)), np.ones((1, 2, 2, 3), np.float32))
    x = jnp.zeros((1, 2, 2, 3))
    norm = BatchNorm()
    variables = norm.init(jax.random.key(0), x, False)

    class Trained(nn.Module):
        @nn.compact
        def __call__(self, images, train, keys):
            del train, keys
            return norm.clone(parent=self)(images, True), []

    net = networks.classifier(Trained())
    subject = networks.subject(net)
    with pytest.raises(ValueError, match='would normalise by the batch'):
        lrp.build(networks.config())(
            subject, {'batch_stats': {}, **variables}, x, jnp.asarray(TARGETS[:1])
        )


def test_gates_are_constants():
    x, gate = np.full((1, 2, 2, 3), 2.0), np.full((1, 1, 1, 3), 0.5, np.float32)

    class Gated(nn.Module):
        @nn.compact
        def __call__(self, x):
            return layers.Scale(name='scale')(x, layers.Sigmoid(name='gate')(x - x + gate))

    start = np.ones((1, 2, 2, 3), np.float32)
    np.testing.assert_array_equal(networks.through(Gated(), x, start), start)


def made(objective, **fields):
    """(network, variables, images) of a config."""
    model = configs.plugin('models', 'resnet', variant='narrow')
    config = configs.train(objective=configs.plugin('objectives', objective, **fields), model=model)
    module = {'baseline': network, 'hierarchical': hierarchical}[objective]
    net = module.create(config, tiny_data())
    variables, images = networks.drawn(net.model)
    return net, variables, jnp.asarray(images)


def test_the_subject_of_a_classifier():
    net, variables, images = made('baseline')
    subject = explainers.subject(net)
    bounds = net.images(jnp.asarray([[[[0] * 3, [255] * 3]]], jnp.uint8))
    np.testing.assert_allclose(np.stack([subject.low, subject.high]), bounds[0, 0], rtol=1e-6)
    want = net.apply(variables, images, False)['logits']
    np.testing.assert_allclose(subject.scores(variables, images), want, rtol=1e-6)


def test_a_hierarchical_head_is_its_gradient_times_its_input():
    net, variables, images = made('hierarchical', taxonomy={'skin': ('nevus', 'melanoma')})
    variables, subject = networks.without_bias(variables), explainers.subject(net)
    maps = subject.encode(variables, images)
    logits, _ = net.apply(variables, maps, net.paths(jnp.array([1, 1])), method='follow')
    path = net.paths(jnp.array([1]))[0]
    want = sum(logits[:, level, node] for level, node in enumerate(path))
    np.testing.assert_allclose(subject.classify(variables, maps)[:, 1], want, rtol=1e-5)
    slope = jax.grad(lambda maps: subject.classify(variables, maps)[:, 1].sum())(maps)
    explain = jax.jit(functools.partial(lrp.build(networks.config(conv='zero')), subject))
    have = np.asarray(explain(variables, images, np.ones(2, np.int32)))
    np.testing.assert_allclose(
        have.sum((1, 2, 3)), np.asarray(maps * slope).sum((1, 2, 3)), rtol=1e-3
    )
