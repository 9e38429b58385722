"""Mistakes in data and settings, as users meet them: one line, an exit status, nothing written.

Further ones: `test_main.py` (flags, configs, variants, plug-ins), `test_train.py` (options) and
`data/test_*.py` (each way in which a table can be wrong).
"""

from pathlib import Path

import pytest

from tests.helpers import call, flags, write_folder

EXPERIMENT = '--config=tests/experiment.py'


def edit(table: Path, old: str, new: str, count: int = -1) -> None:
    text = table.read_text()
    assert old in text
    table.write_text(text.replace(old, new, count))


def spoil(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20])


def one_class(root: Path) -> None:
    lines = (root / 'records.csv').read_text().splitlines()
    kept = [s.replace(',test,nevus,', ',test,melanoma,') for s in lines]
    (root / 'records.csv').write_text('\n'.join(kept) + '\n')


# name -> (change of the folder, fields, texts of the line)
CASES = {
    'unknown field': (None, {'train.epoch': 3}, ['epoch', 'epochs']),
    'unknown objective': (
        None,
        {'objective.name': 'clgrr'},
        ["no 'clgrr'", "did you mean 'clgr'", 'baseline', 'double', 'group_dro', 'lntl', 'tabe'],
    ),
    'missing column': (
        lambda root: edit(root / 'records.csv', ',label,', ',labl,', 1),
        {},
        ['records.csv', "no column 'label'", "did you mean 'labl'"],
    ),
    'missing image': (
        lambda root: (root / 'images' / 'val-3.png').unlink(),
        {},
        ['records.csv: row 29', "column 'image'", 'val-3.png'],
    ),
    'label out of range': (
        lambda root: edit(root / 'records.csv', ',melanoma,', ',7,', 1),
        {'data.classes': ('nevus', 'melanoma')},
        ['records.csv: row ', "column 'label'", "'7'"],
    ),
    'one class': (one_class, {}, ["split 'test' has one class only", "'melanoma'"]),
    'bias variable absent': (None, {'data.bias': ('hair',)}, ["'hair'", 'records.csv', 'ruler']),
    'large batch': (None, {'data.batch_size': 25}, ['data.batch_size=25', '24 training rows']),
}


def only_line(done) -> str:
    """The line of an error; steps that were done before may be told above it."""
    assert done.returncode == 1, (done.stdout, done.stderr)
    lines = [line for line in done.stderr.splitlines() if not line.startswith('step ')]
    assert len(lines) == 1 and lines[0].startswith('error: '), done.stderr
    return lines[0]


@pytest.mark.parametrize('name', CASES)
def test_mistakes_are_one_line_before_anything_is_written(name, tmp_path):
    change, fields, texts = CASES[name]
    root, work = write_folder(tmp_path / 'data'), tmp_path / 'work'
    if change is not None:
        change(root)
    fields = {'data.root': str(root), **fields}
    done = call(EXPERIMENT, f'--workdir={work}', *flags(fields))
    if name == 'unknown field':  # a mistake on the command line itself
        assert done.returncode == 2
        done.returncode = 1
    line = only_line(done)
    assert all(text in line for text in texts), line
    assert not done.stderr.startswith('step ') and not work.exists()


def assert_unfinished(work: Path) -> None:
    assert not (work / 'DONE').exists() and not (work / 'results.json').exists()
    assert not (work / 'predictions').exists() and not (work / 'report.html').exists()


def test_an_unreadable_image_is_named_and_can_be_repaired_or_skipped(tmp_path):
    """A damaged file is met when it is first read: that of validation after the first epoch."""
    root, work = write_folder(tmp_path / 'data'), tmp_path / 'work'
    image = root / 'images' / 'val-3.png'
    whole = image.read_bytes()
    spoil(image)
    arguments = [EXPERIMENT, f'--workdir={work}', *flags({'data.root': str(root)})]
    line = only_line(call(*arguments))
    assert 'val-3' in line and 'records.csv row 29' in line and 'not a readable image' in line
    assert_unfinished(work)
    skipping = call(
        EXPERIMENT,
        f'--workdir={tmp_path / "skip"}',
        *arguments[2:],
        *flags({'data.on_error': 'skip'}),
    )
    assert skipping.returncode == 0, skipping.stderr
    image.write_bytes(whole)
    assert call(*arguments).returncode == 0
    assert (work / 'DONE').exists()


def test_a_loss_that_is_not_a_number_and_the_checkpoint_of_another_model(tmp_path):
    root, work = write_folder(tmp_path / 'data'), tmp_path / 'work'
    common = {'data.root': str(root)}
    wild = {**common, 'optimizer.learning_rate': 1e38, 'optimizer.clip': 0.0}
    line = only_line(call(EXPERIMENT, f'--workdir={work}', *flags(wild)))
    assert ' at step ' in line and 'learning rate' in line
    assert_unfinished(work)
    good, other = tmp_path / 'good', tmp_path / 'other'
    assert call(EXPERIMENT, f'--workdir={good}', *flags(common)).returncode == 0
    fields = {**common, 'model.features': 5}
    assert call(EXPERIMENT, f'--workdir={other}', *flags(fields)).returncode == 0
    for name in ('DONE', 'results.json', 'report.html'):
        (other / name).unlink()
    (other / 'checkpoints').rename(tmp_path / 'away')
    (good / 'checkpoints').rename(other / 'checkpoints')
    before = sorted(path.name for path in other.iterdir())
    line = only_line(call(EXPERIMENT, f'--workdir={other}', *flags(fields)))
    assert 'does not fit this model' in line and '(192, 4)' not in line and '(768, 4)' in line
    assert sorted(path.name for path in other.iterdir()) == before
