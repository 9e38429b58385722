"""Group weights follow the worst group."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax.engine.objective import Moment
from tests.objectives.made import KEY, advance, assert_same, build, made_batch, made_data, start


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
        variables = jax.jit(objective.init)(KEY, made_batch())
        weights = variables['objective']['group_weights']
        np.testing.assert_allclose(weights, [1 / 3, 0, 1 / 3, 1 / 3], rtol=1e-6)
        model = {'objective': {'group_weights': weights}}
        _, after = advance(objective, dataclasses.replace(start(objective), model=model))
        assert float(after.model['objective']['group_weights'][1]) == 0

    def test_unknown_values_have_no_influence(self):
        objective = build('group_dro')
        batch = {**made_batch(), 'ruler': jnp.asarray([0, 1, 0, 1, 1, -1, -1, -1])}
        other = {**batch, 'image': batch['image'].at[5:].set(7)}
        now = start(objective)
        assert_same(advance(objective, now, batch)[1], advance(objective, now, other)[1])
