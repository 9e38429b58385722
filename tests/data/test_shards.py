"""Which rows go where, what is kept of an earlier run; every byte follows from the data."""

import dataclasses
import hashlib
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from array_record.python import array_record_module  # pyright: ignore

from skinjax.data import examples, shards
from skinjax.data.parallel import Stopped
from skinjax.data.records import DataSet
from skinjax.engine.writer import read_json
from tests.helpers import tiny_data, tiny_records

FORM = examples.Form(8, 'png', masks=False)


def write(data: DataSet, work: Path, form: examples.Form = FORM, **more: Any) -> dict[str, Any]:
    planned = shards.plan(data, 10)
    known = shards.kept(work, data, planned)
    options: dict[str, Any] = {'workers': 2, 'skip': False, **more}
    return shards.write(data, planned, work, form, known, **options)


def digests(work: Path) -> dict[str, str]:
    files = sorted((work / shards.FOLDER).iterdir())
    assert not [path for path in files if 'tmp' in path.name]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def ids(work: Path, name: str) -> list[str]:
    reader = array_record_module.ArrayRecordReader(str(work / shards.FOLDER / name))
    found = [str(examples.parsed(record)['id'], 'utf-8') for record in reader.read_all()]  # pyright: ignore
    reader.close()
    return found


def test_every_row_is_in_one_file_in_order(tmp_path):
    data = tiny_data(24)
    facts = write(data, tmp_path)
    assert [facts[name]['records'] for name in facts] == [10, 10, 4] * 3
    assert list(facts)[:2] == [f'tiny-train.array_record-0000{k}-of-00003' for k in (0, 1)]
    for split, records in data.splits.items():
        names = [name for name in facts if facts[name]['split'] == split]
        found = [each for name in names for each in ids(tmp_path, name)]
        assert found == records.ids.tolist()
    assert read_json(tmp_path / shards.FACTS) == facts


@pytest.mark.parametrize('form', [FORM, examples.Form(8, 'jpeg', 95)], ids=['png', 'jpeg'])
def test_files_do_not_depend_on_the_number_of_threads(tmp_path, form):
    data = tiny_data(24)
    for workers in (1, 3):
        write(data, tmp_path / str(workers), form, workers=workers)
    one, other = (digests(tmp_path / name) for name in '13')
    assert one == other and len(one) == 9
    assert (tmp_path / '1' / shards.FACTS).read_bytes() == (
        tmp_path / '3' / shards.FACTS
    ).read_bytes()


def counted(data: DataSet, read: list[str]) -> DataSet:
    """The same data; `read` hears of every row that is read."""
    lock = threading.Lock()

    def listening(records):
        def listen(row):
            with lock:
                read.append(str(records.ids[row]))
            return records.read(row)

        return dataclasses.replace(records, read=listen)

    splits = {name: listening(records) for name, records in data.splits.items()}
    return dataclasses.replace(data, splits=splits)


def test_a_stopped_run_continues_with_the_files_that_it_lacks(tmp_path):
    data, told, read = tiny_data(24), [], []
    write(data, tmp_path / 'whole')
    with pytest.raises(Stopped):
        write(data, tmp_path / 'w', told=told.append, stopped=lambda: len(told) >= 27)
    assert told == list(range(1, 28))
    assert len(digests(tmp_path / 'w')) == 3
    (tmp_path / 'w' / shards.FOLDER / '.tiny-val.array_record-00000-of-00003.1.tmp').touch()
    write(counted(data, read), tmp_path / 'w', told=told.append)
    assert told[27:] == list(range(25, 73))
    expected = [*data.splits['val'].ids, *data.splits['test'].ids]
    assert sorted(read) == sorted(expected)
    assert digests(tmp_path / 'w') == digests(tmp_path / 'whole')


def test_only_a_few_rows_are_read_ahead(tmp_path):
    data, read, ahead = tiny_data(100), [], []
    write(counted(data, read), tmp_path, told=lambda done: ahead.append(len(read) - done))
    assert len(read) == 300 and max(ahead) <= 4 * 2 + 1


def _delete(path: Path) -> None:
    path.unlink()


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize('harm', [_delete, _cut, _flip])
def test_files_that_are_not_as_they_were_are_written_again(tmp_path, harm):
    data, read = tiny_data(24), []
    facts = write(data, tmp_path)
    before = digests(tmp_path)
    name = 'tiny-val.array_record-00001-of-00003'
    harm(tmp_path / shards.FOLDER / name)
    problem = shards.damage(tmp_path, name, facts[name], contents=True)
    assert {_delete: 'is missing', _cut: 'bytes, but', _flip: 'other contents'}[harm] in problem
    write(counted(data, read), tmp_path)
    assert digests(tmp_path) == before
    assert sorted(read) == sorted(data.splits['val'].ids[10:20])


def test_rows_that_changed_are_written_again_and_others_are_kept(tmp_path):
    data, read = tiny_data(24), []
    write(data, tmp_path)
    train = data.splits['train']
    labels = train.labels.copy()
    labels[12] = 1 - labels[12]
    splits = {**data.splits, 'train': dataclasses.replace(train, labels=labels)}
    fewer = dataclasses.replace(data, splits=splits)
    del fewer.splits['test']  # pyright: ignore
    write(counted(fewer, read), tmp_path)
    assert sorted(read) == sorted(train.ids[10:20])
    assert len(digests(tmp_path)) == 6


def test_an_error_names_the_row_and_leaves_no_half_file(tmp_path):
    data = unreadable(tiny_data(24), 'train', [13])
    with pytest.raises(ValueError, match='train-13: broken'):
        write(data, tmp_path)
    assert list(digests(tmp_path)) == ['tiny-train.array_record-00000-of-00003']


def unreadable(data: DataSet, split: str, rows: list[int]) -> DataSet:
    records = data.splits[split]

    def read(row):
        if row in rows:
            raise ValueError('broken')
        return records.read(row)

    return dataclasses.replace(
        data, splits={**data.splits, split: dataclasses.replace(records, read=read)}
    )


def test_rows_that_cannot_be_read_are_left_out_where_that_is_asked_for(tmp_path):
    broken = [3, *range(10, 20)]  # a whole file among them
    data = unreadable(tiny_data(24), 'train', broken)
    facts = write(data, tmp_path, skip=True)
    train = [fact for fact in facts.values() if fact['split'] == 'train']
    assert [fact['records'] for fact in train] == [9, 0, 4]
    assert [row for fact in train for row, _ in fact['skipped']] == broken
    found = ids(tmp_path, 'tiny-train.array_record-00000-of-00003')
    assert found == np.delete(data.splits['train'].ids[:10], 3).tolist()
    again = write(data, tmp_path, skip=True)  # from the file
    assert [row for fact in again.values() for row, _ in fact['skipped']] == broken


def test_names_that_tfds_cannot_use():
    data = tiny_data(4)
    for name in ('a b', 'all', '_', 'ü'):
        renamed = dataclasses.replace(data, splits={name: tiny_records(4)})
        with pytest.raises(ValueError, match=f'split {name!r}: expected letters'):
            shards.plan(renamed, 4)
    taken = dataclasses.replace(data, bias={'has_mask': ('a', 'b')})
    with pytest.raises(ValueError, match="'has_mask' has a name that records"):
        shards.plan(taken, 4)
    named = dataclasses.replace(data, name='my.own-9.Data-Set')
    assert shards.plan(named, 4)[0].name == 'data_set-train.array_record-00000-of-00001'


def test_what_is_no_example():
    with pytest.raises(ValueError, match='no example'):
        examples.parsed(b'\xff\xff\xff')
