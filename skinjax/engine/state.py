"""The training state: everything that a checkpoint holds."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array

from skinjax.engine.objective import Batch, Objective, Variables


@flax.struct.dataclass
class TrainState:
    """State between two batches: dicts of arrays, or of whatever a tree map puts in their place.

    Attributes:
        step: batches seen, an int32 scalar.
        params: by group.
        model: other collections (batch statistics, group weights, ...).
        opt: optimizer name -> group -> optax state.
        ema: exponential moving average of `params`, or empty.
    """

    step: Any
    params: Any
    model: Any
    opt: Any
    ema: Any

    def variables(self) -> Variables:
        """What models are evaluated with: averaged parameters where there are any."""
        return {'params': self.ema or self.params, **self.model}


def create(objective: Objective, key: Array, batch: Batch, *, ema: bool) -> TrainState:
    """A fresh state; jit it, or trace it with `jax.eval_shape` for its shapes alone.

    Raises:
        ValueError: the objective names a parameter group that the model does not have.
    """
    variables = dict(objective.init(key, batch))
    params = variables.pop('params')
    objective.check(params)
    opt = {
        name: {group: optimizer.tx.init(params[group]) for group in optimizer.groups}
        for name, optimizer in objective.optimizers.items()
    }
    average = jax.tree.map(jnp.copy, params) if ema else {}
    return TrainState(jnp.zeros((), jnp.int32), params, variables, opt, average)
