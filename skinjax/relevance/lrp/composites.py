"""Composites: which rule of relevance propagation acts on which layer.

    epsilon                      epsilon everywhere
    epsilon_plus                 convolutions z+, dense layers epsilon
    epsilon_plus_flat            the same, the first layer flat
    epsilon_gamma_box            convolutions gamma, dense layers epsilon, the first layer z-box
    epsilon_alpha2_beta1         convolutions alpha-beta (with alpha = 2), dense layers epsilon
    epsilon_alpha2_beta1_flat    the same, the first layer flat
    deep_taylor                  z+ without biases everywhere, the first layer z-box
    deep_taylor_unbounded        the same, the first layer w^2

Those from epsilon_plus to epsilon_alpha2_beta1_flat are zennit's;
deep Taylor decomposition is of Montavon et al. 2017.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from skinjax.models.options import one_of
from skinjax.relevance.lrp import rules
from skinjax.relevance.lrp.rules import Rule

KINDS = ('conv', 'dense', 'first')
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
NUMBERS: dict[str, Any] = {  # options of rules
    'epsilon': 1e-6,  # of rule epsilon
    'relative_epsilon': 0.0,  # times the root mean square of the outputs, added; 0.25 denoises
    'gamma': 0.25,
    'alpha': 2.0,  # beta is alpha - 1
    'stabilizer': 1e-6,  # epsilon of all other rules
}
READ_BY = {
    'epsilon': 'epsilon', 'relative_epsilon': 'epsilon', 'gamma': 'gamma', 'alpha': 'alpha_beta'
}  # fmt: skip
SIGNED = ('zero', 'epsilon', 'gamma')  # rules in which inputs of a negative output speak for it
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
        bounded: `first` reads bounds of the pixels.
        zero_bias: leave biases out of the denominators.
        diagonal: of a batch normalisation that follows no linear layer: pass or epsilon.
        max_pool: winner, first or average.
        stabilizer: epsilon of sums and means.
    """

    conv: Rule
    dense: Rule
    first: Rule | None = None
    bounded: bool = False
    zero_bias: bool = False
    diagonal: str = 'pass'
    max_pool: str = 'winner'
    stabilizer: float = 1e-6


def read(config: Any) -> Composite:
    """The composite of an explainer's section with the fields of lrp.DEFAULTS.

    Raises:
        ValueError: unknown composite, rule or option, alpha below 1, another number below 0, or one
            that no rule of the composite reads.
    """
    for field in ('epsilon', 'relative_epsilon', 'gamma', 'stabilizer'):
        if config[field] < 0:
            raise ValueError(f'config.explainer.{field} is {config[field]}, expected at least 0')
    name, names = config.composite, chosen(config)
    conv, dense, first = (
        RULES[one_of(f'rule {kind}', rule, RULES)](config) if rule else None
        for kind, rule in zip(KINDS, names, strict=True)
    )
    _check_read(config, names)
    assert conv and dense  # every composite names them
    return Composite(
        conv=conv,
        dense=dense,
        first=first,
        bounded=names[2] == 'z_box',
        zero_bias=config.zero_bias or name.startswith('deep_taylor'),
        diagonal=one_of('diagonal', config.diagonal, ('pass', 'epsilon')),
        max_pool=one_of('max_pool', config.max_pool, ('winner', 'first', 'average')),
        stabilizer=config.stabilizer,
    )


def chosen(config: Any) -> list[str]:
    """Names of the rules of convolutions, of dense layers, and of the first layer.

    Raises:
        ValueError: unknown composite.
    """
    own = COMPOSITES[one_of('composite', config.composite, COMPOSITES)]
    return [config[kind] or rule for kind, rule in zip(KINDS, own, strict=True)]


def _check_read(config: Any, names: Sequence[str]) -> None:
    for field, rule in READ_BY.items():
        if config[field] != NUMBERS[field] and rule not in names:
            raise ValueError(
                f'config.explainer.{field} is {config[field]}, but no layer has rule {rule}: '
                f'conv, dense and first are {", ".join(name or "as the others" for name in names)}'
            )
    if 'alpha2' in config.composite and config.alpha != NUMBERS['alpha']:
        raise ValueError(
            f'config.explainer.alpha is {config.alpha}, but composite {config.composite} is with '
            '2: choose composite=epsilon_plus and conv=alpha_beta'
        )
