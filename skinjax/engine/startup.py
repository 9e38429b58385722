"""Process start-up: distributed JAX, work directories, signals, and ending together."""

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import jax

from skinjax import rundir
from skinjax.engine.mesh import on_main


def default_workdir(config_argument: str) -> str:
    """'runs/clgr' for 'configs/clgr.py', 'runs/clgr_isic2017' for 'configs/clgr.py:isic2017'."""
    path, _, variant = config_argument.partition(':')
    name = Path(path).stem + (f'_{variant}' if variant else '')
    return str(Path('runs') / ''.join(c if c.isalnum() or c in '-_' else '_' for c in name))


def start(config: Any) -> None:
    """Join the other processes where `config.distributed` asks for it.

    JAX finds them by itself on TPU pods and under SLURM, Kubernetes and Open MPI. Anywhere else say
    JAX_COORDINATOR_ADDRESS (host:port of process 0), JAX_NUM_PROCESSES and JAX_PROCESS_ID in the
    environment.
    """
    if not config.get('distributed', False):
        return
    known = os.environ
    jax.distributed.initialize(
        num_processes=int(known['JAX_NUM_PROCESSES']) if 'JAX_NUM_PROCESSES' in known else None,
        process_id=int(known['JAX_PROCESS_ID']) if 'JAX_PROCESS_ID' in known else None,
    )


@contextlib.contextmanager
def hold(config: Any, workdir: Path) -> Iterator[None]:
    """Claim and lock `workdir` from the main process, while the others wait.

    Raises:
        ValueError: as `rundir.claim` and `rundir.lock`, on every process.
    """
    with contextlib.ExitStack() as stack:

        def take() -> None:
            rundir.done(config, workdir)  # so that nothing is written where it is refused
            stack.enter_context(rundir.lock(workdir))
            rundir.claim(config, workdir)

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
