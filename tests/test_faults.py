"""What a long run meets: a full disk, damaged checkpoints, a loss that is not a number."""

import contextlib
import json
import resource
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from skinjax import config as configs
from skinjax import train
from skinjax.data import pipeline
from skinjax.engine.writer import read_metrics
from tests.helpers import LINEAR, ROOT, command, environment, final_state, small, wait_for

STEPS, SAVED = 12, 4
FULL = 400_000  # bytes that a file may have; the states of the long run are larger
CONFIG = """
from tests.test_faults import settings

def get_config():
    return settings(steps=3000, width=64)
"""


def settings(objective: Any = 'baseline', steps=STEPS, width=4) -> configs.Config:
    """A checkpoint every SAVED steps."""
    config = configs.train(objective, 'synthetic', {**LINEAR, 'features': width})
    config.data.bias = ('ruler',)
    sizes = {'data.n_train': 64, 'data.n_val': 24, 'data.n_test': 24, 'devices': 1}
    sizes |= {'evaluate.splits': ('plain',), 'evaluate.probe_split': 'plain'}
    sizes |= {'train.steps': steps, 'train.checkpoint_every': SAVED / 4, 'train.log_every': 1000}
    return configs.resolve(
        small(config, **sizes, **{'train.evaluate_every': 0.0, 'train.keep': 10})
    )


@pytest.fixture(scope='module')
def finished(tmp_path_factory) -> Path:
    work = tmp_path_factory.mktemp('finished') / 'w'
    train.run(settings(), work)
    return work


def saved(work: Path) -> list[int]:
    return sorted(int(p.name) for p in (work / 'checkpoints').glob('*') if p.name.isdigit())


def test_a_damaged_checkpoint_is_passed_over_and_the_run_ends_as_it_would_have(
    finished, tmp_path, capsys
):
    """One byte of the newest one is another: its format does not notice that."""
    work = tmp_path / 'w'
    shutil.copytree(finished, work)
    (work / 'DONE').unlink()
    files = (p for p in (work / 'checkpoints' / str(STEPS)).rglob('*') if p.is_file())
    largest = max(files, key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 3] ^= 1
    largest.write_bytes(content)
    train.run(settings(), work)
    out, err = capsys.readouterr()
    [warning] = [line for line in err.splitlines() if line.startswith('warning: ')]
    assert f'checkpoints/{STEPS} is damaged' in warning and f'damaged-{STEPS}' in warning
    assert f'continuing from step {STEPS - SAVED}' in out
    assert saved(work) == saved(finished) == [4, 8, 12]
    (_, one), (_, other) = final_state(work), final_state(finished)
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_a_loss_that_is_not_a_number_names_step_rows_and_checkpoint(tmp_path):
    """Met at the next save, which is not made."""
    config = settings(configs.plugin('objectives', 'tests.objectives.not_finite', at=6))
    with pytest.raises(FloatingPointError) as caught:
        train.run(config, tmp_path)
    text = str(caught.value)
    assert 'main/main is nan at step 6, batch ' in text
    assert f'the last good checkpoint in {tmp_path} is step 4' in text and '\n' not in text
    records = train.load_data(config).splits['train']
    with contextlib.closing(pipeline.train_batches(records, config.data, seed=0)) as batches:
        rows = [next(batches)['index'] for _ in range(6)][-1]
    found = json.loads((tmp_path / 'not_finite.json').read_text())
    assert found == {
        'step': 6, 'metric': 'main/main', 'value': 'nan', 'ids': records.ids[rows].tolist()
    }  # fmt: skip
    assert ', '.join(found['ids'][:8]) in text and '(16 in ' in text
    assert saved(tmp_path) == [4]


def test_a_loss_that_is_never_a_number_has_no_checkpoint(tmp_path):
    config = settings(configs.plugin('objectives', 'tests.objectives.not_finite', at=1))
    with pytest.raises(FloatingPointError, match=r'at step 1, .*there is no checkpoint before it'):
        train.run(config, tmp_path)
    assert saved(tmp_path) == []


def test_a_disk_that_is_full_ends_the_run_which_continues_when_it_is_not(tmp_path):
    """The kernel refuses to let a file grow, as it does on a full disk."""
    path, work = tmp_path / 'config.py', tmp_path / 'w'
    path.write_text(CONFIG)
    program = command(f'--config={path}', f'--workdir={work}')

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            program,
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    with start() as process:
        try:
            wait_for(lambda: process.poll() is not None or saved(work))
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (FULL, FULL))
            _, err = process.communicate(timeout=200)
        finally:
            process.kill()
    assert process.returncode == 1, err
    lines = [line for line in err.splitlines() if line.startswith('error: ')]
    assert len(lines) == 1, err
    line = lines[0]
    assert f'a checkpoint could not be written to {work}' in line and 'File too large' in line
    assert 'the same command continues' in line
    before = saved(work)[-1]
    assert 0 < before < 3000 and not (work / 'DONE').exists()

    with start() as process:
        try:
            wait_for(lambda: saved(work)[-1] > before or process.poll() is not None)
            process.terminate()
            out, err = process.communicate(timeout=200)
        finally:
            process.kill()
    assert process.returncode == 143, err
    assert f'continuing from step {before}' in out
    steps = [line['step'] for line in read_metrics(work / 'metrics.jsonl')]
    assert steps == sorted(set(steps)) and steps[-1] == saved(work)[-1] > before
