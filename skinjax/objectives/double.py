"""Double heads: two bias variables unlearned at once, each by its own method.

The paper pairs LNTL+LNTL, TABE+TABE, CLGR+CLGR, LNTL+TABE and LNTL+CLGR; any pair works, and the
strengths of each head can be set by hand. The terms of both heads are added in both phases.
"""

from typing import Any

from skinjax import config as configs
from skinjax.data.records import DataSet
from skinjax.engine.objective import Objective
from skinjax.objectives import unlearning

METHODS = ('lntl', 'tabe', 'clgr')
STRENGTHS = ('entropy', 'confusion', 'reversal')
AUTO = -1.0
_HEAD = {**unlearning.HEAD, **dict.fromkeys(STRENGTHS, AUTO)}
DEFAULTS = {
    **unlearning.COMMON,
    'first': {**_HEAD, 'bias': 'ruler', 'method': 'clgr'},
    'second': {**_HEAD, 'bias': 'camera', 'method': 'clgr'},
}


def build(config: Any, data: DataSet, steps: int) -> Objective:
    """Both heads; a strength of -1 takes the default of the head's method.

    Raises:
        ValueError: both heads name the same bias variable, or a method is unknown.
    """
    heads = {}
    for which in ('first', 'second'):
        head = config.objective[which].copy_and_resolve_references()
        if head.method not in METHODS:
            raise ValueError(
                f'objective.{which}.method is {head.method!r}: choose one of {", ".join(METHODS)}'
            )
        method = configs.find('objectives', head.method)
        for name in STRENGTHS:
            if head[name] == AUTO:
                head[name] = method.DEFAULTS[name]
        if head.bias in heads:
            raise ValueError(
                f'objective.first.bias and objective.second.bias are both {head.bias!r}: '
                'a double head needs two bias variables'
            )
        heads[head.bias] = head
    return unlearning.assemble(config, data, steps, heads)
