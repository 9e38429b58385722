"""Weighted classification: how much each training image counts, by its class and by its loss.

Rare classes count more, or easy images first, or hard images alone, under cross-entropy or the
focal loss: C. Barata's comparison on ISIC 2018, and what the long-tailed literature adds to it.
`schemes.py` has their names and options, `rule.py` the weights, `losses.py` the focal loss, and
`history.py` keeps what each image has counted. Predictions are the plain logits.
"""

import functools
from typing import Any

from jax import lax

from skinjax.data.records import DataSet
from skinjax.engine.objective import Objective, Output, Phase
from skinjax.objectives import history, losses, network, rule, schemes

DEFAULTS: dict[str, Any] = {
    **schemes.DEFAULTS,
    'weights': 'cb',  # see schemes.py; '' for none
    'label_smoothing': 0.0,
    'loss': 'ce',  # ce | focal
    'gamma': 2.0,  # of the focal loss
}


def build(config: Any, data: DataSet, steps: int) -> Objective:
    """The weighted loss of the main head, updating encoder and head.

    Raises:
        ValueError: as `rule.Rule`; a gamma without the focal loss.
    """
    net, counted = network.create(config, data), rule.Rule(config, data, steps)
    if config.objective.loss == 'ce' and config.objective.gamma != DEFAULTS['gamma']:
        raise ValueError(
            f'config.objective.gamma is {config.objective.gamma}, which acts with '
            "config.objective.loss='focal' alone, and that is 'ce'"
        )

    def loss(variables, batch, moment):
        features, state = net.encode(variables, batch['image'], moment)
        logits = losses.class_logits(net.classify(variables, features, moment))
        values, ranks = counted.losses(logits, batch['label'])
        own, kept, decided = counted.weigh(batch, ranks, moment, variables[history.NAME])
        main = counted.reduce(values, own, kept, batch)
        found = history.sums(
            batch,
            weights=own * kept,
            losses=ranks,
            decided=decided,
            kept=kept,
            total=lax.stop_gradient(main.weights.sum()),
            rows=counted.rows,
        )
        # What `update` replaces is left out: the engine takes the mean of the rest over devices.
        state = {name: value for name, value in state.items() if name != history.NAME}
        return Output({'main': main, **counted.shown(own, kept, batch)}, state, sums=found)

    return net.objective(
        {'main': net.main_optimizer(steps)},
        (Phase('main', loss, {'main': network.MAIN_GROUPS}, update=history.update),),
        {history.NAME: history.empty(counted.rows)},
        functools.partial(history.findings, data),
    )
