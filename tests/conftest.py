"""Strict JAX on four virtual CPU devices, and shape annotations checked in every call.

Programs that several tests compile are compiled once: a cache for this test run is shared with the
processes that tests start.
"""

import os
import tempfile

_CACHE = tempfile.TemporaryDirectory(prefix='skinjax-cache-', ignore_cleanup_errors=True)
os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', _CACHE.name)
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0.2')

import jax  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

jax.config.update('jax_platforms', 'cpu')
jax.config.update('jax_num_cpu_devices', 4)
jax.config.update('jax_numpy_dtype_promotion', 'strict')
jax.config.update('jax_numpy_rank_promotion', 'raise')

install_import_hook('skinjax', 'beartype.beartype')
