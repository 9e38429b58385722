"""What kinds that write data sets share: work that can be stopped, and where images come from."""

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from skinjax.data.parallel import Stopped
from skinjax.data.records import Records
from skinjax.engine.startup import Interrupts
from skinjax.engine.writer import Progress


@contextlib.contextmanager
def stoppable(
    total: int, there: int = 0
) -> Iterator[tuple[Callable[[int], None], Callable[[], object]]]:
    """A bar of `total` images of which some are `there`; and a stop at SIGTERM or Ctrl-C.

    Yields:
        What is told the number of images done so far, and what says whether to stop: then the work
        raises Stopped.

    Raises:
        SystemExit: after Stopped; what is written stays.
    """
    with Interrupts() as interrupts, Progress(total, there, unit='image') as progress:
        try:
            yield progress.update, lambda: interrupts.signal
            return
        except Stopped:
            number = interrupts.signal or 0
    print(f'signal {number}: stopped; the same command continues from here', flush=True)
    raise SystemExit(128 + number)


@contextlib.contextmanager
def counted(
    function: Callable[..., Any], calls: int, unit: str, delay: float = 0.0
) -> Iterator[Callable[..., Any]]:
    """`function`, each of whose `calls` calls moves a bar by one `unit`, that is shown after
    `delay` seconds."""
    done = itertools.count(1)
    with Progress(calls, unit=unit, delay=delay) as progress:

        def told(*given: Any) -> Any:
            out = function(*given)
            progress.update(next(done))
            return out

        yield told


def source_images(records: Records, root: str) -> dict[str, np.ndarray]:
    """Column `source_image`: the path of each image below `root`; none where rows are not files."""
    if records.files is None:
        return {}
    home = os.path.realpath(root or '.')
    names = [os.path.relpath(file, home) for file in records.files.tolist()]
    return {'source_image': np.array(names)}
