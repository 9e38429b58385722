"""How much each example of a batch counts, under the options of a run (`schemes.py`).

A curriculum chooses among the global batch, however many devices share it, and with
`train.accumulate` among a slice of it. Departures: ldam is on the plain logits, without their
normalised head and without its factor 30; scope='epoch' ranks by the loss of each row's last visit,
while training, where losses recomputed over the whole set after every epoch would cost another
pass; a row that has not been visited yet counts.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from skinjax.data.records import DataSet
from skinjax.engine.objective import Batch, Loss, Moment
from skinjax.objectives import curricula, losses, schemes, weights

_DEFERRED = 0.8  # of the steps of ldam_drw


class Rule:
    """The options of a run, with the class counts of its training split.

    Attributes:
        options: `config.objective`.
        scheme: what `options.weights` names.
        classes: names of the classes.
        counts: [c] training rows of each class.
        rows: of the training split.

    Raises:
        ValueError: an unknown option; a class without training images, where they are counted;
            batches that are drawn by class or group, where classes are weighted too.
    """

    def __init__(self, config: Any, data: DataSet, steps: int):
        self.options, self.classes = config.objective, data.classes
        self.scheme = schemes.parse(self.options.weights)
        schemes.check(self.options)
        train = data.splits['train']
        self.rows, self._labels = len(train), train.labels
        needs = self.scheme.classes or self.scheme.logits
        if needs and config.data.sampling != 'uniform':
            raise ValueError(
                f'{needs} corrects for the counts of classes by itself: set config.data.sampling '
                f"to 'uniform', found {config.data.sampling!r}"
            )
        self.counts = weights.class_counts(train.labels, data.classes, needs)
        self._table = self.class_table(self.counts)
        defer = self.options.defer or (_DEFERRED if self.scheme.deferred else 0.0)
        self._begin = round(defer * steps)
        self._curriculum = curricula.curriculum(
            self.scheme.curriculum,
            self.options.get(self.scheme.curriculum),
            steps,
            max(self.rows // config.data.batch_size, 1),
            stratified=self.options.stratified,
        )
        # A slice of the global batch is what a loss sees, also where devices are mapped.
        self._check_guard(config.data.batch_size // max(config.train.accumulate, 1))

    def _check_guard(self, size: int) -> None:
        """ValueError for a guard against wrong labels that leaves out no row."""
        share = self._curriculum.drop_top if self._curriculum else 0.0
        among, what = size, 'of a batch'
        if self.options.scope == 'epoch':
            among, what = self.rows, 'of the training rows'
        if share and curricula.whole(share, among) < 1:
            raise ValueError(
                f'config.objective.ohem.drop_top is {share}, which is no row {what} of {among}: '
                'take a larger one, larger batches (config.data.batch_size, or fewer slices by '
                "config.train.accumulate), or scope='epoch'"
            )

    def class_table(self, counts: Int[np.ndarray, ' c']) -> Float[np.ndarray, ' c']:
        """Class weights under these options for any counts, such as those of a level's nodes."""
        options = self.options
        return weights.class_table(counts, self.scheme.classes, options.normalize, options.beta)

    def begun(self, step: Int[Array, '']) -> Bool[Array, '']:
        """Whether class weights count at a step."""
        return step >= self._begin

    def losses(
        self, logits: Float[Array, 'b k'], labels: Int[Array, ' b']
    ) -> tuple[Float[Array, ' b'], Float[Array, ' b']]:
        """What is minimised, and what ranks the examples; labels below 0 count as 0."""
        options = self.options
        focal = options.get('loss', 'focal') == 'focal'
        moved = self._moved(logits, labels)
        values = losses.focal(
            moved, labels, options.gamma if focal else 0.0, options.get('label_smoothing', 0.0)
        )
        ranks = values if options.rank_by == 'loss' else losses.cross_entropy(logits, labels)
        return values, lax.stop_gradient(ranks)

    def _moved(self, logits: Float[Array, 'b k'], labels: Int[Array, ' b']) -> Float[Array, 'b k']:
        """The logits that a scheme trains on."""
        name = self.scheme.logits
        if not name:
            return logits
        if name == 'ldam':
            gaps = weights.margins(self.counts, self.options.max_margin)
            return losses.with_margins(logits, labels, jnp.asarray(gaps, jnp.float32))
        tau = self.options.tau if name == 'logit_adjustment' else 1.0
        prior = tau * np.log(self.counts / self.counts.sum())
        return logits + jnp.asarray(prior, jnp.float32)[None]

    def weigh(
        self, batch: Batch, ranks: Float[Array, ' b'], moment: Moment, table: dict[str, Array]
    ) -> tuple[Float[Array, ' b'], Float[Array, ' b'], Bool[Array, ' b']]:
        """The class weight of each example (0 for padding), and what `choose` says.

        Args:
            batch: with `label`, `valid` and `index`.
            ranks: [b] losses by which examples are ranked.
            moment: of the loss.
            table: the collection of `history.py`.
        """
        own = self.own(self._table, batch['label'], batch, moment)
        return own, *self.choose(batch, ranks, moment, table)

    def own(
        self, table: Any, codes: Int[Array, ' b'], batch: Batch, moment: Moment
    ) -> Float[Array, ' b']:
        """Entries of a class table, 1 before they begin; 0 for padding."""
        found = jnp.asarray(table, jnp.float32)[jnp.maximum(codes, 0)]
        return jnp.where(self.begun(moment.step), found, 1.0) * batch['valid'].astype(found.dtype)

    def choose(
        self, batch: Batch, ranks: Float[Array, ' b'], moment: Moment, table: dict[str, Array]
    ) -> tuple[Float[Array, ' b'], Bool[Array, ' b']]:
        """1 or 0: whether each example counts; and whether a curriculum has decided that.

        It has not without one, during its warm-up, while it takes everybody, for padding, and for
        rows that it does not know yet.
        """
        valid, curriculum = batch['valid'], self._curriculum
        if curriculum is None:
            return valid.astype(ranks.dtype), jnp.zeros_like(valid)
        index = jnp.where(valid, batch['index'], 0)
        whole = (ranks, jnp.maximum(batch['label'], 0), valid, index)
        if moment.axis:
            whole = lax.all_gather(whole, moment.axis, tiled=True)
        difficulty, labels, real, rows = whole
        pool = None
        if self.options.scope == 'epoch':
            pool = curricula.Pool(table['loss'], jnp.asarray(self._labels), table['seen'] > 0)
        kept = curriculum.choose(difficulty, labels, real, moment.step, pool, rows)
        if moment.axis:
            first = lax.axis_index(moment.axis) * len(ranks)
            kept = lax.dynamic_slice_in_dim(kept, first, len(ranks))
        decided = valid & curriculum.selects(moment.step)
        if pool is not None:
            decided &= pool.known[index]
        return kept.astype(ranks.dtype), decided

    def reduce(
        self,
        values: Float[Array, ' b'],
        own: Float[Array, ' b'],
        kept: Float[Array, ' b'],
        batch: Batch,
    ) -> Loss:
        """The weighted mean that the options ask for, as a Loss: sum(weights * values) / sum(w)."""
        how = self.options.reduce
        if how == 'weights' or (how == 'auto' and self._curriculum is not None):
            return Loss(values, own * kept)
        if self.options.normalize == 'batch_mean':
            return Loss(jnp.where(kept > 0, values, 0), own)
        return Loss(jnp.where(kept > 0, own * values, 0), batch['valid'].astype(values.dtype))

    def shown(
        self, own: Float[Array, ' b'], kept: Float[Array, ' b'], batch: Batch
    ) -> dict[str, Loss]:
        """For the log alone: the fraction kept, and the mean weight of each class.

        The weight is the share of the class in the weights of the batch, divided by its share of
        the training rows, so that a batch without the class counts as much as any other.
        """
        terms = {}
        if self._curriculum is not None:
            terms['kept'] = Loss(kept, batch['valid'].astype(kept.dtype), 0.0)
        for code, (name, count) in enumerate(zip(self.classes, self.counts, strict=True)):
            if count:
                inside = (batch['label'] == code).astype(own.dtype) * float(self.rows / count)
                terms[f'weight_{name}'] = Loss(inside, own * kept, 0.0)
        return terms
