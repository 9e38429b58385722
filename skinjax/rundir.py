"""The directory of a run: whose it is, whether it is done, who is at work in it, what it ran.

A directory belongs to the config in its config.json, is held by one process at a time, and is done
once DONE is there.
"""

import contextlib
import fcntl
import platform
from collections.abc import Collection, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from skinjax import config as configs
from skinjax.engine.writer import leftovers, read_json, write_json

LOCK = '.lock'  # held by the process at work


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = '') -> list[str]:
    """Lines 'field: old -> new' for every field in which two JSON configs differ."""
    lines = []
    for name in sorted({*old, *new}):
        a, b = old.get(name), new.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            lines += differences(a, b, f'{prefix}{name}.')
        elif a != b:
            lines.append(f'{prefix}{name}: {a!r} -> {b!r}')
    return lines


def done(config: configs.Config, workdir: Path, free: Collection[str] = ()) -> bool:
    """Whether this config's run in `workdir` is finished; nothing is written.

    Args:
        config: of the run.
        workdir: its directory, which need not exist.
        free: fields in which the config there may differ.

    Fields that the config of an older version lacks count as if they had their defaults there.

    Raises:
        ValueError: the directory belongs to another config (the difference is shown), or holds
            files of something else.
    """
    path = workdir / 'config.json'
    if not path.exists():
        ours = {workdir / LOCK, *leftovers(path)}
        if workdir.exists() and not ours.issuperset(workdir.iterdir()):
            raise ValueError(f'{workdir} is not empty and is no run: choose another --workdir')
        return False
    lines = _changes(read_json(path), configs.to_json(config))
    lines = [line for line in lines if line.partition(':')[0] not in free]
    if lines:
        _check_root(lines, workdir)
        # Configs of two kinds differ in everything.
        shown = [line for line in lines if line.startswith('kind:')] or lines
        raise ValueError(
            f'{workdir} holds a run of another config ({"; ".join(shown)}): '
            'choose another --workdir, or delete it'
        )
    return (workdir / 'DONE').exists()


def _check_root(lines: Sequence[str], workdir: Path) -> None:
    """Raise ValueError where the same data are named without their folder, which `workdir` has."""
    changes = dict(line.split(': ', 1) for line in lines)
    for name, change in changes.items():
        before, _, now = change.rpartition(' -> ')
        same = not {name.removesuffix('root') + 'name', 'kind'} & {*changes}
        if name.endswith('data.root') and now == "''" and same:
            raise ValueError(
                f'{name} is empty, and in the run in {workdir} it is {before}: give it with '
                f'--config.{name}=FOLDER, or choose another --workdir'
            )


def _changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """`differences`, where `old` may be from before some of the fields."""
    lines = differences(old, new)
    # Plug-ins that only a file in the directory names are not imported.
    if not lines or old.get('kind') != new.get('kind') or not _names(old) <= _names(new):
        return lines
    try:
        return differences(configs.to_json(configs.from_json(_completed(old))), new)
    except (AttributeError, ImportError, KeyError, TypeError, ValueError):
        return lines  # it names plug-ins that do not exist, or is damaged


def _names(values: Any) -> set[str]:
    """What stands under 'name', at any depth."""
    if not isinstance(values, dict):
        return set()
    own = {values['name']} if isinstance(values.get('name'), str) else set()
    return own.union(*(_names(value) for value in values.values()))


def claim(config: configs.Config, workdir: Path, free: Collection[str] = ()) -> bool:
    """Make a directory that is held by `lock` the place of this config; else as `done`."""
    finished, path = done(config, workdir, free), workdir / 'config.json'
    for file in leftovers(path):
        file.unlink()
    write_json(path, configs.to_json(config))
    return finished


@contextlib.contextmanager
def lock(workdir: Path) -> Iterator[None]:
    """Make and hold a work directory, against a second process with the same command.

    Raises:
        ValueError: another process is running there.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    # A file that is never replaced or removed, and open for writing, as network drives ask for.
    with (workdir / LOCK).open('a') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f'another process is running in {workdir}') from None
        yield


def load_run(run: str | Path) -> configs.Config:
    """The config of a run directory; fields that an older version lacked have their defaults.

    The plug-ins that the config names are imported: a dotted name can be any module that Python
    finds. Directories that only give weights are read with `read_run`.

    Raises:
        FileNotFoundError: no config.json there.
        ValueError: config.json is damaged, or a plug-in of the run does not exist.
    """
    return configs.from_json(_completed(configs.to_json(read_run(run))))


def read_run(run: str | Path) -> configs.Config:
    """The config of a run directory as it is stored; nothing that it names is imported.

    Raises:
        FileNotFoundError: no config.json there.
        ValueError: config.json is damaged.
    """
    path = Path(run) / 'config.json'
    if not path.exists():
        raise FileNotFoundError(f'{path} does not exist: {run} is not the directory of a run')
    return configs.from_json(read_json(path))


def read_results(workdir: Path) -> dict[str, Any]:
    """results.json of a finished run."""
    return read_json(workdir / 'results.json')


def versions() -> dict[str, str]:
    """What figures of now are computed with."""
    import jax

    packages = ('jax', 'flax', 'optax', 'orbax-checkpoint', 'grain', 'numpy', 'scikit-learn')
    found = {name: metadata.version(name) for name in packages}
    device = jax.devices()[0]
    return {
        'python': platform.python_version(),
        **found,
        'device': f'{len(jax.devices())} x {device.device_kind}',
    }


def load_trained(config: configs.Config) -> configs.Config:
    """The config of the run in `config.init_from`, which must be of kind 'train'.

    Raises:
        FileNotFoundError, ValueError: it is none, or as `load_run`.
    """
    if not config.init_from:
        raise ValueError('config.init_from is empty: give the directory of a run')
    try:
        found = load_run(config.init_from)
    except FileNotFoundError as error:
        raise FileNotFoundError(f'config.init_from: {error}') from None
    if found.get('kind') != 'train':
        raise ValueError(
            f'config.init_from: {config.init_from} is a run of kind {found.get("kind")!r}: give '
            "that of one of kind 'train'"
        )
    return found


def _completed(values: dict[str, Any]) -> dict[str, Any]:
    """The JSON config of a run over the defaults of the same plug-ins.

    That of kind 'train' whole, the runs of a comparison likewise, of others the section `data`, and
    of kind 'purify' those of all editors that a chain can have.
    """
    kind = values.get('kind')
    if 'editors' in values:
        names = configs.siblings('editors')
        known = {name: dict(configs.find('editors', name).DEFAULTS) for name in names}
        below: dict[str, Any] = {'editors': known}
        style = known.pop('style')
        if 'style' in values:
            below['style'] = style
        values = _overlay(configs.to_json(configs.make(below)), values)
    if kind == 'compare':
        runs = {name: _completed(run) for name, run in values['runs'].items()}
        return {**values, 'runs': runs}
    if kind != 'train':
        return _with_data(values) if values.get('data') else values
    parts = {
        name: configs.plugin(folder, values[name]['name'])
        for name, folder in configs.PLUGINS.items()
        if name in values
    }
    return _overlay(configs.to_json(configs.train(**parts)), values)


def _with_data(values: dict[str, Any]) -> dict[str, Any]:
    name = values['data']['name']
    below = {**configs.common('data', name), **configs.plugin('data', name)}
    return {**values, 'data': _overlay(configs.to_json(configs.make(below)), values['data'])}


def _overlay(below: Any, above: Any) -> Any:
    """`above` where it says something, else `below`; dicts field by field."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return {**below, **{name: _overlay(below.get(name), value) for name, value in above.items()}}
