"""Runs that are stopped from outside and started again by the same command.

Killed, terminated or interrupted at the keyboard: the final checkpoint is bitwise that of a run
that was left alone.
"""

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from skinjax.engine.writer import read_metrics
from tests.helpers import ROOT, SMALL, command, environment, final_state, flags, wait_for

FIELDS = {
    **SMALL,
    'train.epochs': 8,
    'train.checkpoint_every': 0.5,
    'train.evaluate_every': 2.0,
    'train.ema': 0.9,
    'evaluate.splits': ('plain', 'balanced'),
    'evaluate.bootstrap': 5,
    'devices': 1,
}


STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def nothing_is_left_running():
    yield
    while STARTED:
        end(STARTED.pop())


def end(process: subprocess.Popen[str]) -> None:
    """Kill what is left of a process and of those that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def start(work: Path, *arguments: str, cache: Path) -> subprocess.Popen[str]:
    """The program in the background, with everything that it compiles kept."""
    kept = environment(
        JAX_COMPILATION_CACHE_DIR=str(cache), JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS='0'
    )
    process = subprocess.Popen(
        command(*arguments, f'--workdir={work}'),
        cwd=ROOT,
        env=kept,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    STARTED.append(process)
    return process


def clgr(work: Path, cache: Path) -> subprocess.Popen[str]:
    return start(work, '--config=configs/clgr.py', *flags(FIELDS), cache=cache)


def finish(process: subprocess.Popen[str], seconds: float = 200) -> str:
    """What a process wrote, once it has ended well."""
    try:
        out, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        end(process)
        raise
    assert process.returncode == 0, out
    return out


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp('cache')


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory, cache):
    work = tmp_path_factory.mktemp('undisturbed') / 'w'
    finish(clgr(work, cache))
    return work


def assert_same_run(one: Path, other: Path, last: int = 48):
    (step, a), (other_step, b) = final_state(one), final_state(other)
    assert step == other_step == last
    for (path, x), y in zip(
        jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True
    ):
        assert np.array_equal(np.asarray(x), np.asarray(y)), path
    tables = sorted(path.name for path in (one / 'predictions').iterdir())
    assert len(tables) == 3
    for name in tables:
        table = Path('predictions') / name
        assert (one / table).read_bytes() == (other / table).read_bytes()
    lines = [line for line in read_metrics(other / 'metrics.jsonl') if line['split'] == 'train']
    steps = [line['step'] for line in lines]
    assert steps == sorted(set(steps)) and steps[-1] == last


def kill_and_resume(undisturbed: Path, work: Path, cache: Path, kills: int) -> None:
    """Kill in training, inside a save and at any time since the start, in turn; then finish."""
    rng = random.Random(0)
    metrics, saves, inside = work / 'metrics.jsonl', work / 'checkpoints', 0

    def written() -> int:
        return metrics.stat().st_size if metrics.exists() else 0

    def saving() -> bool:
        return saves.is_dir() and any('tmp' in path.name for path in saves.iterdir())

    for kill in range(kills):
        process, before, lines = clgr(work, cache), written(), rng.randint(1, 3)
        if kill % 3 == 0:
            wait_for(lambda: process.poll() is not None or written() > before + 200 * lines)  # noqa: B023
        elif kill % 3 == 1:
            end = time.monotonic() + 60
            while process.poll() is None and time.monotonic() < end:
                if saving():  # without a pause: a save takes milliseconds
                    inside += 1
                    break
        else:
            time.sleep(rng.uniform(0, 6))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, 'the run was over before it was killed'
    finish(clgr(work, cache))
    assert inside or kills < 2
    assert_same_run(undisturbed, work)


def test_a_killed_run_continues_bit_for_bit(undisturbed, tmp_path, cache):
    kill_and_resume(undisturbed, tmp_path / 'w', cache, 3)


@pytest.mark.slow
def test_ten_kills(undisturbed, tmp_path, cache):
    kill_and_resume(undisturbed, tmp_path / 'w', cache, 10)


def test_a_killed_gan_continues_bit_for_bit(tmp_path, cache):
    """Both networks, both optimizers and the averages of the weights."""
    arguments = ('--config=tests/experiment.py:gan',)
    whole, work = tmp_path / 'whole', tmp_path / 'w'
    finish(start(whole, *arguments, cache=cache))
    process = start(work, *arguments, cache=cache)
    wait_for(lambda: (work / 'checkpoints' / '20').is_dir() or process.poll() is not None)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL, 'the run was over before it was killed'
    assert 'continuing from step' in finish(start(work, *arguments, cache=cache))
    (step, one), (other_step, other) = final_state(whole), final_state(work)
    assert step == other_step == 300
    both = {'generator', 'discriminator'}
    assert set(one.params) == set(one.ema) == set(one.opt) == set(one.model['batch_stats']) == both
    jax.tree.map(np.testing.assert_array_equal, one, other)
    for name in ('val.csv', 'generated.csv'):
        table = Path('per_image') / name
        assert (whole / table).read_bytes() == (work / table).read_bytes()


SIGNALS = [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]


@pytest.mark.parametrize('number', SIGNALS)
def test_a_signal_saves_first_and_the_run_continues_bit_for_bit(
    number, undisturbed, tmp_path, cache
):
    work = tmp_path / 'w'
    process = clgr(work, cache)
    metrics = work / 'metrics.jsonl'
    wait_for(lambda: metrics.exists() and metrics.stat().st_size)
    process.send_signal(number)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + number, out
    step = int(re.search(r'saved at step (\d+);', out).group(1))  # type: ignore[union-attr]
    assert 0 < step < 48
    assert (work / 'checkpoints' / str(step)).is_dir()
    assert not (work / 'DONE').exists()
    assert f'continuing from step {step}' in finish(clgr(work, cache))
    assert_same_run(undisturbed, work)


@pytest.mark.parametrize(
    'number', [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_an_interrupted_comparison_keeps_what_is_done_and_continues(number, tmp_path, cache):
    """Ctrl-C reaches every process of the terminal's group, `kill` the first one alone."""
    work = tmp_path / 'w'
    arguments = ('--config=tests/experiment.py:compare',)
    process = start(work, *arguments, cache=cache)
    first, second, third = (work / name / 'seed0' for name in ('first', 'second', 'third'))
    wait_for(lambda: (second / 'metrics.jsonl').exists() or process.poll() is not None)
    assert (first / 'DONE').exists()
    before = time.monotonic()
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert time.monotonic() - before < 30
    assert process.returncode == 130, out
    assert 'error: interrupted' in out and 'Traceback' not in out
    assert not (work / 'DONE').exists() and not (second / 'DONE').exists()
    assert not third.exists(), 'nothing more was to be started'
    kept = (first / 'results.json').stat().st_mtime_ns
    out = finish(start(work, *arguments, cache=cache))
    assert '1 of 3 runs are done already' in out
    assert (first / 'results.json').stat().st_mtime_ns == kept
    steps = [int(path.name) for path in (second / 'checkpoints').iterdir() if path.name.isdigit()]
    assert max(steps) == 1000
    assert 'continuing from step' in second.with_suffix('.log').read_text()
    values = json.loads((work / 'comparison.json').read_text())['values']
    assert set(values) == {'first', 'second', 'third'}
    assert all(np.isfinite(columns['plain']).all() for columns in values.values())
