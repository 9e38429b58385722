"""Strict JAX on four virtual CPU devices, and shape annotations checked in every call."""

import jax
from jaxtyping import install_import_hook

jax.config.update('jax_platforms', 'cpu')
jax.config.update('jax_num_cpu_devices', 4)
jax.config.update('jax_numpy_dtype_promotion', 'strict')
jax.config.update('jax_numpy_rank_promotion', 'raise')

install_import_hook('skinjax', 'beartype.beartype')
