"""Between `state_dict`s of these networks and flax variables of the same networks.

Kernels go from [out, in, h, w] to [h, w, in, out], dense ones from [out, in] to [in, out]; running
statistics become the collection `batch_stats`. Trees of the shape of the parameters (gradients,
momentum) convert in the same way. Arrays are copied, never shared.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

LEAVES = {
    'kernel': 'weight',
    'scale': 'weight',
    'bias': 'bias',
    'mean': 'running_mean',
    'var': 'running_var',
}
MODULES = (
    (r'^bias_(\w+?)\.(norm|hidden|out)\b', r'bias_heads.\1.\2'),
    (r'^encoder\.stem_conv\.conv\b', 'encoder.conv1'),
    (r'^encoder\.stem_norm\b', 'encoder.bn1'),
    (r'^encoder\.stage(\d+)_(\d+)\b', r'encoder.layer\1.\2'),
    (r'\bshortcut_conv\.conv\b', 'downsample.0'),
    (r'\bshortcut_norm\b', 'downsample.1'),
    (r'\bconv(\d)\.conv\b', r'conv\1'),
    (r'\bnorm(\d)\b', r'bn\1'),
)


def to_torch(
    *trees: Mapping[str, Any], transposed: Collection[str] = (), stacked: str = ''
) -> dict[str, Tensor]:
    """Nested flax collections (`params`, `batch_stats`, momentum) as one flat state_dict.

    Args:
        transposed: modules that are transposed convolutions here: kernels [in, out, h, w], turned
            by 180 degrees.
        stacked: a module whose arrays have a leading axis: here a list of that many modules.
    """
    return {
        _torch_name(path): torch.from_numpy(_to_oihw(path, array, transposed))
        for tree in trees
        for whole, leaf in _leaves(tree)
        for path, array in _copies(whole, np.array(leaf), stacked)
    }


def to_flax(state: Mapping[str, Tensor], like: Mapping[str, Any]) -> dict[str, Any]:
    """Arrays of `state` in the structure of `like`, such as {'params': ..., 'batch_stats': ...}.

    Raises:
        ValueError: `state` lacks an array, has one too many, or one of another shape.
    """
    left = {name for name in state if not name.endswith('num_batches_tracked')}

    def fill(tree: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
        filled = {}
        for key, value in tree.items():
            here = (*path, key)
            filled[key] = fill(value, here) if isinstance(value, Mapping) else read(here, value)
        return filled

    def read(path: tuple[str, ...], value: Any) -> np.ndarray:
        name = _torch_name(path)
        if name not in state:
            raise ValueError(f'the state_dict has no {name!r} (for {"/".join(path)})')
        left.discard(name)
        array = _from_oihw(path, state[name].detach().cpu().numpy())
        if array.shape != value.shape:
            raise ValueError(f'{name!r}: shape {array.shape}, but the model has {value.shape}')
        return array

    filled = {collection: fill(tree, ()) for collection, tree in like.items()}
    if left:
        raise ValueError(f'the model has no place for {sorted(left)} of the state_dict')
    return filled


def momentum(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """SGD's momentum buffers by parameter name, for those that have one."""
    buffers = {
        name: optimizer.state[p].get('momentum_buffer') for name, p in _owned(model, optimizer)
    }
    return {name: buffer for name, buffer in buffers.items() if buffer is not None}


def _owned(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    ids = {id(p) for group in optimizer.param_groups for p in group['params']}
    return ((name, p) for name, p in model.named_parameters() if id(p) in ids)


def _leaves(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key), value


def _copies(
    path: tuple[str, ...], array: np.ndarray, stacked: str
) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
    if path[0] != stacked:
        yield path, array
        return
    for i, one in enumerate(array):
        yield (path[0], str(i), *path[1:]), one


def _torch_name(path: tuple[str, ...]) -> str:
    module = '.'.join(path[:-1])
    for pattern, replacement in MODULES:
        module = re.sub(pattern, replacement, module)
    return f'{module}.{LEAVES[path[-1]]}'


def _to_oihw(
    path: tuple[str, ...], array: np.ndarray, transposed: Collection[str] = ()
) -> np.ndarray:
    if path[-1] == 'kernel':
        if '.'.join(path[:-1]) in transposed:
            array = array[::-1, ::-1].transpose(0, 1, 3, 2)
        array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
    return np.ascontiguousarray(array)


def _from_oihw(path: tuple[str, ...], array: np.ndarray) -> np.ndarray:
    if path[-1] == 'kernel':
        array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
    return np.array(array, order='C')
