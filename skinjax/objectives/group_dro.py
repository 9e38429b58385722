"""GroupDRO: minimise the worst group's loss (Sagawa et al. 2020), a comparator.

Groups are the cells class x bias value. Group weights q_g live in the training state and are
multiplied by exp(eta * mean loss of g) after every batch. An example weighs q_g / pi_g, where
pi_g is its group's share of the training rows, in a weighted mean over the batch: a self-normalised
estimate of sum_g q_g E[loss | g] that needs no group to be in every batch.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from skinjax.data.records import DataSet
from skinjax.engine.objective import Loss, Objective, Output, Phase
from skinjax.objectives import network

DEFAULTS = {
    'label_smoothing': 0.0,
    'bias': 'ruler',
    'eta': 0.01,  # step size of the group weights
    'adjustment': 0.0,  # adds adjustment / sqrt(n_g) to the loss of each group
}


def build(config: Any, data: DataSet, steps: int) -> Objective:
    """Cross-entropy under group weights that follow the worst group.

    Rows whose bias value is unknown belong to no group and are not trained on.

    Raises:
        ValueError: the data set does not have the bias variable, or batches are drawn by group.
    """
    net = network.create(config, data)
    if config.data.sampling == 'group':
        raise ValueError(
            "group_dro weights groups by itself: set config.data.sampling to 'uniform'"
        )
    name, train = config.objective.bias, data.splits['train']
    if name not in data.bias:
        raise network.unknown_bias(name, data)
    values = len(data.bias[name])
    known = train.bias[name] >= 0
    cells = train.labels[known] * values + train.bias[name][known]
    counts = np.bincount(cells, minlength=len(data.classes) * values).astype(np.float32)
    present = jnp.asarray(counts > 0, jnp.float32)
    share = jnp.asarray(np.maximum(counts / counts.sum(), 1e-12))
    margin = config.objective.adjustment / jnp.sqrt(jnp.maximum(jnp.asarray(counts), 1))

    def loss(variables, batch, moment):
        features, state = net.encode(variables, batch['image'], moment)
        main = net.main_loss(variables, features, batch, moment)
        known = jnp.where(batch[name] >= 0, main.weights, 0.0)
        group = jnp.maximum(batch['label'], 0) * values + jnp.maximum(batch[name], 0)
        weights = (variables['objective']['group_weights'] / share)[group] * known
        sums = {
            'loss': jnp.zeros(len(counts)).at[group].add(known * main.values),
            'count': jnp.zeros(len(counts)).at[group].add(known),
        }
        return Output({'main': Loss(main.values, weights)}, state, sums=sums)

    def update(state, sums):
        mean = sums['loss'] / jnp.maximum(sums['count'], 1)
        grow = jnp.where(sums['count'] > 0, mean + margin, 0.0)
        weights = state['objective']['group_weights'] * jnp.exp(config.objective.eta * grow)
        return {**state, 'objective': {'group_weights': weights / weights.sum()}}

    return net.objective(
        {'main': net.main_optimizer(steps)},
        (Phase('main', loss, {'main': network.MAIN_GROUPS}, update=update),),
        {'objective': {'group_weights': present / present.sum()}},
    )
