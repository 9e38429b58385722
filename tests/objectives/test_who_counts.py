"""Rows that must not count: padding, unknown values, classes without variation; class weights."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax.objectives import unlearning
from tests.objectives.made import (
    PLAIN,
    advance,
    assert_same,
    build,
    differ,
    gradient,
    made_batch,
    made_data,
    made_records,
    only,
    start,
)


class TestWhoCounts:
    """Rows beyond the end of the data, and rows whose value is unknown."""

    @pytest.mark.parametrize(
        'method',
        ['baseline', 'lntl', 'tabe', 'clgr', 'group_dro', 'weighting', 'hierarchical'],
    )
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
