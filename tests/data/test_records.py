import dataclasses

import ml_collections
import numpy as np
import pytest

from skinjax.data import records
from skinjax.data.records import COMMON, Records, Table, concatenate, read_table

CONFIG = ml_collections.ConfigDict({**COMMON, 'image_size': 8})


def small(n=4, first=0):
    """Records of constant images: row k is filled with first + k."""
    reads = []

    def read(row):
        reads.append(row)
        return {'image': np.full((8, 8, 3), first + row, np.uint8)}

    names = np.array([f'r{first + k}' for k in range(n)])
    found = Records(
        names,
        np.arange(n, dtype=np.int32) % 2,
        {'ruler': np.arange(n, dtype=np.int32) % 3 - 1},
        names,
        read,
        {'age': np.arange(first, first + n)},
    )
    return found, reads


def table(path, text, encoding='utf-8'):
    (path / 'records.csv').write_bytes(text.encode(encoding))
    return read_table(path / 'records.csv')


@pytest.mark.parametrize(
    ('text', 'encoding'),
    [
        ('image,label\na.png,0\nb.png,1\n', 'utf-8'),
        ('image;label\r\na.png;0\r\nb.png;1\r\n\r\n', 'utf-8-sig'),
        ('"image", label \na.png,0\n"b.png",1', 'utf-8'),
    ],
)
def test_table_dialects(tmp_path, text, encoding):
    found = table(tmp_path, text, encoding)
    assert dict(found.columns) == {'image': ['a.png', 'b.png'], 'label': ['0', '1']}
    assert len(found) == 2


def test_a_quoted_cell_may_hold_separators_and_line_ends(tmp_path):
    found = table(tmp_path, 'a,b\n"x,\ny;\u2028",1\n')
    assert found.column('a') == ['x,\ny;\u2028']


@pytest.mark.parametrize(
    ('text', 'encoding', 'message'),
    [
        ('image,label\nä.png,1\n', 'latin-1', r'records.csv: not UTF-8 \(byte 0xe4 at 12\)'),
        ('image,label\na,1\nb\n', 'utf-8', 'records.csv: row 3 has 1 cells, the header 2'),
        ('image,label\na,1\n\nb,1\n', 'utf-8', 'records.csv: row 3 has 0 cells'),
        ('image,label\n"a,1\n', 'utf-8', 'records.csv: not a CSV table'),
        ('image,image\na,1\n', 'utf-8', 'column name is empty or repeated'),
        ('image,label\n', 'utf-8', 'records.csv: no rows'),
        ('', 'utf-8', 'records.csv: no rows'),
    ],
)
def test_bad_tables(tmp_path, text, encoding, message):
    with pytest.raises(ValueError, match=message) as error:
        table(tmp_path, text, encoding)
    assert '\n' not in str(error.value)


def test_a_missing_table_and_a_missing_column(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'none\.csv: no such table'):
        read_table(tmp_path / 'none.csv')
    with pytest.raises(ValueError, match=r"no column 'lable'.*'image', 'label'.*mean 'label'"):
        table(tmp_path, 'image,label\na,1\n').column('lable')


@pytest.mark.parametrize(
    ('cells', 'names', 'codes', 'found'),
    [
        (['1.0', '', '0', 'NaN', '-1'], (), [1, -1, 0, -1, -1], ('0', '1')),
        (['1', ' 1'], (), [1, 1], ('0', '1')),
        (['10', '9', '10.0'], (), [1, 0, 1], ('9', '10')),
        (['canon', 'b', 'canon'], (), [1, 0, 1], ('b', 'canon')),
        (['mel', '0', 'nv'], ('nv', 'mel'), [1, 0, 0], ('nv', 'mel')),
    ],
)
def test_codes(tmp_path, cells, names, codes, found):
    actual = Table(tmp_path, {'x': cells}).codes('x', names, unknown=True)
    np.testing.assert_array_equal(actual[0], codes)
    assert actual[0].dtype == np.int32
    assert actual[1] == found


@pytest.mark.parametrize(
    ('cells', 'names', 'message'),
    [
        (['0', ''], (), "t.csv: row 3, column 'x': is empty"),
        (['0', 'nan'], (), "t.csv: row 3, column 'x': is empty"),
        (['mel', 'mell'], ('nv', 'mel'), "row 3, column 'x': 'mell' is unknown.*mean 'mel'"),
        (['0', '2'], ('nv', 'mel'), "row 3, column 'x': '2' is unknown; known: 'nv', 'mel'"),
        (['0', '-1'], (), "row 3, column 'x': '-1' is unknown"),
    ],
)
def test_bad_codes(tmp_path, cells, names, message):
    with pytest.raises(ValueError, match=message):
        Table(tmp_path / 't.csv', {'x': cells}).codes('x', names)


@pytest.mark.parametrize('name', ['../out.png', '/etc/hosts', 'link/out.png', 'a/../../out.png'])
def test_names_may_not_leave_the_root(tmp_path, name):
    root = tmp_path / 'root'
    (root / 'a').mkdir(parents=True)
    (tmp_path / 'out.png').write_bytes(b'x')
    (root / 'link').symlink_to(tmp_path)
    with pytest.raises(ValueError, match=r"row 2, column 'image': .* leads out of"):
        records.resolve(Table(root / 't.csv', {'image': [name]}), root, 'image', must_exist=False)


def test_resolve(tmp_path):
    (tmp_path / 'a.png').write_bytes(b'x')
    found = Table(tmp_path / 't.csv', {'image': [' a.png', '']})
    expected = [str((tmp_path / 'a.png').resolve()), '']
    assert records.resolve(found, tmp_path, 'image', required=False) == expected
    with pytest.raises(ValueError, match=r"t.csv: row 3, column 'image': is empty"):
        records.resolve(found, tmp_path, 'image')
    with pytest.raises(FileNotFoundError, match=r"t.csv: row 2, column 'image': no file .*b\.png"):
        records.resolve(Table(tmp_path / 't.csv', {'image': ['b.png']}), tmp_path, 'image')


def test_an_unreadable_image_is_named_with_its_row(tmp_path):
    (tmp_path / 'a.jpg').write_bytes(b'not an image')
    found = records.records_from_table(
        Table(tmp_path / 't.csv', {'image': ['a.jpg']}),
        tmp_path,
        CONFIG,
        ids=np.array(['a']),
        labels=np.array([0], np.int32),
    )
    assert found.groups is found.ids
    with pytest.raises(ValueError, match=r't\.csv row 2: .*a\.jpg: not a readable image'):
        found.read(0)
    with pytest.raises(ValueError, match=r"t\.csv: rows 2 and 4 have the same id 'a'"):
        records.check_ids(Table(tmp_path / 't.csv', {}), np.array(['a', 'b', 'a']))


def test_select():
    found = small()[0].select(np.array([3, 1, 1]))
    assert found.ids.tolist() == ['r3', 'r1', 'r1']
    assert found.bias['ruler'].tolist() == [-1, 0, 0]
    assert found.columns['age'].tolist() == [3, 1, 1]
    assert found.read(0)['image'][0, 0, 0] == 3
    assert small()[0].select(np.array([True, False, False, True])).ids.tolist() == ['r0', 'r3']


def test_cached_reads_once_and_selections_share():
    found, reads = small()
    found = found.cached()
    again = found.select(np.array([2, 2, 0]))
    for _ in range(3):
        assert [int(again.read(row)['image'][0, 0, 0]) for row in range(3)] == [2, 2, 0]
    found.read(2).pop('image')
    assert found.read(2)['image'][0, 0, 0] == 2
    assert reads == [2, 0]
    with pytest.raises(ValueError, match='read-only'):
        found.read(0)['image'][:] = 0


def test_concatenate():
    first = small(3)[0]
    second = dataclasses.replace(small(2, first=3)[0], columns={})
    both = concatenate([first, second])
    assert both.ids.tolist() == ['r0', 'r1', 'r2', 'r3', 'r4']
    assert both.labels.tolist() == [0, 1, 0, 0, 1]
    assert [int(both.read(row)['image'][0, 0, 0]) for row in range(5)] == [0, 1, 2, 3, 4]
    assert both.columns == {}
    assert both.bias['ruler'].tolist() == [-1, 0, 1, -1, 0]
