"""The one training step: phases in order, each differentiating only what it updates."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float

from skinjax.engine.objective import Batch, Loss, Moment, Objective, Output, Phase, Variables
from skinjax.engine.state import TrainState

Metrics = dict[str, Array]
Augment = Callable[[Array, Batch], Batch]


def make_step(
    objective: Objective,
    *,
    augment: Augment = lambda keys, batch: batch,
    accumulate: int = 1,
    ema: float = 0.0,
    axis: str | None = None,
) -> Callable[[TrainState, Batch, Array], tuple[TrainState, Metrics]]:
    """The update for one batch, to be jitted or pmapped.

    Args:
        objective: the method.
        augment: (keys [b], batch) -> batch, on the device.
        accumulate: number of equal slices in which each phase goes through the batch, to save
            memory. Losses stay weighted means over the whole batch; batch normalisation sees
            each slice by itself, exactly as with `norm_groups` = `accumulate`. Costs a second
            forward pass.
        ema: decay of the moving average of the parameters; 0 for none.
        axis: name of the mapped axis under `jax.pmap`; sums and means then run over it.

    Returns:
        (state, batch, key of the run) -> (state, {'phase/term': scalar}).
    """

    def update(phase: Phase, batch: Batch, moment: Moment, params, model, opt):
        """One phase: (parameters, collections, optimizer states) after it, kept arrays, metrics."""
        own = {g: params[g] for names in phase.optimizers.values() for g in names}
        rest = {g: params[g] for g in params if g not in own}
        (_, (model, keep, terms)), grads = jax.value_and_grad(
            _total(phase, rest, model, batch, moment, accumulate, axis), has_aux=True
        )(own)
        params, opt = _apply(objective, phase, params, opt, _psum(grads, axis), moment.step)
        return (params, model, opt), keep, terms

    def step(state: TrainState, batch: Batch, key: Array) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(key, state.step)
        batch = augment(example_keys(key, 0, batch, axis), batch)
        now = dict(state.params), dict(state.model), dict(state.opt)
        metrics: Metrics = {}
        stream = 0
        for phase in objective.phases:
            for _ in range(phase.repeat):
                stream += 1
                moment = Moment(example_keys(key, stream, batch, axis), state.step, axis)
                run = functools.partial(update, phase, batch, moment)
                if phase.when is not None:
                    now = lax.cond(
                        phase.when(state.step), lambda x, run=run: run(*x)[0], lambda x: x, now
                    )
                    continue
                now, keep, terms = run(*now)
                batch = batch | keep
                metrics |= {f'{phase.name}/{name}': value for name, value in terms.items()}
        params, model, opt = now
        for name, optimizer in objective.optimizers.items():
            metrics[f'learning_rate/{name}'] = jnp.asarray(optimizer.learning_rate(state.step))
        metrics['parameters/norm'] = optax.tree.norm(params)
        average: Any = state.ema
        if ema:
            average = optax.incremental_update(params, average, 1 - ema)
        return TrainState(state.step + 1, params, model, opt, average), metrics

    return step


def example_keys(key: Array, stream: int, batch: Batch, axis: str | None) -> Array:
    """[b] keys that depend on the key, the stream and the place in the *global* batch."""
    size = batch['label'].shape[0]
    first = lax.axis_index(axis) * size if axis else 0
    key = jax.random.fold_in(key, stream)
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(first + jnp.arange(size))


def _psum(tree: Any, axis: str | None) -> Any:
    return lax.psum(tree, axis) if axis else tree


def weighted_sum(loss: Loss) -> Float[Array, ' 2']:
    """(sum(w v), sum(w)); rows of weight 0 never contribute, not even a NaN."""
    values = jnp.where(loss.weights > 0, loss.values, 0)
    return jnp.stack([(loss.weights * values).sum(), loss.weights.sum()])


def _total(phase: Phase, rest, model, batch: Batch, moment: Moment, accumulate: int, axis):
    """own parameters -> (local share of the total loss, (new state, kept arrays, metrics))."""

    def run(own, piece: Batch, keys: Array) -> tuple[Output, dict[str, Array]]:
        variables: Variables = {'params': {**rest, **own}, **model}
        out = phase.loss(variables, piece, Moment(keys, moment.step, axis))
        return out, {name: weighted_sum(loss) for name, loss in out.losses.items()}

    def total(own):
        if accumulate == 1:
            out, sums = run(own, batch, moment.keys)
        else:
            out, sums = _in_slices(run, own, batch, moment.keys, accumulate)
        scales = {name: loss.scale for name, loss in out.losses.items()}
        weight = {
            name: jnp.maximum(_psum(lax.stop_gradient(s[1]), axis), 1e-12)
            for name, s in sums.items()
        }
        means = {name: s[0] / weight[name] for name, s in sums.items()}
        loss = sum((scales[name] * mean for name, mean in means.items()), start=jnp.zeros(()))
        state = lax.pmean(out.state, axis) if axis else out.state
        new = {**model, **lax.stop_gradient(state)}
        if phase.update is not None:
            new = phase.update(new, lax.stop_gradient(_psum(out.sums, axis)))
        metrics = lax.stop_gradient(_psum(means, axis))
        return loss, (new, lax.stop_gradient(out.keep), metrics)

    return total


def _in_slices(run, own, batch: Batch, keys: Array, count: int):
    """`run` over `count` slices; the backward pass holds the activations of one at a time."""

    def fold(x):
        if x.shape[0] % count:
            raise ValueError(
                f'train.accumulate = {count} does not divide the batch of {x.shape[0]} per device'
            )
        return x.reshape(count, -1, *x.shape[1:])

    outs, sums = lax.map(
        jax.checkpoint(lambda piece: run(own, piece[0], piece[1])),
        (jax.tree.map(fold, batch), fold(keys)),
    )
    joined = Output(
        {k: Loss(loss.values, loss.weights, loss.scale.mean()) for k, loss in outs.losses.items()},
        jax.tree.map(lambda x: x.mean(0), outs.state),
        jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), outs.keep),
        jax.tree.map(lambda x: x.sum(0), outs.sums),
    )
    return joined, jax.tree.map(lambda x: x.sum(0), sums)


def _apply(objective: Objective, phase: Phase, params, opt, grads, step):
    """Step the phase's groups; several optimizers of one group all see the same gradient."""
    params, opt = dict(params), dict(opt)
    for name, groups in phase.optimizers.items():
        optimizer = objective.optimizers[name]
        mine = {g: grads[g] for g in groups}
        if optimizer.clip:
            norm = optax.tree.norm(mine) + 1e-12
            mine = optax.tree.scale(jnp.minimum(1.0, optimizer.clip / norm), mine)
        opt[name] = dict(opt[name])
        for group in groups:
            updates, opt[name][group] = optimizer.tx.update(
                mine[group], opt[name][group], params[group]
            )
            rate = jnp.asarray(optimizer.learning_rate(step))
            params[group] = optax.tree.add_scale(params[group], -rate, updates)
    return params, opt
