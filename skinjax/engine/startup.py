"""Process start-up: compile cache, distributed JAX, work directories, signals, ending together."""

import contextlib
import hashlib
import os
import platform
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import jax

from skinjax import rundir
from skinjax.engine.mesh import on_main

HEARTBEAT = 20  # seconds; JAX's own hundred would leave a pod waiting for a dead host
ANYHOW = ('distributed',)  # says how a run is started, not what it is
CACHED_SECONDS = 0.1  # programs that take longer to compile are kept
# What the errors of collectives say when another process is gone.
GONE = (
    'Gloo', 'Connection reset', 'Connection closed', 'UNAVAILABLE', 'Socket closed',
    'CoordinationService',
)  # fmt: skip


def default_workdir(config_argument: str) -> str:
    """'runs/clgr' for 'configs/clgr.py', 'runs/clgr_isic2017' for 'configs/clgr.py:isic2017'."""
    path, _, variant = config_argument.partition(':')
    name = Path(path).stem + (f'_{variant}' if variant else '')
    return str(Path('runs') / ''.join(c if c.isalnum() or c in '-_' else '_' for c in name))


def start(config: Any) -> None:
    """Keep what is compiled, and join the other processes where `config.distributed` asks for it.

    JAX finds them by itself on TPU pods and under SLURM, Kubernetes and Open MPI. Anywhere else say
    JAX_COORDINATOR_ADDRESS (host:port of process 0), JAX_NUM_PROCESSES and JAX_PROCESS_ID in the
    environment. A process that falls silent for HEARTBEAT seconds ends them all.
    """
    keep_compiled()
    if not config.get('distributed', False):
        return
    known = os.environ
    jax.distributed.initialize(
        num_processes=int(known['JAX_NUM_PROCESSES']) if 'JAX_NUM_PROCESSES' in known else None,
        process_id=int(known['JAX_PROCESS_ID']) if 'JAX_PROCESS_ID' in known else None,
        heartbeat_timeout_seconds=HEARTBEAT,
    )


def keep_compiled() -> Path | None:
    """Turn on JAX's compile cache, for this process and those that it starts; where it is.

    In JAX_COMPILATION_CACHE_DIR, else in XDG_CACHE_HOME (~/.cache). Switched off by
    JAX_ENABLE_COMPILATION_CACHE=false, and left off where no folder can be written.
    """
    if not jax.config.values['jax_enable_compilation_cache']:
        return None
    given = os.environ.get('JAX_COMPILATION_CACHE_DIR')
    try:
        folder = Path(given) if given else _user_cache() / 'skinjax' / _processor()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        jax.config.update('jax_enable_compilation_cache', False)
        return None
    os.environ['JAX_COMPILATION_CACHE_DIR'] = str(folder)
    jax.config.update('jax_compilation_cache_dir', str(folder))
    if 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS' not in os.environ:
        # JAX's own second leaves out the many small programs that a start waits for.
        os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = str(CACHED_SECONDS)
        jax.config.update('jax_persistent_cache_min_compile_time_secs', CACHED_SECONDS)
    return folder


def _user_cache() -> Path:
    given = os.environ.get('XDG_CACHE_HOME', '')
    # The standard asks to ignore relative paths.
    return Path(given) if Path(given).is_absolute() else Path.home() / '.cache'


def _processor() -> str:
    """Name of this kind of CPU: programs for another must not be taken from a shared home."""
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
        text = next(line for line in lines if line.startswith(('flags', 'Features')))
    except (OSError, StopIteration):
        text = platform.processor()
    return f'{platform.machine()}-{hashlib.sha256(text.encode()).hexdigest()[:8]}'


@contextlib.contextmanager
def hold(config: Any, workdir: Path) -> Iterator[None]:
    """Claim and lock `workdir` from the main process, while the others wait.

    Raises:
        OSError: nothing can be written there; ValueError on the other processes.
        ValueError: as `rundir.claim` and `rundir.lock`, on every process.
    """
    with contextlib.ExitStack() as stack:

        def take() -> None:
            rundir.done(config, workdir, ANYHOW)  # nothing is written where it is refused
            try:
                stack.enter_context(rundir.lock(workdir))
                rundir.claim(config, workdir, ANYHOW)
            except OSError as error:
                raise OSError(
                    f'the work directory {workdir} cannot be written ({error}): choose another '
                    '--workdir'
                ) from error

        on_main(take)
        yield


@contextlib.contextmanager
def fail_fast() -> Iterator[None]:
    """With several processes an error ends this one at once, so that the others end too.

    A process that leaves by the normal way waits for the others, and they wait for its share of the
    next sum. What SystemExit says has been agreed on by all and is passed on.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if jax.process_count() == 1:
            raise
        if not isinstance(error, (ImportError, OSError, ValueError, FloatingPointError)):
            traceback.print_exc()
        text = ' '.join(str(error).split()) or type(error).__name__
        if any(sign in text for sign in GONE):
            text = f'another process of this run has ended; the same command continues ({text})'
        print(f'error: process {jax.process_index()}: {text}', file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


class Interrupts:
    """Context in which SIGTERM and SIGINT set a flag, so that the loop can save first.

    A second signal acts as usual. With several processes the flag stays unset: there orbax agrees
    on a step between them.
    """

    def __init__(self):
        self.signal: int | None = None
        self._old: dict[int, Any] = {}

    def __enter__(self) -> 'Interrupts':
        if jax.process_count() == 1:
            for number in (signal.SIGTERM, signal.SIGINT):
                self._old[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: Any) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.signal = number
        signal.signal(number, self._old[number])
