"""What a run leaves behind while it works: `metrics.jsonl`, strict JSON and progress lines."""

import contextlib
import io
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np

RESERVED = ('step', 'split', 'time')


def jsonable(value: Any) -> Any:
    """`value` as strict JSON allows it: arrays become lists, NaN and infinities become None.

    JSON has no NaN, and a file that only Python can read is no exchange format.
    """
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, '__array__'):
        return jsonable(np.asarray(value).tolist())
    raise ValueError(
        f'a value of type {type(value).__name__} has no place in a JSON file: {value!r}'
    )


def write_atomic(path: str | os.PathLike[str], data: str | bytes) -> None:
    """Writes a whole file or nothing: a reader never sees a half-written one."""
    with appearing(Path(path)) as place:
        place.write_bytes(data if isinstance(data, bytes) else data.encode('utf-8'))


@contextlib.contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A place for a file or folder that becomes `path` when all went well, and vanishes else."""
    path.parent.mkdir(parents=True, exist_ok=True)
    place = _temporary(path, os.getpid())
    try:
        yield place
        place.replace(path)
    finally:
        if place.is_dir():
            shutil.rmtree(place)
        place.unlink(missing_ok=True)


def _temporary(path: Path, process: int | str) -> Path:
    return path.with_name(f'.{path.name}.{process}.tmp')


def leftovers(path: Path) -> list[Path]:
    """What processes that were killed while they wrote `path` have left beside it."""
    return sorted(path.parent.glob(_temporary(path, '*').name))


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes `value` as strict, indented JSON, atomically; NaN is written as null."""
    text = json.dumps(jsonable(value), indent=2, allow_nan=False, ensure_ascii=False)
    write_atomic(path, text + '\n')


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The JSON object in a file; {} where there is no file.

    Raises:
        ValueError: the file is damaged.
    """
    path = Path(path)
    if not path.exists():
        return {}
    try:
        value = json.loads(path.read_text('utf-8'))
    except ValueError as error:
        raise ValueError(f'{path}: not valid JSON ({error}); run the config again') from None
    if not isinstance(value, dict):
        raise ValueError(f'{path}: expected a JSON object, found {type(value).__name__}')
    return value


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The records of a `metrics.jsonl`, without the torn last line that a killed run leaves.

    Raises:
        ValueError: a line before the last one is not a JSON object with a step.
    """
    lines = Path(path).read_bytes().split(b'\n')
    while lines and not lines[-1].strip():
        lines.pop()
    records = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            record['step'] = int(record['step'])
        except (ValueError, TypeError, KeyError):
            if number == len(lines):
                break
            raise ValueError(
                f'{path}, line {number}: expected a JSON object with "step", found {line[:60]!r}; '
                'remove that line'
            ) from None
        records.append(record)
    return records


class MetricWriter:
    """Appends metrics to `metrics.jsonl`, one JSON object a line, written as soon as it is known.

    A line is `{"step": 10, "split": "train", "time": 1.7e9, "loss": 0.3}`; time is in seconds
    since 1970. Values that are not finite are written as null under their name.

    Args:
        workdir: the folder of the run; made when missing.
        resume_step: the restored step: later lines are dropped, because those steps will be
            run again. None for a run that starts anew, which empties the file.
        tensorboard: also write scalars to `workdir/tensorboard`; needs tensorboardX.
        enabled: False on all processes but the first: nothing is read or written.

    Raises:
        ImportError: `tensorboard` without tensorboardX installed.
    """

    def __init__(
        self,
        workdir: str | os.PathLike[str],
        resume_step: int | None = None,
        tensorboard: bool = False,
        enabled: bool = True,
    ):
        self._file: TextIO | None = None
        self._board = None
        if not enabled:
            return
        self.path = Path(workdir) / 'metrics.jsonl'
        # Before the file is touched, so that a missing package costs no history.
        self._board = _summary_writer(Path(workdir), resume_step) if tensorboard else None
        kept = []
        if resume_step is not None and self.path.exists():
            kept = [line for line in read_metrics(self.path) if line['step'] <= resume_step]
        write_atomic(self.path, ''.join(_line(record) for record in kept))
        self._file = self.path.open('a', buffering=1, encoding='utf-8')

    def write(self, step: int, split: str, values: Mapping[str, Any]) -> None:
        """Writes one line; values are scalars: numbers, 0-d arrays or None.

        Raises:
            ValueError: a value is not a scalar, or is named step, split or time.
        """
        if self._file is None:
            return
        scalars = {name: _scalar(name, value) for name, value in values.items()}
        self._file.write(
            _line({'step': int(step), 'split': split, 'time': round(time.time(), 3), **scalars})
        )
        if self._board is not None:
            for name, value in scalars.items():
                if value is not None:
                    self._board.add_scalar(f'{split}/{name}', value, int(step))

    def close(self) -> None:
        """Closes the files; further writes do nothing."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._board is not None:
            self._board.close()
            self._board = None

    def __enter__(self) -> 'MetricWriter':
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, allow_nan=False, ensure_ascii=False) + '\n'


def _scalar(name: str, value: Any) -> int | float | None:
    if name in RESERVED:
        raise ValueError(f'metric {name!r}: the name is taken by the line itself; choose another')
    if value is None:
        return None
    array = np.asarray(value)
    # bfloat16 arrays are of kind 'V'.
    if array.size != 1 or array.dtype.kind not in 'biufV':
        raise ValueError(
            f'metric {name!r}: expected one number, found {array.dtype} of shape {array.shape}'
        )
    if array.dtype.kind in 'biu':
        return int(array.item())
    number = float(array.item())
    return number if math.isfinite(number) else None


def _summary_writer(workdir: Path, resume_step: int | None) -> Any:
    try:
        from tensorboardX import SummaryWriter  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ImportError(
            'tensorboard was asked for but tensorboardX is not installed: '
            'pip install "skinjax[tensorboard]", or turn tensorboard off'
        ) from None
    purge = None if resume_step is None else resume_step + 1
    return SummaryWriter(str(workdir / 'tensorboard'), purge_step=purge)


class Progress:
    """Tells how far a run is: a bar on a terminal, else a plain line now and then.

    The rate is that of the steps since the line before, so that compilation and a resumed start
    do not blur it; the time left follows from it.

    Args:
        total: number of the last step.
        start: steps done before (after a restart).
        every_seconds: least time between two plain lines.
        examples_per_step: the global batch size, for a rate in images a second; 0 leaves it out.
        unit: what is counted.
        enabled: False on all processes but the first.
        stream: where to write; standard error by default.
        clock: seconds, rising.
        delay: seconds before anything is shown.
    """

    def __init__(
        self,
        total: int,
        start: int = 0,
        every_seconds: float = 10.0,
        examples_per_step: int = 0,
        unit: str = 'step',
        enabled: bool = True,
        stream: io.TextIOBase | None = None,
        clock: Callable[[], float] = time.monotonic,
        delay: float = 0.0,
    ):
        self.total, self.every, self.examples = total, every_seconds, examples_per_step
        self.enabled, self.clock, self.unit = enabled, clock, unit
        self.stream: Any = sys.stderr if stream is None else stream
        self._told_step, self._told_time = start, clock()
        self._shown_from = self._told_time + delay
        self._bar = None
        if enabled and self.stream.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, initial=start, unit=unit, file=self.stream, delay=delay)

    def update(self, step: int, text: str = '') -> None:
        """`step` steps are done; `text` (such as the loss) stands at the end of the line."""
        if not self.enabled:
            return
        if self._bar is not None:
            if text:
                self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(step - self._bar.n)
            return
        now = self.clock()
        passed, steps = now - self._told_time, step - self._told_step
        early = passed < self.every and step < self.total
        if steps <= 0 or early or now < self._shown_from:
            return
        self._told_step, self._told_time = step, now
        print(self._plain(step, steps / max(passed, 1e-9), text), file=self.stream, flush=True)

    def _plain(self, step: int, rate: float, text: str) -> str:
        pace = f'{rate:.0f}' if rate >= 100 else f'{rate:.3g}'
        parts = [f'{self.unit} {step}/{self.total}', f'{pace} {self.unit}s/s']
        if self.examples:
            parts.append(f'{rate * self.examples:.0f} images/s')
        parts.append(f'{duration((self.total - step) / rate)} left')
        return ', '.join([*parts, text] if text else parts)

    def close(self) -> None:
        """Ends the bar, so that what is printed next begins a new line."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        self.enabled = False

    def __enter__(self) -> 'Progress':
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def duration(seconds: float) -> str:
    """Seconds as people read them: `42s`, `3m05s`, `2h07m`."""
    seconds = round(seconds)
    if seconds < 60:
        return f'{seconds}s'
    minutes, rest = divmod(seconds, 60)
    return f'{minutes}m{rest:02d}s' if minutes < 60 else f'{minutes // 60}h{minutes % 60:02d}m'
