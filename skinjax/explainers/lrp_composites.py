"""Composites: which rule of relevance propagation acts on which layer.

    epsilon                      epsilon everywhere
    epsilon_plus                 convolutions z+, dense layers epsilon
    epsilon_plus_flat            the same, the first layer flat
    epsilon_gamma_box            convolutions gamma, dense layers epsilon, the first layer z-box
    epsilon_alpha2_beta1         convolutions alpha-beta (with alpha = 2), dense layers epsilon
    epsilon_alpha2_beta1_flat    the same, the first layer flat
    deep_taylor                  z+ without biases everywhere, the first layer z-box
    deep_taylor_unbounded        the same, the first layer w^2

The first four, and those with alpha-beta, are zennit's; deep Taylor decomposition is of Montavon et
al. 2017.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from skinjax.explainers import lrp_rules as rules
from skinjax.explainers.lrp_rules import Rule
from skinjax.models.options import one_of

COMPOSITES = {  # rules of convolutions, of dense layers, and of the first layer ('': as the others)
    'epsilon': ('epsilon', 'epsilon', ''),
    'epsilon_plus': ('z_plus', 'epsilon', ''),
    'epsilon_plus_flat': ('z_plus', 'epsilon', 'flat'),
    'epsilon_gamma_box': ('gamma', 'epsilon', 'z_box'),
    'epsilon_alpha2_beta1': ('alpha_beta', 'epsilon', ''),
    'epsilon_alpha2_beta1_flat': ('alpha_beta', 'epsilon', 'flat'),
    'deep_taylor': ('z_plus', 'z_plus', 'z_box'),
    'deep_taylor_unbounded': ('z_plus', 'z_plus', 'w_square'),
}
RULES: dict[str, Callable[[Any], Rule]] = {
    'zero': lambda c: rules.zero(),
    'epsilon': lambda c: rules.epsilon(c.epsilon, c.relative_epsilon),
    'gamma': lambda c: rules.gamma(c.gamma, c.stabilizer),
    'alpha_beta': lambda c: rules.alpha_beta(c.alpha, c.stabilizer),
    'z_plus': lambda c: rules.z_plus(c.stabilizer),
    'z_box': lambda c: rules.z_box(c.stabilizer),
    'w_square': lambda c: rules.w_square(c.stabilizer),
    'flat': lambda c: rules.flat(c.stabilizer),
}


@dataclasses.dataclass(frozen=True)
class Composite:
    """A rule for every layer of a network.

    Attributes:
        conv, dense: of these layers.
        first: of the first linear layer; None for that of its kind.
        zero_bias: leave biases out of the denominators.
        diagonal: of a batch normalisation that follows no linear layer: pass or epsilon.
        max_pool: winner, first or average.
        stabilizer: epsilon of sums and means.
    """

    conv: Rule
    dense: Rule
    first: Rule | None = None
    zero_bias: bool = False
    diagonal: str = 'pass'
    max_pool: str = 'winner'
    stabilizer: float = 1e-6


def read(config: Any) -> Composite:
    """The composite of an explainer's section with the fields of lrp.DEFAULTS.

    Raises:
        ValueError: unknown composite, rule or option, alpha below 1, or another number below 0.
    """
    for field in ('epsilon', 'relative_epsilon', 'gamma', 'stabilizer'):
        if config[field] < 0:
            raise ValueError(f'config.explainer.{field} is {config[field]}, expected at least 0')
    name = one_of('composite', config.composite, COMPOSITES)
    kinds = ('conv', 'dense', 'first')
    names = [config[kind] or own for kind, own in zip(kinds, COMPOSITES[name], strict=True)]
    conv, dense, first = (
        RULES[one_of(f'rule {kind}', rule, RULES)](config) if rule else None
        for kind, rule in zip(kinds, names, strict=True)
    )
    assert conv and dense  # every composite names them
    return Composite(
        conv,
        dense,
        first,
        config.zero_bias or name.startswith('deep_taylor'),
        one_of('diagonal', config.diagonal, ('pass', 'epsilon')),
        one_of('max_pool', config.max_pool, ('winner', 'first', 'average')),
        config.stabilizer,
    )
