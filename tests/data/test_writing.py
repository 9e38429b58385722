"""A data set written to disk is read back as it was."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ml_collections import ConfigDict

from skinjax.data import folder, groups, synthetic, writing
from skinjax.data.records import COMMON, DataSet, Records
from tests.helpers import tiny_data, tiny_records


def build(**fields: Any) -> DataSet:
    sizes = {'n_train': 12, 'n_val': 6, 'n_test': 6, 'image_size': 32, 'batch_size': 4}
    config = ConfigDict({**COMMON, **synthetic.DEFAULTS, **sizes})
    config.update(fields)
    return groups.load(synthetic.build, config, 0)


def read(root: Path, **fields: Any) -> DataSet:
    config = ConfigDict({**COMMON, **folder.DEFAULTS, 'image_size': 32, 'batch_size': 4})
    config.update(root=str(root), **fields)
    return groups.load(folder.build, config, 0)


def same_rows(one: Records, other: Records) -> None:
    for name in ('ids', 'groups', 'labels'):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert list(one.bias) == list(other.bias)
    for name, values in one.bias.items():
        np.testing.assert_array_equal(values, other.bias[name])


@pytest.mark.parametrize('fields', [{}, {'artefact': 'none', 'cameras': 'skewed'}])
def test_written_folders_are_read_back(tmp_path: Path, fields: dict[str, Any]):
    data = build(**fields)
    seen: list[int] = []
    table = writing.write(data, tmp_path, seen.append)
    back = read(tmp_path, with_mask=True)
    assert table.read_text().startswith('id,image,mask,split,label,')
    assert seen == sorted(seen) and seen[-1] == sum(len(r) for r in data.splits.values())
    assert back.classes == data.classes and back.bias == data.bias and back.pairs == data.pairs
    assert {**back.info, 'association': None} == {**data.info, 'association': None}
    assert list(back.splits) == list(data.splits)
    for name, records in data.splits.items():
        again = back.splits[name]
        same_rows(again, records)
        np.testing.assert_allclose(again.columns['ita'].astype(float), records.columns['ita'])
        for row in range(len(records)):
            for key, pixels in records.read(row).items():
                np.testing.assert_array_equal(again.read(row)[key], pixels)


def digests(path: Path) -> dict[str, str]:
    files = sorted(p for p in path.rglob('*') if p.is_file())
    return {str(p.relative_to(path)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_writing_is_deterministic(tmp_path: Path):
    for name in ('a', 'b'):
        writing.write(build(), tmp_path / name)
    assert digests(tmp_path / 'a') == digests(tmp_path / 'b')
    assert len(digests(tmp_path / 'a')) == 2 + 2 * (12 + 6 + 5 * 6)


def test_copies_of_a_skewed_set_stay_copies(tmp_path: Path):
    data = build(skew_artefact='ruler', skew_copies=2, n_train=40)
    assert data.info['skewed']['added'] > 0
    writing.write(data, tmp_path)
    train = read(tmp_path).splits['train']
    same_rows(train, data.splits['train'])
    np.testing.assert_array_equal(
        train.columns['copy'] == '1', data.splits['train'].columns['copy']
    )


def test_ids_become_safe_file_names(tmp_path: Path):
    records = tiny_records(4)
    object.__setattr__(records, 'ids', np.array(['../a', '.._a', 'A b#1', 'a_b_1']))
    data = DataSet('tiny', ('nevus', 'melanoma'), tiny_data().bias, {'test': records})
    writing.write(data, tmp_path / 'out')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['out']
    files = {path.name for path in (tmp_path / 'out' / 'images').iterdir()}
    assert files == {'_a.png', '_a-1.png', 'A_b_1.png', 'a_b_1-3.png'}


def test_a_killed_write_leaves_no_table(tmp_path: Path):
    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        writing.write(build(), tmp_path, stop)
    assert not (tmp_path / 'records.csv').exists()


def test_what_cannot_be_written_or_read(tmp_path: Path):
    data = tiny_data(4)
    double = DataSet('x', data.classes, data.bias, {'a': tiny_records(2), 'b': tiny_records(2)})
    with pytest.raises(ValueError, match="two rows have the id 'row-0'"):
        writing.write(double, tmp_path)
    named = DataSet('x', data.classes, {'group': ('a', 'b')}, {})
    with pytest.raises(ValueError, match="'group' has the name of a column"):
        writing.write(named, tmp_path)
    (tmp_path / 'dataset.json').write_text(json.dumps({'classes': 3}))
    with pytest.raises(ValueError, match=r'dataset\.json: not the facts of a data set'):
        writing.read_facts(tmp_path)
