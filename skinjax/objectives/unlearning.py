"""Two-phase unlearning of bias variables, for any number of heads.

Every batch runs two phases (Bevan & Atapour-Abarghouei 2022, "Skin Deep Unlearning"):

    main   L_y + sum over heads of
             entropy * <sum_k p_k log p_k>  +  confusion * <-sum_k log p_k / K>
           updates encoder and main head; the bias heads stand still
    bias   class-weighted cross-entropy of every head on the features of the *updated* encoder;
           updates the heads; the encoder receives its gradient times -reversal

    LNTL (Kim et al. 2019)    entropy and reversal
    TABE (Alvi et al. 2018)   confusion
    CLGR (Bevan et al. 2022)  confusion and reversal

Departures from the authors' code, each with a switch in `compat` that restores it ('sdu': all):

    random_target   confusion target drawn per element from U(0, 1); here 1/K
    double_step     a second SGD at the head's rate repeats the encoder's step in phase main
    help_head       TABE's encoder descends the head's loss in phase bias; here it gets none
    phantom_step    the main head moves on momentum alone in phase bias; here it stands still
    double_stats    running batch statistics advance in both phases; here in phase main only
    shared_heads    all terms of phase main read the first head; here each reads its own
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float

from skinjax.data.records import DataSet, Records
from skinjax.engine.objective import Batch, Loss, Moment, Objective, Optimizer, Output, Phase
from skinjax.models.classifier import BiasHead
from skinjax.objectives import losses, network
from skinjax.objectives.reversal import reverse

HEAD = {
    'entropy': 0.0,  # weight of the negative entropy in phase main
    'confusion': 0.0,  # weight of the confusion loss in phase main
    'reversal': 0.0,  # what the encoder's gradient is multiplied by (negated) in phase bias
    'cap': 0.8,  # no push beyond this cross-entropy (times log2 K for K values); 0 for none
    'conditional': False,  # unlearn within each class, not across classes
    'class_weights': True,  # weight the head's loss by inverse training counts
    'hidden': 0,  # width of a hidden layer; the published deep head has 128
    'standardize': True,  # batch-standardise the features that the head sees
    'learning_rate': 0.1,
    'momentum': 0.0,
    'clip': 0.0,
}
COMMON = {
    'label_smoothing': 0.0,
    'head_steps': 5,  # updates of the heads per batch, all on the same features
    'ramp': 0.0,  # share of the steps over which entropy, confusion and reversal rise from 0
    'compat': (),  # switches of the table above, or 'sdu' for all of them
}
PAPER = {'cap': 0.0, 'standardize': False, 'momentum': 0.9, 'learning_rate': 3e-3}
SWITCHES = (
    'random_target',
    'double_step',
    'help_head',
    'phantom_step',
    'double_stats',
    'shared_heads',
)
DEFAULTS = {**COMMON, 'heads': {'ruler': HEAD}}


def build(config: Any, data: DataSet, steps: int) -> Objective:
    """The general form: `config.objective.heads` maps each bias variable to its head."""
    return assemble(config, data, steps, dict(config.objective.heads.items()))


def assemble(config: Any, data: DataSet, steps: int, heads: Mapping[str, Any]) -> Objective:
    """Two-phase unlearning with `heads`: bias variable -> options (fields of HEAD).

    Raises:
        ValueError: a bias variable that the data set does not have, or has only one value of;
            an unknown compat switch.
    """
    compat = _switches(config.objective.compat)
    parts = [Head.create(name, spec, data, config.objective, steps) for name, spec in heads.items()]
    specs = {part.name: part.spec() for part in parts}
    net = network.create(config, data, specs)
    learner = Unlearner(net, tuple(parts), compat)
    opts = {'main': net.main_optimizer(steps)}
    opts |= {part.group: part.optimizer() for part in parts}
    stepped = {part.group: (part.group,) for part in parts}
    first: dict[str, tuple[str, ...]] = {'main': network.MAIN_GROUPS}
    second: dict[str, tuple[str, ...]] = dict(stepped)
    if 'double_step' in compat and any(part.options.confusion for part in parts):
        opts['confusion'] = dataclasses.replace(parts[0].optimizer(), groups=('encoder',))
        first['confusion'] = ('encoder',)
    if any(part.options.reversal for part in parts) or 'help_head' in compat:
        second['main'] = network.MAIN_GROUPS if 'phantom_step' in compat else ('encoder',)
    phases = [Phase('main', learner.main, first), Phase('bias', learner.bias, second)]
    if config.objective.head_steps > 1:
        more = config.objective.head_steps - 1
        phases.append(Phase('heads', learner.heads_only, stepped, repeat=more))
    return net.objective(opts, tuple(phases))


@dataclasses.dataclass(frozen=True)
class Head:
    """One bias head: its options and the weight of each (class, value) of its variable."""

    name: str
    options: Any
    weights: np.ndarray  # [1 or classes, values]
    ramp: int  # steps over which the strengths rise

    @staticmethod
    def create(name: str, options: Any, data: DataSet, common: Any, steps: int) -> 'Head':
        if name not in data.bias:
            raise network.unknown_bias(name, data)
        weights = class_weights(
            data.splits['train'],
            name,
            len(data.bias[name]),
            len(data.classes) if options.conditional else 1,
            weighted=options.class_weights,
        )
        return Head(name, options, weights, round(common.ramp * steps))

    @property
    def group(self) -> str:
        return f'bias_{self.name}'

    @property
    def cap(self) -> float:
        """In nats: about 1.15 times the cross-entropy of the uniform distribution."""
        return self.options.cap * math.log2(self.weights.shape[1])

    def spec(self) -> BiasHead:
        classes, values = self.weights.shape
        return BiasHead(values, self.options.hidden, self.options.standardize, classes)

    def optimizer(self) -> Optimizer:
        options = self.options
        tx = optax.trace(options.momentum) if options.momentum else optax.identity()
        rate = optax.constant_schedule(options.learning_rate)
        return Optimizer(tx, (self.group,), rate, options.clip)

    def strength(self, step: Array) -> Float[Array, '']:
        """Factor in [0, 1] of entropy, confusion and reversal at `step`."""
        return (
            jnp.minimum(1.0, jnp.asarray(step, jnp.float32) / max(self.ramp, 1))
            if self.ramp
            else jnp.ones(())
        )

    def of_class(self, logits: Float[Array, 'b c k'], batch: Batch) -> Float[Array, 'b k']:
        """The logits of each example's own class (conditional), or the only ones."""
        if logits.shape[1] == 1:
            return logits[:, 0]
        rows = jnp.maximum(batch['label'], 0)[:, None, None]
        return jnp.take_along_axis(logits, rows, 1)[:, 0]

    def sample_weights(self, batch: Batch) -> Float[Array, ' b']:
        """Weight of each example in the head's cross-entropy; 0 where the value is unknown."""
        value = batch[self.name]
        row = jnp.maximum(batch['label'], 0) if len(self.weights) > 1 else 0
        weight = jnp.asarray(self.weights, jnp.float32)[row, jnp.maximum(value, 0)]
        return jnp.where((value >= 0) & batch['valid'], weight, 0.0)

    def main_weights(self, batch: Batch) -> Float[Array, ' b']:
        """1 for examples of classes in which the variable can be unlearned at all."""
        usable = jnp.asarray(self.weights.sum(1) > 0, jnp.float32)
        row = jnp.maximum(batch['label'], 0) if len(self.weights) > 1 else 0
        return jnp.where(batch['valid'], usable[row], 0.0)


@dataclasses.dataclass(frozen=True)
class Unlearner:
    """The loss functions of the phases."""

    net: network.Network
    heads: tuple[Head, ...]
    compat: frozenset[str]

    def main(self, variables, batch: Batch, moment: Moment) -> Output:
        """Phase main: classify, and leave every head undecided."""
        features, state = self.net.encode(variables, batch['image'], moment)
        terms = {'main': self.net.main_loss(variables, features, batch, moment)}
        seen = {}
        for head in self.heads:
            logits, state = self.net.detect({**variables, **state}, features, head.name)
            seen[head.name] = head.of_class(logits, batch)
        for head in self.heads:
            logits = seen[self.heads[0].name if 'shared_heads' in self.compat else head.name]
            weights, strength = head.main_weights(batch), head.strength(moment.step)
            if head.options.entropy:
                terms[f'{head.name}_entropy'] = Loss(
                    losses.negative_entropy(logits), weights, strength * head.options.entropy
                )
            if head.options.confusion:
                target = None
                if 'random_target' in self.compat:
                    draw = lambda key, k=logits.shape[-1]: jax.random.uniform(key, (k,))  # noqa: E731
                    target = jax.vmap(draw)(moment.keys)
                terms[f'{head.name}_confusion'] = Loss(
                    losses.confusion(logits, target), weights, strength * head.options.confusion
                )
        return Output(terms, state)

    def bias(self, variables, batch: Batch, moment: Moment) -> Output:
        """Phase bias: every head learns; the encoder is pushed the other way."""
        features, state = self.net.encode(variables, batch['image'], moment)
        fixed = lax.stop_gradient(features)
        terms = self._head_terms(variables, fixed, batch)
        frozen = {**variables, 'params': lax.stop_gradient(variables['params'])}
        for head in self.heads:
            reversal = head.options.reversal
            if reversal:
                seen = reverse(features, reversal * head.strength(moment.step))
            elif 'help_head' in self.compat:
                seen = features
            else:
                continue
            logits, _ = self.net.detect(frozen, seen, head.name)
            values = losses.cross_entropy(head.of_class(logits, batch), batch[head.name])
            if head.options.cap:
                values = jnp.where(values < head.cap, values, 0.0)
            terms[f'{head.name}_push'] = Loss(values, head.sample_weights(batch))
        new = state if 'double_stats' in self.compat else {}
        return Output(terms, new, keep={'features': fixed})

    def heads_only(self, variables, batch: Batch, moment: Moment) -> Output:
        """Further updates of the heads on the features that phase bias has computed."""
        del moment
        return Output(self._head_terms(variables, batch['features'], batch))

    def _head_terms(self, variables, features, batch: Batch) -> dict[str, Loss]:
        terms = {}
        for head in self.heads:
            logits, _ = self.net.detect(variables, features, head.name)
            values = losses.cross_entropy(head.of_class(logits, batch), batch[head.name])
            terms[head.name] = Loss(values, head.sample_weights(batch))
        return terms


def class_weights(
    train: Records, name: str, values: int, classes: int = 1, *, weighted: bool = True
) -> np.ndarray:
    """[classes, values] weights of the head's cross-entropy from the training counts.

    w_k = (1 / n_k) / sum_j (1 / n_j) over the values that occur. With more than one class the
    counts are those of the cells class x value, and a class in which only one value occurs gets
    weight 0: nothing can be unlearned there.

    Raises:
        ValueError: fewer than two values occur (in every class).
    """
    value = train.bias[name]
    known = value >= 0
    row = train.labels[known] if classes > 1 else np.zeros(known.sum(), int)
    counts = np.zeros((classes, values))
    np.add.at(counts, (row, value[known]), 1)
    usable = (counts > 0).sum(1) > 1
    if not usable.any():
        raise ValueError(
            f'bias variable {name!r} takes fewer than two values in the training split'
            + (' within every class' if classes > 1 else '')
            + f' (counts {counts.astype(int).tolist()}): there is nothing to unlearn'
        )
    inverse = np.divide(1.0, counts, out=np.zeros_like(counts), where=counts > 0)
    if not weighted:
        inverse = (counts > 0).astype(float)
    inverse *= usable[:, None]
    return inverse / inverse.sum()


def _switches(compat: tuple[str, ...]) -> frozenset[str]:
    unknown = set(compat) - {*SWITCHES, 'sdu'}
    if unknown:
        raise ValueError(
            f'unknown compat switch {sorted(unknown)}: choose from {", ".join(SWITCHES)}, or sdu'
        )
    return frozenset(SWITCHES if 'sdu' in compat else compat)
