"""The baseline with a loss that is not a number in one step."""

import dataclasses

import jax.numpy as jnp

from skinjax.objectives import baseline

DEFAULTS = {**baseline.DEFAULTS, 'at': 0}


def build(config, data, steps):
    """`config.objective.at` is the step, counted from 1."""
    plain = baseline.build(config, data, steps)
    [phase] = plain.phases

    def loss(variables, batch, moment):
        out = phase.loss(variables, batch, moment)
        term = out.losses['main']
        bad = jnp.where(moment.step == config.objective.at - 1, jnp.nan, 1.0)
        return dataclasses.replace(
            out, losses={'main': dataclasses.replace(term, values=bad * term.values)}
        )

    return dataclasses.replace(plain, phases=(dataclasses.replace(phase, loss=loss),))
