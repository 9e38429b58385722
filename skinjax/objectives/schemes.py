"""What `config.objective.weights` can name, and the options of what it names.

It is '' or names joined by +, at most one of each kind:

    cb, es                                    class weights, see `weights.py`
    spl, ohem                                 curricula, see `curricula.py`
    logit_adjustment, balanced_softmax, ldam  what class counts change in the logits of training:
        logit_adjustment   z_c + tau log(N_c / N) (Menon et al. 2021, eq. 10)
        balanced_softmax   the same with tau = 1 (Ren et al. 2020, eq. 4)
        ldam               z_y less a margin of C N_y^(-1/4) for the true class y (Cao et al. 2019)
    ldam_drw                                  ldam+cb whose class weights begin after 80 % of the
                                              steps, or after `defer` (ibid., algorithm 1)
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from skinjax.data.records import choices
from skinjax.objectives import weights
from skinjax.objectives.weights import AUTO

CURRICULA = ('spl', 'ohem')
LOGITS = ('logit_adjustment', 'balanced_softmax', 'ldam')
DEFAULTS: dict[str, Any] = {
    'weights': '',  # names joined as cb+ohem
    'beta': AUTO,  # of es; -1: (N - 1) / N
    # Scale of cb and es: their mean over the batch is 1 (published), or over the rows of the
    # training set ('dataset'), or over the classes ('classes'); or 'none'.
    'normalize': 'batch_mean',
    'defer': 0.0,  # share of the steps before cb and es begin; 0 with ldam_drw: 0.8
    # sum(w l) is divided by sum(w), or by the number of examples ('batch': published; with spl and
    # ohem it shortens the step); 'auto' is 'weights' with spl and ohem, else 'batch'.
    'reduce': 'auto',
    'rank_by': 'loss',  # spl and ohem rank by what is minimised, or by the plain 'ce'
    'scope': 'batch',  # among the batch, or 'epoch': by the loss of each row's last visit
    'stratified': False,  # fractions of each class, so that spl starves none
    'spl': {
        'first': 0.5,  # fraction that counts in the beginning,
        'last': 1.0,  # and at the end of
        'over': 0.6,  # this share of the steps
        'warmup': 0.0,  # epochs in which all count
        'threshold': AUTO,  # instead: the loss below which an example counts; -1: none
    },
    'ohem': {
        'first': 0.5,
        'last': 0.5,
        'over': 0.0,
        'warmup': 1.0,
        'threshold': AUTO,  # instead: the loss above which an example counts; -1: none
        'drop_top': 0.0,  # fraction of the hardest that never counts: wrong labels
    },
    'tau': 1.0,  # of logit_adjustment
    'max_margin': 0.5,  # of ldam, for the rarest class
}


@dataclasses.dataclass(frozen=True)
class Scheme:
    """What `config.objective.weights` names; '' where it names none of a kind.

    Attributes:
        classes: weights of classes: cb or es.
        curriculum: spl or ohem.
        logits: one of LOGITS.
        deferred: the class weights begin late in the run.
    """

    classes: str = ''
    curriculum: str = ''
    logits: str = ''
    deferred: bool = False


_NAMED = {
    **{name: Scheme(classes=name) for name in weights.CLASS_WEIGHTS},
    **{name: Scheme(curriculum=name) for name in CURRICULA},
    **{name: Scheme(logits=name) for name in LOGITS},
    'ldam_drw': Scheme(classes='cb', logits='ldam', deferred=True),
}
SCHEMES = tuple(_NAMED)


def parse(scheme: str) -> Scheme:
    """What a scheme such as 'cb', 'ohem', 'cb+ohem' or 'ldam_drw' names; '' is none.

    Raises:
        ValueError: an unknown name, or two of a kind.
    """
    found = Scheme()
    names = scheme.split('+') if scheme else []
    for k, name in enumerate(names):
        if name not in _NAMED:
            raise ValueError(
                f'config.objective.weights is {scheme!r}: {name!r} is none of '
                f"{', '.join(SCHEMES)}; join several by +, or leave it ''"
            )
        given = {kind: value for kind, value in vars(_NAMED[name]).items() if value}
        for other in names[:k]:
            if {*given} & {kind for kind, value in vars(_NAMED[other]).items() if value}:
                raise ValueError(
                    f'config.objective.weights is {scheme!r}: {other} and {name} exclude each other'
                )
        found = dataclasses.replace(found, **given)
    return found


_CHOICES = {
    'loss': ('ce', 'focal'),
    'normalize': weights.NORMALIZE,
    'reduce': ('auto', 'weights', 'batch'),
    'rank_by': ('loss', 'ce'),
    'scope': ('batch', 'epoch'),
}
_Range = tuple[Callable[[float], bool], str]
_POSITIVE: _Range = (lambda x: 0 < x < math.inf, 'a number above 0')
_AT_LEAST_0: _Range = (lambda x: 0 <= x < math.inf, 'at least 0')
_FRACTION: _Range = (lambda x: 0 < x <= 1, 'a fraction: above 0, at most 1')
_SHARE: _Range = (lambda x: 0 <= x <= 1, 'a share: 0 to 1')
_PART: _Range = (lambda x: 0 <= x < 1, 'a share: 0 to below 1')


def _or_auto(given: _Range) -> _Range:
    return (lambda x: x == AUTO or given[0](x)), f'{AUTO:g} or {given[1]}'


_CURRICULUM = {'first': _FRACTION, 'last': _FRACTION, 'over': _SHARE, 'warmup': _AT_LEAST_0}
_RANGES: dict[str, _Range] = {
    'beta': _or_auto(_PART),
    'defer': _PART,
    'gamma': _AT_LEAST_0,
    'tau': _AT_LEAST_0,
    'max_margin': _AT_LEAST_0,
    **{f'{name}.{field}': r for name in CURRICULA for field, r in _CURRICULUM.items()},
    'spl.threshold': _or_auto(_POSITIVE),  # below 0 there is no loss
    'ohem.threshold': _or_auto(_AT_LEAST_0),
    'ohem.drop_top': _PART,
}


# Which schemes must be there for an option to act.
_ONLY_WITH: dict[str, tuple[str, ...]] = {
    'beta': ('es',),
    'defer': weights.CLASS_WEIGHTS,
    **dict.fromkeys(('rank_by', 'scope', 'stratified'), CURRICULA),
    **{name: (name,) for name in CURRICULA},
    'tau': ('logit_adjustment',),
    'max_margin': ('ldam',),
}


def check(options: Any) -> None:
    """Raise ValueError for an option out of range, or one that has been set and would do nothing.

    `loss` and `gamma` may be missing.
    """
    for name, known in _CHOICES.items():
        if (found := options.get(name, known[0])) not in known:
            raise ValueError(f'config.objective.{name} is {found!r}; {choices(found, known)}')
    for name, (fits, wanted) in _RANGES.items():
        found = _at(options, name)
        if found is not None and not fits(found):
            raise ValueError(f'config.objective.{name} is {found}: expected {wanted}')
    there = vars(parse(options.weights)).values()
    for name, schemes in _ONLY_WITH.items():
        changed = [field for field in _fields(name) if _at(options, field) != _at(DEFAULTS, field)]
        if changed and not {*schemes} & {*there}:
            raise ValueError(
                f'config.objective.{changed[0]} is {_at(options, changed[0])!r}, which acts with '
                f'{" or ".join(schemes)} alone, but config.objective.weights is {options.weights!r}'
            )
    for name in {*CURRICULA} & {*there}:
        if options.stratified and (found := options[name].threshold) != AUTO:
            raise ValueError(
                f'config.objective.{name}.threshold is {found}: it is the same for all classes, '
                'and nothing is left to config.objective.stratified'
            )


def _fields(name: str) -> list[str]:
    """A field of DEFAULTS, or the fields of a section: 'spl.first', ..."""
    found = DEFAULTS[name]
    return [f'{name}.{leaf}' for leaf in found] if isinstance(found, dict) else [name]


def _at(options: Any, name: str) -> Any:
    section, _, leaf = name.rpartition('.')
    return (options[section] if section else options).get(leaf)
