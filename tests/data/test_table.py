import time

import cv2
import ml_collections
import numpy as np
import pytest

from skinjax.data import files, published
from skinjax.data.records import COMMON
from skinjax.data.table import Table, read_table

CONFIG = ml_collections.ConfigDict({**COMMON, 'image_size': 8})


def written(path, text, encoding='utf-8'):
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
    found = written(tmp_path, text, encoding)
    assert dict(found.columns) == {'image': ['a.png', 'b.png'], 'label': ['0', '1']}
    assert len(found) == 2


def test_a_quoted_cell_may_hold_separators_and_line_ends(tmp_path):
    found = written(tmp_path, 'a,b\n"x,\ny;\u2028",1\n')
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
        written(tmp_path, text, encoding)
    assert '\n' not in str(error.value)


def test_a_missing_table_and_a_missing_column(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'none\.csv: no such table'):
        read_table(tmp_path / 'none.csv')
    with pytest.raises(
        ValueError, match=r"no column 'lable'; did you mean 'label'\? known: 'image', 'label'$"
    ):
        written(tmp_path, 'image,label\na,1\n').column('lable')


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
        files.resolve(Table(root / 't.csv', {'image': [name]}), root, 'image', must_exist=False)


def test_links_inside_the_root(tmp_path):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a' / 'x.png').write_bytes(b'x')
    (tmp_path / 'b').symlink_to(tmp_path / 'a')
    (tmp_path / 'y.png').symlink_to(tmp_path / 'a' / 'x.png')
    (tmp_path / 'circle').symlink_to(tmp_path / 'circle')
    names = ['b/x.png', 'y.png', 'a/../a/x.png', './a//x.png']
    real = str((tmp_path / 'a' / 'x.png').resolve())
    rows = Table(tmp_path / 't.csv', {'image': names})
    assert files.resolve(rows, tmp_path, 'image') == [real] * 4
    for name in ('circle', 'a', 'a/none.png', 'none/x.png', 'a/x.png/y', '.', 'x\0'):
        rows = Table(tmp_path / 't.csv', {'image': [name]})
        with pytest.raises((FileNotFoundError, ValueError), match="row 2, column 'image': "):
            files.resolve(rows, tmp_path, 'image')


def test_many_files_are_found_quickly(tmp_path):
    names = [f'{k}.png' for k in range(3000)]
    for name in names:
        (tmp_path / name).write_bytes(b'')
    rows = Table(tmp_path / 't.csv', {'image': names * 10})
    before = time.process_time()
    assert len(files.resolve(rows, tmp_path, 'image')) == 30_000
    assert time.process_time() - before < 1


def test_chosen_rows_keep_their_numbers(tmp_path):
    (tmp_path / 'other.csv').write_text('key,sex\nc,male\nb,femal\n')
    whole = Table(tmp_path / 't.csv', {'id': ['a', 'b', 'c', 'd']})
    whole = published.join(whole, read_table(tmp_path / 'other.csv'), 'id', 'key')
    some = whole.select(np.array([False, True, True, True])).select(np.array([True, False, True]))
    assert some.columns == {'id': ['b', 'd'], 'sex': ['femal', '']}
    assert some.cell(1, 'id') == f"{tmp_path}/t.csv: row 5, column 'id'"
    assert some.cell(0, 'sex') == f"{tmp_path}/other.csv: row 3, column 'sex'"
    with pytest.raises(ValueError, match="rows 3 and 5 have the same id 'x'"):
        files.check_ids(some, np.array(['x', 'x']))


def test_resolve(tmp_path):
    (tmp_path / 'a.png').write_bytes(b'x')
    found = Table(tmp_path / 't.csv', {'image': [' a.png', '']})
    expected = [str((tmp_path / 'a.png').resolve()), '']
    assert files.resolve(found, tmp_path, 'image', required=False) == expected
    with pytest.raises(ValueError, match=r"t.csv: row 3, column 'image': is empty"):
        files.resolve(found, tmp_path, 'image')
    with pytest.raises(FileNotFoundError, match=r"t.csv: row 2, column 'image': no file .*b\.png"):
        files.resolve(Table(tmp_path / 't.csv', {'image': ['b.png']}), tmp_path, 'image')


@pytest.mark.parametrize('name', ['a/001.JPG', 'A/001.jpg', 'a/001.Jpg', './A/001.JPG'])
def test_a_file_whose_name_differs_in_the_case_of_letters_is_told(name, tmp_path):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a' / '001.jpg').write_bytes(b'x')
    with pytest.raises(FileNotFoundError, match=r": no file .*/001\.\w+; there is 'a/001\.jpg'$"):
        files.resolve(Table(tmp_path / 't.csv', {'image': [name]}), tmp_path, 'image')
    (tmp_path / 'a' / '001.jpg').rename(tmp_path / 'a' / '002.jpg')
    with pytest.raises(FileNotFoundError, match=r': no file .*/001\.\w+$'):
        files.resolve(Table(tmp_path / 't.csv', {'image': [name]}), tmp_path, 'image')


def only_image(tmp_path, **fields):
    rows = Table(tmp_path / 't.csv', {'image': ['a.png']})
    options = ml_collections.ConfigDict({**CONFIG, **fields})
    labels = np.array([0], np.int32)
    return files.records_from_table(rows, tmp_path, options, ids=np.array(['a']), labels=labels)


def test_an_unreadable_image_is_named_with_its_row(tmp_path):
    path = tmp_path / 'a.png'
    path.write_bytes(b'not an image')
    with pytest.raises(ValueError, match=r't\.csv row 2: .*a\.png: not a readable image'):
        only_image(tmp_path)
    found = only_image(tmp_path, on_error='skip')
    assert found.groups is found.ids
    with pytest.raises(ValueError, match=r't\.csv row 2: .*a\.png: not a readable image'):
        found.read(0)
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3)).astype(np.uint8)
    path.write_bytes(cv2.imencode('.png', noise)[1].tobytes()[:400])
    with pytest.raises(ValueError, match=r't\.csv row 2: .*PNG data are damaged or cut off'):
        only_image(tmp_path).read(0)
    with pytest.raises(ValueError, match=r"t\.csv: rows 2 and 4 have the same id 'a'"):
        files.check_ids(Table(tmp_path / 't.csv', {}), np.array(['a', 'b', 'a']))
