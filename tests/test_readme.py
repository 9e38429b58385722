"""What README.md shows works as it stands there: every command is taken from it and run.

Sizes are brought down to seconds, and fine-tuning has a network that compiles at once; the rest of
a command line is kept. `pip` and `pytest` are what .ci/run does.
"""

import ast
import csv
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest

from skinjax import config as configs
from skinjax import experiments
from tests.helpers import ROOT, environment, has, shrink, tiny_records

README = (ROOT / 'README.md').read_text(encoding='utf-8')
PROGRAM = 'python -m skinjax.main '
SIZES = {
    'data.image_size': 32,
    'platforms': ('cpu',),
    'audit.n_inserted': 8,
    'audit.bootstrap': 100,
    'audit.probe_folds': 2,
    'audit.probes': ('linear',),
    'audit.counterfactual.kinds': ('ruler',),
    'audit.counterfactual.masks': 1,
    'audit.counterfactual.strengths': (),
    'audit.counterfactual.removal': (),
}


def blocks(language: str) -> list[str]:
    return re.findall(rf'```{language}\n(.*?)```', README, re.S)


def commands() -> list[str]:
    """Every line of a shell block, and every line of code in the text that runs skinjax."""
    shown = ''.join(blocks('sh')).replace('\\\n', ' ').splitlines()
    inline = re.findall(rf'`({PROGRAM}[^`]*)`', README)
    return [' '.join(line.split()) for line in [*shown, *inline]]


def photographs(root: Path) -> None:
    """40 pictures and their table, under the names and columns that the README shows."""
    (table,) = blocks('csv')
    header, *shown = csv.reader(table.splitlines())
    assert header == ['image', 'label', 'group', 'ruler']
    records, names = tiny_records(40, size=32), ('nevus', 'melanoma')
    with (root / 'records.csv').open('w', encoding='utf-8', newline='') as file:
        rows = csv.writer(file)
        rows.writerow(header)
        for k in range(40):
            image = shown[k][0] if k < len(shown) else f'a/{k + 1:03d}.jpg'
            (root / image).parent.mkdir(exist_ok=True)
            cv2.imwrite(str(root / image), records.read(k)['image'])
            ruler = records.bias['ruler'][k]
            rows.writerow([image, names[records.labels[k]], f'patient{k // 2}', ruler])


@pytest.fixture(scope='module')
def home(tmp_path_factory):
    """Where somebody has put the files of the README: the folder `lab`, and photographs."""
    root = tmp_path_factory.mktemp('home')
    for folder in ('lab', 'photos'):
        (root / folder).mkdir()
    photographs(root / 'photos')
    for code in blocks('python'):
        (root / code.splitlines()[0].removeprefix('# ')).write_text(code, encoding='utf-8')
    assert len([*(root / 'lab').iterdir()]) == 4
    return root


@pytest.fixture
def there(home, monkeypatch):
    """At work there, with the configs at hand and `lab` importable as by `python -m`."""
    monkeypatch.chdir(home)
    monkeypatch.syspath_prepend(home)
    monkeypatch.setenv('JAX_DISABLE_MOST_OPTIMIZATIONS', '1')
    yield home
    for name in [name for name in sys.modules if name.split('.')[0] == 'lab']:
        del sys.modules[name]


def parsed(command: str) -> tuple[str, dict[str, Any], str]:
    """The experiment, the fields and the work directory of a command line."""
    words = shlex.split(command.removeprefix(PROGRAM))
    given = dict(word.removeprefix('--').partition('=')[::2] for word in words)
    config, workdir = given.pop('config'), given.pop('workdir', '')
    fields = {}
    for name, text in given.items():
        try:
            fields[name.removeprefix('config.')] = ast.literal_eval(text)
        except (SyntaxError, ValueError):
            fields[name.removeprefix('config.')] = text
    name, _, variant = Path(config.partition(':')[0]).stem, '', config.partition(':')[2]
    return config, fields, workdir or f'runs/{"_".join(filter(None, (name, variant)))}'


def run(command: str) -> tuple[dict[str, Any], Path]:
    """Results and work directory of a command, at small sizes."""
    name, fields, workdir = parsed(command)
    found = str(ROOT / name) if name.startswith('configs/') else name
    config = experiments.load(found, fields)
    sizes = {field: value for field, value in SIZES.items() if has(config, field)}
    config = shrink(config, linear='finetune' in name, **{**sizes, **fields})
    return experiments.run(config, workdir), Path(workdir)


RUN = {  # part of a command -> what its work directory and its results must hold
    'configs/clgr.py': ('DONE', 'probes'),
    'configs/audit.py --config.init_from=runs/clgr ': ('report.html', 'findings'),
    'configs/inspect.py:folder': ('report.html', 'files'),
    'configs/clgr.py:folder': ('DONE', 'probes'),
    'configs/audit.py --config.init_from=runs/clgr_folder': ('report.html', 'findings'),
    'configs/finetune.py': ('report.html', 'splits'),
    'configs/export.py': ('predict.py', 'weights'),
    'lab/mine.py': ('report.html', 'splits'),
}
ELSEWHERE = {  # and the tests that run it
    'configs/compare_unlearning.py --config.jobs=2': 'tests/test_bars.py',
    "pip install -e '.[test]'": '.ci/run',
    'pip install -e .': '.ci/run',
    'pytest': '.ci/run',
}


def command_of(part: str) -> str:
    return next(line for line in commands() if part in f'{line} ')


def test_every_command_is_run():
    left = [line for line in commands() if not any(part in f'{line} ' for part in RUN)]
    own = 'python exports/photos/predict.py photos/a/001.jpg'
    assert sorted(line.removeprefix(f'{PROGRAM}--config=') for line in left) == sorted(
        [own, *ELSEWHERE]
    )
    check = (ROOT / '.ci' / 'run').read_text(encoding='utf-8')
    assert "-e '.[test]'" in check and re.search('^pytest ', check, re.M)


@pytest.mark.parametrize('part', RUN)
def test_a_command_does_what_it_is_for(part, there):
    file, block = RUN[part]
    results, work = run(command_of(part))
    assert (work / file).is_file()
    assert results[block]


def test_an_exported_model_judges_a_picture_without_skinjax(there):
    script, picture = command_of('predict.py').split()[1:]
    done = subprocess.run(
        [sys.executable, script, picture],
        env=environment(PYTHONPATH=''),
        capture_output=True,
        text=True,
        check=True,
    )
    assert picture in done.stdout and 'melanoma' in done.stdout


def test_forty_photographs_have_a_report_with_findings(there):
    """The three commands that the README gives for a folder have been run above."""
    page = (there / 'reports' / 'photos' / 'report.html').read_text(encoding='utf-8')
    assert 'The audit rests on' in page and 'nevus' in page
    inspected = (there / 'runs' / 'inspect_folder' / 'report.html').read_text(encoding='utf-8')
    assert '40' in inspected


def test_the_parts_of_lab_are_at_work(there):
    config = configs.resolve(experiments.load('lab/mine.py'))
    assert (config.objective.name, config.objective.strength) == ('lab.small', 0.5)
    assert (config.model.name, config.model.width) == ('lab.mynet', 24)
    lines = (there / 'runs' / 'mine' / 'metrics.jsonl').read_text(encoding='utf-8')
    assert '"main/size"' in lines


def test_the_table_of_systems_names_every_experiment():
    table = README[README.index('## Five systems') : README.index('Variants come after a colon')]
    named = re.findall(r'`(\w+)`', table)
    assert sorted(named) == experiments.names()


def test_it_is_short():
    assert len(README.splitlines()) < 250
