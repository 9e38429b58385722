"""Curricula: who of a batch, or of the training set, counts by its loss.

    spl    self-paced: the easiest count, 1 for loss < lambda (Kumar et al. 2010)
    ohem   online hard examples: the hardest count, 1 for loss > lambda (Shrivastava et al. 2016)

SPL minimises mean(w l) - lambda mean(w) over w in [0, 1]; OHEM maximises it. (Barata's slides print
OHEM as the minimum of mean(w l) + lambda mean(w), which is w = 0 for every positive loss.)

`lambda` is a number, or follows from the fraction that is to count. Choices are constants to the
gradient.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from skinjax.objectives.weights import AUTO

_ROUNDING = 1e-3  # of examples: 0.7 * 10 must not be more than 7


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
            earlier = ~dropped[None] & (place[None] < place[rows][:, None])
            chosen = self._among(peers, earlier, step)
        else:
            chosen = score < sign * self.threshold
        kept = allowed & (chosen | ~pool.known[rows])
        nearest = jnp.arange(len(losses)) == jnp.argmin(jnp.where(allowed, score, jnp.inf))
        kept = jnp.where(kept.any(), kept, allowed & nearest)
        return jnp.where(step < self.warmup, valid, kept)

    def _among(
        self, peers: Bool[Array, 'b m'], earlier: Bool[Array, 'b m'], step: Int[Array, '']
    ) -> Bool[Array, ' b']:
        """Whether fewer of the peers of each stand before it than are to count."""
        number = jnp.ceil(self.fraction(step) * peers.sum(1, dtype=jnp.float32) - _ROUNDING)
        return (peers & earlier).sum(1, dtype=jnp.float32) < jnp.maximum(number, 1.0)


def _places(scores: Float[Array, ' m'], known: Bool[Array, ' m']) -> Int[Array, ' m']:
    """How many come before each, by score and then by place; the unknown after all."""
    order = jnp.lexsort((scores, ~known))
    return jnp.zeros(len(order), order.dtype).at[order].set(jnp.arange(len(order)))


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
