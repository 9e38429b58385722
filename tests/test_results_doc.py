"""docs/results.md: every table has its command and time, every picture a way to make it again."""

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from skinjax import config as configs
from tests.helpers import ROOT
from tests.test_docs import anchors, parsed

DOCS = ROOT / 'docs'
RESULTS = DOCS / 'results.md'
TEXT = RESULTS.read_text(encoding='utf-8')
TIME = re.compile(
    r'^\*Time: ((?:\d+ (?:to \d+ )?(?:seconds|minutes|hours)|not timed)[^.]*)\.', re.M
)
SEEDS = re.compile(r'^\*Time: .*\bSeeds?: (?=\d)[^*]*\.\*', re.M)
TABLE = re.compile(r'^\| *:?-+', re.M)
EXPERIMENT = re.compile(r'--config=configs/(\w+)\.py(:\w+)?')


def sections() -> dict[str, str]:
    """Heading -> what stands below it, of those with a table; not the contents."""
    found = re.split(r'^##+ +(.*)$', TEXT, flags=re.M)[1:]
    parts = dict(zip(found[::2], found[1::2], strict=True))
    return {heading: part for heading, part in parts.items() if TABLE.search(part)}


def contents() -> dict[str, tuple[str, str]]:
    """Anchor -> experiments and time, of the table at the top."""
    rows = re.findall(r'^\| \[[^]]*\]\(#(\S+)\) \| (.*?) \| (.*?) \|', TEXT, re.M)
    return {anchor: (experiments, time) for anchor, experiments, time in rows}


@pytest.fixture
def script() -> Iterator[ModuleType]:
    """docs/figures.py, which is no package; its neighbour lies beside a script that is started."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ('drawings', 'docs_figures'):
            module = _located(name, DOCS / f'{name.removeprefix("docs_")}.py')
            patch.setitem(sys.modules, name, module)
            assert module.__spec__ is not None and module.__spec__.loader is not None
            module.__spec__.loader.exec_module(module)
        yield module


def _located(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    return importlib.util.module_from_spec(spec)


def test_every_table_has_its_command_and_time():
    assert len(sections()) >= 13
    for heading, part in sections().items():
        assert EXPERIMENT.search(part), f'{heading}: no command'
        times = TIME.findall(part)
        assert times, f'{heading}: no time'
        assert len(SEEDS.findall(part)) == len(times), f'{heading}: no seeds beside a time'


def test_the_contents_say_the_same():
    listed = contents()
    assert listed.keys() == {_anchor(heading) for heading in sections()} <= anchors(RESULTS)
    for heading, part in sections().items():
        experiments, time = listed[_anchor(heading)]
        told = '; '.join(TIME.findall(part))
        assert all(piece in told for piece in time.split('; ')), f'{heading}: {time}, but {told}'
        found = {name for pair in EXPERIMENT.findall(part) for name in pair}
        named = {name for word in re.findall(r'`(\S+)`', experiments) for name in _parts(word)}
        assert named <= found, f'{heading}: no command of {sorted(named - found)}'


def _anchor(heading: str) -> str:
    return re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')


def _parts(word: str) -> list[str]:
    """'NAME:VARIANT' -> NAME and ':VARIANT'."""
    name, _, variant = word.partition(':')
    return [part for part in (name, f':{variant}' if variant else '') if part]


def test_pictures_are_those_that_the_script_makes(script):
    pages = [ROOT / 'README.md', *DOCS.glob('*.md')]
    shown = {
        name
        for page in pages
        for name in re.findall(r'figures/([\w-]+\.(?:jpg|png))\)', page.read_text('utf-8'))
    }
    there = {path.name for path in (DOCS / 'figures').iterdir()}
    assert shown == there == script.FIGURES.keys()


@pytest.mark.filterwarnings('ignore:the load_module:DeprecationWarning')  # of ml_collections
def test_the_runs_of_pictures_are_experiments(script, tmp_path):
    place = script.Place(tmp_path, 'FOLDER', 'FILE')
    runs = {run for figure in script.FIGURES.values() for run in figure.runs}
    assert len({run.name for run in runs}) == len(runs)
    for run in runs:
        words = run.command(place)[3:]
        assert f'--workdir={tmp_path / run.name}' in words
        assert parsed(*(word for word in words if 'workdir' not in word)).kind in configs.KINDS


def test_pictures_without_their_data_are_named_and_left_out(script, tmp_path, capsys):
    assert script.main(['style_isic2017', 'synthetic_lesions', f'--out={tmp_path}']) == 1
    told = capsys.readouterr()
    assert 'left out: style_isic2017.jpg needs --root=FOLDER' in told.err
    assert '1 of 2 pictures made' in told.out
    made, drawn = (
        script.cv2.imread(str(x / 'synthetic_lesions.jpg')) for x in (tmp_path, script.HERE)
    )
    assert made.shape == drawn.shape and abs(made.astype(int) - drawn).mean() < 1
    assert not (tmp_path / 'style_isic2017.jpg').exists()


@pytest.mark.slow  # starts a process
def test_a_picture_whose_run_fails_is_told(script, tmp_path, capfd):
    """The folder of its run belongs to something else."""
    (tmp_path / 'hair').mkdir()
    (tmp_path / 'hair' / 'mine.txt').write_text('notes')
    assert script.main(['hair_synthetic', f'--runs={tmp_path}', f'--out={tmp_path}']) == 1
    told = capfd.readouterr()
    assert 'choose another --workdir' in told.err
    assert 'not made: hair_synthetic.jpg: the run hair ended with status 1' in told.err
