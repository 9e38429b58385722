"""A long run that is killed again and again ends in the same bits as one that was left alone.

    SKINJAX_SOAK_MINUTES=60 pytest -m slow -s tests/test_soak.py

The minutes are those of the disturbed run on two cores, about; the undisturbed one comes first.
"""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.helpers import SMALL, flags, wait_for
from tests.test_resume import assert_same_run, finish, nothing_is_left_running, start

MINUTES = float(os.environ.get('SKINJAX_SOAK_MINUTES', '60'))
KILLS = 15  # expected in all
EPOCHS_PER_MINUTE = 150  # of the undisturbed run, on two idle cores; half of that in the end
FIELDS = {
    **SMALL,
    'train.epochs': max(4, round(MINUTES * EPOCHS_PER_MINUTE)),
    'train.checkpoint_every': 0.5,
    'train.evaluate_every': 10.0,
    'train.ema': 0.9,
    'evaluate.splits': ('plain', 'balanced'),
    'evaluate.bootstrap': 5,
    'devices': 1,
}
__all__ = ['nothing_is_left_running']  # a fixture


@pytest.mark.slow
def test_kills_for_an_hour(tmp_path):
    rng, kills, cache = random.Random(0), 0, tmp_path / 'cache'
    pause = MINUTES * 60 / KILLS
    metrics = tmp_path / 'w' / 'metrics.jsonl'

    def clgr(work: Path):
        return start(work, '--config=configs/clgr.py', *flags(FIELDS), cache=cache)

    def written() -> int:
        return metrics.stat().st_size if metrics.exists() else 0

    begin = time.monotonic()
    finish(clgr(tmp_path / 'alone'), seconds=3600 + 120 * MINUTES)
    alone = time.monotonic() - begin
    while True:
        process, before = clgr(tmp_path / 'w'), written()
        wait_for(lambda: process.poll() is not None or written() > before)  # noqa: B023
        end = time.monotonic() + rng.uniform(0.2, 1.8) * pause
        while process.poll() is None and time.monotonic() < end:
            time.sleep(rng.uniform(0, 0.2))
        if process.poll() is not None:
            finish(process)
            break
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += 1
    total = time.monotonic() - begin - alone
    print(f'{kills} kills in {total / 60:.1f} minutes; undisturbed: {alone / 60:.1f}')
    assert kills >= 3
    assert_same_run(tmp_path / 'alone', tmp_path / 'w', FIELDS['train.epochs'] * 6)
