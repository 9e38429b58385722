"""Images that cannot be read: found before the run, or named when they are met."""

import numpy as np
import pytest

from skinjax import config as configs
from skinjax import evaluate, generate, kinds, train
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
    last = [next(batches)['index'] for _ in range(4)][3]
    met = next(row for row in last.tolist() if row)  # row 0 is read before the run begins
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


def test_rows_that_are_skipped_are_listed_by_every_kind(tmp_path):
    root = write_folder(tmp_path / 'data')
    (root / 'images' / 'test-3.png').write_bytes(b'no image at all')
    config = configs.override(settings(root), {'data.on_error': 'skip', 'train.steps': 1})
    found = train.run(config, tmp_path / 'run')
    assert found['data']['rows'] == {'train': 24, 'val': 24, 'test': 23}
    table = (tmp_path / 'run' / 'skipped.csv').read_text()
    header, line = table.splitlines()
    assert header == 'split,id,error'
    assert line.startswith('test,test-3,') and 'records.csv row 53: ' in line
    assert line.endswith('expected BMP, JPEG, PNG, TIFF, WEBP"')
    judged = configs.override(configs.evaluate(), {'init_from': str(tmp_path / 'run')})
    evaluate.run(judged, tmp_path / 'judged')
    written = configs.override(
        kinds.generate('folder'),
        {'data.root': str(root), 'data.image_size': 16, 'data.on_error': 'skip'},
    )
    generate.run(written, tmp_path / 'copy')
    for work in ('judged', 'copy'):
        assert (tmp_path / work / 'skipped.csv').read_text() == table
    assert len(list((tmp_path / 'copy' / 'images').iterdir())) == 3 * 24 - 1
