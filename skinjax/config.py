"""Configs are plain data over locked defaults; plug-ins are found by file name.

A config file builds on `train` or `evaluate`, or on the defaults of another kind in `kinds.py`, so
that every field exists before the command line is read and a typo is an error that names the near
miss.
"""

import importlib
import importlib.util
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from skinjax.data import records

# A ConfigDict; its fields depend on the plug-ins, so no type checker can know them.
Config = Any

KINDS = (
    'train', 'evaluate', 'compare', 'generate', 'inspect', 'prepare', 'export', 'convert',
    'benchmark', 'purify', 'audit', 'explain',
)  # fmt: skip
CLASSIFICATION = 'classification'  # the task of models and objectives that do not name theirs
PLUGINS = {  # section -> folder
    'data': 'data', 'model': 'models', 'objective': 'objectives', 'audit': 'audits',
    'explainer': 'explainers',
}  # fmt: skip

TRAIN = {
    'epochs': 10,  # 0 with head_first: that head and no training
    'steps': 0,  # 0: from epochs
    'head_first': False,  # start from the main head that is best for the initial features
    'accumulate': 1,  # slices in which each batch is worked through, to save memory
    'ema': 0.0,  # decay of the moving average of the parameters; 0 for none
    'augment': ('d4',),  # on the device; see data/augment_device.py
    'log_every': 10,
    'evaluate_every': 1.0,  # epochs between evaluations of the validation split
    'checkpoint_every': 1.0,  # epochs between checkpoints
    'patience': 0,  # evaluations without a better one after which training ends; 0: never
    'keep': 2,  # newest checkpoints to keep, besides the best
    'select': 'last',  # checkpoint of the final evaluation: last | best (validation AUC)
    'tensorboard': False,
}


def make(values: Mapping[str, Any]) -> Config:
    """`values` as a ConfigDict; whoever only looks for plug-ins needs no ml_collections."""
    from ml_collections import ConfigDict

    return ConfigDict(values)


def find(folder: str, name: str) -> ModuleType:
    """The module `skinjax/<folder>/<name>.py`; a dotted name is imported as given.

    Raises:
        ValueError: no such module, or not one with `DEFAULTS` and `build`; its siblings are listed.
    """
    target = name if '.' in name else f'skinjax.{folder}.{name}'
    try:
        spec = importlib.util.find_spec(target)
    except ModuleNotFoundError:
        spec = None
    module = importlib.import_module(target) if spec else None
    if module is None or not (hasattr(module, 'DEFAULTS') and hasattr(module, 'build')):
        raise ValueError(
            f'no {name!r} among {folder} (a dotted name is a module of your own, with DEFAULTS and '
            f'build); {records.choices(name, siblings(folder))}'
        )
    return module


def siblings(folder: str, task: str = '') -> list[str]:
    """Names of the plug-ins of a folder, or of those for one task: modules that define `build`."""
    files = sorted((Path(__file__).parent / folder).glob('*.py'))
    names = [f.stem for f in files if '\ndef build(' in f.read_text(encoding='utf-8')]
    return [name for name in names if task in ('', task_of(folder, name))]


def task_of(folder: str, name: str) -> str:
    """What a model or an objective is for: its `TASK`, one of skinjax/tasks."""
    return getattr(find(folder, name), 'TASK', CLASSIFICATION)


def plugin(folder: str, name: str, **fields: Any) -> dict[str, Any]:
    """Defaults of a plug-in, its name, and `fields` in their place.

    Raises:
        ValueError: unknown plug-in, or a field that it does not have.
    """
    values = dict(find(folder, name).DEFAULTS)
    return {'name': name, **replaced(f'{folder} {name!r}', values, fields)}


def replaced(what: str, values: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    """`values` with `fields` in their place; ValueError if there is another field, of `what`."""
    if unknown := sorted(set(fields) - set(values)):
        known = records.choices(unknown[0], sorted(values))
        raise ValueError(f'{what} has no field {unknown[0]!r}; {known}')
    return {**values, **fields}


def train(
    objective: dict[str, Any] | str = 'baseline',
    data: dict[str, Any] | str = 'synthetic',
    model: dict[str, Any] | str = 'resnet',
) -> Config:
    """Defaults of kind 'train' with the given plug-ins (a name, or what `plugin` returns)."""
    from skinjax import tasks
    from skinjax.engine import optimizers

    def parts(folder, value):
        return plugin(folder, value) if isinstance(value, str) else value

    learned = parts('objectives', objective)
    network = parts('models', model)
    config = make(
        {
            'kind': 'train',
            'seed': 0,
            'parallel': 'jit',  # jit | pmap
            'devices': 0,  # 0: all
            'distributed': False,  # join the other processes of a pod or cluster first
            'data': {**records.COMMON, **parts('data', data)},
            'model': {**common('model', network['name']), **network},
            'objective': learned,
            'optimizer': dict(optimizers.DEFAULTS),
            'train': dict(TRAIN),
            'evaluate': dict(tasks.named(task_of('objectives', learned['name'])).EVALUATE),
        }
    )
    return config.lock()


def common(section: str, name: str) -> dict[str, Any]:
    """The fields that plug-in `name` shares with the others of its section."""
    if section == 'data':
        return records.COMMON
    if section != 'model':
        return {}
    from skinjax.models import options

    known = getattr(find('models', name), 'OPTIONS', options.COMMON)
    return {field: options.COMMON[field] for field in known}


def only_classifiers(kind: str, source: Path, run: Config) -> None:
    """Raise ValueError where kind `kind` is given a run of another task."""
    if (task := task_of('models', run.model.name)) != CLASSIFICATION:
        raise ValueError(f'{source} is a run of {task}, and kind {kind!r} knows classifiers alone')


def evaluate(variant: str = '') -> Config:
    """Defaults of kind 'evaluate'.

    Args:
        variant: a task of the run (classification where none is named), a data source, with which
            the data section is that of the source, or both: 'segmentation_ham10000'.
    """
    from skinjax import tasks

    first, _, rest = variant.partition('_')
    task, source = (first, rest) if first in tasks.NAMES else (CLASSIFICATION, variant)
    data = {**records.COMMON, **plugin('data', source)} if source else {}
    section = {**tasks.named(task).EVALUATE, **tasks.named(task).AGAIN}
    values = {'kind': 'evaluate', 'init_from': '', 'devices': 0, 'evaluate': section}
    return make({**values, 'data': data}).lock()


def resolve(config: Config, given: Mapping[str, Any] | None = None) -> Config:
    """A frozen-shape copy of `config` after checking what the lock cannot.

    Args:
        config: of any kind.
        given: dotted fields and their values that were replaced after it was made.

    Raises:
        ValueError: unknown kind or plug-in, fields that do not belong to the named plug-in, a
            plug-in's name among `given`, or no bias variable to unlearn.
    """
    if config.kind not in KINDS:
        raise ValueError(f'unknown kind {config.kind!r}: choose one of {", ".join(KINDS)}')
    if config.get('parallel', 'jit') not in ('jit', 'pmap'):
        raise ValueError(f"config.parallel is {config.parallel!r}: choose 'jit' or 'pmap'")
    for section in PLUGINS:
        if section in config and len(config[section]):
            _belongs(section, config[section], {*config} if section == 'audit' else set())
    if 'objective' in config and 'model' in config:
        _same_task(config)
    _keeps_names(given or {})
    config = config.copy_and_resolve_references()
    if 'chain' in config:  # --config.chain=segment,hair comes as one name
        names = ','.join(config.chain).split(',')
        config.chain = tuple(name.strip() for name in names if name.strip())
    if 'objective' in config and config.objective.get('bias') == '':
        if not config.data.bias:
            raise ValueError(
                f'{config.objective.name} needs a bias variable, and {config.data.name} has none '
                'of its own: give one that the data have with --config.data.bias="(\'NAME\',)"'
            )
        config.objective.bias = config.data.bias[0]
    return config


def _belongs(section: str, values: Config, above: set[str]) -> None:
    """ValueError where fields are missing in a section and `above` it, or are too many."""
    own = find(PLUGINS[section], values.name).DEFAULTS
    known = {'name', *common(section, values.name), *own}
    for fields, what in (
        (known - set(values) - above, 'lacks its fields'),
        (set(values) - known, 'has fields that it does not know,'),
    ):
        if fields:
            raise ValueError(
                f'config.{section}.name is {values.name!r}, but config.{section} {what} '
                f'{sorted(fields)}: start from a config made for it'
            )


def _same_task(config: Config) -> None:
    found = task_of('models', config.model.name), task_of('objectives', config.objective.name)
    if found[0] != found[1]:
        raise ValueError(
            f'objective {config.objective.name!r} is for {found[1]}, model {config.model.name!r} '
            f'for {found[0]}: use one of {", ".join(siblings("models", found[1]))}'
        )


def _keeps_names(fields: Mapping[str, Any]) -> None:
    """Plug-ins that share field names would else run with the settings of each other."""
    for field, value in fields.items():
        *_, section, leaf = ('', *field.split('.'))
        if section in PLUGINS and leaf == 'name':
            raise ValueError(
                f'config.{field} cannot be set to {value!r}, because the fields beside it were '
                f'made for the plug-in before: start from a config made for {value!r}'
            )


def to_json(config: Config) -> dict[str, Any]:
    """`config` as plain JSON values."""
    return json.loads(json.dumps(config.to_dict()))


def from_json(values: dict[str, Any]) -> Config:
    """The config that `to_json` wrote, with lists as tuples."""

    def plain(value):
        if isinstance(value, dict):
            return {name: plain(v) for name, v in value.items()}
        return tuple(plain(v) for v in value) if isinstance(value, list) else value

    return make(plain(values)).lock()


def override(config: Config, fields: dict[str, Any]) -> Config:
    """A locked copy with dotted `fields` replaced.

    Raises:
        ValueError: unknown field (the near miss is named), or the name of a plug-in.
    """
    _keeps_names(fields)
    config = config.copy_and_resolve_references()
    for name, value in fields.items():
        section(config, name)[name.rpartition('.')[2]] = value
    return config


def section(config: Config, name: str) -> Config:
    """The part of `config` that holds the dotted field `name`.

    Raises:
        ValueError: there is no such field; the same in another section or the near miss is named,
            and what there is listed.
    """
    from ml_collections import ConfigDict

    *parents, leaf = name.split('.')
    node: Any = config
    for i, part in enumerate([*parents, leaf]):
        if not isinstance(node, ConfigDict) or part not in node:
            same = [field for field in _fields(config) if f'.{field}'.endswith(f'.{leaf}')]
            meant = min(same, key=lambda field: field.count('.'), default='')
            known = records.choices(part, node if isinstance(node, ConfigDict) else (), meant)
            raise ValueError(f'the config has no field {name!r}; {known}')
        if i < len(parents):
            node = node[part]
    return node


def _fields(config: Config, above: str = '') -> Iterator[str]:
    """Dotted names of all fields."""
    for name, value in config.items():
        yield f'{above}{name}'
        if hasattr(value, 'items'):
            yield from _fields(value, f'{above}{name}.')
