"""Strict JAX on four virtual CPU devices, and shape annotations checked in every call.

Programs that several tests compile are compiled once: a cache for this test run is shared with the
processes that tests start. They are small, and compiling them well would take longer than they run:
LLVM's optimisation is switched off, and the code of a program is one module. The files that take
longest go first under pytest-xdist, so that no process is left with one of them while the others
have ended. A test that hangs fails after LIMIT seconds.
"""

import faulthandler
import os
import signal
import tempfile

_CACHE = tempfile.TemporaryDirectory(prefix='skinjax-cache-', ignore_cleanup_errors=True)
os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', _CACHE.name)
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0.2')

os.environ.setdefault(
    'XLA_FLAGS', '--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1'
)

import jax  # noqa: E402
import pytest  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

jax.config.update('jax_platforms', 'cpu')
jax.config.update('jax_num_cpu_devices', 4)
jax.config.update('jax_numpy_dtype_promotion', 'strict')
jax.config.update('jax_numpy_rank_promotion', 'raise')

install_import_hook('skinjax', 'beartype.beartype')

LIMIT = 300  # many times what the longest test takes on two idle cores
STDERR = pytest.StashKey[int]()
LONGEST = (  # files that take more than half a minute, the longest first
    'test_every_config.py',
    'test_processes.py',
    'test_resume.py',
    'test_torch_parity.py',
    'test_benchmark.py',
    'test_train.py',
    'test_gan_devices.py',
    'test_inpainting_parity.py',
    'test_evaluate.py',
    'test_errors.py',
    'test_compare.py',
)


def pytest_configure(config):
    config.stash[STDERR] = os.dup(2)  # before pytest puts its own in place
    config.option.loadscopereorder = False  # pytest-xdist keeps the order below


def pytest_collection_modifyitems(items):
    last = len(LONGEST)
    place = {name: k for k, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, last))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """End a test, its fixtures included, that does not end by itself.

    What hangs outside Python does not hear the alarm: then the whole run ends, and says where.
    """

    def ring(number, frame):
        pytest.fail(f'more than {LIMIT} seconds')

    if item.get_closest_marker('slow'):
        return (yield)
    old = signal.signal(signal.SIGALRM, ring)
    signal.alarm(LIMIT)
    faulthandler.dump_traceback_later(LIMIT + 60, exit=True, file=item.config.stash[STDERR])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)
