"""The command line, as users call it."""

import time

import pytest

from tests.helpers import SMALL, call, flags

FLAGS = flags(SMALL)


def test_help_is_quick_and_names_the_flags():
    times = []
    for _ in range(4):
        start = time.perf_counter()
        done = call('--help')
        times.append(time.perf_counter() - start)
    assert '--workdir' in done.stdout and '--config' in done.stdout
    assert min(times) < 0.5


@pytest.mark.parametrize(
    ('arguments', 'text'),
    [
        ([], 'error: no --config given: try --config=configs/clgr.py'),
        (['--config=configs/nothing.py'], 'nothing.py'),
        (['--config=configs/clgr.py', '--config.optimizer.lerning_rate=1'], 'learning_rate'),
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
