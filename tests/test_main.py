"""The command line, as users call it."""

import resource
import subprocess
import sys

import pytest

from skinjax import experiments, main
from skinjax.engine import startup
from tests.helpers import SMALL, call, environment, flags

FLAGS = flags(SMALL)


def quickest(*arguments):
    """What the program did, and the least seconds of a core that it took in several calls."""
    used = []
    for _ in range(4):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = call(*arguments, COLUMNS='120')
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return done, min(used)


@pytest.mark.parametrize('flag', ['--help', '-h'])
def test_help_is_quick_and_names_experiments_kinds_and_flags(flag):
    done, seconds = quickest(flag)
    assert done.returncode == 0 and not done.stderr and seconds < 0.3
    for text in ('  --workdir:', '  --config:', '\n  clgr   ', '\n  audit   ', 'skinjax:clgr\n'):
        assert text in done.stdout


def test_nothing_large_is_imported_for_help():
    code = 'import sys, skinjax.main; sys.exit(bool({"jax", "numpy"} & set(sys.modules)))'
    assert subprocess.run([sys.executable, '-c', code], env=environment()).returncode == 0


def test_without_arguments_it_says_what_to_do_and_that_nothing_was_done():
    done, seconds = quickest()
    assert done.returncode == 2 and not done.stdout and seconds < 0.5
    assert done.stderr == experiments.overview(120) + '\n'


def test_a_name_has_the_work_directory_of_its_file():
    """So that either continues what the other has begun."""
    for given in ('skinjax:clgr:isic2017', 'configs/clgr.py:isic2017'):
        for words in ([f'--config={given}'], ['--config', given], [f'-config={given}']):
            found = main._located(['main', *words, '--config.seed=1'])
            workdir = startup.default_workdir(main._config_argument(found))
            assert workdir == 'runs/clgr_isic2017'
            assert len(found) == len(words) + 2 and found[-1] == '--config.seed=1'


@pytest.mark.parametrize(
    ('arguments', 'text'),
    [
        ([], 'error: no --config given: try --config=skinjax:clgr'),
        (['--config=configs/nothing.py'], "no file 'configs/nothing.py'; skinjax:NAME finds"),
        (['--config=configs/clg.py'], 'did you mean configs/clgr.py?'),
        (['--config=skinjax:clg:isic2017'], 'did you mean clgr?'),
        (
            ['--config=configs/clgr.py', '--config.optimizer.lerning_rate=1'],
            "no field 'optimizer.lerning_rate'; did you mean 'learning_rate'? known: ",
        ),
        (['--config=configs/clgr.py:oracle', '--config.optimizer.lerning_rate=1'], 'learning_rate'),
        (
            ['--config=skinjax:clgr', '--config.batch_size=8'],
            "; did you mean 'data.batch_size'? kn",
        ),
        (
            ['--config=configs/clgr.py', '--config.data.bias.x=1'],
            "no field 'data.bias.x'; known: none",
        ),
        (['--config=skinjax:generate', '--config.count=40'], "no field 'count'; known: 'beside', "),
        (['--config=configs/clgr.py:isic2021'], "py:isic2021: unknown variant 'isic2021' of clgr"),
        (['--config=configs/clgr.py:mclass'], 'py:mclass: mclass is only tested on: judge a'),
        (['--config=configs/inspect.py:ham1000'], "did you mean 'ham10000'?"),
        (['--config=configs/clgr.py', '--config.objective.name=clg'], "did you mean 'clgr'"),
        (['--config=configs/clgr.py', '--config.objective.name=network'], "no 'network' among"),
        (['--config=configs/clgr.py', '--config.objective.name=tabe'], "made for 'tabe'"),
        (
            ['--config=configs/clgr.py', 'config.seed=7'],
            "error: unexpected argument 'config.seed=7': options begin with --",
        ),
        (['--config=configs/clgr.py:isic2017'], 'data.root'),
        (
            ['--config=configs/clgr.py', '--config.data.bias=("rulr",)'],
            "unknown bias variable 'rulr'",
        ),
        (['--config=configs/clgr.py', '--config.objective.bias=rulr'], "'rulr' is not in data set"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing_behind(arguments, text, tmp_path):
    small = FLAGS if arguments and '.py:' not in arguments[0] else []
    work = tmp_path / 'work'
    done = call(
        *arguments, *(small if 'nothing' not in str(arguments) else []), f'--workdir={work}'
    )
    assert done.returncode != 0
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith('error: ') and text in lines[0], done.stderr
    assert not work.exists()


def test_run_then_again_then_with_another_seed(tmp_path):
    arguments = ['--config=configs/clgr.py', f'--workdir={tmp_path / "w"}', *FLAGS]
    done = call(*arguments)
    assert done.returncode == 0, done.stderr
    assert 'Warning' not in done.stderr and 'WARNING' not in done.stderr
    assert 'reversed' in done.stdout and 'report.html' in done.stdout
    assert 'step 6/6' in done.stderr
    found = {path.name for path in (tmp_path / 'w').iterdir()}
    assert found == {
        'config.json', 'metrics.jsonl', 'results.json', 'predictions', 'checkpoints', 'figures',
        'report.html', 'DONE', '.lock',
    }  # fmt: skip
    assert {'roc.png', 'calibration.png'} == {p.name for p in (tmp_path / 'w/figures').iterdir()}
    again = call(*arguments)
    assert again.returncode == 0 and 'is done' in again.stdout
    other = call(*arguments, '--config.seed=7')
    assert other.returncode == 1 and 'seed: 0 -> 7' in other.stderr
