"""Two-phase unlearning: who is updated by what, weights, masks, switches, and what it achieves.

The encoder is one linear layer without offsets, so that gradients can be written down.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from skinjax import config as configs
from skinjax.data.records import DataSet, Records
from skinjax.engine import state
from skinjax.engine.objective import Loss, Moment, Objective, Optimizer, Output, Phase
from skinjax.engine.step import make_step, weighted_sum
from skinjax.objectives import unlearning

KEY = jax.random.key(0)
LR_BASE, LR_CLASS = 3e-4, 3e-3
PLAIN = {'cap': 0.0, 'standardize': False, 'head_steps': 1}


def made_records(labels, bias) -> Records:
    names = np.arange(len(labels)).astype(str)
    bias = {name: np.asarray(values, np.int32) for name, values in bias.items()}
    return Records(names, np.asarray(labels, np.int32), bias, names, lambda row: {})


def made_data(labels=(0, 0, 0, 1, 1, 1), ruler=(0, 0, 1, 0, 1, 1), camera=(0, 1, 2, 0, 1, 2)):
    bias = {'ruler': ('no', 'yes'), 'camera': ('a', 'b', 'c')}
    train = made_records(labels, {'ruler': ruler, 'camera': camera})
    return DataSet('made', ('benign', 'malignant'), bias, {'train': train})


def made_batch(n=8, seed=0) -> dict[str, jax.Array]:
    rng = np.random.default_rng(seed)
    batch = {
        'image': rng.integers(0, 256, (n, 2, 2, 3)).astype(np.uint8),
        'label': np.arange(n, dtype=np.int32) % 2,
        'ruler': rng.integers(0, 2, n).astype(np.int32),
        'camera': rng.integers(0, 3, n).astype(np.int32),
        'valid': np.ones(n, bool),
    }
    return jax.tree.map(jnp.asarray, batch)


def make_config(method, rate=LR_BASE, **fields) -> Any:
    config: Any = configs.train(
        configs.plugin('objectives', method, **fields),
        model=configs.plugin('models', 'tests.objectives.linear_encoder'),
    )
    config.model.dropout = 0.0
    config.optimizer.update(learning_rate=rate, momentum=0.9)
    config.data.mean, config.data.std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
    return config


def build(method, data=None, steps=100, **fields) -> Objective:
    config = make_config(method, **fields)
    return configs.find('objectives', method).build(config, data or made_data(), steps)


def only(objective: Objective, *names: str) -> Objective:
    """The objective with some of its phases."""
    phases = tuple(phase for phase in objective.phases if phase.name in names)
    return dataclasses.replace(objective, phases=phases)


def start(objective: Objective) -> state.TrainState:
    """A random state; no compiled initialiser, which would take longer than the test."""
    create = functools.partial(state.create, objective, batch=made_batch(), ema=False)
    shapes, rng = jax.eval_shape(create, KEY), np.random.default_rng(0)

    def fill(path, leaf):
        keys = [getattr(part, 'key', getattr(part, 'name', '')) for part in path]
        if keys[0] == 'params':
            values = rng.normal(size=leaf.shape) / np.sqrt(max(leaf.shape[0], 4))
        else:
            values = np.full(leaf.shape, 0.25 if keys[-1] == 'group_weights' else keys[-1] == 'var')
        return jnp.asarray(values, leaf.dtype)

    return jax.tree_util.tree_map_with_path(fill, shapes)


# The tests run a step or two: the least optimised program is the first to finish.
compiled = functools.partial(jax.jit, compiler_options={'xla_backend_optimization_level': '0'})


def advance(objective: Objective, now=None, batch=None) -> tuple[state.TrainState, Any]:
    """One step: (state before, state after)."""
    now = start(objective) if now is None else now
    after, _ = stepper(objective)(now, batch or made_batch(), KEY)
    return now, after


@functools.lru_cache(8)
def stepper(objective: Objective):
    return compiled(make_step(objective))


def gradient(objective: Objective, phase: int, now: state.TrainState, batch=None):
    """Gradient of a phase's loss with respect to all parameters."""
    return _gradient(objective, phase)(now.params, now.model, now.step, batch or made_batch())


@functools.lru_cache(8)
def _gradient(objective: Objective, phase: int):
    def total(params, model, step, batch):
        moment = Moment(jax.random.split(KEY, len(batch['label'])), step)
        out = objective.phases[phase].loss({'params': params, **model}, batch, moment)
        sums = {k: weighted_sum(loss) for k, loss in out.losses.items()}
        return sum(out.losses[k].scale * s[0] / s[1] for k, s in sums.items())

    return compiled(jax.grad(total))


def kernel(now: state.TrainState) -> np.ndarray:
    return np.asarray(now.params['encoder']['out']['kernel'])


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def differ(a, b) -> bool:
    return all(bool((x != y).any()) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True))


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

        sgd = Optimizer(optax.trace(0.9), ('w',), optax.constant_schedule(0.1))
        first, second = (Phase('p', term(slope), {'sgd': ('w',)}) for slope in (1.0, 0.0))
        found = []
        for phases in ((first,), (first, second)):
            objective = Objective(
                lambda key, batch: {'params': {'w': jnp.ones(())}}, {'sgd': sgd}, phases, dict
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
        objective = build('clgr', rate=0.1, **{**PLAIN, 'cap': cap})
        before, after = advance(only(objective, 'bias'), batch=batch)
        values = reference_cross_entropy(before, batch)
        assert (values < cap).any()
        assert (values >= cap).any()
        want = 0.01 * reference_gradient(before, batch, kept=values < cap)
        np.testing.assert_allclose(kernel(after) - kernel(before), want, atol=1e-6)
        assert np.abs(want).max() > 1e-4
        uncapped = advance(only(build('clgr', rate=0.1, **PLAIN), 'bias'), before)[1]
        assert_same(after.params['bias_ruler'], uncapped.params['bias_ruler'])
        assert differ(after.params['encoder'], uncapped.params['encoder'])

    def test_ramp(self):
        objective = build('clgr', steps=10, ramp=0.4, **PLAIN)
        now = start(objective)
        reference = gradient(build('clgr', **PLAIN), 1, now)['encoder']['out']['kernel']
        for step, share in ((0, 0.0), (1, 0.25), (4, 1.0), (9, 1.0)):
            found = gradient(objective, 1, now.replace(step=jnp.asarray(step)))
            np.testing.assert_allclose(
                found['encoder']['out']['kernel'], share * reference, atol=1e-6
            )
        plain = gradient(build('baseline'), 0, now.replace(params=dict(now.params)))
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


class TestWhoCounts:
    """Rows beyond the end of the data, and rows whose value is unknown."""

    @pytest.mark.parametrize('method', ['baseline', 'lntl', 'tabe', 'clgr', 'group_dro'])
    def test_padding_has_no_influence(self, method):
        unlearner = method in ('lntl', 'tabe', 'clgr')
        objective = build(method, **({**PLAIN, 'head_steps': 3} if unlearner else {}))
        batch, other = made_batch(seed=0), made_batch(seed=1)
        valid = jnp.arange(8) < 5
        padded = [
            {k: jnp.concatenate([batch[k][:5], b[k][5:]]) for k in batch} | {'valid': valid}
            for b in (batch, other)
        ]
        now = start(objective)
        first, second = (advance(objective, now, b)[1] for b in padded)
        assert_same(first, second)
        short = advance(objective, now, {k: v[:5] for k, v in batch.items()})[1]
        jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-6), first, short)
        assert differ(first.params['encoder'], now.params['encoder'])

    @pytest.mark.parametrize('method', ['lntl', 'tabe', 'clgr'])
    def test_unknown_values_have_no_influence_on_phase_bias(self, method):
        objective = only(build(method, compat=('help_head',), **PLAIN), 'bias')
        batch, unknown = made_batch(), jnp.arange(8) >= 5
        batch['ruler'] = jnp.where(unknown, -1, batch['ruler'])
        elsewhere = {**batch, 'image': batch['image'].at[5:].set(7), 'label': 1 - batch['label']}
        without = {**batch, 'valid': ~unknown}
        now = start(objective)
        first, second, third = (advance(objective, now, b)[1] for b in (batch, elsewhere, without))
        assert_same(first, second)
        assert_same(first, third)
        assert differ(first.params['encoder'], now.params['encoder'])
        assert differ(first.params['bias_ruler'], now.params['bias_ruler'])

    @pytest.mark.parametrize('fields', [PLAIN, {'head_steps': 1}])
    def test_nothing_moves_if_all_values_are_unknown(self, fields):
        objective = only(build('clgr', momentum=0.9, **fields), 'bias')
        before, after = advance(objective, batch={**made_batch(), 'ruler': jnp.full(8, -1)})
        assert_same(before.params, after.params)

    def test_classes_that_cannot_be_unlearned_are_left_out(self):
        data = made_data((0, 0, 0, 1, 1, 1), ruler=(0, 1, 1, 0, 0, 0))
        objective = build('clgr', data, conditional=True, **PLAIN)
        batch = made_batch()
        elsewhere = {**batch, 'ruler': jnp.where(batch['label'] == 1, 0, batch['ruler'])}
        now = start(objective)
        assert now.params['bias_ruler']['out']['kernel'].shape == (4, 4)
        for phase in (0, 1):
            first, second = (gradient(objective, phase, now, b) for b in (batch, elsewhere))
            assert_same(first, second)
            head = np.asarray(first['bias_ruler']['out']['kernel'])
            assert (head[:, 2:] == 0).all()
            assert (head[:, :2] != 0).any()


class TestClassWeights:
    @pytest.mark.parametrize(
        ('counts', 'weights', 'places'),
        [
            ((34382, 523), (0.014984, 0.985016), 6),
            ((29997, 4908), (0.140610, 0.859390), 6),
            (
                (2649, 7534, 674, 1483, 729, 3411, 14278, 4147),
                (0.0813, 0.0286, 0.3195, 0.1452, 0.2954, 0.0631, 0.0151, 0.0519),
                4,
            ),
        ],
    )
    def test_published_counts(self, counts, weights, places):
        values = np.repeat(np.arange(len(counts)), counts)
        train = made_records(np.zeros(len(values)), {'ruler': values})
        found = unlearning.class_weights(train, 'ruler', len(counts))
        np.testing.assert_allclose(found, [weights], atol=0.5 * 10**-places)
        flat = unlearning.class_weights(train, 'ruler', len(counts), weighted=False)
        np.testing.assert_allclose(flat, np.full((1, len(counts)), 1 / len(counts)))

    def test_unknown_and_absent_values(self):
        train = made_records([0] * 6, {'camera': [-1, -1, 0, 2, 2, 2]})
        found = unlearning.class_weights(train, 'camera', 3)
        np.testing.assert_allclose(found, [[0.75, 0.0, 0.25]])

    def test_conditional_on_the_class(self):
        labels, ruler = [0, 0, 0, 1, 1, 1, 1, 2, 2], [0, 1, 1, 0, 0, 0, 1, 1, 1]
        found = unlearning.class_weights(made_records(labels, {'ruler': ruler}), 'ruler', 2, 3)
        want = np.array([[1, 1 / 2], [1 / 3, 1], [0, 0]])
        np.testing.assert_allclose(found, want / want.sum())


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


class TestGroupDro:
    def test_weights_move_to_the_worst_group_and_stay_normalised(self):
        objective = build('group_dro', eta=0.5, rate=1e-6)
        batch = made_batch()
        now = start(objective)
        losses = np.asarray(
            objective.phases[0]
            .loss(
                {'params': now.params, **now.model},
                batch,
                Moment(jax.random.split(KEY, 8), now.step),
            )
            .losses['main']
            .values
        )
        group = np.asarray(batch['label'] * 2 + batch['ruler'])
        q = np.full(4, 0.25)
        for _ in range(3):
            now = advance(objective, now, batch)[1]
            for g in set(group):
                q[g] *= np.exp(0.5 * losses[group == g].mean())
            q /= q.sum()
        found = np.asarray(now.model['objective']['group_weights'])
        np.testing.assert_allclose(found, q, rtol=1e-4)
        means = {g: losses[group == g].mean() for g in set(group)}
        assert found.argmax() == max(means, key=lambda g: means[g])
        assert found.sum() == pytest.approx(1, abs=1e-6)

    def test_cells_without_rows_keep_weight_zero(self):
        objective = build('group_dro', made_data(ruler=(0, 0, 0, 0, 1, 1)))
        _, after = advance(objective)
        assert float(after.model['objective']['group_weights'][1]) == 0

    def test_unknown_values_have_no_influence(self):
        objective = build('group_dro')
        batch = {**made_batch(), 'ruler': jnp.asarray([0, 1, 0, 1, 1, -1, -1, -1])}
        other = {**batch, 'image': batch['image'].at[5:].set(7)}
        now = start(objective)
        assert_same(advance(objective, now, batch)[1], advance(objective, now, other)[1])


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


class TestLinearToy:
    """Class and bias both linearly readable from the pixels."""

    @staticmethod
    def draw(n, seed) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        label, ruler = rng.integers(0, 2, (2, n)).astype(np.int32)
        image = rng.normal(128, 20, (n, 2, 2, 3))
        image[:, 0] += 12 * (2 * label - 1)[:, None, None]
        image[:, 1] += 30 * (2 * ruler - 1)[:, None, None]
        image = np.clip(image, 0, 255).astype(np.uint8)
        return {'image': image, 'label': label, 'ruler': ruler, 'valid': np.ones(n, bool)}

    def outcome(self, method, **fields):
        """(AUC of the class, AUC of a fresh linear probe for the bias) on new rows."""
        rows, rng = self.draw(2000, 0), np.random.default_rng(1)
        data = made_data(rows['label'], rows['ruler'], rows['ruler'])
        objective = build(method, data, rate=0.01, **fields)
        step, now = make_step(objective), start(objective)
        order = np.concatenate([rng.permutation(2000) for _ in range(8)]).reshape(-1, 40)
        batches = {name: jnp.asarray(values[order]) for name, values in rows.items()}
        run = jax.jit(lambda now, xs: jax.lax.scan(lambda s, b: step(s, b, KEY), now, xs)[0])
        now, rows = run(now, batches), self.draw(2000, 1)
        out = objective.predict(now.variables(), jnp.asarray(rows['image']))
        features, ruler = np.asarray(out['features']), rows['ruler']
        features = (features - features.mean(0)) / features.std(0)
        probe = LogisticRegression(C=100.0).fit(features[:1000], ruler[:1000])
        leak = roc_auc_score(ruler[1000:], probe.decision_function(features[1000:]))
        return roc_auc_score(rows['label'], np.asarray(out['logits'])[:, 0]), leak

    def test_a_fresh_probe_finds_the_bias_without_unlearning(self):
        assert min(self.outcome('baseline')) > 0.95

    def test_clgr_leaves_the_class_and_removes_the_bias(self):
        # The head has to be faster than the encoder, which else overshoots to the other side.
        auc, leak = self.outcome('clgr', confusion=0.1, reversal=0.1, learning_rate=1.0)
        assert auc > 0.95
        assert leak < 0.65
