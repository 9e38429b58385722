"""Plain classification: one phase, one optimizer.

With `data.sampling = 'group'` it is the resampling comparator: batches are drawn with equal
shares from every non-empty cell of class x bias value.
"""

from typing import Any

from skinjax.data.records import DataSet
from skinjax.engine.objective import Objective, Output, Phase
from skinjax.objectives import network

DEFAULTS = {'label_smoothing': 0.0}


def build(config: Any, data: DataSet, steps: int) -> Objective:
    """Cross-entropy of the main head, updating encoder and head."""
    net = network.create(config, data)

    def loss(variables, batch, moment):
        features, state = net.encode(variables, batch['image'], moment)
        return Output({'main': net.main_loss(variables, features, batch, moment)}, state)

    return net.objective(
        {'main': net.main_optimizer(steps)},
        (Phase('main', loss, {'main': network.MAIN_GROUPS}),),
    )
