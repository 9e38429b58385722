"""Rules against the worked values of the specification, and what each of them keeps."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from skinjax.explainers import lrp
from skinjax.relevance.lrp import composites, layers, rules

NEURON = {
    'zero': (rules.zero(), (3, -2)),
    'epsilon': (rules.epsilon(0.25), (2.4, -1.6)),
    'relative epsilon': (rules.epsilon(0.0, 0.25), (2.4, -1.6)),  # of a single output, 1
    'gamma': (rules.gamma(0.25, 0.0), (15 / 7, -8 / 7)),
    'alpha 2 beta 1': (rules.alpha_beta(2.0, 0.0), (2, -1)),
    'z+': (rules.z_plus(0.0), (1, 0)),
    'w^2': (rules.w_square(0.0), (0.9, 0.1)),
    'flat': (rules.flat(0.0), (0.5, 0.5)),
    'z-box': (rules.z_box(0.0), (6 / 7, 1 / 7)),
}
CONSERVING = ('zero', 'gamma', 'z+', 'z-box', 'w^2', 'flat')


def hand_down(rule, x, kernel, relevance, bias=None, *, low=-1.0, high=3.0, known=False) -> Any:
    """The relevance of the input of a dense layer."""
    x, kernel, relevance = (jnp.asarray(a, jnp.float32) for a in (x, kernel, relevance))
    bias = jnp.zeros((1, kernel.shape[1])) if bias is None else jnp.asarray(bias, jnp.float32)[None]
    low, high = (np.full(x.shape[1], bound, np.float32) for bound in (low, high))
    layer = rules.Layer(jnp.matmul, x, x @ kernel + bias, kernel, bias, known, low, high)
    return np.asarray(rule(layer, relevance))


@pytest.mark.parametrize('name', NEURON)
def test_a_single_neuron(name):
    rule, want = NEURON[name]
    have = hand_down(rule, [[1, 2]], [[3], [-1]], [[1]])
    np.testing.assert_allclose(have[0], want, rtol=1e-6)


@pytest.mark.parametrize('name', CONSERVING)
def test_rules_that_keep_the_sum(name):
    rng = np.random.default_rng(0)
    x, kernel = rng.uniform(0, 2, (4, 20)), rng.normal(size=(20, 10))
    relevance = np.maximum(x @ kernel, 0)  # as a ReLU above leaves it
    have = hand_down(NEURON[name][0], x, kernel, relevance)
    np.testing.assert_allclose(have.sum(1), relevance.sum(1), rtol=1e-4)
    if name in ('z+', 'z-box', 'w^2', 'flat'):
        assert (have >= 0).all()


def test_alpha_beta_returns_alpha_times_where_nothing_is_negative():
    have = hand_down(rules.alpha_beta(2.0, 0.0), [[1, 2]], [[3], [1]], [[1]])
    np.testing.assert_allclose(have.sum(), 2)
    both = hand_down(rules.alpha_beta(2.0, 0.0), [[1, 2]], [[3], [-1]], [[1]])
    np.testing.assert_allclose(both.sum(), 1)
    with pytest.raises(ValueError, match='expected 1 or more'):
        rules.alpha_beta(0.5, 0.0)


def test_biases_take_their_share_of_relevance():
    rng = np.random.default_rng(1)
    x, kernel, bias = rng.uniform(0, 2, (3, 6)), rng.normal(size=(6, 4)), rng.uniform(1, 2, 4)
    z, relevance = x @ kernel + bias, rng.normal(size=(3, 4))
    have = hand_down(rules.zero(), x, kernel, relevance, bias)
    lost = (relevance * bias / z).sum(1)
    np.testing.assert_allclose(have.sum(1), relevance.sum(1) - lost, rtol=1e-4)


def test_z_box_of_a_box_without_size_is_lrp_0():
    rng = np.random.default_rng(2)
    given = rng.normal(size=(3, 6)), rng.normal(size=(6, 4)), rng.normal(size=(3, 4))
    want = hand_down(rules.zero(), *given)
    np.testing.assert_allclose(hand_down(rules.z_box(0.0), *given, low=0, high=0), want, rtol=1e-4)


def test_gamma_grows_what_agrees_with_the_sign_of_the_output():
    """As without signs for positive inputs; mirrored inputs and weights give the same."""
    x, kernel = np.array([[1.0, -2.0, 0.5]]), np.array([[1.0, -1.0], [-0.5, 2.0], [-3.0, 0.2]])
    z = x @ kernel
    assert (z[0] > 0).tolist() == [True, False]
    wanted = np.zeros(3)
    for j in range(2):
        parts = x[0] * kernel[:, j]
        grown = np.where(parts * z[0, j] > 0, 1.25, 1.0) * parts
        wanted += grown / grown.sum() * 0.7
    have = hand_down(rules.gamma(0.25, 0.0), x, kernel, [[0.7, 0.7]])
    np.testing.assert_allclose(have[0], wanted, rtol=1e-5)
    mirrored = hand_down(rules.gamma(0.25, 0.0), -x, -kernel, [[0.7, 0.7]])
    np.testing.assert_allclose(mirrored, have, rtol=1e-5)


@pytest.mark.parametrize('name', ['gamma', 'alpha 2 beta 1', 'z+'])
def test_knowing_that_inputs_are_positive_changes_nothing(name):
    rng = np.random.default_rng(3)
    x, kernel, bias = rng.uniform(0, 2, (3, 6)), rng.normal(size=(6, 4)), rng.normal(size=4)
    given = NEURON[name][0], x, kernel, rng.normal(size=(3, 4)), bias
    np.testing.assert_allclose(hand_down(*given, known=True), hand_down(*given), rtol=1e-5)


def test_where_the_denominator_is_zero_there_is_no_relevance():
    for rule in (rules.zero(), rules.z_plus(0.0), rules.gamma(0.25, 0.0)):
        assert (hand_down(rule, [[0, 0]], [[3], [-1]], [[1]]) == 0).all()


def test_z_box_needs_the_bounds_of_its_input():
    layer = rules.Layer(
        jnp.matmul, jnp.ones((1, 4)), jnp.ones((1, 2)), jnp.ones((4, 2)), jnp.zeros((1, 2)),
        low=np.zeros(3, np.float32), high=np.ones(3, np.float32),
    )  # fmt: skip
    with pytest.raises(ValueError, match='bounds of 4 input channels, found 3'):
        rules.z_box(0.0)(layer, jnp.ones((1, 2)))


def gradient(function, relevance, *arrays) -> Any:
    """The gradients that stand for relevance."""
    arrays = [jnp.asarray(a, jnp.float32) for a in arrays]
    return [np.asarray(r) for r in jax.vjp(function, *arrays)[1](jnp.asarray(relevance))]


def test_a_sum_gives_each_branch_its_share():
    have = gradient(layers.share(jnp.add, 0.0), [8.0], [3.0], [1.0])
    np.testing.assert_allclose(have, [[6], [2]])


def test_a_normalisation_of_its_own_is_a_diagonal_layer():
    layer = layers.diagonal(0.0, zero_bias=False)
    have = gradient(layer, [4.0], [1.0], [3.0], [1.0])[0]  # 3 of 3 + 1
    np.testing.assert_allclose(have, [3])
    ignored = layers.diagonal(0.0, zero_bias=True)
    np.testing.assert_allclose(gradient(ignored, [4.0], [1.0], [3.0], [1.0])[0], [4])


@pytest.mark.parametrize('name', composites.COMPOSITES)
def test_every_composite_can_be_read(name):
    composite = composites.read(ConfigDict({**lrp.DEFAULTS, 'composite': name}))
    assert composite.zero_bias == name.startswith('deep_taylor')
    assert (composite.first is None) == (
        name in ('epsilon', 'epsilon_plus', 'epsilon_alpha2_beta1')
    )


@pytest.mark.parametrize(
    ('field', 'value', 'message'),
    [
        ('composite', 'epsilon_minus', "composite is 'epsilon_minus'"),
        ('conv', 'z', "rule conv is 'z'"),
        ('diagonal', 'skip', "diagonal is 'skip'"),
        ('max_pool', 'loser', "max_pool is 'loser'"),
        ('epsilon', -0.1, 'explainer.epsilon is -0.1, expected at least 0'),
        ('relative_epsilon', -1.0, 'relative_epsilon is -1.0'),
        ('gamma', -2.0, 'gamma is -2.0'),
        ('stabilizer', -1e-6, 'stabilizer is -1e-06'),
        ('gamma', 0.5, 'gamma is 0.5, but no layer has rule gamma: .* z_plus, epsilon, as the'),
        ('alpha', 1.0, 'alpha is 1.0, but no layer has rule alpha_beta'),
    ],
)
def test_unknown_choices_are_errors(field, value, message):
    with pytest.raises(ValueError, match=message):
        lrp.build(ConfigDict({**lrp.DEFAULTS, field: value}))


def test_numbers_that_are_not_read_are_errors():
    for fields, message in (
        ({'composite': 'epsilon_alpha2_beta1', 'alpha': 1.0}, 'epsilon_alpha2_beta1 is with 2'),
        ({'composite': 'deep_taylor', 'epsilon': 0.1}, 'no layer has rule epsilon'),
        ({'composite': 'deep_taylor', 'relative_epsilon': 0.1}, 'no layer has rule epsilon'),
    ):
        with pytest.raises(ValueError, match=message):
            lrp.build(ConfigDict({**lrp.DEFAULTS, **fields}))
    for read in ({'conv': 'alpha_beta', 'alpha': 3.0}, {'dense': 'gamma', 'gamma': 1.0}):
        lrp.build(ConfigDict({**lrp.DEFAULTS, **read}))
