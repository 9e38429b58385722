"""Two-phase unlearning: who is updated by what, the switches, and the errors."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from skinjax import config as configs
from skinjax.engine import state
from skinjax.engine.objective import Loss, Moment, Objective, Optimizer, Output, Phase
from skinjax.objectives import unlearning
from tests.objectives.made import (
    KEY,
    LR_BASE,
    PLAIN,
    advance,
    assert_same,
    build,
    differ,
    gradient,
    kernel,
    made_batch,
    made_data,
    only,
    start,
)


class TestWhoIsUpdated:
    @pytest.mark.parametrize('method', ['lntl', 'tabe', 'clgr'])
    def test_main_phase_leaves_bias_heads_to_the_bit(self, method):
        before, after = advance(only(build(method, momentum=0.9), 'main'))
        assert_same(before.params['bias_ruler'], after.params['bias_ruler'])
        assert_same(before.opt['bias_ruler'], after.opt['bias_ruler'])
        assert differ(before.params['encoder'], after.params['encoder'])
        assert differ(before.params['head'], after.params['head'])

    @pytest.mark.parametrize('method', ['lntl', 'tabe', 'clgr'])
    def test_bias_phase_leaves_the_main_head_to_the_bit(self, method):
        whole = build(method, **PLAIN)
        before, after = advance(only(whole, 'bias'), advance(only(whole, 'main'))[1])
        assert_same(before.params['head'], after.params['head'])
        assert_same(before.opt['main']['head'], after.opt['main']['head'])
        assert differ(before.params['bias_ruler'], after.params['bias_ruler'])
        assert differ(before.params['encoder'], after.params['encoder']) is (method != 'tabe')
        if method == 'tabe':
            assert_same(before.opt, after.opt)

    def test_phantom_step_moves_the_main_head_on_momentum(self):
        whole = build('clgr', compat=('phantom_step',), **PLAIN)
        before, after = advance(only(whole, 'bias'), advance(only(whole, 'main'))[1])
        momentum = before.opt['main']['head'][1].trace
        want = jax.tree.map(lambda p, m: p - LR_BASE * 0.9 * m, before.params['head'], momentum)
        close = functools.partial(np.testing.assert_allclose, rtol=1e-6)
        jax.tree.map(close, after.params['head'], want)

    def test_a_zero_gradient_still_moves_on_momentum(self):
        def term(slope):
            def loss(variables, batch, moment):
                values = slope * variables['params']['w'] * jnp.ones(2)
                return Output({'w': Loss(values, jnp.ones(2))})

            return loss

        sgd = Optimizer(optax.trace(0.9), ('w',), lambda step: jnp.full((), 0.1))
        first, second = (Phase('p', term(slope), {'sgd': ('w',)}) for slope in (1.0, 0.0))
        found = []
        for phases in ((first,), (first, second)):
            objective = Objective(
                lambda key, batch: {'params': {'w': jnp.ones(())}},
                {'sgd': sgd},
                phases,
                lambda v, x: {},
            )
            now = state.create(objective, KEY, {}, ema=False)
            found.append(float(advance(objective, now)[1].params['w']))
        np.testing.assert_allclose(found, [0.90, 0.81], rtol=1e-6)


class TestEncoderStep:
    @pytest.mark.parametrize(('compat', 'rate'), [((), 0.0003), (('double_step',), 0.0033)])
    def test_first_step_of_phase_main(self, compat, rate):
        fields = {**unlearning.PAPER, 'confusion': 0.03, 'head_steps': 1, 'compat': compat}
        objective = build('clgr', **fields)
        before, after = advance(only(objective, 'main'))
        g = np.asarray(gradient(objective, 0, before)['encoder']['out']['kernel'])
        np.testing.assert_allclose(kernel(after) - kernel(before), -rate * g, atol=2e-7)
        assert np.abs(rate * g).max() > 2e-5

    @pytest.mark.parametrize(
        ('method', 'compat', 'factor'),
        [('clgr', (), -0.1), ('lntl', (), -0.1), ('tabe', (), 0.0), ('tabe', ('help_head',), 1.0)],
    )
    def test_phase_bias_moves_it_by_a_multiple_of_the_heads_gradient(self, method, compat, factor):
        reversal = {} if method == 'tabe' else {'reversal': 0.1}
        objective = build(method, rate=0.1, compat=compat, **reversal, **PLAIN)
        before, after = advance(only(objective, 'bias'))
        want = -0.1 * factor * reference_gradient(before, made_batch())
        np.testing.assert_allclose(kernel(after) - kernel(before), want, atol=1e-6)
        assert np.abs(reference_gradient(before, made_batch())).max() > 0.01

    def test_capped_examples_do_not_push(self):
        batch, cap = made_batch(), 0.7
        objective = build('clgr', rate=0.1, reversal=0.1, **{**PLAIN, 'cap': cap})
        before, after = advance(only(objective, 'bias'), batch=batch)
        values = reference_cross_entropy(before, batch)
        assert (values < cap).any()
        assert (values >= cap).any()
        want = 0.01 * reference_gradient(before, batch, kept=values < cap)
        np.testing.assert_allclose(kernel(after) - kernel(before), want, atol=1e-6)
        assert np.abs(want).max() > 1e-4
        uncapped = advance(only(build('clgr', rate=0.1, reversal=0.1, **PLAIN), 'bias'), before)[1]
        assert_same(after.params['bias_ruler'], uncapped.params['bias_ruler'])
        assert differ(after.params['encoder'], uncapped.params['encoder'])

    def test_ramp(self):
        objective = build('clgr', steps=10, ramp=0.4, **PLAIN)
        now = start(objective)
        reference = gradient(build('clgr', **PLAIN), 1, now)['encoder']['out']['kernel']
        for step, share in ((0, 0.0), (1, 0.25), (4, 1.0), (9, 1.0)):
            found = gradient(objective, 1, dataclasses.replace(now, step=jnp.asarray(step)))
            np.testing.assert_allclose(
                found['encoder']['out']['kernel'], share * reference, atol=1e-6
            )
        plain = gradient(build('baseline'), 0, now)
        assert_same(gradient(objective, 0, now)['encoder'], plain['encoder'])


def reference_features(now, batch) -> np.ndarray:
    pixels = (np.asarray(batch['image'], np.float64) / 255 - 0.5) / 0.25
    return pixels.reshape(len(pixels), -1)


def reference_log_p(now, batch) -> np.ndarray:
    head = now.params['bias_ruler']['out']
    features = reference_features(now, batch) @ np.float64(kernel(now))
    logits = features @ np.float64(head['kernel']) + np.float64(head['bias'])
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


def reference_cross_entropy(now, batch) -> np.ndarray:
    log_p = reference_log_p(now, batch)
    return -np.array([log_p[i, s] for i, s in enumerate(np.asarray(batch['ruler']))])


def reference_gradient(now, batch, kept=None) -> np.ndarray:
    """Of the unweighted cross-entropy of the ruler head (its classes are balanced in the data)."""
    onehot = np.eye(2)[np.asarray(batch['ruler'])]
    slope = (np.exp(reference_log_p(now, batch)) - onehot) / len(onehot)
    slope *= 1.0 if kept is None else kept[:, None]
    back = slope @ np.float64(now.params['bias_ruler']['out']['kernel']).T
    return reference_features(now, batch).T @ back


class TestPhaseMain:
    def test_lntl_total_at_zero_logits(self):
        """log 2 - 0.01 log 2."""
        objective = build('lntl', entropy=0.01, **PLAIN)
        now = jax.tree.map(jnp.zeros_like, start(objective))
        batch = {**made_batch(), 'label': jnp.ones(8, jnp.int32)}
        moment = Moment(jax.random.split(KEY, 8), now.step)
        out = objective.phases[0].loss({'params': now.params, **now.model}, batch, moment)
        total = sum(t.scale * (t.weights * t.values).mean() for t in out.losses.values())
        assert float(total) == pytest.approx(0.686216, abs=1e-6)

    def test_shared_heads_read_the_first(self):
        batch, fields = made_batch(), {'head_steps': 1}
        found = []
        for compat in ((), ('shared_heads',)):
            objective = build('double', compat=compat, **fields)
            now = start(objective)
            grads = gradient(objective, 0, now, batch)
            found.append(
                differ(grads['bias_camera'], jax.tree.map(jnp.zeros_like, grads['bias_camera']))
            )
        assert found == [True, False]

    def test_double_heads_add_the_terms_of_both(self):
        first, second = {'bias': 'ruler', 'method': 'lntl'}, {'bias': 'camera', 'method': 'tabe'}
        defaults = configs.find('objectives', 'double').DEFAULTS
        objective = build(
            'double', first=defaults['first'] | first, second=defaults['second'] | second
        )
        batch = made_batch()
        moment = Moment(jax.random.split(KEY, 8), jnp.asarray(0))
        now = start(objective)
        variables = {'params': now.params, **now.model}
        main = objective.phases[0].loss(variables, batch, moment).losses
        assert set(main) == {'main', 'ruler_entropy', 'camera_confusion'}
        bias = objective.phases[1].loss(variables, batch, moment).losses
        assert set(bias) == {'ruler', 'camera', 'ruler_push'}


class TestErrors:
    @pytest.mark.parametrize('method', ['lntl', 'group_dro'])
    def test_unknown_bias_variable(self, method):
        with pytest.raises(ValueError, match=r"'hair' is not in data set 'made'.*camera, ruler"):
            build(method, bias='hair')

    def test_bias_variable_of_one_value(self):
        data = made_data(ruler=(0, 0, 0, 0, -1, -1))
        with pytest.raises(ValueError, match=r"'ruler' takes fewer than two values.*\[\[4, 0\]\]"):
            build('clgr', data)
        data = made_data((0, 0, 0, 1, 1, 1), ruler=(0, 0, 0, 1, 1, 1))
        build('clgr', data)
        with pytest.raises(ValueError, match='within every class'):
            build('clgr', data, conditional=True)

    def test_unknown_compat_switch(self):
        with pytest.raises(ValueError, match=r"unknown compat switch \['sud'\].*double_step.*sdu"):
            build('clgr', compat=('sud',))

    def test_double_needs_two_variables(self):
        defaults = configs.find('objectives', 'double').DEFAULTS
        with pytest.raises(ValueError, match="are both 'ruler'"):
            build('double', second=defaults['second'] | {'bias': 'ruler'})
