"""What the documents point to is there: files, headings, experiments and their fields."""

import functools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from absl import flags
from ml_collections import ConfigDict, config_flags

from skinjax import config as configs
from skinjax import experiments
from tests.helpers import ROOT

PAGES = sorted([*ROOT.glob('*.md'), *(ROOT / 'docs').glob('*.md'), *ROOT.glob('launch/**/*.md')])
PAGES.append(ROOT / 'configs' / 'README.md')
# Files of the reader and names in capitals, for any experiment, are left out.
EXPERIMENT = re.compile(r'--config=(?:configs/(?!NAME|mine)\w+\.py|skinjax:(?!NAME)\w+)(?!:lab\.)')
TEXT = {'.md', '.py', '.cfg', '.toml', '.yml', '.yaml', '.ipynb', '.sh', '.cff', ''}
FOLDERS = ('.ci', '.github', 'configs', 'docs', 'launch', 'skinjax', 'tests', 'third_party')
# Folders of one machine, places to be filled in, and servers of packages or weights. The brackets
# keep this from finding itself.
FOREIGN = re.compile(
    r'/[w]ork/|/[r]oot/|TODO[(]|FIXM[E]|py[p]i\.|python[h]osted|conda[.]|hugging[f]ace|'
    r'download[.]pytorch|storage[.]googleapis|tf[h]ub|--(?:extra-)?index-ur[l]'
)
FIELD = re.compile(r'--config\.([a-z][\w.]*[a-z0-9_])(?==|[`\s]|$)')
STANDS_FOR = {'SOURCE': 'ham10000', 'NAME': 'ham10000', 'METHOD_FLAG': 'clgr_ruler'}
named = functools.partial(pytest.mark.parametrize, ids=lambda path: str(path.relative_to(ROOT)))


def prose(page: Path) -> str:
    """A page without code."""
    text = re.sub(r'^```.*?^```', '', page.read_text(encoding='utf-8'), flags=re.M | re.S)
    return re.sub(r'`[^`\n]*`', 'code', re.sub(r'^ {4}.*$', '', text, flags=re.M))


@functools.cache
def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    text = re.sub(r'^```.*?^```', '', page.read_text(encoding='utf-8'), flags=re.M | re.S)
    found: list[str] = []
    for title in re.findall(r'^#{1,6} +(.*?) *$', text, re.M):
        title = re.sub(r'\[([^]]*)\]\([^)]*\)', r'\1', title).lower()
        found.append(re.sub(r'[^\w\- ]', '', title).replace(' ', '-'))
    return {name if not found[:k].count(name) else f'{name}-{found[:k].count(name)}'
            for k, name in enumerate(found)}  # fmt: skip


@named('page', PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r'\]\(\s*([^)\s]+)\s*\)', prose(page)):
        if re.match(r'\w+:', target):
            continue
        name, _, anchor = target.partition('#')
        place = (page.parent / name).resolve() if name else page
        assert place.exists(), f'{page.name}: no file {target}'
        assert not anchor or anchor in anchors(place), f'{page.name}: no heading {target}'


def commands(page: Path) -> Iterator[list[str]]:
    """The flags of each command that names an experiment."""
    text = re.sub(r' *\\\n *', ' ', page.read_text(encoding='utf-8'))  # one line each
    for code in re.findall(r'--config=[^`\n]*', text):
        for part in re.split(r'(?=--config=)', code):
            if EXPERIMENT.match(part):
                yield shlex.split(part.replace('\\|', '|'), comments=True)


@functools.cache
def parsed(*words: str) -> Any:
    """The config of a command, as the program gets it."""
    experiment, *rest = words
    path, _, variant = experiments.locate(experiment.removeprefix('--config=')).partition(':')
    given = [f'--config={path}:{STANDS_FOR.get(variant, variant)}'.removesuffix(':')]
    given += [word for word in rest if word.startswith('--config.') and not word.endswith('...')]
    values, argv = flags.FlagValues(), ['skinjax', *given]
    holder = config_flags.DEFINE_config_file('config', flag_values=values, sys_argv=argv)
    values(argv)
    return configs.resolve(holder.value, config_flags.get_override_values(values['config']))


def paths(config: Any, above: str = '') -> Iterator[str]:
    """Dotted names of all fields."""
    for name, value in config.items():
        yield above + name
        if isinstance(value, ConfigDict):
            yield from paths(value, f'{above}{name}.')


@functools.cache
def known() -> frozenset[str]:
    """Fields of what the commands of all pages run, and of a folder."""
    found = {*paths(parsed('--config=skinjax:inspect:folder'))}
    for page in PAGES:
        for words in commands(page):
            found.update(paths(parsed(*words)))
    return frozenset(found)


@pytest.mark.filterwarnings('ignore:the load_module:DeprecationWarning')  # of ml_collections
@named('page', PAGES)
def test_commands_name_experiments_and_fields(page):
    for words in commands(page):
        parsed(*words)
    for field in FIELD.findall(page.read_text(encoding='utf-8')):
        assert field in known(), f'{page.name}: no experiment of the documents has {field!r}'


def kept() -> Iterator[Path]:
    """Every text file of the checkout, without what runs and builds leave there."""
    yield from (path for path in ROOT.iterdir() if path.is_file() and path.suffix in TEXT)
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob('*'):
            own = not {'runs', '__pycache__'}.intersection(path.parts)
            if own and path.suffix in TEXT and path.is_file():
                yield path


def test_files_are_of_no_machine_and_finished():
    found = {
        str(path.relative_to(ROOT)): words
        for path in kept()
        if (words := FOREIGN.findall(path.read_text(encoding='utf-8')))
    }
    assert found == {}
