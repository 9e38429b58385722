"""Many training runs, some at a time, each in a process of its own with its share of the cores."""

import concurrent.futures
import contextlib
import itertools
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from skinjax import config as configs
from skinjax.engine.writer import duration

HEADLINES = ('auc', 'mean_auc', 'jaccard', 'psnr_hole', 'kid')  # main figures, by task
INTERRUPTED = (128 + signal.SIGINT, 128 + signal.SIGTERM)  # exit status of a stopped run


def execute(jobs: Mapping[Any, tuple[Any, Path]], workers: int) -> None:
    """Train every job, `workers` at a time, each on its share of the cores.

    Raises:
        RuntimeError: a run failed.
    """
    context = multiprocessing.get_context('spawn')
    print(f'{len(jobs)} runs, {workers} at a time: DIRECTORY.log tells how far each is', flush=True)
    slots = context.Queue()
    for slot in range(workers):
        slots.put(slot)
    with (
        _sigterm_as_interrupt(),
        concurrent.futures.ProcessPoolExecutor(
            min(workers, len(jobs)), context, _share_cores, (slots, workers)
        ) as pool,
    ):
        try:
            _await(pool, jobs, workers)
        except BaseException:
            _stop(pool)
            raise


def _await(
    pool: concurrent.futures.ProcessPoolExecutor,
    todo: Mapping[Any, tuple[Any, Path]],
    workers: int,
) -> None:
    """Hand out the runs and tell how each ended.

    No more than `workers` at a time: the pool cannot take back what already waits for a worker.
    """
    start, waiting, going = time.monotonic(), iter(todo.items()), {}
    for count in range(1, len(todo) + 1):
        for key, (config, folder) in itertools.islice(waiting, workers - len(going)):
            going[pool.submit(_train, configs.to_json(config), str(folder))] = (key, folder)
        future = next(concurrent.futures.as_completed(going))
        key, folder = going.pop(future)
        try:
            scores = future.result()
        except (Exception, SystemExit) as error:
            if isinstance(error, SystemExit) and error.code in INTERRUPTED:
                raise KeyboardInterrupt from None  # the same Ctrl-C, and the run was faster
            raise RuntimeError(
                f'run {folder} failed ({error}): see {folder}.log; the same command '
                'continues with what is left'
            ) from error
        left = (time.monotonic() - start) / count * (len(todo) - count)
        print(
            f'{count}/{len(todo)} {key[0]} {folder.name}: {scores}, {duration(left)} left',
            flush=True,
        )


def _stop(pool: concurrent.futures.ProcessPoolExecutor) -> None:
    """Start nothing more, and let the runs that are going on save and end."""
    pool.shutdown(wait=False, cancel_futures=True)
    for child in multiprocessing.active_children():
        child.terminate()


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """SIGTERM is met as Ctrl-C is; the former handler is put back at the end."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)


def _share_cores(slots: Any, workers: int) -> None:
    """Give this worker its own cores, so that runs side by side do not slow each other down."""
    slot = slots.get()
    if hasattr(os, 'sched_setaffinity'):
        cores = sorted(os.sched_getaffinity(0))
        mine = cores[slot * len(cores) // workers : (slot + 1) * len(cores) // workers]
        os.sched_setaffinity(0, mine or cores)


def _train(values: dict[str, Any], folder: str) -> str:
    """One run, logged to a .log file beside it; returns its main figures for the progress line."""
    import jax
    from absl import logging

    from skinjax import train

    logging.set_verbosity(logging.ERROR)
    path = Path(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    log = path.with_suffix('.log')
    with (
        log.open('a', encoding='utf-8') as out,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(out),
    ):
        try:
            results = train.run(configs.from_json(values), path)
        except BaseException:
            traceback.print_exc()
            raise
    jax.clear_caches()
    return ', '.join(f'{name} {headline(block)}' for name, block in results['splits'].items())


def headline(block: Mapping[str, Any]) -> str:
    """The main figure of a split, by what the network is for; '-' where it is not defined."""
    value = next(block[name]['value'] for name in HEADLINES if name in block)
    return '-' if value is None else f'{value:.3f}'
