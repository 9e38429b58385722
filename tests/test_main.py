"""The command line, as users call it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers import SMALL

ROOT = Path(__file__).parents[1]
FLAGS = [f'--config.{name}={value}' for name, value in SMALL.items()]


def command(*arguments: str) -> list[str]:
    return [sys.executable, '-m', 'skinjax.main', *arguments]


def call(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT)}
    return subprocess.run(
        command(*arguments), cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )


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
        (['--config=configs/clgr.py:isic2016'], "unknown variant 'isic2016'"),
        (['--config=configs/clgr.py', '--config.objective.name=clg'], "did you mean 'clgr'"),
        (['--config=configs/clgr.py:isic2017'], 'data.root'),
        (
            ['--config=configs/clgr.py', '--config.data.bias=("rulr",)'],
            "unknown bias variable 'rulr'",
        ),
        (['--config=configs/clgr.py', '--config.objective.bias=rulr'], "'rulr' is not in data set"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing_behind(arguments, text, tmp_path):
    small = FLAGS if arguments and 'isic' not in arguments[0] else []
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
        'config.json', 'metrics.jsonl', 'results.json', 'predictions', 'checkpoints', 'report.html',
        'DONE',
    }  # fmt: skip
    again = call(*arguments)
    assert again.returncode == 0 and 'is done' in again.stdout
    other = call(*arguments, '--config.seed=7')
    assert other.returncode == 1 and 'seed: 0 -> 7' in other.stderr


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_first(number, tmp_path):
    work = tmp_path / 'w'
    flags = [f for f in FLAGS if 'epochs' not in f]
    arguments = ['--config=configs/baseline.py', f'--workdir={work}', *flags]
    long = [*arguments, '--config.train.epochs=500', '--config.train.evaluate_every=1000']
    environment = {**os.environ, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT)}
    process = subprocess.Popen(
        command(*long), cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    wait_for(lambda: (work / 'metrics.jsonl').exists() and (work / 'metrics.jsonl').stat().st_size)
    process.send_signal(number)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + number
    step = int(out.split('saved at step ')[1].split(';')[0])
    assert (work / 'checkpoints' / str(step)).is_dir()
    assert not (work / 'DONE').exists()


def wait_for(ready, seconds: float = 120):
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, 'timed out'
        time.sleep(0.05)
