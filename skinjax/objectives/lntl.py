"""LNTL: learning not to learn, by entropy and gradient reversal (Kim et al. 2019)."""

from typing import Any

from skinjax.data.records import DataSet
from skinjax.engine.objective import Objective
from skinjax.objectives import unlearning

DEFAULTS = {
    **unlearning.COMMON,
    **unlearning.HEAD,
    'bias': 'ruler',
    'entropy': 0.1,
    'reversal': 1.0,
}
PAPER = {**unlearning.PAPER, 'entropy': 0.01, 'reversal': 0.1, 'learning_rate': 3e-4}


def build(config: Any, data: DataSet, steps: int) -> Objective:
    """One head whose entropy is raised in phase main and that is reversed in phase bias."""
    return unlearning.assemble(config, data, steps, {config.objective.bias: config.objective})
