"""What other programs call the arrays of our networks, and how they lay them out.

Every model file names its layers as others do, in

    NAMES = {'torchvision': ((pattern, template), ...), 'timm': ...}

where a regular expression on our path (`encoder/stage1_0/conv1/conv`, `head`) gives the other
module (`layer1.0.conv1`, `fc`), or '' for what the other program does not have; the first full
match counts. Nobody else has our `encoder/attention`. In the naming `tensorflow` batch
normalisation is folded into the convolutions: its biases are those of our normalisation, whose
other values make it the identity. Further tables are optional:

    FLATTENED = {path: (h, w, c)}          dense layers after a flattened map: torch has (c, h, w)
    WINDOWS = {naming: {path: (h, w)}}     dense layers that others write as convolutions
    TRANSPOSED = pattern                   paths that torch has as transposed convolutions: kernels
                                           [in, out, h, w] that are turned by 180 degrees
    RENAMED = ((pattern, template), ...)   older names in files, brought to those of today
    EXPECTED = {naming: {field: value}}    what config.model must say for these weights
    UNUSED = {field: {value: pattern}}     names in files that config.model has no place for
"""

import dataclasses
import re
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

OWN = 'skinjax'
ATTENTION = 'encoder/attention'
LEAVES = {
    'kernel': 'weight',
    'scale': 'weight',
    'bias': 'bias',
    'mean': 'running_mean',
    'var': 'running_var',
}


@dataclasses.dataclass(frozen=True)
class Slot:
    """One array of ours under the name and in the layout of another program.

    Attributes:
        path: (collection, module, ..., leaf).
        shape: of our array.
        name: in the file; '' for what a folded normalisation does not have.
        layout: of the file: 'torch' or 'ours'.
        window: (h, w) of the convolution that the file has in place of our dense layer.
        flattened: (h, w, c) of the map that our dense layer sees.
        transposed: the file has a transposed convolution of stride 1, turned by 180 degrees.
    """

    path: tuple[str, ...]
    shape: tuple[int, ...]
    name: str
    layout: str = 'torch'
    window: tuple[int, int] | None = None
    flattened: tuple[int, int, int] | None = None
    transposed: bool = False

    def give(self, array: np.ndarray) -> np.ndarray:
        """Our array in the layout of the file."""
        if self.path[-1] != 'kernel':
            return array
        rows = self.window or (self.flattened or ())[:2]
        if array.ndim == 2 and rows:
            array = array.reshape(*rows, -1, array.shape[-1])
        if self.layout != 'torch':
            return array
        if array.ndim == 2:
            return array.T
        if self.transposed:
            return array[::-1, ::-1].transpose(2, 3, 0, 1)
        array = array.transpose(3, 2, 0, 1)
        return array.reshape(len(array), -1) if self.flattened and not self.window else array

    def take(self, array: np.ndarray) -> np.ndarray:
        """An array of the file in our layout; the inverse of `give`."""
        if self.path[-1] == 'kernel' and self.layout == 'torch':
            if self.flattened and not self.window:
                rows, columns, channels = self.flattened
                array = array.reshape(-1, channels, rows, columns)
            if self.transposed:
                return array.transpose(2, 3, 0, 1)[::-1, ::-1]
            array = array.T if array.ndim == 2 else array.transpose(2, 3, 1, 0)
        return array.reshape(self.shape)

    @property
    def foreign_shape(self) -> tuple[int, ...]:
        """Shape in the file."""
        return self.give(np.broadcast_to(np.float32(0), self.shape)).shape  # takes no memory


def name_slots(abstract: Mapping[str, Any], family: ModuleType, naming: str) -> list[Slot]:
    """Our arrays as `naming` has them, without those of bias heads and those that it has not.

    Raises:
        ValueError: the model file has no such naming, or it leaves an array without a name, or
            gives two the same.
    """
    windows = getattr(family, 'WINDOWS', {}).get(naming, {})
    flattened = getattr(family, 'FLATTENED', {})
    transposed = getattr(family, 'TRANSPOSED', '')
    arrays: dict[Any, Any] = flatten_dict(abstract)
    found = []
    for path, value in arrays.items():
        if path[1].startswith('bias_'):
            continue
        if naming == OWN:
            found.append(Slot(path, value.shape, '/'.join(path), 'ours'))
            continue
        module, leaf = '/'.join(path[1:-1]), path[-1]
        theirs = _module_name(family, naming, module)
        if not theirs:
            continue
        name, layout = f'{theirs}.{LEAVES[leaf]}', 'torch'
        if naming == 'tensorflow':
            layout, name = 'ours', name.rpartition('.')[0] + f'/{leaf}'
            name = name if leaf in ('kernel', 'bias') else ''
        shapes = (windows.get(module), flattened.get(module))
        turned = re.fullmatch(transposed, module) is not None
        found.append(Slot(path, value.shape, name, layout, *shapes, turned))
    names = [slot.name for slot in found if slot.name]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f'NAMES[{naming!r}] of {family.__name__} gives {min(twice)!r} twice')
    return found


def _module_name(family: ModuleType, naming: str, module: str) -> str:
    names = getattr(family, 'NAMES', {})
    if naming not in names:
        raise ValueError(
            f'{family.__name__} has no {naming!r} names; it has {", ".join(names) or "none"}'
        )
    for pattern, template in ((rf'{ATTENTION}/.*', ''), *names[naming]):
        if match := re.fullmatch(pattern, module):
            return match.expand(template)
    raise ValueError(f'NAMES[{naming!r}] of {family.__name__} has no name for {module!r}')
