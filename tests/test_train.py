"""The training loop: exact resume, errors, what a work directory holds."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from skinjax import config as configs
from skinjax import train
from skinjax.engine import checkpoint
from skinjax.engine.mesh import Mesh
from skinjax.engine.writer import read_metrics
from tests.helpers import SMALL, small_run

ROOT = Path(__file__).parents[1]


def final_state(work: Path):
    """The newest checkpoint of a run."""
    config = configs.load_run(work)
    trainer = train.Trainer(config, train.load_data(config), Mesh.create('jit', 1))
    abstract = checkpoint.with_sharding(trainer.abstract(), trainer.mesh.replicated)
    return checkpoint.restore_state(work, abstract)


def assert_same_run(one: Path, other: Path):
    (step, a), (other_step, b) = final_state(one), final_state(other)
    assert step == other_step
    for (path, x), y in zip(
        jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True
    ):
        assert np.array_equal(np.asarray(x), np.asarray(y)), path
    for name in ('plain', 'reversed', 'val'):
        table = f'predictions/{name}.csv'
        assert (one / table).read_bytes() == (other / table).read_bytes()


RESUME = {'train.epochs': 4, 'train.checkpoint_every': 0.5, 'train.ema': 0.9, 'devices': 1}


def start(work: Path, cache: Path) -> subprocess.Popen:
    flags = {**SMALL, **RESUME}
    arguments = [f'--config.{name}={value}' for name, value in flags.items()]
    environment = {
        **os.environ,
        'JAX_PLATFORMS': 'cpu',
        'PYTHONPATH': str(ROOT),
        'JAX_COMPILATION_CACHE_DIR': str(cache),
        'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
    }
    main = ['-m', 'skinjax.main', '--config=configs/clgr.py', f'--workdir={work}']
    return subprocess.Popen(
        [sys.executable, *main, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill_and_resume(tmp_path: Path, kills: int) -> None:
    """Kill `kills` times, every other time while a checkpoint is being written; then finish."""
    cache, whole, broken = tmp_path / 'cache', tmp_path / 'whole', tmp_path / 'broken'
    assert start(whole, cache).wait(300) == 0
    rng = random.Random(0)
    inside = 0
    for kill in range(kills):
        process = start(broken, cache)
        saves = broken / 'checkpoints'
        if kill % 2:
            end = time.monotonic() + 60
            while process.poll() is None and time.monotonic() < end:
                if saves.is_dir() and any('tmp' in path.name for path in saves.iterdir()):
                    inside += 1
                    break
        else:
            while process.poll() is None and not (broken / 'metrics.jsonl').exists():
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 2))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert start(broken, cache).wait(300) == 0
    assert inside or kills < 2
    assert_same_run(whole, broken)
    steps = [r['step'] for r in read_metrics(broken / 'metrics.jsonl') if r['split'] == 'train']
    assert steps == sorted(set(steps))


def test_a_killed_run_continues_bit_for_bit(tmp_path):
    kill_and_resume(tmp_path, 3)


@pytest.mark.slow
def test_ten_kills(tmp_path):
    kill_and_resume(tmp_path, 10)


def test_results_and_metrics(tmp_path):
    results = train.run(small_run('lntl', devices=1), tmp_path / 'w')
    assert results == json.loads((tmp_path / 'w' / 'results.json').read_text())
    assert set(results['splits']) == {
        'val', 'plain', 'marked', 'balanced', 'reversed', 'aligned'
    }  # fmt: skip
    assert 0 <= results['splits']['plain']['auc']['value'] <= 1
    assert results['insertion']['ruler']['n'] == 64
    assert 0 <= results['probes']['ruler']['linear']['auc'] <= 1
    names = set().union(*read_metrics(tmp_path / 'w' / 'metrics.jsonl'))
    assert {'main/main', 'main/ruler_entropy', 'bias/ruler', 'bias/ruler_push', 'auc'} <= names


def test_pmap_runs_the_whole_job(tmp_path):
    config = small_run('clgr', parallel='pmap', **{'train.select': 'best'})
    results = train.run(config, tmp_path / 'w')
    assert results['step'] == 6 and (tmp_path / 'w' / 'DONE').exists()


@pytest.mark.parametrize(
    ('fields', 'error', 'text'),
    [
        (
            {'optimizer.learning_rate': 1e38, 'optimizer.clip': 0.0},
            FloatingPointError,
            r'at step \d',
        ),
        ({'data.batch_size': 128, 'devices': 1}, ValueError, 'batch'),
        ({'data.batch_size': 18, 'devices': 4}, ValueError, '18 does not divide over 4 devices'),
        ({'devices': 99}, ValueError, 'there are 4 devices'),
        ({'data.skew': (1.0, 1.0)}, ValueError, "'ruler' takes fewer than two values"),
        ({'model.norm_groups': 3, 'devices': 1}, ValueError, 'norm_groups = 3 does not divide'),
        ({'train.augment': ('spin',)}, ValueError, "'spin' is unknown"),
        ({'train.accumulate': 3, 'devices': 1}, ValueError, 'accumulate = 3 does not divide'),
        ({'train.select': 'bset'}, ValueError, "select 'last' or 'best'"),
        ({'model.dtype': 'bf16'}, ValueError, 'bfloat16'),
        ({'evaluate.threshold': 'yuden'}, ValueError, 'unknown threshold rule'),
        ({'evaluate.splits': ('tset',)}, ValueError, "no 'tset'"),
        ({'evaluate.probes': ('svm',)}, ValueError, "no 'svm'"),
        ({'evaluate.probe_split': 'train'}, ValueError, 'not evaluated'),
    ],
)
def test_what_cannot_work_is_said_in_one_line(fields, error, text, tmp_path):
    with pytest.raises(error, match=text) as caught:
        train.run(small_run('clgr', **fields), tmp_path / 'w')
    assert '\n' not in str(caught.value)
    if error is ValueError:
        assert not (tmp_path / 'w').exists()


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    train.run(small_run('baseline', devices=1), tmp_path / 'one')
    other = small_run('clgr', devices=1)
    configs.claim(other, tmp_path / 'two')
    (tmp_path / 'one' / 'checkpoints').rename(tmp_path / 'two' / 'checkpoints')
    with pytest.raises(ValueError, match=r'checkpoints/6 does not fit this model') as caught:
        train.run(other, tmp_path / 'two')
    assert '\n' not in str(caught.value)


def test_bfloat16_trains_with_float32_parameters():
    config = small_run('clgr', devices=1, **{'model.dtype': 'bfloat16'})
    trainer = train.Trainer(config, train.load_data(config), Mesh.create('jit', 1))
    now = trainer.mesh.distribute(trainer.fresh())
    assert {x.dtype for x in jax.tree.leaves((now.params, now.model))} == {np.dtype('float32')}
    now, metrics = trainer.step(now, trainer.mesh.put_batch(next(trainer.batches(0))))
    assert {x.dtype for x in jax.tree.leaves((now.params, now.model))} == {np.dtype('float32')}
    assert np.isfinite(metrics['main/main'])
