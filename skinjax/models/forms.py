"""Two forms of one operation: one that is fast on CPUs, and XLA's own for everything else.

A program is traced for the backend of its process. An export is traced once for several platforms,
where each must get its own form: there the choice is left to the lowering. That is not done always,
because the gradients of a choice keep what both forms need.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator

import jax
from jax import lax
from jaxtyping import Array

_several = contextvars.ContextVar('several', default=False)


def choose(on_cpu: Callable[..., Array], elsewhere: Callable[..., Array], *arrays: Array) -> Array:
    """`on_cpu(*arrays)` or `elsewhere(*arrays)`, whichever suits where the program will run."""
    if _several.get():
        return lax.platform_dependent(*arrays, cpu=on_cpu, default=elsewhere)
    return (on_cpu if jax.default_backend() == 'cpu' else elsewhere)(*arrays)


@contextlib.contextmanager
def for_several_platforms() -> Iterator[None]:
    """What is traced in this context chooses its forms when it is lowered; not for training."""
    token = _several.set(True)
    try:
        yield
    finally:
        _several.reset(token)
