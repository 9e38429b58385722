"""Optax transformations and learning-rate schedules from a config."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from skinjax.engine.objective import Optimizer, Schedule

DEFAULTS = {
    'name': 'sgd',  # sgd | adam | adamw
    'learning_rate': 0.1,
    'momentum': 0.9,  # sgd: momentum; adam: the first decay rate
    'nesterov': False,
    'second': 0.999,  # adam: the second decay rate
    'weight_decay': 0.0,
    'clip': 0.0,  # largest global gradient norm of one phase; 0 for none
    'schedule': 'constant',  # constant | cosine | linear | step
    'warmup': 0.0,  # share of all steps in which the rate rises linearly from 0
    'decay_at': (),  # 'step': shares of all steps at which the rate is divided by ten
}


def build(config: Any, groups: tuple[str, ...], steps: int) -> Optimizer:
    """The optimizer that `config` (with the fields of DEFAULTS) describes, owning `groups`.

    Raises:
        ValueError: unknown name or schedule.
    """
    return Optimizer(direction(config), groups, schedule(config, steps), config.clip)


def direction(config: Any) -> optax.GradientTransformation:
    """Gradients to direction, without the learning rate."""
    parts = []
    if config.name == 'sgd':
        parts.append(_decay(config.weight_decay))
        if config.momentum:
            parts.append(optax.trace(config.momentum, config.nesterov))
    elif config.name == 'adam':
        parts.append(_decay(config.weight_decay))
        parts.append(_adam(config.momentum, config.second))
    elif config.name == 'adamw':
        parts.append(_adam(config.momentum, config.second))
        parts.append(_decay(config.weight_decay))
    else:
        raise ValueError(f'unknown optimizer {config.name!r}: choose sgd, adam or adamw')
    return optax.chain(*parts)


def _adam(first: float, second: float) -> optax.GradientTransformation:
    """optax's, which raises a float to an integer power: strict promotion would refuse that."""
    plain = optax.scale_by_adam(first, second)

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        with jax.numpy_dtype_promotion('standard'):
            return plain.update(updates, state, params)

    return optax.GradientTransformation(plain.init, update)


def _decay(rate: float) -> optax.GradientTransformation:
    return optax.add_decayed_weights(rate) if rate else optax.identity()


def schedule(config: Any, steps: int) -> Schedule:
    """Step -> learning rate over `steps` batches."""
    peak, warmup = config.learning_rate, round(config.warmup * steps)
    rest = max(steps - warmup, 1)
    kinds: dict[str, Callable[[], Schedule]] = {
        'constant': lambda: optax.constant_schedule(peak),
        'cosine': lambda: optax.cosine_decay_schedule(peak, rest),
        'linear': lambda: optax.linear_schedule(peak, 0.0, rest),
        'step': lambda: optax.piecewise_constant_schedule(
            peak, {max(round(at * steps) - warmup, 0): 0.1 for at in config.decay_at}
        ),
    }
    if config.schedule not in kinds:
        raise ValueError(f'unknown schedule {config.schedule!r}: choose one of {", ".join(kinds)}')
    chosen = kinds[config.schedule]()
    if warmup:
        rise = optax.linear_schedule(0.0, peak, warmup)
        chosen = optax.join_schedules([rise, chosen], [warmup])
    return lambda step: jnp.asarray(chosen(jnp.asarray(step, jnp.float32)), jnp.float32)
