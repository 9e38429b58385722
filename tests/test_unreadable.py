"""Images that cannot be read: found before the run, or named when they are met."""

import numpy as np
import pytest

from skinjax import config as configs
from skinjax import train
from skinjax.engine.writer import read_metrics
from tests.helpers import LINEAR, SMALL, write_folder


def settings(root):
    config = configs.train('baseline', 'folder', LINEAR)
    fields = {name: value for name, value in SMALL.items() if name in ('evaluate.bootstrap',)}
    fields |= {'data.root': str(root), 'data.image_size': 16, 'data.batch_size': 4, 'devices': 1}
    fields |= {'train.epochs': 2, 'train.log_every': 1, 'train.checkpoint_every': 1 / 6}
    return configs.override(config, fields)


def test_what_is_no_image_is_found_before_anything_is_written(tmp_path):
    root = write_folder(tmp_path / 'data')
    (root / 'images' / 'test-3.png').write_bytes(b'no image at all')
    with pytest.raises(
        ValueError, match=r'records\.csv row 53: .*test-3\.png: not a readable'
    ) as e:
        train.run(settings(root), tmp_path / 'w')
    assert '\n' not in str(e.value) and not (tmp_path / 'w').exists()


def test_a_run_that_meets_a_damaged_image_continues_once_it_is_mended(tmp_path):
    """The header is good, the pixels are cut off: met when the row is read, in training."""
    root = write_folder(tmp_path / 'data')
    whole = train.run(settings(root), tmp_path / 'whole')
    config = settings(root)
    trainer = train.Trainer(config, train.load_data(config), train.Mesh.create('jit', 1))
    batches = trainer.batches(0)
    met = [next(batches)['index'] for _ in range(4)][3][0]
    batches.close()
    path = root / 'images' / f'train-{met}.png'
    good = path.read_bytes()
    path.write_bytes(good[: len(good) // 2])
    text = rf'train-{met}: records\.csv row {met + 2}: .*train-{met}\.png: the PNG data are damaged'
    with pytest.raises(ValueError, match=text) as error:
        train.run(config, tmp_path / 'w')
    assert '\n' not in str(error.value)
    left = {path.name for path in (tmp_path / 'w').iterdir()}
    assert left == {'config.json', 'metrics.jsonl', 'checkpoints', '.lock'}
    assert {path.name for path in (tmp_path / 'w' / 'checkpoints').iterdir()} == {'2', '3'}
    path.write_bytes(good)
    again = train.run(config, tmp_path / 'w')
    assert again['splits'] == whole['splits']
    steps = [line['step'] for line in read_metrics(tmp_path / 'w' / 'metrics.jsonl')]
    assert np.all(np.diff(steps) >= 0) and steps[-1] == again['step'] == 12
