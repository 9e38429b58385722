"""The experiments of configs/: found by name, run, listed on a terminal and in configs/README.md.

    python -m skinjax.experiments > configs/README.md

In a notebook, what `--config=skinjax:clgr --config.train.epochs=3 --workdir=runs/clgr` does:

    config = experiments.load('skinjax:clgr', {'train.epochs': 3})
    results = experiments.run(config, 'runs/clgr')

`--config=skinjax:clgr:isic2017` is configs/clgr.py:isic2017, wherever skinjax is installed: a wheel
carries the files as skinjax/configs. What is told of one is read from its docstring, and no file is
run for it: the first line says what it is, an indented line that names the file is the command,
a paragraph that begins with `Variants:` names its variants up to the first `;`, as does an indented
table whose first row is ''; `Measured:` begins what it takes, and what comes out.
"""

import ast
import dataclasses
import difflib
import importlib
import importlib.util
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PACKAGE = 'skinjax'  # what comes before the name of an experiment
PROGRAM = 'python -m skinjax.main'
START = (  # what to begin with, and why
    ('--config=skinjax:clgr', 'train on embedded lesions: two minutes on two CPU cores'),
    ('--config=skinjax:inspect:folder --config.data.root=FOLDER', 'look at your own pictures'),
    ('--config=skinjax:baseline:folder --config.data.root=FOLDER', 'train on them'),
)
HEAD = """# Experiments

One file each. `--config=configs/NAME.py:VARIANT` runs a variant, `--config=skinjax:NAME:VARIANT`
the same from any directory, without the files at hand. Fields are set by `--config.FIELD=VALUE`.
FOLDER is the folder of a data set ([docs/data.md](../docs/data.md)), SOURCE the name of one of
`skinjax/data`. Times and figures were measured on two cores of a shared x86-64 server CPU, unless
another machine is named; [docs/results.md](../docs/results.md) has all of them.

This file is made from the docstrings: `python -m skinjax.experiments > configs/README.md`
"""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What the docstring of a config says.

    Attributes:
        name: of the file.
        summary: its first line.
        command: the first that names the file; '' if none does.
        variants: names, or placeholders in capitals; '' stands for itself and is left out.
        measured: hardware, time and figures; '' where nothing was measured.
    """

    name: str
    summary: str
    command: str
    variants: tuple[str, ...]
    measured: str


def folder() -> Path:
    """Where the files are: in the package of a wheel, else beside it in the checkout."""
    inside = HERE / 'configs'
    return inside if inside.is_dir() else HERE.parent / 'configs'


def names() -> list[str]:
    """Of all experiments."""
    return sorted(path.stem for path in folder().glob('[!_]*.py'))


def locate(config: str) -> str:
    """FILE.py[:VARIANT] for the same or for skinjax:NAME[:VARIANT].

    Raises:
        ValueError: there is no such file or name; near ones are told.
    """
    path, _, variant = config.partition(':')
    if path == PACKAGE:
        name, _, variant = variant.partition(':')
        if name not in names():
            known = ', '.join(names())
            raise ValueError(f'no experiment {name!r}, known: {known}{_near(name, names())}')
        return str(folder() / f'{name}.py') + (f':{variant}' if variant else '')
    if not Path(path).is_file():
        raise ValueError(f'no file {path!r}{_near_file(Path(path))}')
    return config


def load(config: str, fields: Mapping[str, Any] | None = None) -> Any:
    """The config that --config=`config` names, with dotted `fields` in place of the defaults.

    Raises:
        ValueError: no such experiment, variant or field; near ones are told.
    """
    from skinjax import config as configs

    path, _, variant = locate(config).partition(':')
    spec = importlib.util.spec_from_file_location(f'config_{Path(path).stem}', path)
    if spec is None or spec.loader is None:
        raise ValueError(f'{path!r} is no Python file')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.get_config(variant) if variant else module.get_config()
    return configs.override(made, dict(fields or {}))


def unknown_field(config: str, words: Sequence[str]) -> str:
    """Which --config.FIELD among `words` there is not, and what there is; '' if that is not it."""
    from skinjax import config as configs

    try:
        made = load(config)
    except Exception:  # whatever a config file may raise; its own error is told
        return ''
    for word in words:
        name = word.lstrip('-').partition('=')[0]
        if word.startswith(('-config.', '--config.')):
            try:
                configs.section(made, name.removeprefix('config.'))
            except ValueError as error:
                return str(error)
    return ''


def run(config: Any, workdir: str | Path, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What `python -m skinjax.main` does with a config, of any kind; the same call continues.

    Args:
        config: of `load`, or made in any other way.
        workdir: where results go.
        given: dotted fields that were replaced after the config was made.

    Returns:
        The contents of results.json (of kind 'compare' without the single values, of 'convert' and
        'export' the facts of what was written).

    Raises:
        ValueError: the config does not fit. Others: as the kind, that is `skinjax.KIND.run`.
    """
    from skinjax import config as configs
    from skinjax.engine import startup

    config = configs.resolve(config, given)
    startup.start(config)
    with startup.fail_fast():
        return importlib.import_module(f'skinjax.{config.kind}').run(config, Path(workdir))


def _near(name: str, known: list[str], form: str = '{}') -> str:
    found = difflib.get_close_matches(name, known, n=2)
    return '; did you mean ' + ' or '.join(map(form.format, found)) + '?' if found else ''


def _near_file(path: Path) -> str:
    """Files of the same folder with a name like that, else experiments."""
    beside = [other.stem for other in path.parent.glob('*.py')]
    found = _near(path.stem, beside, str(path.parent / '{}.py'))
    known = f'; skinjax:NAME finds those of skinjax ({PROGRAM} --help lists them)'
    return found or _near(path.stem, names(), f'{PACKAGE}:{{}}') or known


def read(name: str) -> Experiment:
    """What the docstring of an experiment says."""
    text = _docstring(folder() / f'{name}.py')
    commands = re.findall(rf'^    (.*--config=configs/{name}\.py\b.*)$', text, re.M)
    return Experiment(
        name,
        text.partition('\n')[0],
        ' '.join(commands[0].split()) if commands else '',
        _variants(text),
        ' '.join(_paragraph('Measured', text).split()),
    )


def _docstring(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding='utf-8'))
    return (ast.get_docstring(tree, clean=False) or '').strip()


def _paragraph(word: str, text: str) -> str:
    """What follows `word:` up to the next blank line."""
    found = re.search(rf'^{word}:(.*?)(?:\n\n|\Z)', text, re.M | re.S)
    return found[1].strip() if found else ''


def _variants(text: str) -> tuple[str, ...]:
    listed = _paragraph('Variants', text).partition(';')[0]
    if table := re.search(r"^    ''  .*?(?=\n\n|\Z)", text, re.M | re.S):
        rows = re.findall(r'^    (\S.*?)(?:  .*)?$', table[0], re.M)
        listed = ', '.join(row.rstrip(',') for row in rows)
    found = [' '.join(name.split()) for name in listed.split(',')]
    return tuple(name for name in found if name not in ('', "''"))


def kinds() -> dict[str, str]:
    """Kind -> what it does: the first line of its module, which begins with Kind 'NAME':."""
    found = {}
    for path in sorted(HERE.glob('*.py')):
        word, _, what = _first_line(path).partition(': ')
        if word == f"Kind '{path.stem}'":
            found[path.stem] = what
    return found


def _first_line(path: Path) -> str:
    """Of a docstring, without parsing the file: help is to be quick."""
    with path.open(encoding='utf-8') as file:
        return file.readline().strip().strip('"')


def overview(width: int = 100) -> str:
    """What can be run, and what to begin with, in lists of at most `width` characters a line."""
    about = {name: _first_line(folder() / f'{name}.py') for name in names()}
    parts = [
        'skinjax: find, measure and remove bias in skin-lesion classification.',
        f'Usage: {PROGRAM} --config=FILE.py|skinjax:NAME[:VARIANT] [--workdir=DIR]\n'
        '       [--config.FIELD=VALUE ...]',
        _listed('Experiments (configs/README.md says more):', about, width),
        _listed('Kinds of experiments:', kinds(), width),
        '\n'.join(
            ['Begin with:', *(f'  {PROGRAM} {command}\n      {why}' for command, why in START)]
        ),
    ]
    return '\n\n'.join(parts)


def _listed(title: str, about: dict[str, str], width: int) -> str:
    column = max(map(len, about)) + 4
    room = max(width - column, 20)
    lines = [
        f'  {name}'.ljust(column) + textwrap.shorten(text, room, placeholder=' ...')
        for name, text in about.items()
    ]
    return '\n'.join([title, *lines])


def table() -> str:
    """The contents of configs/README.md."""
    rows = ['| config | what | variants | command | measured |', '|---|---|---|---|---|']
    for one in map(read, names()):
        cells = (
            f'[{one.name}]({one.name}.py)',
            one.summary,
            ', '.join(f'`{name}`' for name in one.variants),
            f'`{one.command}`',
            one.measured,
        )
        rows.append('| ' + ' | '.join(cell.replace('|', '\\|') for cell in cells) + ' |')
    return '\n'.join([HEAD, *rows, ''])


if __name__ == '__main__':
    print(table(), end='')
