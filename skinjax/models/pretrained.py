"""Weights of other programs, and of earlier runs, in our networks and back.

`naming.py` says what others call our arrays, `tensor_files.py` reads their files.
"""

import contextlib
import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from skinjax import config as configs
from skinjax import rundir
from skinjax.models.naming import OWN, Slot, name_slots
from skinjax.models.norm import BatchNorm
from skinjax.models.options import COMMON
from skinjax.models.tensor_files import Tensors, open_tensors

# Counters of batches, and the auxiliary classifier of Inception, which we do not have.
IGNORED = re.compile(r'.*\.num_batches_tracked|AuxLogits\..*')
SHOWN = 20  # names in an error


@dataclasses.dataclass(frozen=True)
class Loaded:
    """What a file gives.

    Attributes:
        variables: `params` and `batch_stats`, without the groups that were left out.
        naming: of the file: skinjax, torchvision, timm or tensorflow.
        notes: what stays behind, and where a run was configured otherwise.
    """

    variables: dict[str, Any]
    naming: str
    notes: tuple[str, ...] = ()


def load(path: str | Path, abstract: Mapping[str, Any], config: Any, data: Any = None) -> Loaded:
    """The arrays of a weights file or of a run for the model of `config`, in float32.

    Bias heads (`bias_<name>`) are never loaded. Nothing is read before all names and shapes fit.

    Args:
        path: torchvision's or timm's state_dict as .safetensors, .pth or .pt; a .npz; the
            directory of a run or of a converted checkpoint.
        abstract: shapes of `params` and `batch_stats`.
        config: the `model` section; `leave_out` names groups that keep what they have.
        data: the `data` section, whose mean and standard deviation are compared with a run's.

    Raises:
        FileNotFoundError, ImportError: no such file, or no torch that reads it safely.
        ValueError: missing, additional, misshapen or non-finite arrays, by name.
    """
    path = Path(path)
    with _open(path, config) as tensors:
        naming, slots = recognise(path, tensors, abstract, config)
        left_out = _left_out(slots, config)
        taken = [slot for slot in slots if slot not in left_out]
        _check_head(path, tensors, taken)
        ignored = _check(path, tensors, slots, taken, naming, config)
        values = {slot.path: _value(path, tensors, slot) for slot in taken}
    dropped = [name for name in ignored if not name.endswith('num_batches_tracked')]
    what = 'bias heads' if naming == OWN else 'the auxiliary head'
    what = 'layers that this model has not' if any(_unused(n, config) for n in dropped) else what
    notes = [f'{path}: {len(dropped)} arrays of {what} stay behind'] if dropped else []
    return Loaded(unflatten_dict(values), naming, (*notes, *_differences(path, config, data)))


def _differences(path: Path, config: Any, data: Any) -> list[str]:
    """Notes on a run whose network computes something else with arrays of the same shapes."""
    if not (path / 'config.json').exists():
        return []
    run = rundir.read_run(path)
    own = configs.find('models', config.name).DEFAULTS
    fields = [('model', field) for field in own if field not in COMMON]
    if 'data' in run:  # not in the checkpoints of `convert`
        fields += [('model', 'dtype')]
        fields += [('data', 'mean'), ('data', 'std')] if data is not None else []
    ours = {'model': config, 'data': data}
    return [
        f'{path} has {part}.{field} = {run[part][field]!r}, this model {ours[part].get(field)!r}'
        for part, field in fields
        if field in run.get(part, {}) and run[part][field] != ours[part].get(field)
    ]


def replace(variables: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """`variables` with the arrays in `values` in their place."""
    return unflatten_dict(
        {**flatten_dict(variables, keep_empty_nodes=True), **flatten_dict(values)}
    )


def outputs(path: str | Path, abstract: Mapping[str, Any], config: Any) -> int:
    """Number of outputs of the main head in a file.

    Raises:
        ValueError: it has no head.
    """
    path = Path(path)
    with _open(path, config) as tensors:
        _, slots = recognise(path, tensors, abstract, config)
        name = next(slot.name for slot in slots if slot.path == ('params', 'head', 'bias'))
        if name not in tensors or len(tensors[name].shape) != 1:
            raise ValueError(f'{path} has no head ({name!r}): {_hint()}')
        return tensors[name].shape[0]


def give(variables: Mapping[str, Any], config: Any, naming: str) -> dict[str, np.ndarray]:
    """Our arrays under the names and in the layout of `naming`, without bias heads.

    An empty `naming` is the first that the model file has, or `skinjax`, our own, without any.

    Raises:
        ValueError: the model has no such naming, or computes what that program does not.
    """
    family = configs.find('models', config.name)
    known = [*(name for name in getattr(family, 'NAMES', {}) if name != 'tensorflow'), OWN]
    if naming not in ('', *known):
        raise ValueError(f'no {naming!r} names for {config.name}; there are: {", ".join(known)}')
    naming = naming or known[0]
    for field, value, found in _unexpected(family, naming, config):
        raise ValueError(
            f'{naming} names are for {config.name} with {field} = {value!r}, found {found!r}: '
            f'{naming} would compute something else with these weights'
        )
    values, slots = flatten_dict(variables), name_slots(variables, family, naming)
    named = {slot.path for slot in slots}
    if lost := [path for path in values if path not in named and not path[1].startswith('bias_')]:
        raise ValueError(
            f'{naming} has no place for {"/".join(lost[0][1:-1])!r} of this {config.name}: write '
            f'it with --config.naming={OWN}'
        )
    return {
        slot.name: np.array(slot.give(np.asarray(values[slot.path])), np.float32, order='C')
        for slot in slots
    }


@contextlib.contextmanager
def _open(path: Path, config: Any) -> Iterator[Tensors]:
    """The tensors of a file under the names of today."""
    renamed = getattr(configs.find('models', config.name), 'RENAMED', ())
    with open_tensors(path) as tensors:
        yield {_rename(name, renamed): tensor for name, tensor in tensors.items()}


def _rename(name: str, renamed: Iterable[tuple[str, str]]) -> str:
    for pattern, template in renamed:
        name = re.sub(f'^(?:{pattern})$', template, name)
    return name


def recognise(
    path: Path, tensors: Tensors, abstract: Mapping[str, Any], config: Any
) -> tuple[str, list[Slot]]:
    """The naming that explains most of the names in a file, and our arrays under it.

    Raises:
        ValueError: it explains less than half of our arrays, or the weights are for another value
            of a field of the config.
    """
    family = configs.find('models', config.name)
    known = {OWN, *getattr(family, 'NAMES', {})}
    found = {naming: name_slots(abstract, family, naming) for naming in sorted(known, reverse=True)}

    def explained(naming: str) -> int:
        return sum(slot.name in tensors for slot in found[naming])

    naming = max(found, key=explained)  # torchvision before timm, where their names are the same
    named = [slot.name for slot in found[naming] if slot.name]
    if 2 * explained(naming) < len(named):
        missing = [name for name in named if name not in tensors]
        raise ValueError(
            f'{path} is of another network than {_network(config)}: only {explained(naming)} of '
            f'{len(named)} arrays are there; missing: {_list(missing)}'
        )
    for field, value, ours in _unexpected(family, naming, config):
        raise ValueError(
            f'{path} ({naming} names) is for config.model.{field} = {value!r}, found {ours!r}: set '
            f'--config.model.{field}={value}'
        )
    return naming, found[naming]


def _unexpected(family: Any, naming: str, config: Any) -> list[tuple[str, Any, Any]]:
    """(field, value that the weights are for, ours) where they differ."""
    expected = getattr(family, 'EXPECTED', {}).get(naming, {})
    pairs = [(f, value, config.get(f, family.DEFAULTS[f])) for f, value in expected.items()]
    return [(field, value, ours) for field, value, ours in pairs if value != ours]


def _left_out(slots: list[Slot], config: Any) -> set[Slot]:
    """The slots in the groups (`head`) or modules (`encoder/stem_conv`) of `leave_out`."""
    groups = config.get('leave_out', ())
    modules = {'/'.join(slot.path[1:]): slot for slot in slots}
    left: set[Slot] = set()
    for group in groups:
        inside = [slot for name, slot in modules.items() if f'{name}/'.startswith(f'{group}/')]
        if not inside:
            raise ValueError(
                f'config.model.leave_out names {group!r}, which the model does not have; it has '
                f'{", ".join(sorted({slot.path[1] for slot in slots}))} and their modules'
            )
        left |= {*inside}
    return left


def _check_head(path: Path, tensors: Tensors, slots: list[Slot]) -> None:
    """Another number of classes gets a message of its own."""
    for slot in slots:
        if slot.path == ('params', 'head', 'bias') and slot.name in tensors:
            found = tensors[slot.name].shape
            if len(found) == 1 and found != slot.shape:
                raise ValueError(
                    f'{path}: its head ({slot.name}) has {found[0]} outputs, this model has '
                    f'{slot.shape[0]}: {_hint()}'
                )


def _hint() -> str:
    return 'keep a fresh head with --config.model.leave_out=head'


def _check(
    path: Path, tensors: Tensors, slots: list[Slot], taken: list[Slot], naming: str, config: Any
) -> list[str]:
    """Compare names and shapes; returns the names that are ignored."""
    known = {slot.name for slot in slots}
    rest = [name for name in tensors if name not in known]
    ignored = [name for name in rest if IGNORED.fullmatch(name) or _unused(name, config)]
    if naming == OWN:
        ignored += [name for name in rest if re.match(r'\w+/bias_', name)]
    wanted = {slot.name: slot.foreign_shape for slot in taken if slot.name}
    missing = [name for name in wanted if name not in tensors]
    extra = [name for name in rest if name not in ignored]
    misshapen = [
        f'{name} is {tensors[name].shape}, expected {shape}'
        for name, shape in wanted.items()
        if name in tensors and tensors[name].shape != shape
    ]
    wrong = [
        f'{what}: {_list(names)}'
        for what, names in (('missing', missing), ('left over', extra), ('misshapen', misshapen))
        if names
    ]
    if wrong:
        raise ValueError(
            f'{path} ({naming} names) does not fit {_network(config)}; {"; ".join(wrong)}; groups '
            'can be left out, as in --config.model.leave_out=head'
        )
    return ignored


def _unused(name: str, config: Any) -> bool:
    """Whether a name in a file is one of those for which the model has no place."""
    family = configs.find('models', config.name)
    patterns = [
        values.get(config.get(field, family.DEFAULTS[field]))
        for field, values in getattr(family, 'UNUSED', {}).items()
    ]
    return any(pattern and re.fullmatch(pattern, name) for pattern in patterns)


def _network(config: Any) -> str:
    return f'{config.name} {config.get("variant", "")!r}'


def _list(names: Any) -> str:
    names = [ascii(name)[1:-1] for name in names]  # as they come from a file
    more = f' and {len(names) - SHOWN} more' if len(names) > SHOWN else ''
    return ', '.join(names[:SHOWN]) + more


def _value(path: Path, tensors: Tensors, slot: Slot) -> np.ndarray:
    """Our array, a contiguous copy in float32.

    Raises:
        ValueError: a value is NaN or infinite, or the array holds no numbers.
    """
    if not slot.name:  # of a folded normalisation, whose factor becomes 1 to the last bit
        value = {'scale': 1.0, 'mean': 0.0, 'var': 1.0 - BatchNorm.epsilon}[slot.path[-1]]
        return np.full(slot.shape, value, np.float32)
    array = tensors[slot.name].read()
    if array.dtype.kind != 'f' and array.dtype != ml_dtypes.bfloat16:
        raise ValueError(
            f'{path}: {slot.name} holds {array.dtype}, expected floating-point numbers'
        )
    with np.errstate(over='ignore'):  # told below
        array = np.array(slot.take(array.astype(np.float32)), order='C')
    if not np.isfinite(array).all():
        count = int((~np.isfinite(array)).sum())
        raise ValueError(f'{path}: {slot.name} has {count} values that are NaN or infinite')
    return array
