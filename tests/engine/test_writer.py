"""Tests of the metric log and the progress lines."""

import builtins
import io
import json

import ml_dtypes
import numpy as np
import pytest

from skinjax.engine import writer
from skinjax.engine.writer import MetricWriter, Progress, read_metrics


def steps(workdir):
    return [record['step'] for record in read_metrics(workdir / 'metrics.jsonl')]


def test_a_line_is_readable_before_close(tmp_path):
    log = MetricWriter(tmp_path)
    log.write(3, 'train', {'loss': np.float32(0.5), 'seen': np.int64(7)})
    record = json.loads((tmp_path / 'metrics.jsonl').read_text())
    assert record.pop('time') > 1e9
    assert record == {'step': 3, 'split': 'train', 'loss': 0.5, 'seen': 7}
    log.close()
    log.write(4, 'train', {'loss': 1.0})
    assert steps(tmp_path) == [3]


def test_what_is_not_finite_is_null(tmp_path):
    values = {'a': float('nan'), 'b': np.float32('inf'), 'c': None, 'd': ml_dtypes.bfloat16(0.25)}
    with MetricWriter(tmp_path) as log:
        log.write(0, 'val', values)
    text = (tmp_path / 'metrics.jsonl').read_text()
    record = json.loads(text, parse_constant=lambda name: pytest.fail(f'{name} is not JSON'))
    assert (record['a'], record['b'], record['c'], record['d']) == (None, None, None, 0.25)


@pytest.mark.parametrize('values', [{'loss': np.zeros(2)}, {'loss': 'low'}, {'step': 1}])
def test_other_values_are_refused_by_name(tmp_path, values):
    with MetricWriter(tmp_path) as log, pytest.raises(ValueError, match=repr(next(iter(values)))):
        log.write(0, 'train', values)


def fill(tmp_path, count=5):
    with MetricWriter(tmp_path) as log:
        for step in range(count):
            log.write(step, 'train', {'loss': 1 / (1 + step)})


def test_resume_drops_what_comes_after_the_restored_step(tmp_path):
    fill(tmp_path)
    before = (tmp_path / 'metrics.jsonl').read_text().splitlines()[:3]
    with MetricWriter(tmp_path, resume_step=2) as log:
        log.write(3, 'train', {'loss': 9.0})
    lines = (tmp_path / 'metrics.jsonl').read_text().splitlines()
    assert lines[:3] == before
    assert steps(tmp_path) == [0, 1, 2, 3]


def test_resume_after_a_kill_in_mid_line(tmp_path):
    fill(tmp_path)
    path = tmp_path / 'metrics.jsonl'
    path.write_bytes(path.read_bytes()[:-9])
    with MetricWriter(tmp_path, resume_step=10) as log:
        log.write(11, 'train', {'loss': 9.0})
    assert steps(tmp_path) == [0, 1, 2, 3, 11]
    assert [path.name for path in tmp_path.iterdir()] == ['metrics.jsonl']


def test_a_new_run_starts_an_empty_file(tmp_path):
    fill(tmp_path)
    MetricWriter(tmp_path).close()
    assert steps(tmp_path) == []


def test_damage_inside_the_file_is_named(tmp_path):
    (tmp_path / 'metrics.jsonl').write_text('{"step": 1}\nrubbish\n{"step": 2}\n')
    with pytest.raises(ValueError, match='line 2'):
        read_metrics(tmp_path / 'metrics.jsonl')


def test_other_processes_write_nothing(tmp_path):
    with MetricWriter(tmp_path, enabled=False) as log:
        log.write(0, 'train', {'loss': 1.0})
    assert not list(tmp_path.iterdir())


def test_missing_tensorboard_keeps_the_history(tmp_path, monkeypatch):
    fill(tmp_path)
    real = builtins.__import__

    def without(name, *rest, **options):
        if name == 'tensorboardX':
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, '__import__', without)
    with pytest.raises(ImportError, match=r'skinjax\[tensorboard\]'):
        MetricWriter(tmp_path, tensorboard=True)
    assert steps(tmp_path) == [0, 1, 2, 3, 4]


def test_tensorboard_gets_finite_scalars(tmp_path, monkeypatch):
    class Board(list):
        def add_scalar(self, *scalar):
            self.append(scalar)

        def close(self):
            self.append('closed')

    board = Board()
    monkeypatch.setattr(writer, '_summary_writer', lambda workdir, step: board)
    with MetricWriter(tmp_path, tensorboard=True) as log:
        log.write(2, 'val', {'auc': 0.5, 'loss': float('nan')})
    assert board == [('val/auc', 0.5, 2), 'closed']


def test_json_files_are_strict_and_whole(tmp_path):
    path = tmp_path / 'deep' / 'results.json'
    writer.write_json(
        path, {'a': np.float64(1.5), 'b': [float('nan')], 3: np.arange(2), 'c': np.bool_(True)}
    )
    assert json.loads(path.read_text()) == {'a': 1.5, 'b': [None], '3': [0, 1], 'c': True}
    with pytest.raises(ValueError, match='object'):
        writer.write_json(path, {'a': object()})
    assert json.loads(path.read_text())['a'] == 1.5
    assert [entry.name for entry in path.parent.iterdir()] == ['results.json']


def test_leftovers_are_those_of_one_file(tmp_path):
    for name in ('.a.json.12.tmp', '.a.json.7.tmp', '.b.json.7.tmp', 'a.json', '.a.json'):
        (tmp_path / name).touch()
    found = writer.leftovers(tmp_path / 'a.json')
    assert [path.name for path in found] == ['.a.json.12.tmp', '.a.json.7.tmp']
    assert writer.leftovers(tmp_path / 'nowhere' / 'a.json') == []


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_plain_lines_come_now_and_then_with_rate_and_time_left():
    clock, stream = Clock(), io.StringIO()
    progress = Progress(
        200, start=100, every_seconds=10.0, examples_per_step=8, stream=stream, clock=clock
    )
    for step in range(101, 201):
        clock.now += 0.5
        progress.update(step, f'loss {step}')
    lines = stream.getvalue().splitlines()
    assert lines[0] == 'step 120/200, 2 steps/s, 16 images/s, 40s left, loss 120'
    assert len(lines) == 5
    assert lines[-1] == 'step 200/200, 2 steps/s, 16 images/s, 0s left, loss 200'


def test_a_slow_start_does_not_spoil_the_rate():
    clock, stream = Clock(), io.StringIO()
    progress = Progress(1000, stream=stream, clock=clock)
    clock.now = 60
    progress.update(1)
    clock.now = 70
    progress.update(101)
    assert stream.getvalue().splitlines()[1] == 'step 101/1000, 10 steps/s, 1m30s left'


def test_progress_is_silent_when_disabled_and_a_bar_on_a_terminal():
    stream = io.StringIO()
    Progress(10, enabled=False, stream=stream).update(10)
    assert stream.getvalue() == ''
    stream.isatty = lambda: True
    with Progress(10, start=4, stream=stream) as progress:
        progress.update(10, 'loss 1')
    assert '10/10' in stream.getvalue()


@pytest.mark.parametrize('terminal', [False, True])
def test_nothing_is_shown_of_what_is_over_soon(terminal):
    clock, stream = Clock(), io.StringIO()
    stream.isatty = lambda: terminal
    with Progress(10, unit='image', stream=stream, clock=clock, delay=5.0) as progress:
        for step in range(1, 11):
            clock.now += 0.1
            progress.update(step)
    assert stream.getvalue() == ''


def test_what_takes_longer_is_told_late():
    clock, stream = Clock(), io.StringIO()
    progress = Progress(30, unit='image', stream=stream, clock=clock, delay=15.0)
    for clock.now in range(1, 31):
        progress.update(int(clock.now))
    assert [line.split(',')[0] for line in stream.getvalue().splitlines()] == [
        'image 15/30', 'image 25/30', 'image 30/30'
    ]  # fmt: skip


@pytest.mark.parametrize(
    ('seconds', 'text'), [(0.0, '0s'), (59.7, '1m00s'), (185.0, '3m05s'), (7620.0, '2h07m')]
)
def test_durations(seconds, text):
    assert writer.duration(seconds) == text
