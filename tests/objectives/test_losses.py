"""Losses and gradient reversal: worked values, slow twins, extreme logits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax.engine.objective import Loss
from skinjax.engine.step import weighted_sum
from skinjax.objectives import losses
from skinjax.objectives.reversal import reverse

SKEWED = jnp.log(jnp.array([[0.9, 0.1]]))


def total(loss):
    return lambda logits, *args: loss(logits, *args).sum()


def reference_softmax(logits):
    return [[np.exp(z) / sum(np.exp(other) for other in row) for z in row] for row in logits]


class TestReverse:
    weights = jnp.array([1.0, 2.0])

    def test_gradient_is_negated_and_scaled(self):
        gradient = jax.grad(lambda x: (reverse(x, 0.1) * self.weights).sum())(jnp.ones(2))
        np.testing.assert_allclose(gradient, [-0.1, -0.2], rtol=1e-6)

    def test_forward_is_the_identity(self):
        x = jax.random.normal(jax.random.key(0), (3, 4))
        np.testing.assert_array_equal(reverse(x, 0.3), x)
        np.testing.assert_array_equal(jax.jit(reverse)(x, 0.3), x)

    def test_under_jit_and_vmap_with_a_traced_strength(self):
        def gradient(x, strength):
            return jax.grad(lambda x: (reverse(x, strength) * self.weights).sum())(x)

        strengths = jnp.array([0.1, 0.0, 2.0])
        found = jax.jit(jax.vmap(gradient))(jnp.ones((3, 2)), strengths)
        np.testing.assert_allclose(found, -np.outer(strengths, [1, 2]), rtol=1e-6)

    def test_a_strength_per_example(self):
        strengths = jnp.array([[0.1], [0.5]])
        gradient = jax.grad(lambda x: reverse(x, strengths).sum())(jnp.ones((2, 3)))
        np.testing.assert_allclose(gradient, [[-0.1] * 3, [-0.5] * 3], rtol=1e-6)

    def test_strength_gets_no_gradient(self):
        gradient = jax.grad(lambda c: reverse(jnp.ones(2), c).sum())(jnp.asarray(0.1))
        assert gradient == 0


class TestNegativeEntropy:
    def test_worked_value_and_gradient(self):
        assert float(losses.negative_entropy(SKEWED)[0]) == pytest.approx(-0.325083, abs=1e-6)
        gradient = jax.grad(total(losses.negative_entropy))(SKEWED)
        np.testing.assert_allclose(gradient, [[0.197750, -0.197750]], atol=1e-6)

    @pytest.mark.parametrize(('k', 'value'), [(2, -0.693147), (8, -2.079442)])
    def test_least_where_undecided(self, k, value):
        uniform = jnp.full((1, k), 3.0)
        assert float(losses.negative_entropy(uniform)[0]) == pytest.approx(value, abs=1e-6)
        gradient = jax.grad(total(losses.negative_entropy))(uniform)
        np.testing.assert_allclose(gradient, 0, atol=1e-7)

    def test_slow_twin(self):
        logits = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
        want = [sum(p * np.log(p) for p in row) for row in reference_softmax(logits)]
        found = losses.negative_entropy(jnp.asarray(logits))
        np.testing.assert_allclose(found, want, rtol=1e-5)


class TestConfusion:
    def test_worked_value_and_gradient(self):
        assert float(losses.confusion(SKEWED)[0]) == pytest.approx(1.203973, abs=1e-6)
        gradient = jax.grad(total(losses.confusion))(SKEWED)
        np.testing.assert_allclose(gradient, [[0.4, -0.4]], atol=1e-6)

    @pytest.mark.parametrize('k', [2, 3, 8])
    def test_least_at_uniform_p(self, k):
        uniform = jnp.zeros((1, k))
        assert float(losses.confusion(uniform)[0]) == pytest.approx(np.log(k), rel=1e-6)
        np.testing.assert_allclose(jax.grad(total(losses.confusion))(uniform), 0, atol=1e-7)
        others = jax.random.normal(jax.random.key(0), (20, k))
        assert float(losses.confusion(others).min()) > np.log(k)

    def test_targets_that_do_not_sum_to_one_are_stronger(self):
        half = jnp.full((1, 8), 0.5)
        assert float(losses.confusion(jnp.zeros((1, 8)), half)[0]) == pytest.approx(8.317766)

    def test_uniform_is_not_stationary_for_a_random_target(self):
        target = jax.random.uniform(jax.random.key(0), (1, 8))
        gradient = jax.grad(total(losses.confusion))(jnp.zeros((1, 8)), target)
        want = np.asarray(target).sum() / 8 - np.asarray(target)
        np.testing.assert_allclose(gradient, want, atol=1e-6)
        assert np.abs(want).max() > 0.1


class TestClassification:
    def test_one_logit_is_binary_cross_entropy(self):
        found = losses.classification(jnp.array([[0.0], [2.0], [2.0]]), jnp.array([1, 1, 0]))
        np.testing.assert_allclose(found, [0.693147, 0.126928, 2.126928], atol=1e-6)

    def test_two_logits_give_the_same_as_their_difference(self):
        one, labels = jnp.array([[-1.5], [0.3], [2.0]]), jnp.array([0, 1, 0])
        two = jnp.concatenate([jnp.zeros((3, 1)), one], 1)
        for smoothing in (0.0, 0.1):
            np.testing.assert_allclose(
                losses.classification(two, labels, smoothing),
                losses.classification(one, labels, smoothing),
                rtol=1e-5,
            )

    def test_smoothing_moves_the_least_loss_to_the_smoothed_share(self):
        share = jnp.log(jnp.array([[0.95 / 0.05]]))
        gradient = jax.grad(total(losses.classification))(share, jnp.array([1]), 0.1)
        np.testing.assert_allclose(gradient, 0, atol=1e-6)

    def test_unknown_labels_are_finite(self):
        for columns in (1, 3):
            found = losses.classification(jnp.ones((1, columns)), jnp.array([-1]))
            assert np.isfinite(found).all()


def test_weighted_cross_entropy():
    logits, values = jnp.array([[0.0, 0.0], [2.0, 0.0]]), jnp.array([1, 0])
    weights = jnp.array([0.25, 0.75])[values]
    weighted, weight = weighted_sum(Loss(losses.cross_entropy(logits, values), weights))
    assert float(weighted / weight) == pytest.approx(0.551592, abs=1e-6)


@pytest.mark.parametrize('scale', [1e3, 1e6, 1e30])
@pytest.mark.parametrize(
    'loss',
    [
        losses.negative_entropy,
        losses.confusion,
        lambda z: losses.cross_entropy(z, jnp.array([1])),
        lambda z: losses.classification(z, jnp.array([1])),
        lambda z: losses.classification(z[:, :1], jnp.array([0])),
    ],
)
def test_extreme_logits_have_finite_losses_and_gradients(loss, scale):
    logits = scale * jnp.array([[1.0, -1.0, 0.0]])
    value, gradient = jax.value_and_grad(total(loss))(logits)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


class TestFocal:
    def test_worked_values(self):
        p = jnp.array([[0.9], [0.5], [0.1]])
        found = losses.focal(jnp.log(p / (1 - p)), jnp.ones(3, jnp.int32))
        np.testing.assert_allclose(found, [0.0010536, 0.1732868, 1.8650939], atol=5e-8)

    @pytest.mark.parametrize('columns', [1, 4])
    def test_slow_twin(self, columns):
        rng = np.random.default_rng(0)
        logits = rng.normal(size=(6, columns)).astype(np.float32)
        labels = rng.integers(0, max(columns, 2), 6)
        every = np.concatenate([np.zeros((6, 1)), logits], 1) if columns == 1 else logits
        want = [
            -((1 - p[y]) ** 3) * np.log(p[y])
            for p, y in zip(np.exp(every) / np.exp(every).sum(1)[:, None], labels, strict=True)
        ]
        found = losses.focal(jnp.asarray(logits), jnp.asarray(labels), 3.0)
        np.testing.assert_allclose(found, want, rtol=1e-5)

    def test_gamma_zero_is_cross_entropy(self):
        logits, labels = jnp.array([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]]), jnp.array([2, 0])
        for smoothing in (0.0, 0.1):
            np.testing.assert_array_equal(
                losses.focal(logits, labels, 0.0, smoothing),
                losses.classification(logits, labels, smoothing),
            )

    @pytest.mark.parametrize('scale', [1.0, 1e3, 1e30])
    def test_finite_everywhere(self, scale):
        logits = scale * jnp.array([[1.0, -1.0, 0.0], [1.0, -1.0, 0.0]])
        for gamma in (0.5, 2.0):

            def total(z, g=gamma):
                return losses.focal(z, jnp.array([0, 1]), g).sum()

            value, gradient = jax.jit(jax.value_and_grad(total))(logits)
            assert np.isfinite(value) and np.isfinite(gradient).all()


def test_margins_move_the_true_class_alone():
    found = losses.with_margins(
        jnp.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), jnp.array([2, 0]), jnp.array([0.1, 0.2, 0.5])
    )
    np.testing.assert_allclose(found, [[1, 2, 2.5], [3.9, 5, 6]], rtol=1e-6)
