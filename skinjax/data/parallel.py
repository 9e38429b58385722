"""Threads over many items, in order."""

import collections
import concurrent.futures
import itertools
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

Item = TypeVar('Item')
Result = TypeVar('Result')


class Stopped(Exception):  # noqa: N818
    """Asked to stop; what is finished stays."""


def ordered(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Generator[Result, None, None]:
    """As `map`, by threads that are at most a few items ahead; to be closed."""
    items = iter(items)
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        first = itertools.islice(items, 4 * workers)
        waiting = collections.deque(pool.submit(function, item) for item in first)
        try:
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(pool.submit(function, item) for item in itertools.islice(items, 1))
                yield result
        finally:
            for future in waiting:
                future.cancel()
