"""Two processes train as one does, agree on errors, and end together."""

import socket
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from skinjax import config as configs
from skinjax import train
from skinjax.engine.mesh import on_main
from skinjax.engine.writer import read_metrics
from tests.helpers import LINEAR, command, environment, flags, small

CONFIG = """
from tests.test_processes import settings

def get_config():
    return settings()
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


def settings() -> configs.Config:
    config = configs.train('clgr', 'synthetic', LINEAR)
    config.data.bias = ('ruler',)
    sizes = {'data.n_train': 64, 'data.n_val': 24, 'data.n_test': 24, 'train.log_every': 1}
    return small(config, **sizes, **{'train.augment': ('d4', 'colour')})


def start_both(program: list[str], port: int) -> list[tuple[int, str]]:
    """(exit status, standard error) of two processes that run `program` together."""
    address = f'127.0.0.1:{port}'
    shared = {'JAX_COORDINATOR_ADDRESS': address, 'JAX_COORDINATOR_BIND_ADDRESS': address}
    shared |= {'JAX_NUM_PROCESSES': '2', 'JAX_NUM_CPU_DEVICES': '1'}
    processes = [
        subprocess.Popen(
            program,
            env=environment(**shared, JAX_PROCESS_ID=str(k)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for k in range(2)
    ]
    try:
        return [(p.returncode, err) for p in processes for _, err in [p.communicate(timeout=240)]]
    finally:
        for process in processes:
            process.kill()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        return found.getsockname()[1]


def train_together(work: Path, *more: str) -> list[tuple[int, str]]:
    path = work.parent / 'config.py'
    path.write_text(CONFIG)
    arguments = [f'--config={path}', f'--workdir={work}', '--config.distributed', *more]
    return start_both(command(*arguments), free_port())


def losses(work: Path) -> np.ndarray:
    lines = [line for line in read_metrics(work / 'metrics.jsonl') if line['split'] == 'train']
    return np.array([[line['main/main'], line['bias/ruler']] for line in lines])


@pytest.mark.parametrize('parallel', ['jit', pytest.param('pmap', marks=pytest.mark.slow)])
def test_two_processes_train_as_one(parallel, tmp_path):
    both = train_together(tmp_path / 'two', *flags({'parallel': parallel}))
    assert [status for status, _ in both] == [0, 0], both
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
    both = train_together(work)
    for k, (status, error) in enumerate(both):
        assert status == 1 and f'error: process {k}: ' in error, error
        assert 'is not empty and is no run' in error
    assert [path.name for path in work.iterdir()] == ['mine.txt']


def test_an_error_of_one_process_ends_both(tmp_path):
    begin = time.monotonic()
    program = [command()[0], '-c', FAILING]
    (first, _), (second, error) = start_both(program, free_port())
    assert (
        second == 1 and 'TypeError: a mistake' in error and 'error: process 1: a mistake' in error
    )
    assert first != 0
    assert time.monotonic() - begin < 90


def test_one_process_just_acts():
    assert on_main(lambda: 'yes') is True and on_main(lambda: None) is False
    with pytest.raises(KeyError):
        on_main(lambda: {}['x'])
