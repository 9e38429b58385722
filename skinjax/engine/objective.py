"""What a training method is: phases over named optimizers.

Methods differ only in *which loss updates which weights in which order*. An objective says that
and nothing else; `engine/step.py` does the rest for all of them.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax
from jaxtyping import Array, Bool, Float, Int, Key

Variables = dict[str, Any]
Batch = dict[str, Any]
Schedule = optax.Schedule


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Loss:
    """One term of a phase's loss: scale * sum(weights * values) / sum(weights).

    The sums run over the global batch, however it is divided over devices. A term of scale 0 is
    reported but not trained on.

    Attributes:
        values: [b] loss of each example.
        weights: [b] sample weight of each example; 0 for padding and unknown labels.
        scale: of the term in the total.
    """

    values: Float[Array, '*slices b']
    weights: Float[Array, '*slices b']
    scale: Any = 1.0


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Output:
    """What a phase's loss function returns.

    Attributes:
        losses: name -> term; their sum is differentiated.
        state: collections besides `params` to replace (batch statistics, ...).
        keep: [b, ...] arrays that later phases of the same batch find in their batch.
        sums: arrays that are summed over the global batch and handed to `Phase.update`.
    """

    losses: dict[str, Loss]
    state: Variables = dataclasses.field(default_factory=dict)
    keep: dict[str, Array] = dataclasses.field(default_factory=dict)
    sums: dict[str, Array] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Moment:
    """When and with which randomness a loss is evaluated.

    Attributes:
        keys: [b] one key per example of the batch, the same however the batch is divided.
        step: number of batches seen before this one.
        axis: name of the mapped axis under `jax.pmap`, over which a loss may gather what it must
            know of the whole batch. Sums and means are the engine's.
    """

    keys: Key[Array, ' b']
    step: Int[Array, '']
    axis: str | None = None


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """An optax transformation that owns parameter groups.

    Attributes:
        tx: gradients -> direction, *without* the learning rate; its state is kept per group.
        groups: top-level names in `params`.
        learning_rate: step -> rate; the step counts batches, not updates.
        clip: largest global norm of the gradients that one phase hands over; 0 for none.
    """

    tx: optax.GradientTransformation
    groups: tuple[str, ...]
    learning_rate: Schedule
    clip: float = 0.0


@dataclasses.dataclass(frozen=True)
class Phase:
    """One update within a batch.

    Attributes:
        name: prefix of the metrics.
        loss: (variables, batch, moment) -> Output.
        optimizers: optimizer name -> the groups of it that step in this phase. Groups that are
            not named keep their parameters and their optimizer state to the bit.
        repeat: how often the phase runs on the same batch.
        when: step -> whether the phase runs on this batch; None: on every batch. Its terms are
            not among the metrics, and it keeps nothing for later phases.
        update: (state, sums) -> state, after the sums have been taken over the global batch.
    """

    name: str
    loss: Callable[[Variables, Batch, Moment], Output]
    optimizers: Mapping[str, tuple[str, ...]]
    repeat: int = 1
    when: Callable[[Int[Array, '']], Bool[Array, '']] | None = None
    update: Callable[[Variables, dict[str, Array]], Variables] | None = None


@dataclasses.dataclass(frozen=True)
class Findings:
    """What a method adds to the results of a run.

    Attributes:
        results: further blocks of results.json.
        files: path in the work directory -> contents.
    """

    results: dict[str, Any] = dataclasses.field(default_factory=dict)
    files: dict[str, str | bytes] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Objective:
    """A training method.

    Attributes:
        init: (key, batch) -> variables: `params` by group, and state collections.
        optimizers: by name.
        phases: in the order in which they run on every batch.
        predict: (variables, images [b, h, w, c]) -> {'logits', 'features', ...} in evaluation
            mode. What a classifier returns under 'column:NAME' [b] joins its prediction tables.
        conclude: (variables, prediction table of each split, mesh) -> what a classifier adds to
            its results. Every process calls it; the main one writes the files.
    """

    init: Callable[[Array, Batch], Variables]
    optimizers: Mapping[str, Optimizer]
    phases: tuple[Phase, ...]
    predict: Callable[[Variables, Array], dict[str, Array]]
    conclude: Callable[[Variables, Mapping[str, Any], Any], Findings] | None = None

    def check(self, params: Mapping[str, Any]) -> None:
        """Raise ValueError where an optimizer or a phase names a group that does not exist."""
        for name, optimizer in self.optimizers.items():
            if missing := set(optimizer.groups) - set(params):
                raise ValueError(
                    f'optimizer {name!r} owns {sorted(missing)}, but the model has only '
                    f'{sorted(params)}'
                )
        for phase in self.phases:
            for name, groups in phase.optimizers.items():
                owned = self.optimizers[name].groups if name in self.optimizers else ()
                if missing := set(groups) - set(owned):
                    raise ValueError(
                        f'phase {phase.name!r} steps {sorted(missing)} with optimizer {name!r}, '
                        f'which owns {sorted(owned)}'
                    )
