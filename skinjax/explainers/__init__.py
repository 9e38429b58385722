"""Explainers: which pixels a prediction came from; one file each.

An explainer module `skinjax/explainers/NAME.py` has DEFAULTS and `build(config) -> Explain`, whose
config is the section with those fields. `compiled(explain, subject)` makes a function of it,

    relevance = run(variables, images, targets)

with normalised images, float32 [b, h, w, 3], classes `targets`, int [b], and a relevance that is
float32 [b, h, w, 3], or [b, h, w, 1] where channels mean nothing. No row depends on another.
`remarks(config, subject, scores)`, if there is one, yields what a report has to say of the maps.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from skinjax.engine.objective import Variables
from skinjax.relevance.subject import Subject


@dataclasses.dataclass(frozen=True)
class Explain:
    """What is added up on the way to a relevance:

        finish(images, sum over k < count of part(subject, variables, images, targets, k))

    Both are pure and can be jitted; k is an int32 that is traced. The sum is a loop on the host,
    because XLA computes convolutions inside its own loops many times slower on a CPU.
    """

    part: Callable[[Subject, Variables, Array, Array, Array], Array]
    count: int = 1
    finish: Callable[[Array, Array], Array] | None = None  # None: the sum is the relevance


def compiled(explain: Explain, subject: Subject) -> Callable[[Variables, Any, Any], Array]:
    """(variables, images, targets) -> relevance; the network is compiled once, for all parts."""
    part = jax.jit(functools.partial(explain.part, subject))
    add = jax.jit(jnp.add, donate_argnums=0)
    finish = jax.jit(explain.finish) if explain.finish else None

    def run(variables: Variables, images: Any, targets: Any) -> Array:
        total = part(variables, images, targets, np.int32(0))
        for k in range(1, explain.count):
            total = add(total, part(variables, images, targets, np.int32(k)))
        return finish(images, total) if finish else total

    return run
