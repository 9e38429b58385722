"""Weighted classification: how much each training image counts, by its class and by its loss.

Rare classes count more (`cb`, `es`), or easy images first (`spl`), or hard images alone (`ohem`),
under cross-entropy or the focal loss: C. Barata's comparison on ISIC 2018. The weights are those of
`weights.py`; `losses.py` has the focal loss, and `margin` what class counts can change in the
logits instead:

    logit_adjustment   z_c + tau log(N_c / N) while training (Menon et al. 2021, eq. 10)
    balanced_softmax   the same with tau = 1 (Ren et al. 2020, eq. 4)
    ldam               a margin of N_c^(-1/4) for the true class (Cao et al. 2019), on the plain
                       logits: without their normalised head, and without its factor 30. With
                       weights='cb' and defer=0.8 it is LDAM-DRW

Predictions are the plain logits. `history.py` keeps what each image has counted.

A loss sees the global batch with 'jit', the share of its device with 'pmap', and a slice of that
with `train.accumulate`: fractions and thresholds are those of what it sees. Class weights, and all
of scope='epoch', do not depend on it.
"""

import functools
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from skinjax.data.records import DataSet, choices
from skinjax.engine.objective import Batch, Loss, Objective, Output, Phase
from skinjax.objectives import history, losses, network, weights

DEFAULTS: dict[str, Any] = {
    'label_smoothing': 0.0,
    'loss': 'ce',  # ce | focal
    'gamma': 2.0,  # of the focal loss
    'weights': 'cb',  # cb, es, spl, ohem, two joined as cb+ohem, or '' for none
    'beta': 0.0,  # of es; 0: (N - 1) / N
    # Scale of cb and es: their mean over the batch is 1 (published), or over the rows of the
    # training set ('dataset'), or over the classes ('classes'); or 'none'.
    'normalize': 'batch_mean',
    'defer': 0.0,  # share of the steps before cb and es begin
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
        'threshold': 0.0,  # instead: the loss below which an example counts
    },
    'ohem': {
        'first': 0.5,
        'last': 0.5,
        'over': 0.0,
        'warmup': 1.0,
        'threshold': 0.0,  # instead: the loss above which an example counts
        'drop_top': 0.0,  # fraction of the hardest that never counts: wrong labels
    },
    'margin': '',  # '' | logit_adjustment | balanced_softmax | ldam
    'tau': 1.0,  # of logit_adjustment
    'max_margin': 0.5,  # of ldam, for the rarest class
}
_CHOICES = {
    'loss': ('ce', 'focal'),
    'normalize': weights.NORMALIZE,
    'reduce': ('auto', 'weights', 'batch'),
    'rank_by': ('loss', 'ce'),
    'scope': ('batch', 'epoch'),
    'margin': ('', 'logit_adjustment', 'balanced_softmax', 'ldam'),
}
_MOST = {'defer': 1.0, 'gamma': math.inf, 'tau': math.inf, 'max_margin': math.inf}  # at least 0


def build(config: Any, data: DataSet, steps: int) -> Objective:
    """The weighted loss of the main head, updating encoder and head.

    Raises:
        ValueError: an unknown option; a class without training images, where they are counted;
            batches that are drawn by class or group, where classes are weighted too.
    """
    net, rule = network.create(config, data), Rule(config, data, steps)

    def loss(variables, batch, moment):
        features, state = net.encode(variables, batch['image'], moment)
        logits = losses.class_logits(net.classify(variables, features, moment))
        values, ranked = rule.losses(logits, batch)
        own, kept = rule.weigh(batch, ranked, moment.step, variables[history.NAME])
        main = rule.reduce(values, own, kept, batch)
        total = lax.stop_gradient(main.weights.sum())
        found = history.sums(batch, own * kept, ranked, total, rule.rows)
        # What `update` replaces is left out: the engine takes the mean of the rest over devices.
        state = {name: value for name, value in state.items() if name != history.NAME}
        return Output({'main': main, **rule.shown(own, kept, batch)}, state, sums=found)

    return net.objective(
        {'main': net.main_optimizer(steps)},
        (Phase('main', loss, {'main': network.MAIN_GROUPS}, update=history.update),),
        {history.NAME: history.empty(rule.rows)},
        functools.partial(history.findings, data),
    )


class Rule:
    """The options of a run, with the class counts of its training split.

    Attributes:
        rows: of the training split.
    """

    def __init__(self, config: Any, data: DataSet, steps: int):
        self.options, self.classes = config.objective, data.classes
        train = data.splits['train']
        self.rows, self._labels = len(train), train.labels
        self._counts = np.bincount(train.labels[train.labels >= 0], minlength=len(data.classes))
        scheme, ranks = weights.parse(self.options.weights)
        self._check(scheme, config.data.sampling)
        options = self.options
        self._table = weights.class_table(self._counts, scheme, options.normalize, options.beta)
        self._begin = round(options.defer * steps)
        if ranks == 'ohem' and options.scope == 'batch':
            self._check_guard(options.ohem.drop_top, config.data.batch_size)
        self._curriculum = weights.curriculum(
            ranks,
            options.get(ranks),
            steps,
            max(self.rows // config.data.batch_size, 1),
            stratified=options.stratified,
        )

    def _check(self, scheme: str, sampling: str) -> None:
        for name, known in _CHOICES.items():
            if (found := self.options[name]) not in known:
                raise ValueError(f'config.objective.{name} is {found!r}; {choices(found, known)}')
        if scheme and sampling != 'uniform':
            raise ValueError(
                f'{scheme} weights classes by itself: set config.data.sampling to '
                f"'uniform', found {sampling!r}"
            )
        for name, most in _MOST.items():
            if not 0 <= self.options[name] <= most:
                raise ValueError(
                    f'config.objective.{name} is {self.options[name]}: expected 0 to {most:g}'
                )
        if not 0 <= self.options.beta < 1:
            raise ValueError(f'config.objective.beta is {self.options.beta}: expected 0 to below 1')
        absent = [n for n, count in zip(self.classes, self._counts, strict=True) if not count]
        if absent and (needs := scheme or self.options.margin):
            raise ValueError(
                f'{needs} needs training images of every class, and {", ".join(absent)} has none: '
                'leave the class out of the data, or choose weights that do not count'
            )

    def _check_guard(self, share: float, batch_size: int) -> None:
        """ValueError for a guard against wrong labels that leaves out less than one row a batch."""
        if 0 < share * batch_size < 1:
            raise ValueError(
                f'config.objective.ohem.drop_top is {share}, which is no row of a batch of '
                f"{batch_size}: take larger ones (config.data.batch_size), or scope='epoch'"
            )

    def losses(
        self, logits: Float[Array, 'b k'], batch: Batch
    ) -> tuple[Float[Array, ' b'], Float[Array, ' b']]:
        """What is minimised, and what ranks the examples."""
        options, labels = self.options, batch['label']
        moved = logits
        if options.margin == 'ldam':
            gaps = weights.margins(self._counts, options.max_margin)
            moved = losses.with_margins(logits, labels, jnp.asarray(gaps, jnp.float32))
        elif options.margin:
            tau = options.tau if options.margin == 'logit_adjustment' else 1.0
            prior = tau * np.log(self._counts / self._counts.sum())
            moved = logits + jnp.asarray(prior, jnp.float32)[None]
        gamma = options.gamma if options.loss == 'focal' else 0.0
        values = losses.focal(moved, labels, gamma, options.label_smoothing)
        ranked = values if options.rank_by == 'loss' else losses.cross_entropy(logits, labels)
        return values, lax.stop_gradient(ranked)

    def weigh(
        self, batch: Batch, ranked: Float[Array, ' b'], step: Array, table: dict[str, Array]
    ) -> tuple[Float[Array, ' b'], Float[Array, ' b']]:
        """The class weight of each example (0 for padding), and 1 or 0: whether it counts."""
        labels, valid = jnp.maximum(batch['label'], 0), batch['valid']
        own = jnp.asarray(self._table, jnp.float32)[labels]
        own = jnp.where(step < self._begin, 1.0, own) * valid.astype(own.dtype)
        if self._curriculum is None:
            return own, valid.astype(own.dtype)
        pool, rows = None, None
        if self.options.scope == 'epoch':
            pool = weights.Pool(table['loss'], jnp.asarray(self._labels), table['seen'] > 0)
            rows = jnp.where(valid, batch['index'], 0)
        kept = self._curriculum.choose(ranked, labels, valid, step, pool, rows)
        return own, kept.astype(own.dtype)

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
        for code, (name, count) in enumerate(zip(self.classes, self._counts, strict=True)):
            if count:
                inside = (batch['label'] == code).astype(own.dtype) * float(self.rows / count)
                terms[f'weight_{name}'] = Loss(inside, own * kept, 0.0)
        return terms
