"""CLGR: confusion loss and gradient reversal (Bevan & Atapour-Abarghouei 2022)."""

from typing import Any

from skinjax.data.records import DataSet
from skinjax.engine.objective import Objective
from skinjax.objectives import unlearning

DEFAULTS = {
    **unlearning.COMMON,
    **unlearning.HEAD,
    'bias': 'ruler',
    'confusion': 0.1,
    'reversal': 1.0,
}
PAPER = {**unlearning.PAPER, 'confusion': 0.03, 'reversal': 0.1}


def build(config: Any, data: DataSet, steps: int) -> Objective:
    """One head that is confused in phase main and reversed in phase bias."""
    return unlearning.assemble(config, data, steps, {config.objective.bias: config.objective})
