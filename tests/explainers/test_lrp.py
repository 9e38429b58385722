"""Propagation through whole networks: what is kept, what is merged, and what is refused."""

import functools
from typing import Any

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
from skinjax.relevance import gradients
from skinjax.relevance import subject as subjects
from skinjax.relevance.lrp.rewriter import Rewriter
from tests.explainers import networks
from tests.helpers import tiny_data

SLOW = ('mobilenet', 'inception', 'efficientnet', 'densenet')  # to compile
# Parts of the score: in small groups, and by rounding sums of both signs.
LOST = {'resnet': 5e-3, 'attended': 1e-3, 'efficientnet': 5e-3}
TARGETS = np.array([2, 0], np.int32)
NARROW = networks.classifier(networks.NARROW)


FAMILIES = [
    pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
    for name in networks.ENCODERS
]


def conserved(net, variables, images, **fields):
    """(relevance of the pixels, that of each layer, scores of the targets)."""
    subject = networks.subject(net)

    @jax.jit
    def run(variables, images, targets):
        found = lrp.conservation(networks.config(**fields), subject, variables, images, targets)
        return *found, gradients.score(subject, variables, images, targets)

    maps, notes, score = run(variables, images, TARGETS)
    return np.asarray(maps), notes, np.asarray(score)


@pytest.mark.parametrize('name', FAMILIES)
def test_every_layer_of_every_family_keeps_relevance(name):
    """Deep Taylor decomposition ignores biases; layers in gates get nothing and hand nothing on.

    On maps of a pixel an output of a depthwise layer has one input: what it is given is lost where
    a bias alone makes it positive (MobileNet's have none here), or where swish lets it be negative.
    """
    net = networks.classifier(networks.ENCODERS[name])
    variables, images = networks.drawn(net, networks.SIZES.get(name, 32))
    variables = networks.without_bias(variables) if name == 'mobilenet' else variables
    lossy = name == 'efficientnet'
    fields = {'composite': 'deep_taylor', 'stabilizer': 1e-9}
    maps, notes, score = conserved(net, variables, images, **fields)
    bound = LOST.get(name, 1e-4) * np.abs(score)
    # Merging changes no logit.
    np.testing.assert_allclose(notes['head']['out'], score, rtol=1e-4)
    for layer, sums in notes.items():
        given, kept = (np.asarray(sums[end]) for end in ('out', 'in'))
        if lossy and 'depthwise' in layer:
            assert (np.abs(kept) <= np.abs(given) + bound).all(), (layer, sums)
        else:
            assert (np.abs(kept - given) < bound).all(), (layer, sums)
    if not lossy:
        np.testing.assert_allclose(maps.sum((1, 2, 3)), score, rtol=1e-2)
    if name in ('vgg', 'lesion_cnn'):  # others have sums and means of values of both signs
        assert (maps * np.sign(score)[:, None, None, None] >= 0).all()
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
            return (logits * subjects.weights(logits, jnp.asarray(TARGETS))).sum()

        return jax.grad(score)(images) * images

    want = gradient(variables, images)
    np.testing.assert_allclose(maps, want, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize(
    ('rule', 'first'),
    [('zero', ''), ('gamma', ''), ('z_plus', 'z_box'), ('z_plus', 'w_square'), ('z_plus', 'flat')],
)
def test_without_biases_every_layer_keeps_the_score(rule, first):
    """In a chain of blocks all relevance goes through each of them."""
    variables, images = networks.drawn(NARROW)
    variables = networks.without_bias(variables)
    fields = {'conv': rule, 'dense': rule, 'first': first, 'stabilizer': 1e-9}
    maps, notes, score = conserved(NARROW, variables, images, **fields)
    whole = [layer for layer in notes if layer.count('/') < 2]
    assert {'head', 'encoder/pool'} < set(whole)
    for layer in notes:
        ends: Any = [np.asarray(notes[layer][end]) for end in ('in', 'out')]
        np.testing.assert_allclose(*ends, atol=1e-4 * np.abs(score).min(), err_msg=layer)
        for sums in ends if layer in whole else ():
            np.testing.assert_allclose(sums, score, rtol=1e-4, err_msg=layer)
    np.testing.assert_allclose(maps.sum((1, 2, 3)), score, rtol=1e-4)


def test_layers_behind_rectifiers_are_computed_for_positive_inputs_alone(monkeypatch):
    """Also behind flattened maps, where the dense layers are largest."""
    seen, linear = {}, Rewriter._run

    def run(self, layer):
        seen[layer.name] = layer.nonnegative
        return linear(self, layer)

    monkeypatch.setattr(Rewriter, '_run', run)
    net = networks.classifier(networks.ENCODERS['vgg'])
    variables, images = networks.drawn(net)
    explain = functools.partial(lrp.conservation, networks.config(), networks.subject(net))
    jax.eval_shape(explain, variables, images, TARGETS)
    dense = [layer for layer in seen if layer == 'head' or '/fc' in layer]
    assert len(dense) == 3 and all(seen[layer] for layer in dense)


def test_normalisation_is_merged_where_it_follows_a_linear_layer():
    config = networks.config()
    for name, merged in (('narrow', True), ('lesion_cnn', False)):
        net = networks.classifier(networks.ENCODERS[name])
        variables, images = networks.drawn(net, 64)
        run = functools.partial(lrp.conservation, config, networks.subject(net))
        seen = list(jax.eval_shape(run, variables, images, TARGETS)[1])
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


def test_one_logit_that_is_no_dense_layer_or_the_only_one():
    """Class 0 would be explained by the evidence for class 1, or within bounds of other inputs."""

    class Halved(nn.Module):
        @nn.compact
        def __call__(self, x):
            return layers.Add()(nn.Dense(1)(x), nn.Dense(1)(x))

    x, targets = np.ones((2, 3), np.float32), np.array([1, 0])
    for head, fields, message in (
        (Halved(), {}, 'this logit is not what a dense layer returned'),
        (nn.Dense(1), {'first': 'z_box'}, 'choose another rule for the first layer than z_box'),
    ):
        variables: Any = head.init(jax.random.key(0), x)
        low, high = np.zeros(3, np.float32), np.ones(3, np.float32)
        run: Any = head.apply
        subject = subjects.Subject(lambda v, x: x, run, low, high)
        with pytest.raises(ValueError, match=message):
            explainers.compiled(lrp.build(networks.config(**fields)), subject)(
                variables, x, targets
            )


def test_negative_scores_are_remarked_upon_where_the_head_has_no_signed_rule():
    subject, scores = networks.subject(NARROW), np.array([1.0, -2.0, -0.5])
    (told,) = lrp.remarks(networks.config(composite='deep_taylor'), subject, scores)
    assert told.startswith('2 of 3 scores are negative, for which rule z_plus in dense layers')
    assert not list(lrp.remarks(networks.config(composite='deep_taylor'), subject, scores[:1]))
    assert not list(lrp.remarks(networks.config(), subject, scores))


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
        explain = explainers.compiled(lrp.build(networks.config()), subject)
        explain({'batch_stats': {}, **variables}, x, jnp.asarray(TARGETS[:1]))


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
    subject = subjects.subject(net)
    bounds = net.images(jnp.asarray([[[[0] * 3, [255] * 3]]], jnp.uint8))
    np.testing.assert_allclose(np.stack([subject.low, subject.high]), bounds[0, 0], rtol=1e-6)

    @jax.jit
    def both(variables, images):
        return subject.scores(variables, images), net.apply(variables, images, False)['logits']

    np.testing.assert_allclose(*both(variables, images), rtol=1e-6)


def test_a_hierarchical_head_is_its_gradient_times_its_input():
    net, variables, images = made(
        'hierarchical', taxonomy={'skin': ('nevus', 'melanoma')}, hidden=8
    )
    variables, subject = networks.without_bias(variables), subjects.subject(net)

    @jax.jit
    def parts(variables, images):
        maps = subject.encode(variables, images)
        score, slope = jax.vjp(lambda maps: subject.classify(variables, maps)[:, 1], maps)
        logits, _ = net.apply(variables, maps, net.paths(jnp.array([1, 1])), method='follow')
        return maps, logits, score, slope(jnp.ones(2))[0]

    maps, logits, score, slope = parts(variables, images)
    path = net.paths(jnp.array([1]))[0]
    want = sum(logits[:, level, node] for level, node in enumerate(path))
    np.testing.assert_allclose(score, want, rtol=1e-5)
    explain = explainers.compiled(lrp.build(networks.config(conv='zero')), subject)
    have = np.asarray(explain(variables, images, np.ones(2, np.int32)))
    np.testing.assert_allclose(
        have.sum((1, 2, 3)), np.asarray(maps * slope).sum((1, 2, 3)), rtol=1e-3
    )
