"""How XLA is asked to compile training steps."""

import functools

import jax

# XLA hands convolutions on CPUs to a library whose weight gradients are slower than its own: a step
# of ResNet-50 takes a twentieth longer. The option names what the library may have: nothing.
_ON_CPU = {'xla_cpu_experimental_ynn_fusion_type': ''}


@functools.cache
def options() -> dict[str, str] | None:
    """`compiler_options` of `jax.jit` for a training step; None where XLA does not know them."""
    if jax.default_backend() != 'cpu':
        return None
    try:
        jax.jit(lambda x: x, compiler_options=_ON_CPU).lower(0.0).compile()
    except Exception:  # the option is experimental: another version of XLA may be without it
        return None
    return _ON_CPU
