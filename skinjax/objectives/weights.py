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
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

CLASS_WEIGHTS = ('cb', 'es')
CURRICULA = ('spl', 'ohem')
NORMALIZE = ('batch_mean', 'dataset', 'classes', 'none')
_ROUNDING = 1e-3  # of examples: 0.7 * 10 must not be more than 7


def inverse_frequency(counts: Int[np.ndarray, ' c']) -> Float[np.ndarray, ' c']:
    """N / N_c."""
    return counts.sum() / counts


def inverse_effective(counts: Int[np.ndarray, ' c'], beta: float = 0.0) -> Float[np.ndarray, ' c']:
    """1 / E_c with `beta`, or with (N - 1) / N where it is 0.

    In float64 on the host, and without the difference 1 - beta^n, which would lose the digits.
    """
    rest = 1 - beta if beta else 1 / counts.sum()
    return rest / -np.expm1(counts * np.log1p(-rest))


def class_table(
    counts: Int[np.ndarray, ' c'], name: str = '', normalize: str = 'none', beta: float = 0.0
) -> Float[np.ndarray, ' c']:
    """The weight of each class by scheme `name`; 1 for all where it is ''.

    `normalize` scales them so that the weights of all training rows sum to their number
    ('dataset'), or the table to the number of classes ('classes', Cui et al.). 'batch_mean'
    divides by a mean that only a batch knows: it is left to the loss.
    """
    found = np.ones(len(counts))
    if name == 'cb':
        found = inverse_frequency(counts)
    if name == 'es':
        found = inverse_effective(counts, beta)
    if normalize == 'dataset':
        found = found * counts.sum() / (counts * found).sum()
    if normalize == 'classes':
        found = found * len(counts) / found.sum()
    return found


def margins(counts: Int[np.ndarray, ' c'], largest: float) -> Float[np.ndarray, ' c']:
    """C / N_c^(1/4), the rarest class having `largest` (Cao et al. 2019, eq. 12)."""
    return largest * (counts.min() / counts) ** 0.25


@dataclasses.dataclass(frozen=True)
class Pool:
    """The examples among which others are ranked: a batch, or the rows of the training set.

    Attributes:
        losses: [m] of each.
        labels: [m] class of each.
        counts: [m] whether it is there at all: a real row, one that has been visited.
    """

    losses: Float[Array, ' m']
    labels: Int[Array, ' m']
    counts: Bool[Array, ' m']


@dataclasses.dataclass(frozen=True)
class Curriculum:
    """SPL or OHEM: which examples count at a step, by their losses.

    Attributes:
        hard: the hardest count (OHEM), not the easiest (SPL).
        first: fraction that counts in the beginning, after the warm-up.
        last: fraction that counts in the end.
        over: steps from the first to the last fraction, on a straight line.
        warmup: steps in which all count.
        threshold: lambda; 0: that of the fraction.
        drop_top: fraction of the hardest that never counts under OHEM: wrong labels are among
            them.
        stratified: fractions are taken of each class by itself, so that none is left out.
    """

    hard: bool
    first: float
    last: float
    over: int = 0
    warmup: int = 0
    threshold: float = 0.0
    drop_top: float = 0.0
    stratified: bool = False

    def fraction(self, step: Int[Array, '']) -> Float[Array, '']:
        """The share of the examples that counts at a step after the warm-up."""
        passed = jnp.asarray(step - self.warmup, jnp.float32) / max(self.over, 1)
        return self.first + (self.last - self.first) * jnp.clip(passed, 0.0, 1.0)

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

        Of n peers (those of its class, when stratified) ceil(fraction * n) count; equal losses are
        ordered by their place. A loss of exactly `threshold` does not count. Where none would, the
        easiest (SPL) or hardest (OHEM, below `drop_top`) does.

        Args:
            losses: [b] that rank the batch.
            labels: [b] class of each.
            valid: [b] false for padding, which never counts and is nobody's peer.
            step: batches seen before this one.
            pool: the training set, where ranks are of it; the batch by itself else.
            rows: [b] where in the pool each example stands; one that the pool does not count yet
                is taken.
        """
        losses = lax.stop_gradient(losses)
        if pool is None or rows is None:
            pool, rows = Pool(losses, labels, valid), jnp.arange(len(losses))
        sign = -1.0 if self.hard else 1.0
        score = sign * pool.losses[rows]
        rank, size = self._rank(sign * pool.losses, pool, rows, labels)
        dropped = jnp.floor(self.drop_top * size + _ROUNDING)
        allowed = valid & (rank >= dropped)
        if self.threshold:
            chosen = score < sign * self.threshold
        else:
            number = jnp.maximum(jnp.ceil(self.fraction(step) * size - _ROUNDING), 1.0)
            chosen = rank < dropped + number
        kept = allowed & (chosen | ~pool.counts[rows])
        nearest = allowed & (score == jnp.where(allowed, score, jnp.inf).min())
        kept = jnp.where(kept.any(), kept, nearest)
        return jnp.where(step < self.warmup, valid, kept)

    def _rank(
        self,
        scores: Float[Array, ' m'],
        pool: Pool,
        rows: Int[Array, ' b'],
        labels: Int[Array, ' b'],
    ) -> tuple[Float[Array, ' b'], Float[Array, ' b']]:
        """How many peers come before each example, by score and then by place; and all of them."""
        own, place = scores[rows][:, None], jnp.arange(len(scores))[None]
        before = (scores[None] < own) | ((scores[None] == own) & (place < rows[:, None]))
        peers = jnp.broadcast_to(pool.counts[None], before.shape)
        if self.stratified:
            peers &= pool.labels[None] == labels[:, None]
        return (peers & before).sum(1, dtype=jnp.float32), peers.sum(1, dtype=jnp.float32)


def parse(scheme: str) -> tuple[str, str]:
    """(class weights, curriculum) of a scheme such as 'cb', 'ohem' or 'cb+ohem'; '' for none.

    Raises:
        ValueError: an unknown name, or two of a kind.
    """
    names = [name for name in scheme.split('+') if name]
    if unknown := [name for name in names if name not in (*CLASS_WEIGHTS, *CURRICULA)]:
        raise ValueError(
            f'config.objective.weights is {scheme!r}: {unknown[0]!r} is none of '
            f'{", ".join((*CLASS_WEIGHTS, *CURRICULA))}; join two by +, or give none'
        )
    kinds = [[name for name in names if name in kind] for kind in (CLASS_WEIGHTS, CURRICULA)]
    for found in kinds:
        if len(found) > 1:
            raise ValueError(
                f'config.objective.weights is {scheme!r}: {" and ".join(found)} exclude each other'
            )
    return kinds[0][0] if kinds[0] else '', kinds[1][0] if kinds[1] else ''


def curriculum(
    name: str, options: Any, steps: int, per_epoch: int, *, stratified: bool
) -> Curriculum | None:
    """The curriculum `name` of a run of `steps`, with its options; None without a name.

    Raises:
        ValueError: a fraction, or the share of the hardest left out, that is none.
    """
    if not name:
        return None
    drop_top = options.get('drop_top', 0.0)
    for field in ('first', 'last'):
        if not 0 < options[field] <= 1:
            raise ValueError(
                f'config.objective.{name}.{field} is {options[field]}: expected a fraction above 0'
            )
    if not 0 <= drop_top < 1:
        raise ValueError(
            f'config.objective.{name}.drop_top is {drop_top}: expected a fraction below 1'
        )
    over, warmup = round(options.over * steps), round(options.warmup * per_epoch)
    return Curriculum(
        name == 'ohem',
        options.first,
        options.last,
        over,
        warmup,
        options.threshold,
        drop_top,
        stratified,
    )
