"""Files of named arrays: safetensors, PyTorch's .pth and .pt, NumPy's .npz, runs of skinjax.

Names and shapes come first and values on demand: a file that does not fit is refused before its
arrays are read. No file can run code: pickles are read with PyTorch's weights-only loader or not
at all, and what the config of a run names is not imported.
"""

import contextlib
import dataclasses
import functools
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  numpy knows bfloat16 from here on
import numpy as np
import orbax.checkpoint as ocp
import safetensors
import safetensors.numpy

from skinjax import rundir
from skinjax.engine import checkpoint
from skinjax.engine.writer import appearing

WRAPPERS = (
    'state_dict',
    'state_dict_ema',
    'model',
)  # keys under which training scripts keep the weights
PREFIXES = ('_orig_mod.', 'module.')  # of torch.compile and torch.nn.DataParallel
OLDEST_TORCH = (2, 10)  # whose weights-only loader is safe


@dataclasses.dataclass(frozen=True)
class Tensor:
    """Shape of a stored array, and how to read its values."""

    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]


Tensors = dict[str, Tensor]


@contextlib.contextmanager
def open_tensors(path: Path) -> Iterator[Tensors]:
    """The arrays of a file or of a run directory, by name, as long as the context lasts.

    A run gives its averaged parameters where it has them, else its parameters, as
    `params/encoder/...` and `batch_stats/encoder/...`.

    Raises:
        FileNotFoundError: no such file, or a run without a checkpoint.
        ImportError: a PyTorch file, and torch is not installed or too old to be safe.
        ValueError: unknown suffix, or a file that is damaged or is no plain weights file.
    """
    readers = {'.safetensors': _safetensors, '.pth': _torch, '.pt': _torch, '.npz': _npz}
    if not path.exists():
        raise FileNotFoundError(f'{path} does not exist: give a weights file or a run directory')
    if not path.is_dir() and path.suffix not in readers:
        raise ValueError(
            f'{path}: unknown suffix {path.suffix!r}; weights are read from '
            f'{", ".join(readers)} files and from run directories'
        )
    with contextlib.ExitStack() as stack:
        tensors = (_run if path.is_dir() else readers[path.suffix])(path, stack)
        for prefix in 2 * PREFIXES:  # either may be the outer one
            if all(name.startswith(prefix) for name in tensors):
                tensors = {name.removeprefix(prefix): t for name, t in tensors.items()}
        yield tensors


@contextlib.contextmanager
def _readable(path: Path, name: str = '') -> Iterator[None]:
    """Whatever a library says of a damaged file, in one line that names the file."""
    try:
        yield
    except Exception as error:  # every library has its own, and pickles can cause any
        place = f', tensor {name!r}' if name else ''
        text = ' '.join(str(error).split())[:160]
        raise ValueError(f'{path}{place} cannot be read: {text}') from error


def _lazy(path: Path, name: str, shape: Any, read: Callable[[], np.ndarray]) -> Tensor:
    def guarded() -> np.ndarray:
        with _readable(path, name):
            return read()

    return Tensor(tuple(shape), guarded)


def _safetensors(path: Path, stack: contextlib.ExitStack) -> Tensors:
    with _readable(path):
        file = stack.enter_context(safetensors.safe_open(path, 'np'))
        return {
            name: _lazy(
                path, name, file.get_slice(name).get_shape(), functools.partial(_get, file, name)
            )
            for name in file.keys()  # noqa: SIM118  not a mapping
        }


def _get(file: Any, name: str) -> np.ndarray:
    return file.get_tensor(name)


def _npz(path: Path, stack: contextlib.ExitStack) -> Tensors:
    with _readable(path):
        archive = stack.enter_context(zipfile.ZipFile(path))
        return {
            member.removesuffix('.npy'): _lazy(
                path, member, _npy_shape(archive, member), functools.partial(_npy, archive, member)
            )
            for member in archive.namelist()
        }


def _npy_shape(archive: zipfile.ZipFile, member: str) -> tuple[int, ...]:
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            return np.lib.format.read_array_header_1_0(file)[0]
        return np.lib.format.read_array_header_2_0(file)[0]


def _npy(archive: zipfile.ZipFile, member: str) -> np.ndarray:
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _torch(path: Path, stack: contextlib.ExitStack) -> Tensors:
    del stack
    try:
        import torch
    except ImportError:
        raise ImportError(
            f"{path} needs PyTorch to be read: pip install 'skinjax[torch]', or save the weights "
            'as .safetensors'
        ) from None
    if tuple(int(part) for part in torch.__version__.split('.')[:2]) < OLDEST_TORCH:
        raise ImportError(
            f'{path} is not read with torch {torch.__version__}, in which such files can run code '
            "(CVE-2025-32434, CVE-2026-24747): pip install 'torch>=2.10'"
        )
    # Only the newer, zipped form can be mapped into memory.
    mapped = zipfile.is_zipfile(path)
    with _readable(path), warnings.catch_warnings(action='ignore'):
        try:
            state = torch.load(path, map_location='cpu', weights_only=True, mmap=mapped)
        except pickle.UnpicklingError as error:
            # Its text goes on to recommend loading the file without this protection.
            found = re.search(r'GLOBAL ([\w.]+)', str(error))
            what = f'holds Python objects ({found[1]})' if found else 'is no file of tensors alone'
            raise ValueError(
                f'it {what}, and such files can run any code; save its state_dict as .safetensors'
            ) from None
    state = _unwrap(path, state)
    return {
        name: _lazy(path, name, value.shape, functools.partial(_detached, value))
        for name, value in state.items()
    }


def _detached(value: Any) -> np.ndarray:
    """A copy in float32: `numpy()` alone would share the memory of the file.

    Raises:
        ValueError: it holds no floating-point numbers.
    """
    if not value.is_floating_point():
        raise ValueError(f'it holds {value.dtype}, expected floating-point numbers')
    return np.array(value.detach().float().contiguous().numpy())


def _unwrap(path: Path, state: Any) -> dict[str, Any]:
    """The state_dict itself.

    Raises:
        ValueError: something in it is no array.
    """
    for key in WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
            break
    if not isinstance(state, Mapping) or not state:
        raise ValueError(f'{path} holds no state_dict but {type(state).__name__}')
    for name, value in state.items():
        if not (isinstance(name, str) and hasattr(value, 'detach')):
            raise ValueError(
                f'{path}: entry {name!r} is no tensor but {type(value).__name__}; save the '
                'state_dict alone'
            )
    return dict(state)


def _run(path: Path, stack: contextlib.ExitStack) -> Tensors:
    """Arrays of a run directory, or of one step below its `checkpoints`."""
    del stack
    folder = path if (path / 'state').is_dir() else path / 'checkpoints' / str(_choose(path))
    folder = (folder / 'state').absolute()
    with _readable(path), contextlib.closing(_reader()) as reader:
        metadata: Any = reader.metadata(folder)
        tree = metadata.item_metadata.tree
        name = 'ema' if tree.get('ema') else 'params'
        wanted = {name: tree[name]}
        if statistics := (tree.get('model') or {}).get('batch_stats'):
            wanted['model'] = {'batch_stats': statistics}
        shapes = ocp.tree.to_flat_dict(wanted, sep='/')
    label = {name: 'params', 'model': ''}

    @functools.cache
    def values() -> dict[str, np.ndarray]:
        as_numpy = ocp.tree.from_flat_dict(
            dict.fromkeys(shapes, ocp.RestoreArgs(restore_type=np.ndarray)), sep='/'
        )
        with contextlib.closing(_reader()) as reader:
            arguments = ocp.args.PyTreeRestore(wanted, as_numpy, partial_restore=True)
            return ocp.tree.to_flat_dict(reader.restore(folder, args=arguments), sep='/')

    def renamed(key: str) -> str:
        top, _, rest = key.partition('/')
        return f'{label[top]}/{rest}'.removeprefix('/')

    return {
        renamed(key): _lazy(path, key, leaf.shape, lambda key=key: values()[key])
        for key, leaf in shapes.items()
    }


def _reader() -> ocp.Checkpointer:
    return ocp.Checkpointer(ocp.PyTreeCheckpointHandler())


def _choose(run: Path) -> int:
    config = rundir.read_run(run)
    return checkpoint.choose_step(run, config.get('train', {}).get('select', 'last'))


def write_safetensors(
    path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Write `arrays`, which appear as a whole file once they have been read back, or not at all.

    Raises:
        OSError: what was read is not what was written; the array is named.
    """
    # safetensors 0.8 writes arrays that are not contiguous in the wrong order.
    whole = {name: np.asarray(array, order='C') for name, array in arrays.items()}
    with appearing(path) as place:
        place.touch()
        mode = place.stat().st_mode
        safetensors.numpy.save_file(whole, place, dict(metadata or {}))
        place.chmod(mode)  # the library makes files that nobody else may read
        with safetensors.safe_open(place, 'np') as file:
            for name, array in whole.items():
                back = file.get_tensor(name)
                same = (back.dtype, back.shape) == (array.dtype, array.shape)
                if not same or back.tobytes() != array.tobytes():
                    raise OSError(f'{path}: {name!r} was not written as it is')
