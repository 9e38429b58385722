"""Programs that are timed beside each other: one line in, one line out.

A contender is a process that reads commands from its standard input and answers each with one line
of JSON. It says first what it is. Then

    prepare MODE      compiles and does one step: {'first': seconds, ...what else it knows}
    run MODE STEPS    {'seconds': of all steps, 'processor': the same of all threads,
                      'memory': the most bytes in use meanwhile}

An answer {'error': text} leaves it ready for the next command; the end of its input ends it. The
side that asks needs the standard library alone, and nothing of one contender (memory, threads,
compiler) is another's.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Run = Callable[[int], Any]  # does so many steps and waits until the last is done
Prepare = Callable[[str], tuple[Run, dict[str, Any]]]


def serve(facts: Mapping[str, Any], prepare: Prepare, memory: Callable[[], int] | None) -> None:
    """Answer commands until there are no more.

    Args:
        facts: what the program says first.
        prepare: mode -> its steps, and what is known of them.
        memory: bytes in use on the device, at most so far; None: those of the process.
    """
    runs: dict[str, Run] = {}

    def answer(command: str, mode: str, steps: int = 1) -> dict[str, Any]:
        began, before = time.perf_counter(), time.process_time()
        if command == 'prepare':
            runs[mode], told = prepare(mode)
            runs[mode](1)
            return {**told, 'first': time.perf_counter() - began}
        _forget_peak()
        runs[mode](steps)
        return {
            'seconds': time.perf_counter() - began,
            'processor': time.process_time() - before,
            'memory': memory() if memory else _peak(),
        }

    # Whatever libraries print goes to standard error.
    with os.fdopen(os.dup(1), 'w') as out:
        os.dup2(2, 1)
        print(json.dumps(facts), file=out, flush=True)
        for line in sys.stdin:
            command, mode, *steps = line.split()
            try:
                told = answer(command, mode, *map(int, steps))
            except Exception as error:  # such as too little memory, which one mode may need
                told = {'error': explain(error)}
            print(json.dumps(told), file=out, flush=True)


def explain(error: Exception) -> str:
    """An error in one line."""
    return f'{type(error).__name__}: {error}'.partition('\n')[0][:300]


def _forget_peak() -> None:
    """From here on the kernel counts the most resident memory anew (Linux)."""
    reset = Path('/proc/self/clear_refs')
    if reset.exists():
        reset.write_text('5')


def _peak() -> int:
    """The most resident memory of this process, in bytes."""
    status = Path('/proc/self/status')
    if status.exists():
        lines = dict(line.split(':', 1) for line in status.read_text().splitlines())
        return 1024 * int(lines['VmHWM'].split()[0])
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class Contender:
    """A running program that answers as `serve` does.

    Args:
        arguments: of `python -m`.
        folder: in which it runs.
        environment: variables that are added to those of this process.

    Raises:
        RuntimeError: it ended, or said that it cannot run.
    """

    def __init__(self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]):
        # A pipe that nobody reads would fill up.
        self._said = tempfile.TemporaryFile('w+')  # noqa: SIM115
        self._program = subprocess.Popen(
            [sys.executable, '-m', *arguments],
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )
        try:
            self.facts = self._answer()
        except RuntimeError:
            self.close()
            raise

    def ask(self, *words: Any) -> dict[str, Any]:
        """The answer to one command; RuntimeError where it is an error."""
        assert self._program.stdin
        print(*words, file=self._program.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._program.stdout
        if line := self._program.stdout.readline():
            told = json.loads(line)
            if 'error' in told:
                raise RuntimeError(told['error'])
            return told
        self._program.wait()
        self._said.seek(0)
        last = ['', *self._said.read().strip().splitlines()][-1]
        raise RuntimeError(f'ended with status {self._program.returncode}: {last[:300]}')

    def close(self) -> None:
        """End the program and wait for it."""
        self._program.communicate(timeout=60)
        self._said.close()
