"""What README.md shows works as it stands there: every command is taken from it and run.

Sizes are brought down to seconds; the rest of a command line is kept. Two commands are processes of
their own with sizes as flags, as a user would give them; the others share this one. Fine-tuning has
a single layer in place of its network and its file of weights. `pip` and `pytest` are what .ci/run
does.
"""

import ast
import csv
import functools
import html
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from skinjax import config as configs
from skinjax import experiments
from skinjax.engine import startup
from tests.helpers import ROOT, TINY, command, environment, flags, has, shrink, tiny_records

README = (ROOT / 'README.md').read_text(encoding='utf-8')
PROGRAM = 'python -m skinjax.main '
SIZES = {
    'data.image_size': 32,
    'data.batch_size': 8,  # as the README has it elsewhere, and so compiled once
    'platforms': ('cpu',),
    'audit.n_inserted': 8,
    'audit.bootstrap': 100,
    'audit.probe_folds': 2,
    'audit.probes': ('linear',),
    'audit.counterfactual.kinds': ('ruler',),
    'audit.counterfactual.masks': 1,
    'audit.counterfactual.strengths': (),
    'audit.counterfactual.removal': (),
    'n': 4,
    'sanity': 2,
    'faithfulness': 2,
    'shown': 2,
}
PROCESSES = ('configs/clgr.py', 'lab/mine.py')  # as a user starts them


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
    """Where somebody has put the files of the README: the folder `lab`, photographs, configs.

    To be at work there is to find `lab` as by `python -m`.
    """
    root = tmp_path_factory.mktemp('home')
    for folder in ('lab', 'photos'):
        (root / folder).mkdir()
    (root / 'configs').symlink_to(ROOT / 'configs')
    photographs(root / 'photos')
    for code in blocks('python'):
        (root / code.splitlines()[0].removeprefix('# ')).write_text(code, encoding='utf-8')
    assert len([*(root / 'lab').iterdir()]) == 4
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.syspath_prepend(root)
        patch.setenv('JAX_DISABLE_MOST_OPTIMIZATIONS', '1')
        yield root
    for name in [name for name in sys.modules if name.split('.')[0] == 'lab']:
        del sys.modules[name]


Ran = tuple[dict[str, Any], Path]  # results and work directory


@pytest.fixture(scope='module')
def ran(home) -> Callable[[str], Ran]:
    """Runs a command of the README, after those that it needs; once, whatever test asks first."""

    @functools.cache
    def once(part: str) -> Ran:
        for other in RUN[part][2:]:
            once(other)
        return run(command_of(part))

    return once


def parsed(line: str) -> tuple[str, dict[str, Any], str]:
    """The experiment, the fields and the work directory of a command line."""
    given: dict[str, str] = {}
    for word in shlex.split(line.removeprefix(PROGRAM)):
        name, _, given[name] = word.removeprefix('--').partition('=')
    config, workdir = given.pop('config'), given.pop('workdir', '')
    fields = {}
    for name, text in given.items():
        try:
            fields[name.removeprefix('config.')] = ast.literal_eval(text)
        except (SyntaxError, ValueError):
            fields[name.removeprefix('config.')] = text
    return config, fields, workdir or startup.default_workdir(config)


def run(line: str) -> Ran:
    """What a command makes, at small sizes."""
    name, fields, workdir = parsed(line)
    config = experiments.load(name, fields)
    wanted = {**TINY, **SIZES}
    sizes = {k: v for k, v in wanted.items() if has(config, k) and k not in fields}
    if name not in PROCESSES:
        config = shrink(config, linear='finetune' in name, **{**sizes, **fields})
        return experiments.run(config, workdir), Path(workdir)
    words = shlex.split(line.removeprefix(PROGRAM))
    subprocess.run(command(*words, *flags(sizes)), env=environment(), check=True, timeout=300)
    return json.loads(Path(workdir, 'results.json').read_text(encoding='utf-8')), Path(workdir)


RUN = {  # part of a command -> what its directory and its results must hold, and what it needs
    'configs/clgr.py': ('DONE', 'probes'),
    'configs/audit.py --config.init_from=runs/clgr ': (
        'report.html',
        'findings',
        'configs/clgr.py',
    ),
    'configs/inspect.py:folder': ('report.html', 'files'),
    'configs/clgr.py:folder': ('DONE', 'probes'),
    'configs/audit.py --config.init_from=runs/clgr_folder': (
        'report.html',
        'findings',
        'configs/clgr.py:folder',
    ),
    'configs/finetune.py': ('report.html', 'splits'),
    'configs/export.py': ('predict.py', 'weights', 'configs/clgr.py:folder'),
    'lab/mine.py': ('report.html', 'splits'),
    'configs/explain.py:lab.steep': ('report.html', 'sanity', 'lab/mine.py'),
}
ELSEWHERE = {  # other commands -> which file runs them, and the words there
    'configs/compare_unlearning.py --config.jobs=2': (
        'tests/test_bars.py',
        ('--config=configs/compare_unlearning.py', '--config.jobs=2'),
    ),
    "pip install -e '.[test]'": ('.ci/run', ("-e '.[test]'",)),
    'pip install -e .': ('.ci/run', ("-e '.",)),
    'pytest': ('.ci/run', ('\npytest ',)),
}


def command_of(part: str) -> str:
    return next(line for line in commands() if part in f'{line} ')


def test_every_command_is_run():
    left = [line for line in commands() if not any(part in f'{line} ' for part in RUN)]
    own = 'python exports/photos/predict.py photos/a/001.jpg'
    assert sorted(line.removeprefix(f'{PROGRAM}--config=') for line in left) == sorted(
        [own, *ELSEWHERE]
    )
    for line, (file, words) in ELSEWHERE.items():
        text = (ROOT / file).read_text(encoding='utf-8')
        assert all(word in text for word in words), f'{file} does not run {line}'


@pytest.mark.parametrize('part', RUN)
def test_a_command_does_what_it_is_for(part, ran):
    results, work = ran(part)
    file, block = RUN[part][:2]
    assert (work / file).is_file()
    assert results[block]


def test_an_exported_model_judges_a_picture_without_skinjax(ran):
    ran('configs/export.py')
    script, picture = command_of('predict.py').split()[1:]
    done = subprocess.run(
        [sys.executable, script, picture],
        env=environment(PYTHONPATH=''),
        capture_output=True,
        text=True,
        check=True,
    )
    assert picture in done.stdout and 'melanoma' in done.stdout


def test_forty_photographs_have_a_report_with_findings(ran):
    """The three commands that the README gives for a folder."""
    seen, _ = ran('configs/inspect.py:folder')
    assert sum(seen['data']['rows'].values()) == seen['files']['formats']['JPEG'] == 40
    assert (seen['groups']['count'], seen['groups']['divided']) == (20, [])
    _, trained = ran('configs/clgr.py:folder')
    audit, work = ran('configs/audit.py --config.init_from=runs/clgr_folder')
    assert audit == json.loads((work / 'results.json').read_text(encoding='utf-8'))
    test = json.loads((trained / 'results.json').read_text(encoding='utf-8'))['splits']['test']
    assert sum(audit['images'].values()) == test['n'] == seen['data']['rows']['test']
    assert audit['images'] == seen['classes']['test']
    assert audit['groups'] == seen['groups']['splits']['test']
    assert {'performance', 'leaks', 'insertion'} <= {one['about'] for one in audit['findings']}
    page = (work / 'report.html').read_text(encoding='utf-8')
    assert all(html.escape(one['text']) in page for one in audit['findings'])


def test_the_parts_of_lab_are_at_work(ran):
    _, work = ran('lab/mine.py')
    config = configs.resolve(experiments.load('lab/mine.py'))
    assert (config.objective.name, config.objective.strength) == ('lab.small', 0.5)
    assert (config.model.name, config.model.width) == ('lab.mynet', 24)
    lines = (work / 'metrics.jsonl').read_text(encoding='utf-8')
    assert '"main/size"' in lines


def test_the_table_of_systems_names_every_experiment():
    table = README[README.index('## Five systems') : README.index('Variants come after a colon')]
    named = re.findall(r'`(\w+)`', table)
    assert sorted(named) == experiments.names()


def test_it_is_short():
    assert len(README.splitlines()) < 250
