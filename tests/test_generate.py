"""Kind 'generate': a data set on disk that trains as the original does."""

import os
import signal
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from skinjax import config as configs
from skinjax import generate, kinds, making, recipes, train
from tests.helpers import SMALL, small_run

SIZES = {'data.n_train': 48, 'data.n_val': 16, 'data.n_test': 16, 'data.image_size': 32}


def settings(fields: dict[str, Any], source: str = '') -> configs.Config:
    return configs.resolve(configs.override(kinds.generate(source), fields))


@pytest.fixture(scope='module')
def written(tmp_path_factory) -> Path:
    workdir = tmp_path_factory.mktemp('generate') / 'lesions'
    results = generate.run(settings(SIZES), workdir)
    assert results['data']['rows'] == {'train': 48, 'val': 16} | dict.fromkeys(
        ('plain', 'marked', 'balanced', 'reversed', 'aligned'), 16
    )
    return workdir


def test_the_work_directory_is_the_data_set(written, capsys):
    found = {path.name for path in written.iterdir()}
    assert found == {
        'config.json', 'results.json', 'images', 'masks', 'records.csv', 'dataset.json', 'figures',
        'report.html', 'DONE', '.lock',
    }  # fmt: skip
    assert len(list((written / 'images').iterdir())) == 48 + 16 + 5 * 16
    again = generate.run(settings(SIZES), written)
    assert 'is done' in capsys.readouterr().out and again['data']['name'] == 'synthetic'


def test_interrupted_at_the_keyboard(written, tmp_path, monkeypatch, capsys):
    update, work = making.Progress.update, tmp_path / 'w'

    def interrupt(self, step, text=''):
        update(self, step, text)
        if step == 64:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(making.Progress, 'update', interrupt)
        with pytest.raises(SystemExit) as stop:
            generate.run(settings(SIZES), work)
    assert stop.value.code == 128 + signal.SIGINT
    assert 'the same command continues from here' in capsys.readouterr().out
    first = {path.name: path.stat().st_mtime_ns for path in (work / 'images').iterdir()}
    assert 64 <= len(first) < 144 and not (work / 'records.csv').exists()
    generate.run(settings(SIZES), work)
    after = {path.name: path.stat().st_mtime_ns for path in (work / 'images').iterdir()}
    assert first.items() <= after.items()
    for path in [*(written / 'images').iterdir(), written / 'records.csv']:
        assert path.read_bytes() == (work / path.relative_to(written)).read_bytes()


def test_training_on_it_gives_the_figures_of_the_source(written, tmp_path):
    original = small_run('clgr', devices=1, **SIZES)
    skip = ('data.n_train', 'data.n_val', 'data.n_test')
    fields = {name: value for name, value in SMALL.items() if name not in skip}
    copy = recipes.unlearning('clgr', 'folder')
    copy = configs.override(copy, {**fields, 'devices': 1, 'data.root': str(written)})
    copy.data.mean, copy.data.std = original.data.mean, original.data.std
    first = train.run(original, tmp_path / 'original')
    second = train.run(copy, tmp_path / 'copy')
    for block in ('splits', 'insertion', 'probes', 'threshold'):
        assert first[block] == second[block]
    assert second['data']['bayes_auc'] == 0.97


def test_a_folder_beside_and_sources_without_a_sheet(written, tmp_path):
    fields = {'data.root': str(written), 'data.image_size': 16, 'beside': str(written / 'images')}
    generate.run(settings(fields, 'folder'), tmp_path / 'small')
    page = cv2.imread(str(tmp_path / 'small' / 'figures' / 'contact_sheet.png'))
    assert page is not None
    assert page.shape[0] == 4 * 98 - 2  # a row for each class, two of the folder beside
    original = cv2.imread(str(written / 'images' / 'train-0-00000.png'))
    resized = cv2.imread(str(tmp_path / 'small' / 'images' / 'train-0-00000.png'))
    assert original is not None and resized is not None
    averaged = original.reshape(16, 2, 16, 2, 3).mean((1, 3))
    np.testing.assert_allclose(resized, averaged, atol=0.51)


def test_errors_come_before_anything_is_written(written, tmp_path):
    target = tmp_path / 'w'
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ValueError, match='no pictures in config'):
        generate.run(settings({**SIZES, 'beside': str(tmp_path / 'empty')}), target)
    with pytest.raises(ValueError, match='a folder of images is needed'):
        generate.run(settings({}, 'folder'), target)
    assert not target.exists()
    target.mkdir()
    (target / 'mine.txt').write_text('x')
    with pytest.raises(ValueError, match='is not empty and is no run'):
        generate.run(settings(SIZES), target)
    assert [path.name for path in target.iterdir()] == ['mine.txt']
