"""Whether a checkpoint is that of this model, and what was saved."""

import contextlib
import zlib
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp


class MisfitError(ValueError):
    """A checkpoint of another model."""


class DamagedError(ValueError):
    """A checkpoint that cannot be read, or is not what was saved."""


def crc32(state: Any) -> int:
    """CRC-32 of the values of a tree, leaf by leaf."""
    code = 0
    for leaf in jax.tree.leaves(state):
        array = np.ascontiguousarray(leaf)
        code = zlib.crc32(array.view(np.uint8).data if array.size else b'', code)
    return code


@contextlib.contextmanager
def reading(path: Path):
    """Whatever goes wrong with a file below, other than `MisfitError`, becomes `DamagedError`."""
    try:
        yield
    except (MisfitError, MemoryError, PermissionError, jax.errors.JaxRuntimeError):
        raise
    except Exception as error:
        text = ' '.join(str(error).split())[:300] or type(error).__name__
        raise DamagedError(f'checkpoint {path} is damaged ({text})') from error


def check_fits(path: Path, abstract: Any, *, whole: bool) -> None:
    """Compare names and shapes before anything is read.

    Raises:
        MisfitError: an array is missing or has another shape, or (with `whole`) is left over; the
            first ones are named.
    """
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        metadata: Any = reader.metadata(path / 'state')
    saved, wanted = _shapes(metadata.item_metadata.tree), _shapes(abstract)
    wrong = [f'{name} is missing' for name in wanted if name not in saved]
    wrong += [
        f'{name} is {saved[name]}, expected {shape}'
        for name, shape in wanted.items()
        if name in saved and saved[name] != shape
    ]
    wrong += [f'{name} is left over' for name in saved if whole and name not in wanted]
    if wrong:
        more = f' and {len(wrong) - 3} more' if len(wrong) > 3 else ''
        raise MisfitError(
            f'checkpoint {path} does not fit this model: {"; ".join(wrong[:3])}{more}; '
            'choose another --workdir or the config that it was trained with'
        )


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator='.'): tuple(leaf.shape)
        for path, leaf in leaves
        if hasattr(leaf, 'shape')
    }
