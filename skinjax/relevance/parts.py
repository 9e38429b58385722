"""The maps of a run while it is being made: one file for each batch, joined in the end."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from skinjax import making
from skinjax.data.parallel import Stopped
from skinjax.engine.writer import appearing, leftovers, read_json, write_json
from skinjax.relevance.mapper import check_finite

PARTS = 'parts'  # folder in the work directory


def begin(workdir: Path, step: int) -> int:
    """How many maps of the checkpoint `step` are there; those of another one are deleted."""
    folder = workdir / PARTS
    if read_json(folder / 'step.json').get('step') != step:
        shutil.rmtree(folder, ignore_errors=True)
        write_json(folder / 'step.json', {'step': step})
    return sum(len(np.load(path)['scale']) for path in found(workdir))


def found(workdir: Path) -> list[Path]:
    """The files, in the order of the maps."""
    return sorted((workdir / PARTS).glob('[0-9]*.npz'))


def write(
    stream: Iterable[tuple[Any, dict[str, np.ndarray]]], ids: np.ndarray, done: int, workdir: Path
) -> None:
    """One file for each batch of (rows, arrays), named by the number of its first map.

    Args:
        stream: arrays are 'maps', 'scale' and others of the same length.
        ids: of all images.
        done: how many maps were there.
        workdir: of the run.

    Raises:
        ValueError: a map is not finite.
        Stopped: after SIGTERM or Ctrl-C.
    """
    with making.stoppable(len(ids), done) as (told, stopped):
        for _, arrays in stream:
            rows = ids[done : done + len(arrays['scale'])]
            check_finite(np.isfinite(arrays['scale']), rows)
            place = workdir / PARTS / f'{done:09d}.npz'
            with appearing(place) as temporary, temporary.open('wb') as file:
                np.savez(file, allow_pickle=False, **arrays)
            done += len(rows)
            told(done)
            if stopped():
                raise Stopped


def join(count: int, path: Path, workdir: Path) -> dict[str, np.ndarray]:
    """Writes the maps of all parts, `count` of them, to `path`; returns the other arrays."""
    columns: dict[str, list[np.ndarray]] = {}
    for file in leftovers(path):
        file.unlink()
    with appearing(path) as place:
        whole, at = None, 0
        for file in found(workdir):
            with np.load(file) as part:
                arrays = dict(part)
            maps = arrays.pop('maps')
            if whole is None:
                shape = (count, *maps.shape[1:])
                whole = np.lib.format.open_memmap(place, 'w+', maps.dtype, shape)
            whole[at : at + len(maps)] = maps
            at += len(maps)
            for name, values in arrays.items():
                columns.setdefault(name, []).append(values)
        if whole is not None:
            whole.flush()
    return {name: np.concatenate(values) for name, values in columns.items()}


def remove(workdir: Path) -> None:
    """Deletes them."""
    shutil.rmtree(workdir / PARTS, ignore_errors=True)
