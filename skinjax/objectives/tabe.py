"""TABE: turning a blind eye, by a confusion loss (Alvi et al. 2018)."""

from typing import Any

from skinjax.data.records import DataSet
from skinjax.engine.objective import Objective
from skinjax.objectives import unlearning

DEFAULTS = {
    **unlearning.COMMON,
    **unlearning.HEAD,
    'bias': 'ruler',
    'confusion': 0.3,
    'reversal': 0.0,
}
PAPER = {**unlearning.PAPER, 'confusion': 0.03, 'reversal': 0.0}


def build(config: Any, data: DataSet, steps: int) -> Objective:
    """One head that is confused in phase main; its own loss does not reach the encoder."""
    return unlearning.assemble(config, data, steps, {config.objective.bias: config.objective})
