"""Two and three processes train as one does, agree on errors, end together, and continue.

Each test is a few starts of real processes that find each other on this machine.
"""

import contextlib
import dataclasses
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from skinjax import config as configs
from skinjax import train
from skinjax.engine.mesh import on_main
from skinjax.engine.writer import read_metrics
from tests.helpers import LINEAR, command, environment, flags, small, wait_for

CONFIG = """
from tests.test_processes import settings

def get_config(variant=''):
    return settings(variant)
"""
FAILING = """
import sys
from skinjax.engine import startup
from tests.test_processes import settings
config = settings()
config.distributed = True
startup.start(config)
import jax
with startup.fail_fast():
    if jax.process_index():
        raise TypeError('a mistake')
    jax.experimental.multihost_utils.sync_global_devices('never')
"""


STEPS, SAVED = 240, 10  # of the long runs: in all, and between two checkpoints
EXACT = 8  # steps after which sums in another order have not yet grown beyond five digits


def settings(variant: str = '') -> configs.Config:
    config = configs.train('clgr', 'synthetic', LINEAR)
    config.data.bias = ('ruler',)
    sizes = {'data.n_train': 64, 'data.n_val': 24, 'data.n_test': 24, 'train.log_every': 1}
    sizes |= {'evaluate.splits': ('plain',), 'evaluate.probe_split': 'plain'}
    config = small(config, **sizes, **{'train.augment': ('d4', 'colour')})
    if variant == 'long':
        fields = {'data.batch_size': 12, 'train.steps': STEPS, 'train.keep': 100}
        fields |= {'train.checkpoint_every': SAVED / 5, 'train.evaluate_every': 0.0}
        fields['optimizer.learning_rate'] = 1e-4
        config = configs.override(config, fields)
    return config


@dataclasses.dataclass
class Member:
    """One process of several; what it writes goes to files, so that none waits for a reader."""

    process: subprocess.Popen[bytes]
    place: Path

    def end(self) -> tuple[int, str]:
        """(exit status, standard error)"""
        return self.process.wait(timeout=240), self.place.with_suffix('.err').read_text()

    def said(self) -> str:
        """Standard output, without what the network library says by itself."""
        lines = self.place.with_suffix('.out').read_text().splitlines(keepends=True)
        return ''.join(line for line in lines if not line.startswith('[Gloo]'))


@contextlib.contextmanager
def together(program: list[str], folder: Path, count: int = 2) -> Iterator[list[Member]]:
    """`count` processes that run `program` together; none is left at the end."""
    address, members = f'127.0.0.1:{free_port()}', []
    shared = {'JAX_COORDINATOR_ADDRESS': address, 'JAX_COORDINATOR_BIND_ADDRESS': address}
    shared |= {'JAX_NUM_PROCESSES': str(count), 'JAX_NUM_CPU_DEVICES': '1'}
    try:
        for k in range(count):
            place = folder / f'process{k}'
            with (
                place.with_suffix('.out').open('wb') as out,
                place.with_suffix('.err').open('wb') as err,
            ):
                env = environment(**shared, JAX_PROCESS_ID=str(k))
                process = subprocess.Popen(program, env=env, stdout=out, stderr=err)
            members.append(Member(process, place))
        yield members
    finally:
        for member in members:
            member.process.kill()
            member.process.wait()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        return found.getsockname()[1]


def training(work: Path, *more: str, variant: str = '') -> list[str]:
    path = work.parent / 'config.py'
    path.write_text(CONFIG)
    return command(f'--config={path}:{variant}', f'--workdir={work}', '--config.distributed', *more)


def statuses(members: list[Member]) -> list[int]:
    """Exit statuses; where they are not 0 the errors are shown."""
    ends = [member.end() for member in members]
    assert not any(status for status, _ in ends), ends
    return [status for status, _ in ends]


def losses(work: Path) -> np.ndarray:
    lines = [line for line in read_metrics(work / 'metrics.jsonl') if line['split'] == 'train']
    return np.array([[line['main/main'], line['bias/ruler']] for line in lines])


@pytest.mark.parametrize('parallel', ['jit', pytest.param('pmap', marks=pytest.mark.slow)])
def test_two_processes_train_as_one(parallel, tmp_path):
    program = training(tmp_path / 'two', *flags({'parallel': parallel}))
    with together(program, tmp_path) as members:
        assert statuses(members) == [0, 0]
    one = configs.override(settings(), {'devices': 2, 'parallel': parallel})
    results = train.run(configs.resolve(one), tmp_path / 'one')
    np.testing.assert_allclose(losses(tmp_path / 'two'), losses(tmp_path / 'one'), rtol=1e-5)
    assert len(losses(tmp_path / 'two')) == results['step'] == 4
    first, second = (tmp_path / name / 'predictions' / 'plain.csv' for name in ('two', 'one'))
    ids = [[line.split(',')[0] for line in p.read_text().splitlines()] for p in (first, second)]
    assert ids[0] == ids[1] and len(ids[0]) == 25


def test_all_processes_hear_of_a_refused_directory(tmp_path):
    work = tmp_path / 'w'
    work.mkdir()
    (work / 'mine.txt').write_text('x')
    with together(training(work), tmp_path) as members:
        ends = [member.end() for member in members]
    for k, (status, error) in enumerate(ends):
        assert status == 1 and f'error: process {k}: ' in error, error
        assert 'is not empty and is no run' in error
    assert [path.name for path in work.iterdir()] == ['mine.txt']


def test_an_error_of_one_process_ends_both(tmp_path):
    begin = time.monotonic()
    with together([command()[0], '-c', FAILING], tmp_path) as members:
        (first, _), (second, error) = (member.end() for member in members)
    assert (
        second == 1 and 'TypeError: a mistake' in error and 'error: process 1: a mistake' in error
    )
    assert first != 0
    assert time.monotonic() - begin < 90


@pytest.fixture(scope='module')
def three(tmp_path_factory) -> Path:
    """The work directory of a run of three processes that nothing disturbed."""
    folder = tmp_path_factory.mktemp('three')
    with together(training(folder / 'w', variant='long'), folder, 3) as members:
        assert statuses(members) == [0, 0, 0]
        assert 'report.html' in members[0].said()
        assert not members[1].said() and not members[2].said()
    return folder / 'w'


def values(work: Path, until: int = STEPS) -> list[dict[str, float]]:
    """Each training line but its time."""
    lines = read_metrics(work / 'metrics.jsonl')
    return [
        {name: value for name, value in line.items() if name != 'time'}
        for line in lines
        if line['split'] == 'train' and line['step'] <= until
    ]


def test_three_processes_train_as_one_and_one_of_them_writes(three, tmp_path):
    one = {'devices': 1, 'train.steps': EXACT}
    train.run(configs.resolve(configs.override(settings('long'), one)), tmp_path / 'one')
    np.testing.assert_allclose(losses(three)[:EXACT], losses(tmp_path / 'one'), rtol=1e-5)
    assert [line['step'] for line in values(three)] == list(range(1, STEPS + 1))
    assert np.isfinite(losses(three)).all()


@pytest.mark.parametrize('victim', [1, pytest.param(0, marks=pytest.mark.slow)])
def test_a_kill_and_a_preemption_lose_nothing(victim, three, tmp_path):
    """Killed, preempted, and finished by two processes instead of three."""
    work = tmp_path / 'w'
    program, metrics = training(work, variant='long'), work / 'metrics.jsonl'

    def reached(step: int) -> bool:
        return metrics.exists() and len(metrics.read_bytes().splitlines()) >= step

    def going(members: list[Member], step: int) -> bool:
        ended = [m.end() for m in members if m.process.poll() is not None]
        assert not ended, ended
        return reached(step)

    with together(program, tmp_path, 3) as members:
        wait_for(lambda: going(members, 3 * SAVED))
        members[victim].process.send_signal(signal.SIGKILL)
        begin = time.monotonic()
        ends = [member.end() for member in members]
        assert time.monotonic() - begin < 30
    for k, (status, error) in enumerate(ends):
        if k == victim:
            assert status == -signal.SIGKILL
        elif victim == 0 and status == -signal.SIGABRT:  # JAX itself was the first to notice
            assert 'another task died' in error or 'leader' in error, error
        else:
            assert status == 1, (k, status, error)
            assert f'error: process {k}: another process of this run has ended' in error
    assert len(values(work)) < STEPS and not (work / 'DONE').exists()

    with together(program, tmp_path, 3) as members:
        wait_for(lambda: 'continuing from step' in members[0].said() or going(members, STEPS))
        step = int(re.search(r'continuing from step (\d+)', members[0].said()).group(1))  # type: ignore[union-attr]
        assert step % SAVED == 0 and step > 0
        wait_for(lambda: going(members, step + 2))
        members[2].process.send_signal(signal.SIGTERM)
        assert statuses(members) == [0, 0, 0]
        found = re.search(r'saved at step (\d+);', members[0].said())
        assert found, [member.said() for member in members]
        step = int(found.group(1))
    assert (work / 'checkpoints' / str(step)).is_dir() and not (work / 'DONE').exists()
    assert len(values(work)) == step < STEPS
    assert values(work) == values(three, step)

    with together(program, tmp_path, 2) as members:
        assert statuses(members) == [0, 0]
        assert f'continuing from step {step}' in members[0].said()
    assert [line['step'] for line in values(work)] == list(range(1, STEPS + 1))
    assert (work / 'DONE').exists()
    np.testing.assert_allclose(losses(work), losses(three), rtol=0.05)


def test_one_process_just_acts():
    assert on_main(lambda: 'yes') is True and on_main(lambda: None) is False
    with pytest.raises(KeyError):
        on_main(lambda: {}['x'])
