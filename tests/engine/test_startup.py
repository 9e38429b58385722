"""Names of work directories, the compile cache, and signals that wait for a save."""

import os
import signal
import subprocess
import time

import jax
import pytest

from skinjax import config as configs
from skinjax.engine.startup import (
    CACHED_SECONDS,
    Interrupts,
    default_workdir,
    hold,
    keep_compiled,
)
from tests.helpers import ROOT, command, environment, wait_for


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


@pytest.mark.parametrize('place', ['/sys/skinjax', 'file/w'])
def test_a_directory_that_cannot_be_written_is_named(place, tmp_path):
    """The kernel refuses both to any user."""
    (tmp_path / 'file').touch()
    work = tmp_path / place  # an absolute place stays as it is
    with pytest.raises(OSError, match=r'cannot be written \(.*choose another') as caught:
        hold(configs.train(), work).__enter__()
    assert str(work) in str(caught.value) and '\n' not in str(caught.value)


class TestCompileCache:
    """What is compiled is kept, in a place that the user can move and turn off."""

    @pytest.fixture(autouse=True)
    def settings(self, monkeypatch):
        names = [name for name in jax.config.values if 'compilation_cache' in name]
        names.append('jax_persistent_cache_min_compile_time_secs')
        old = {name: jax.config.values[name] for name in names}
        for name in ('JAX_COMPILATION_CACHE_DIR', 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'):
            # Noted first, so that what the tested function sets is taken back as well.
            monkeypatch.setenv(name, '')
            monkeypatch.delenv(name)
        yield
        for name, value in old.items():
            jax.config.update(name, value)

    def test_the_users_cache_is_the_default_and_is_handed_on(self, tmp_path, monkeypatch):
        monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
        folder = keep_compiled()
        assert folder is not None and folder.is_dir() and not list(folder.iterdir())
        assert folder.parent == tmp_path / 'skinjax'
        assert jax.config.values['jax_compilation_cache_dir'] == str(folder)
        assert os.environ['JAX_COMPILATION_CACHE_DIR'] == str(folder)
        assert jax.config.values['jax_persistent_cache_min_compile_time_secs'] == CACHED_SECONDS

    @pytest.mark.parametrize('given', [None, '', 'not/absolute'])
    def test_without_a_cache_home_it_is_in_the_home(self, given, tmp_path, monkeypatch):
        monkeypatch.setenv('HOME', str(tmp_path))
        monkeypatch.delenv('XDG_CACHE_HOME', raising=False)
        if given is not None:
            monkeypatch.setenv('XDG_CACHE_HOME', given)
        folder = keep_compiled()
        assert folder is not None and folder.parent == tmp_path / '.cache' / 'skinjax'

    def test_a_place_and_a_bound_of_the_user_are_kept(self, tmp_path, monkeypatch):
        monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', str(tmp_path / 'mine'))
        monkeypatch.setenv('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '3')
        before = jax.config.values['jax_persistent_cache_min_compile_time_secs']
        assert keep_compiled() == tmp_path / 'mine'
        assert os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] == '3'
        assert jax.config.values['jax_persistent_cache_min_compile_time_secs'] == before

    def test_it_can_be_turned_off(self, tmp_path, monkeypatch):
        monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
        jax.config.update('jax_enable_compilation_cache', False)
        assert keep_compiled() is None
        assert not list(tmp_path.iterdir()) and 'JAX_COMPILATION_CACHE_DIR' not in os.environ

    @pytest.mark.parametrize('place', ['/sys', '/proc', 'file'])
    def test_without_a_place_to_write_there_is_none(self, place, tmp_path, monkeypatch):
        (tmp_path / 'file').touch()
        monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / place))
        assert keep_compiled() is None
        assert not jax.config.values['jax_enable_compilation_cache']
        assert 'JAX_COMPILATION_CACHE_DIR' not in os.environ


@pytest.mark.slow
def test_a_second_start_reaches_the_first_step_in_half_the_time(tmp_path):
    """Of configs/clgr.py as it is; on a machine that does nothing else."""
    took = []
    for k in range(2):
        begin, work = time.monotonic(), tmp_path / str(k)
        process = subprocess.Popen(
            command('--config=configs/clgr.py', f'--workdir={work}', '--config.train.log_every=1'),
            cwd=ROOT,
            env=environment(JAX_COMPILATION_CACHE_DIR=str(tmp_path / 'cache')),
            stdout=subprocess.DEVNULL,
        )
        metrics = work / 'metrics.jsonl'
        try:
            wait_for(lambda: metrics.exists() and metrics.stat().st_size)  # noqa: B023
            took.append(time.monotonic() - begin)
        finally:
            process.kill()
            process.wait()
    assert took[1] < took[0] / 2, took
