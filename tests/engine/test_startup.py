"""Names of work directories, and signals that wait for a save."""

import os
import signal

import pytest

from skinjax import config as configs
from skinjax.engine.startup import Interrupts, default_workdir, hold


@pytest.mark.parametrize(
    ('argument', 'folder'),
    [
        ('configs/clgr.py', 'runs/clgr'),
        ('configs/clgr.py:isic2017', 'runs/clgr_isic2017'),
        ('/some/where/my-own.py', 'runs/my-own'),
        ('configs/double.py:lntl_clgr', 'runs/double_lntl_clgr'),
        ('configs/a b.py:../x', 'runs/a_b____x'),
        ('configs/clgr.py:', 'runs/clgr'),
    ],
)
def test_default_workdir(argument, folder):
    assert default_workdir(argument) == folder


def test_a_refused_directory_stays_as_it_is_and_a_held_one_is_held(tmp_path):
    config = configs.train()
    (tmp_path / 'notes.txt').touch()
    with pytest.raises(ValueError, match='is no run'), hold(config, tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ['notes.txt']
    with hold(config, tmp_path / 'w'):
        assert (tmp_path / 'w' / 'config.json').exists()
        with (
            pytest.raises(ValueError, match='another process is running in'),
            hold(config, tmp_path / 'w'),
        ):
            pass


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_noted_once_and_the_next_one_acts_as_usual(number):
    seen = []
    old = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
    signal.signal(number, lambda n, frame: seen.append(n))
    mine = signal.getsignal(number)
    try:
        with Interrupts() as interrupts:
            assert interrupts.signal is None
            os.kill(os.getpid(), number)
            assert interrupts.signal == number and seen == []
            os.kill(os.getpid(), number)
            assert seen == [number]
        assert signal.getsignal(number) is mine
        other = signal.SIGINT if number == signal.SIGTERM else signal.SIGTERM
        assert signal.getsignal(other) is old[other]
    finally:
        for n, handler in old.items():
            signal.signal(n, handler)


def test_handlers_are_restored_after_an_error():
    old = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(ZeroDivisionError), Interrupts():
        assert signal.getsignal(signal.SIGTERM) is not old[0]
        raise ZeroDivisionError
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == old
