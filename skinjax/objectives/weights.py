"""How much an example counts: by the frequency of its class, and by its loss.

    cb     N / N_y, the inverse frequency
    es     1 / E_y with the effective number E_c = (1 - beta^N_c) / (1 - beta), beta = (N - 1) / N
           (Cui et al. 2019, eq. 2)
    spl    self-paced: the easiest count, 1 for loss < lambda (Kumar et al. 2010)
    ohem   online hard examples: the hardest count, 1 for loss > lambda (Shrivastava et al. 2016)

N_c are the training images of class c and N their sum. SPL minimises mean(w l) - lambda mean(w)
over w in [0, 1]; OHEM maximises it. (Barata's slides print OHEM as the minimum of mean(w l) +
lambda mean(w), which is w = 0 for every positive loss.)

`lambda` is a number, or follows from the fraction that is to count. Weights are constants to the
gradient.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from skinjax.data.records import choices

CLASS_WEIGHTS = ('cb', 'es')
CURRICULA = ('spl', 'ohem')
LOGITS = ('logit_adjustment', 'balanced_softmax', 'ldam')
NORMALIZE = ('batch_mean', 'dataset', 'classes', 'none')
AUTO = -1.0  # of beta: that of the data; of a threshold: that of the fraction
_ROUNDING = 1e-3  # of examples: 0.7 * 10 must not be more than 7


def class_counts(
    labels: Int[np.ndarray, ' n'], classes: Sequence[str], needs: str = ''
) -> Int[np.ndarray, ' c']:
    """Rows of each class; labels below 0 are of none.

    Raises:
        ValueError: classes without rows, where a scheme `needs` them.
    """
    counts = np.bincount(labels[labels >= 0], minlength=len(classes))
    absent = [name for name, count in zip(classes, counts, strict=True) if not count]
    if absent and needs:
        raise ValueError(
            f'{needs} needs training images of every class, and {", ".join(absent)} has none: '
            'leave the class out of the data, or choose what does not count images'
        )
    return counts


def inverse_frequency(counts: Int[np.ndarray, ' c']) -> Float[np.ndarray, ' c']:
    """N / N_c."""
    return counts.sum() / counts


def inverse_effective(counts: Int[np.ndarray, ' c'], beta: float = AUTO) -> Float[np.ndarray, ' c']:
    """1 / E_c with `beta`, or with (N - 1) / N where it is AUTO; all 1 with 0.

    In float64 on the host, and without the difference 1 - beta^n, which would lose the digits.
    """
    rest = 1 / counts.sum() if beta == AUTO else 1 - beta
    if rest == 1:
        return np.ones(len(counts))
    return rest / -np.expm1(counts * np.log1p(-rest))


def class_table(
    counts: Int[np.ndarray, ' c'], name: str = '', normalize: str = 'none', beta: float = AUTO
) -> Float[np.ndarray, ' c']:
    """The weight of each class by scheme `name`; 1 for all where it is ''.

    `normalize` scales them so that the weights of all training rows sum to their number
    ('dataset'), or the table to the number of classes ('classes', Cui et al.). 'batch_mean'
    divides by a mean that only a batch knows: it is left to the loss.

    Raises:
        ValueError: an unknown name; a class without rows, where they count.
    """
    schemes = {
        '': lambda: np.ones(len(counts)),
        'cb': lambda: inverse_frequency(counts),
        'es': lambda: inverse_effective(counts, beta),
    }
    if name not in schemes:
        raise ValueError(f'class weights {name!r}; {choices(name, schemes)}')
    if name and not counts.all():
        raise ValueError(f'class weights {name!r} need rows of every class, found {counts}')
    found = schemes[name]()
    if normalize == 'dataset':
        found = found * counts.sum() / (counts * found).sum()
    if normalize == 'classes':
        found = found * len(counts) / found.sum()
    return found


def margins(counts: Int[np.ndarray, ' c'], largest: float) -> Float[np.ndarray, ' c']:
    """C / N_c^(1/4), the rarest class having `largest` (Cao et al. 2019, eq. 13)."""
    return largest * (counts.min() / counts) ** 0.25


def whole(share: float, size: int) -> int:
    """The whole examples in a share of them."""
    return int(share * size + _ROUNDING)


@dataclasses.dataclass(frozen=True)
class Pool:
    """The examples among which others are ranked: a batch, or the rows of the training set.

    Attributes:
        losses: [m] of each.
        labels: [m] class of each.
        known: [m] whether it is ranked at all: a real row, one that has been visited.
    """

    losses: Float[Array, ' m']
    labels: Int[Array, ' m']
    known: Bool[Array, ' m']


@dataclasses.dataclass(frozen=True)
class Curriculum:
    """SPL or OHEM: which examples count at a step, by their losses.

    Attributes:
        hard: the hardest count (OHEM), not the easiest (SPL).
        first: fraction that counts in the beginning, after the warm-up.
        last: fraction that counts in the end.
        over: steps from the first to the last fraction, on a straight line.
        warmup: steps in which all count.
        threshold: lambda; AUTO: that of the fraction.
        drop_top: fraction of the hardest, of whatever class, that never counts under OHEM: wrong
            labels are among them.
        stratified: `first` and `last` are fractions of each class by itself, so that none is left
            out.
    """

    hard: bool
    first: float
    last: float
    over: int = 0
    warmup: int = 0
    threshold: float = AUTO
    drop_top: float = 0.0
    stratified: bool = False

    def fraction(self, step: Int[Array, '']) -> Float[Array, '']:
        """The share of the examples that counts at a step after the warm-up."""
        passed = jnp.asarray(step - self.warmup, jnp.float32) / max(self.over, 1)
        return self.first + (self.last - self.first) * jnp.clip(passed, 0.0, 1.0)

    def selects(self, step: Int[Array, '']) -> Bool[Array, '']:
        """Whether it takes less than everybody at a step."""
        always = self.threshold != AUTO or self.drop_top > 0
        return (step >= self.warmup) & (always | (self.fraction(step) < 1 - _ROUNDING))

    def choose(
        self,
        losses: Float[Array, ' b'],
        labels: Int[Array, ' b'],
        valid: Bool[Array, ' b'],
        step: Int[Array, ''],
        pool: Pool | None = None,
        rows: Int[Array, ' b'] | None = None,
    ) -> Bool[Array, ' b']:
        """Which rows of a batch count.

        First the hardest `drop_top` are left out. Of n peers (those of its class, when stratified)
        ceil(fraction * n) of the others count; equal losses are ordered by their place. A loss of
        exactly `threshold` does not count. Where none would, the first easiest (SPL) or hardest
        (OHEM) of the batch that is not left out does.

        Args:
            losses: [b] that rank the batch.
            labels: [b] class of each.
            valid: [b] false for padding, which never counts and is nobody's peer.
            step: batches seen before this one.
            pool: the training set, where ranks are of it; the batch by itself else.
            rows: [b] where in the pool, if there is one, each example stands; one that the pool
                does not know yet is taken.
        """
        losses = lax.stop_gradient(losses)
        if pool is None or rows is None:  # the rows of a batch stand where they are
            pool, rows = Pool(losses, labels, valid), jnp.arange(len(losses))
        sign = -1.0 if self.hard else 1.0
        place = _places(sign * pool.losses, pool.known)
        size = pool.known.sum(dtype=jnp.float32)
        dropped = place < jnp.floor(self.drop_top * size + _ROUNDING).astype(place.dtype)
        score, allowed = sign * pool.losses[rows], valid & ~dropped[rows]
        if self.threshold == AUTO:
            peers = jnp.broadcast_to(pool.known[None], (len(losses), len(place)))
            if self.stratified:
                peers &= pool.labels[None] == labels[:, None]
            before = peers & ~dropped[None] & (place[None] < place[rows][:, None])
            number = jnp.ceil(self.fraction(step) * peers.sum(1, dtype=jnp.float32) - _ROUNDING)
            chosen = before.sum(1, dtype=jnp.float32) < jnp.maximum(number, 1.0)
        else:
            chosen = score < sign * self.threshold
        kept = allowed & (chosen | ~pool.known[rows])
        nearest = jnp.arange(len(losses)) == jnp.argmin(jnp.where(allowed, score, jnp.inf))
        kept = jnp.where(kept.any(), kept, allowed & nearest)
        return jnp.where(step < self.warmup, valid, kept)


def _places(scores: Float[Array, ' m'], known: Bool[Array, ' m']) -> Int[Array, ' m']:
    """How many come before each, by score and then by place; the unknown after all."""
    order = jnp.lexsort((scores, ~known))
    return jnp.zeros(len(order), order.dtype).at[order].set(jnp.arange(len(order)))


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
    **{name: Scheme(classes=name) for name in CLASS_WEIGHTS},
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
                f'{", ".join(SCHEMES)}; join several by +, or give none'
            )
        given = {kind: value for kind, value in vars(_NAMED[name]).items() if value}
        for other in names[:k]:
            if {*given} & {kind for kind, value in vars(_NAMED[other]).items() if value}:
                raise ValueError(
                    f'config.objective.weights is {scheme!r}: {other} and {name} exclude each other'
                )
        found = dataclasses.replace(found, **given)
    return found


def curriculum(
    name: str, options: Any, steps: int, per_epoch: int, *, stratified: bool
) -> Curriculum | None:
    """The curriculum `name` of a run of `steps`, with its options; None without a name."""
    if not name:
        return None
    return Curriculum(
        hard=name == 'ohem',
        first=options.first,
        last=options.last,
        over=round(options.over * steps),
        warmup=round(options.warmup * per_epoch),
        threshold=options.threshold,
        drop_top=options.get('drop_top', 0.0),
        stratified=stratified,
    )
