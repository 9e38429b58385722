"""How much each example of a batch counts, under the options of a run.

`config.objective.weights` is '' or names joined by +, at most one of each kind:

    cb, es                                    class weights, see `weights.py`
    spl, ohem                                 curricula, see `weights.py`
    logit_adjustment, balanced_softmax, ldam  what class counts change in the logits of training:
        logit_adjustment   z_c + tau log(N_c / N) (Menon et al. 2021, eq. 10)
        balanced_softmax   the same with tau = 1 (Ren et al. 2020, eq. 4)
        ldam               z_y less a margin of N_y^(-1/4) for the true class y (Cao et al. 2019)
    ldam_drw                                  ldam+cb whose class weights begin after 80 % of the
                                              steps, or after `defer` (ibid., algorithm 1)

A curriculum chooses among the global batch, however many devices share it, and with
`train.accumulate` among a slice of it. Departures: ldam is on the plain logits, without their
normalised head and without its factor 30; scope='epoch' ranks by the loss of each row's last visit,
while training, where losses recomputed over the whole set after every epoch would cost another
pass; a row that has not been visited yet counts.
"""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from skinjax.data.records import DataSet, choices
from skinjax.engine.objective import Batch, Loss, Moment
from skinjax.objectives import losses, weights

DEFAULTS: dict[str, Any] = {
    'weights': '',  # names joined as cb+ohem
    'beta': weights.AUTO,  # of es; -1: (N - 1) / N
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
        'threshold': weights.AUTO,  # instead: the loss below which an example counts; -1: none
    },
    'ohem': {
        'first': 0.5,
        'last': 0.5,
        'over': 0.0,
        'warmup': 1.0,
        'threshold': weights.AUTO,  # instead: the loss above which an example counts; -1: none
        'drop_top': 0.0,  # fraction of the hardest that never counts: wrong labels
    },
    'tau': 1.0,  # of logit_adjustment
    'max_margin': 0.5,  # of ldam, for the rarest class
}
_DEFERRED = 0.8  # of the steps of ldam_drw
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
    return (lambda x: x == weights.AUTO or given[0](x)), f'{weights.AUTO:g} or {given[1]}'


_CURRICULUM = {'first': _FRACTION, 'last': _FRACTION, 'over': _SHARE, 'warmup': _AT_LEAST_0}
_RANGES: dict[str, _Range] = {
    'beta': _or_auto(_PART),
    'defer': _PART,
    'gamma': _AT_LEAST_0,
    'tau': _AT_LEAST_0,
    'max_margin': _AT_LEAST_0,
    **{f'{name}.{field}': r for name in weights.CURRICULA for field, r in _CURRICULUM.items()},
    'spl.threshold': _or_auto(_POSITIVE),  # below 0 there is no loss
    'ohem.threshold': _or_auto(_AT_LEAST_0),
    'ohem.drop_top': _PART,
}


def check(options: Any) -> None:
    """Raise ValueError for an option without meaning; those that `options` lacks are left out."""
    for name, known in _CHOICES.items():
        if (found := options.get(name, known[0])) not in known:
            raise ValueError(f'config.objective.{name} is {found!r}; {choices(found, known)}')
    for name, (fits, wanted) in _RANGES.items():
        section, _, leaf = name.rpartition('.')
        found = (options[section] if section else options).get(leaf)
        if found is not None and not fits(found):
            raise ValueError(f'config.objective.{name} is {found}: expected {wanted}')


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
        self.scheme = weights.parse(self.options.weights)
        check(self.options)
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
        self._curriculum = weights.curriculum(
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
        if share and weights.whole(share, among) < 1:
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
            pool = weights.Pool(table['loss'], jnp.asarray(self._labels), table['seen'] > 0)
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
