"""Process start-up: distributed JAX, the default work directory, signals."""

import signal
from pathlib import Path
from types import FrameType
from typing import Any

import jax


def default_workdir(config_argument: str) -> str:
    """'runs/clgr' for 'configs/clgr.py', 'runs/clgr_isic2017' for 'configs/clgr.py:isic2017'."""
    path, _, variant = config_argument.partition(':')
    name = Path(path).stem + (f'_{variant}' if variant else '')
    return str(Path('runs') / ''.join(c if c.isalnum() or c in '-_' else '_' for c in name))


def start(config: Any) -> None:
    """Join the other processes where `config.distributed` asks for it."""
    if config.get('distributed', False):
        jax.distributed.initialize()


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
