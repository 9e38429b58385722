"""Explainers by gradients and stage maps, against closed forms and slow twins."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from skinjax import config as configs
from skinjax.explainers import compiled, visual_backprop
from skinjax.relevance import gradients, stages
from skinjax.relevance.subject import Subject
from tests.explainers import networks

LOW, HIGH = networks.LOW, networks.HIGH


def linear(*weights: float, bias: float = 0.5) -> tuple[Subject, Any]:
    """score = w x + bias, with one logit."""
    kernel = jnp.asarray(weights, jnp.float32)[:, None]

    def encode(variables, images):
        del variables
        return images.reshape(len(images), -1)

    low, high = (np.full(3, bound, np.float32) for bound in (LOW, HIGH))
    return Subject(encode, lambda v, x: x @ v['kernel'] + bias, low, high), {'kernel': kernel}


def explained(name: str, subject: Subject, *arguments: Any, **fields: Any) -> np.ndarray:
    """Relevance of (variables, images, targets), compiled."""
    module = configs.find('explainers', name)
    explain = module.build(ConfigDict({**module.DEFAULTS, **fields}))
    return np.asarray(compiled(explain, subject)(*arguments))


def drawn(net: Any, count: int = 2) -> Any:
    """(variables, images) as arrays of JAX."""
    return jax.tree.map(jnp.asarray, networks.drawn(net, count=count))


X = np.array([1, 2, -1, 0.5, -3, 2], np.float32).reshape(1, 1, 2, 3)
W = np.array([3, -1, 0.5, 2, 1, -6], np.float32)
EACH = W.reshape(1, 1, 2, 3)
ONE, NONE = np.array([1]), np.array([0])


def test_saliency_of_a_linear_model():
    subject, kernel = linear(*W)
    found = explained('saliency', subject, kernel, X, ONE)
    assert np.allclose(found, [[[[0.0], [1.0]]]])  # largest slopes of the pixels: 3 and 6
    flat = explained('saliency', subject, {'kernel': kernel['kernel'] * 0}, X, ONE)
    assert not np.asarray(flat).any()


def test_smooth_grad_of_a_linear_model_is_saliency_and_ignores_its_neighbours():
    subject, kernel = linear(*W)
    found = explained('smooth_grad', subject, kernel, X, ONE, samples=3)
    assert np.allclose(found, [[[[0.0], [1.0]]]])


def test_smooth_grad_is_the_gradient_of_the_smoothed_score():
    """score = sum w x^2 has the mean gradient 2 w (x + mean noise): told exactly by the seed."""
    found = explained('smooth_grad', *squared(), X, ONE, samples=4, noise=0.1, seed=3)
    keys = jax.random.split(jax.random.key(3), 4)
    noise = np.mean([jax.random.normal(key, X.shape) for key in keys], 0)
    slope = np.abs(2 * EACH * (X + 0.1 * 5 * noise)).max(-1)
    want = (slope - slope.min()) / (slope.max() - slope.min())
    assert np.allclose(found[..., 0], want, atol=1e-5)


@pytest.mark.parametrize('name', ['gradient_x_input', 'integrated_gradients'])
def test_linear_models_are_explained_by_what_is_added_up(name):
    subject, kernel = linear(*W)
    fields = {} if name == 'gradient_x_input' else {'baseline': 'mean', 'steps': 1}
    found = explained(name, subject, kernel, X, ONE, **fields)
    assert np.allclose(found, EACH * X)
    assert np.allclose(explained(name, subject, kernel, X, NONE, **fields), -EACH * X)


def squared() -> tuple[Subject, Any]:
    """score = sum w x^2 + bias, whose slopes are linear in the pixels."""
    subject, kernel = linear(*W)
    encode = lambda v, x: subject.encode(v, x) ** 2  # noqa: E731
    return Subject(encode, subject.classify, subject.low, subject.high), kernel


@pytest.mark.parametrize('steps', [1, 7])
@pytest.mark.parametrize(('baseline', 'colour'), [('black', LOW), ('white', HIGH), ('mean', 0.0)])
def test_integrated_gradients_add_up_to_the_difference_of_scores(baseline, colour, steps):
    """The midpoint rule is exact for slopes that are linear along the way."""
    fields: dict[str, Any] = {'baseline': baseline, 'steps': steps}
    found = explained('integrated_gradients', *squared(), X, ONE, **fields)
    assert np.allclose(found, EACH * (X**2 - colour**2), atol=1e-4)


def test_gradient_x_input_adds_up_to_the_score_without_biases():
    net = networks.classifier(networks.NARROW)
    variables, images = drawn(net)
    variables, subject = networks.without_bias(variables), networks.subject(net)
    images, targets = images[:1], ONE
    found = explained('gradient_x_input', subject, variables, images, targets)
    want = jax.jit(functools.partial(gradients.score, subject))(variables, images, targets)
    assert np.allclose(found.sum((1, 2, 3)), want, rtol=1e-4)


@pytest.mark.parametrize('outputs', [1, 3])
def test_grad_cam_of_a_mean_of_the_last_map(outputs):
    """There a_k = w_k / pixels, whatever lies before."""
    net = networks.classifier(networks.NARROW, outputs)
    variables, images = drawn(net)
    targets = np.array([0, 1])
    last = np.asarray(net.apply(variables, images, method='maps')[-1])
    kernel = variables['params']['head']['kernel']
    columns = [-kernel[:, 0], kernel[:, 0]] if outputs == 1 else [kernel[:, 0], kernel[:, 1]]
    want = np.stack([maps @ column / 4 for maps, column in zip(last, columns, strict=True)])
    assert last.shape[1:3] == (2, 2)
    for rectify in (True, False):
        subject = networks.subject(net)
        found = explained('grad_cam', subject, variables, images, targets, rectify=rectify)
        each = np.maximum(want, 0) if rectify else want
        enlarged = jax.image.resize(each[..., None], (2, 32, 32, 1), 'bilinear')
        assert np.allclose(found, enlarged, atol=1e-5) and found.any()


def test_grad_cam_of_an_inner_stage_is_the_gradient_of_what_follows():
    net = networks.classifier(networks.NARROW)
    variables, images = drawn(net, count=1)
    subject, targets = networks.subject(net), np.array([1])
    looked = stages.look(subject, variables, images)
    stage = looked.maps()[1]

    def rest(maps):
        """The network from the end of stage 1 on."""

        def take(call, args, kwargs, context):
            out = call(*args, **kwargs)
            return maps if context.module.path == ('encoder', 'stage1_0') else out

        with nn.intercept_methods(take):
            return subject.scores(variables, images)[0, 1]

    slope = np.asarray(jax.grad(rest)(stage)).mean((1, 2))
    want = np.maximum((slope[:, None, None] * stage).sum(-1), 0)[..., None]
    found = explained('grad_cam', subject, variables, images, targets, stage=1)
    assert np.allclose(found, jax.image.resize(want, found.shape, 'bilinear'), atol=1e-5)


def window(before: int, size: int, stride: int, pad: int) -> stages.Window:
    after = (before + 2 * pad - size) // stride + 1
    return stages.Window(
        (before,) * 2, (after,) * 2, (size,) * 2, (stride,) * 2, ((pad,) * 2, (pad,) * 2)
    )


def test_visual_backprop_by_hand():
    first, second = np.array([[[1.0, 2], [3, 4]]], np.float32), np.full((1, 1, 1), 2, np.float32)
    found = visual_backprop.backproject(
        [jnp.asarray(first), jnp.asarray(second)], [[], [window(2, 2, 2, 0)]]
    )
    assert np.array_equal(found, [[[2, 4], [6, 8]]])
    assert np.allclose(gradients.unit(found[..., None])[0, ..., 0], [[0, 1 / 3], [2 / 3, 1]])


@pytest.mark.parametrize(
    ('before', 'size', 'stride', 'pad'), [(8, 3, 2, 1), (7, 3, 2, 0), (5, 4, 1, 0)]
)
def test_spread_adds_each_value_to_the_pixels_of_its_window(before, size, stride, pad):
    one = window(before, size, stride, pad)
    maps = np.random.default_rng(0).normal(size=(2, *one.after)).astype(np.float32)
    want = np.zeros((2, before + 2 * pad, before + 2 * pad))
    for i, j in np.ndindex(*one.after):
        rows, cols = i * stride, j * stride
        want[:, rows : rows + size, cols : cols + size] += maps[:, i, j, None, None]
    want = want[:, pad : pad + before, pad : pad + before]
    assert np.allclose(visual_backprop.spread(jnp.asarray(maps), one), want, atol=1e-5)


def test_visual_backprop_of_a_resnet():
    net = networks.classifier(networks.NARROW)
    variables, images = drawn(net)
    subject = networks.subject(net)
    looked = stages.look(subject, variables, images)
    maps = [np.asarray(m) for m in looked.maps()]
    assert [m.shape[1] for m in maps] == [8, 8, 4, 2]
    means = [np.maximum(m, 0).mean(-1) for m in maps]
    found = means[-1]
    for mean in reversed(means[:-1]):
        if mean.shape != found.shape:  # 3x3, stride 2, one zero on each side
            found = np.asarray(
                visual_backprop.spread(jnp.asarray(found), window(len(mean[0]), 3, 2, 1))
            )
        found = found * mean
    pooled = window(16, 2, 2, 0)
    found = visual_backprop.spread(jnp.asarray(found), pooled)
    found = np.array(visual_backprop.spread(found, window(32, 5, 2, 2)))
    found -= found.min((1, 2), keepdims=True)
    found /= found.max((1, 2), keepdims=True)
    for targets in (ONE.repeat(2), NONE.repeat(2)):
        got = explained('visual_backprop', subject, variables, images, targets)
        assert np.allclose(got[..., 0], found, atol=1e-5)


@pytest.mark.parametrize('family', networks.ENCODERS)
def test_stages_of_every_encoder_are_found(family):
    """Traced alone: neither their maps nor the windows between them are known to explainers."""
    net = networks.classifier(networks.ENCODERS[family])
    size = networks.SIZES.get(family, 64)
    images = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    variables = jax.eval_shape(functools.partial(net.init, train=True), jax.random.key(0), images)
    for name, stage in (('grad_cam', {'stage': 0}), ('visual_backprop', {})):
        module = configs.find('explainers', name)
        explain = module.build(ConfigDict({**module.DEFAULTS, **stage}))
        part = functools.partial(explain.part, networks.subject(net))
        targets, k = (jax.ShapeDtypeStruct(shape, jnp.int32) for shape in ((2,), ()))
        found = jax.eval_shape(part, dict(variables), images, targets, k)
        assert found.shape == (2, size, size, 1)


@pytest.mark.parametrize(
    ('name', 'fields', 'message'),
    [
        ('smooth_grad', {'samples': 0}, 'samples is 0, expected at least 1'),
        ('smooth_grad', {'noise': -0.1}, 'noise -0.1, expected at least 0'),
        ('integrated_gradients', {'steps': 0}, 'steps is 0, expected at least 1'),
        ('integrated_gradients', {'baseline': 'grey'}, "baseline is 'grey': choose one of black"),
    ],
)
def test_impossible_options(name, fields, message):
    with pytest.raises(ValueError, match=message):
        explained(name, *linear(*W), X, ONE, **fields)


def test_a_network_without_stages():
    for name in ('grad_cam', 'visual_backprop'):
        with pytest.raises(ValueError, match='this encoder has no stage maps'):
            explained(name, *linear(*W), X, ONE)
