"""A function over every row of a split: padded, masked, in order."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from skinjax.data import pipeline
from skinjax.data.records import Records
from skinjax.engine.mesh import Mesh, is_main
from skinjax.engine.writer import Progress

DELAY = 10.0  # seconds, after which it is told how far a split is
_LEAST = 8  # rows of a batch: with fewer than these compilation takes longer than the padding


def compile_map(fn: Callable[[Any, dict[str, Any]], dict[str, Any]], mesh: Mesh) -> Callable:
    """`fn`(variables, batch) -> [b, ...] arrays, compiled once for all splits and steps."""
    return jax.jit(fn, out_shardings=Mesh('jit', mesh.devices).replicated)


def map_split(
    run: Callable[[Any, dict[str, Any]], dict[str, Any]],
    variables: Any,
    records: Records,
    config: Any,
    mesh: Mesh,
    batch_size: int,
) -> dict[str, np.ndarray]:
    """Apply `run` to every row and return [n, ...] arrays in the order of the rows.

    Args:
        run: what `compile_map` returns.
        variables: its first argument.
        config: the data section.
        batch_size: global; fewer rows come in a smaller batch. The last batch is padded and its
            padding rows are dropped.
    """
    parts, done = [], 0
    with Progress(len(records), unit='image', enabled=is_main(), delay=DELAY) as progress:
        for rows, out in stream_split(run, variables, records, config, mesh, batch_size):
            parts.append((rows, out))
            done += len(rows)
            progress.update(done)
    order = np.argsort(np.concatenate([rows for rows, _ in parts]), kind='stable')
    names = parts[0][1]
    return {name: np.concatenate([out[name] for _, out in parts])[order] for name in names}


def stream_split(
    run: Callable[[Any, dict[str, Any]], dict[str, Any]],
    variables: Any,
    records: Records,
    config: Any,
    mesh: Mesh,
    batch_size: int,
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """As `map_split`, a batch at a time: (rows [b], arrays [b, ...]), for what fills the memory.

    Every process gets the rows of all of them.
    """
    size = _size(len(records), batch_size, len(mesh.devices))
    whole = Mesh('jit', mesh.devices)
    count = jax.process_count()
    batches = pipeline.split_batches(
        records, config, size, process_index=jax.process_index(), process_count=count
    )
    with contextlib.closing(batches):
        for batch in batches:
            out = run(variables, whole.put_batch(batch))
            index, valid = batch['index'], batch['valid']
            if count > 1:
                index, valid = (
                    multihost_utils.process_allgather(x).reshape(-1) for x in (index, valid)
                )
            yield index[valid], {name: np.asarray(value)[valid] for name, value in out.items()}


def _size(rows: int, batch_size: int, devices: int) -> int:
    """Rows of a batch, a multiple of the devices.

    What does not fill one is padded to a power of two: tables of all sizes share few programs.
    """
    size = min(batch_size, max(_LEAST, 1 << (rows - 1).bit_length()))
    return -(-size // devices) * devices
