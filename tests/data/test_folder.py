import cv2
import ml_collections
import numpy as np
import pytest

from skinjax.data import folder, groups
from skinjax.data.records import COMMON


def config(folder_path, **fields):
    common = {**COMMON, 'image_size': 8, 'batch_size': 4, 'root': str(folder_path)}
    return ml_collections.ConfigDict({**common, **folder.DEFAULTS, **fields})


def write(root, rows, columns, delimiter=','):
    """A table, and an image of the colour of its row for every name that ends in .png."""
    lines = [delimiter.join(columns)] + [delimiter.join(str(cell) for cell in row) for row in rows]
    (root / 'records.csv').write_text('\n'.join(lines) + '\n')
    for k, row in enumerate(rows):
        for cell in row:
            if str(cell).endswith('.png') and '..' not in cell:
                (root / cell).parent.mkdir(exist_ok=True, parents=True)
                cv2.imwrite(str(root / cell), np.full((12, 12, 3), 10 * k % 256, np.uint8))


COLUMNS = ('image', 'label', 'split', 'ruler')


def rows(n=8, splits=('train', 'train', 'val', 'test')):
    """Labels change every 4 rows, splits every row."""
    return [
        [f'img/{k}.png', ('nevus', 'mel')[k // 4 % 2], splits[k % 4], ('', 0, 1)[k % 3]]
        for k in range(n)
    ]


def test_all_columns(tmp_path):
    columns = ('image', 'label', 'split', 'ruler', 'id', 'patient', 'mask', 'site')
    table = [
        [*row, f'id{k}', f'p{k // 1}', f'mask/{k}.png' if k else '', 'arm']
        for k, row in enumerate(rows(20))
    ]
    write(tmp_path, table, columns, delimiter=';')
    found = folder.build(config(tmp_path, bias=('ruler',), group='patient', with_mask=True), 0)
    assert found.classes == ('nevus', 'mel')
    assert found.bias == {'ruler': ('0', '1')}
    assert {name: len(split) for name, split in found.splits.items()} == {
        'train': 10,
        'val': 5,
        'test': 5,
    }
    train = found.splits['train']
    assert train.ids.tolist() == [f'id{k}' for k in range(20) if k % 4 < 2]
    assert train.groups[:3].tolist() == ['p0', 'p1', 'p4']
    assert train.labels[:4].tolist() == [0, 0, 1, 1]
    assert train.bias['ruler'][:4].tolist() == [-1, 0, 0, 1]
    assert train.columns['site'].tolist() == ['arm'] * 10
    assert list(train.columns) == ['site']
    assert 'mask' not in train.read(0)
    example = train.read(2)
    np.testing.assert_array_equal(example['image'], np.full((8, 8, 3), 40))
    assert example['mask'].shape == (8, 8)


def test_ids_are_stems_and_the_positive_class_comes_second(tmp_path):
    write(tmp_path, rows(), COLUMNS)
    found = folder.build(config(tmp_path, positive='mel'), 0)
    assert found.classes == ('nevus', 'mel')
    assert found.splits['test'].ids.tolist() == ['3', '7']
    assert found.splits['test'].labels.tolist() == [0, 1]
    assert found.bias == {}
    assert found.splits['test'].columns['ruler'].tolist() == ['', '0' if 7 % 3 == 1 else '1']


@pytest.mark.parametrize(
    ('names', 'classes'),
    [
        (('melanoma', 'nevus'), ('nevus', 'melanoma')),
        (('Malignant', 'other'), ('other', 'Malignant')),
        (('benign', 'malignant'), ('benign', 'malignant')),
        (('a', 'b'), ('a', 'b')),
        (('bkl', 'mel', 'nv'), ('bkl', 'mel', 'nv')),
    ],
)
def test_of_two_classes_the_malignant_one_is_positive(tmp_path, names, classes):
    table = [[f'{k}.png', names[k % len(names)], 'train'] for k in range(6)]
    write(tmp_path, table, ('image', 'label', 'split'))
    found = folder.build(config(tmp_path), 0)
    assert found.classes == classes
    labels = found.splits['train'].labels
    assert [classes[code] for code in labels[: len(names)]] == list(names)
    given = folder.build(config(tmp_path, classes=names), 0)
    assert given.classes == names


def test_a_class_spelt_in_two_ways_is_refused(tmp_path):
    table = [[f'{k}.png', ('nevus', 'melanoma', 'Nevus')[k % 3], 'train'] for k in range(6)]
    write(tmp_path, table, ('image', 'label', 'split'))
    with pytest.raises(ValueError, match=r"row 2, column 'label': 'nevus' is 'Nevus' elsewhere"):
        folder.build(config(tmp_path), 0)
    names = ('Nevus', 'melanoma', 'nevus')
    assert folder.build(config(tmp_path, classes=names), 0).classes == names


def test_one_class_against_the_rest(tmp_path):
    table = [[f'{k}.png', ('nv', 'mel', 'bkl')[k % 3], 'train'] for k in range(6)]
    write(tmp_path, table, ('image', 'label', 'split'))
    found = folder.build(config(tmp_path, positive='mel'), 0)
    assert found.classes == ('not mel', 'mel')
    assert found.splits['train'].labels.tolist() == [0, 1, 0, 0, 1, 0]
    ordered = folder.build(config(tmp_path, classes=('nv', 'mel', 'bkl')), 0)
    assert ordered.splits['train'].labels.tolist() == [0, 1, 2, 0, 1, 2]


def test_a_table_without_splits_is_divided(tmp_path):
    table = [[f'{k}.png', k % 2, f'g{k // 2}'] for k in range(100)]
    write(tmp_path, table, ('image', 'label', 'group'))
    found = groups.load(folder.build, config(tmp_path), 0)
    sizes = {name: len(split) for name, split in found.splits.items()}
    assert sum(sizes.values()) == 100 and set(sizes) == {'train', 'val', 'test'}
    assert sizes['train'] == pytest.approx(70, abs=4) and sizes['test'] == pytest.approx(20, abs=4)
    again = folder.build(config(tmp_path), 0)
    assert again.splits['val'].ids.tolist() == found.splits['val'].ids.tolist()
    other = folder.build(config(tmp_path), 1)
    assert other.splits['val'].ids.tolist() != found.splits['val'].ids.tolist()


@pytest.mark.parametrize(('shape', 'fits'), [((16, 16), True), ((8, 9), False), ((4, 8), False)])
def test_a_mask_has_the_proportions_of_its_image(tmp_path, shape, fits):
    table = [[*row, f'mask/{k}.png'] for k, row in enumerate(rows())]
    write(tmp_path, table, (*COLUMNS, 'mask'))
    cv2.imwrite(str(tmp_path / 'mask' / '5.png'), np.zeros(shape, np.uint8))
    settings = config(tmp_path, with_mask=True)
    if fits:
        assert folder.build(settings, 0).splits['train'].read(3)['mask'].shape == (8, 8)
        return
    with pytest.raises(ValueError, match=rf'row 7: .*5\.png: {shape[1]} x {shape[0]} .* 12 x 12'):
        folder.build(settings, 0)
    assert folder.build(config(tmp_path), 0).splits['train'].read(3)['image'].shape == (8, 8, 3)


def change(row, column, value):
    def changed():
        table = rows()
        table[row][COLUMNS.index(column)] = value
        return table

    return changed


@pytest.mark.parametrize(
    ('table', 'fields', 'message'),
    [
        (rows, {'label': 'lable'}, r"records.csv: no column 'lable'.*did you mean 'label'"),
        (
            rows,
            {'bias': ('rulers',)},
            r"no column 'rulers'; .*did you mean 'ruler'\? known: .*; --config.data.bias says",
        ),
        (rows, {'split': 'fold'}, "no column 'fold'"),
        (rows, {'mask': 'masks'}, "no column 'masks'"),
        (rows, {'classes': ('nevus', 'bkl')}, "row 6, column 'label': 'mel' is unknown"),
        (rows, {'positive': 'cancer'}, "positive class 'cancer' is unknown"),
        (change(2, 'label', ''), {}, "records.csv: row 4, column 'label': is empty"),
        (change(2, 'label', 'nan'), {}, "records.csv: row 4, column 'label': is empty"),
        (change(2, 'image', ''), {}, "records.csv: row 4, column 'image': is empty"),
        (change(2, 'image', '../a.png'), {}, "row 4, column 'image': '../a.png' leads out of"),
        (change(2, 'image', 'img/1.png'), {}, "rows 3 and 4 have the same id '1'"),
        (change(2, 'split', ''), {}, "row 4, column 'split': is empty"),
        (rows, {'root': ''}, 'a folder of images is needed; give it with --config.data.root'),
        (rows, {'csv': 'table.csv'}, r'table\.csv: no such table'),
    ],
)
def test_errors(tmp_path, table, fields, message):
    write(tmp_path, table(), COLUMNS)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        folder.build(config(tmp_path, **fields), 0)
    assert '\n' not in str(error.value)


def test_a_missing_and_a_damaged_image(tmp_path):
    write(tmp_path, rows(12), COLUMNS)
    (tmp_path / 'img/9.png').unlink()
    (tmp_path / 'img/1.png').write_bytes(b'')
    with pytest.raises(FileNotFoundError, match=r"row 11, column 'image': no file .*9\.png"):
        folder.build(config(tmp_path), 0)
    cv2.imwrite(str(tmp_path / 'img/9.png'), np.zeros((12, 12, 3), np.uint8))
    with pytest.raises(ValueError, match=r'records\.csv row 3: .*1\.png: the file is empty'):
        folder.build(config(tmp_path), 0)
    (tmp_path / 'img/9.png').unlink()
    found = groups.load(folder.build, config(tmp_path, on_error='skip'), 0)
    (split, name, first), (_, _, second) = found.info['skipped']
    assert (split, name) == ('train', '1')
    assert 'records.csv row 3' in first and '1.png: the file is empty' in first
    assert 'records.csv row 11' in second and '9.png: no such image' in second
    assert found.splits['train'].ids.tolist() == ['0', '4', '5', '8']


def test_a_leak_in_the_table_is_refused(tmp_path):
    table = [[*row, f'patient{k % 7}'] for k, row in enumerate(rows(16))]
    write(tmp_path, table, (*COLUMNS, 'group'))
    with pytest.raises(ValueError, match="'train' and 'test' share 3: 0 and 7, 1 and 15"):
        groups.load(folder.build, config(tmp_path), 0)


def test_a_split_of_one_class_is_refused_for_training_alone(tmp_path):
    write(tmp_path, change(6, 'split', 'train')(), COLUMNS)
    found = groups.load(folder.build, config(tmp_path), 0, training=False)
    assert found.splits['val'].labels.tolist() == [0]
    with pytest.raises(ValueError, match="split 'val' has one class only, 'nevus'"):
        groups.load(folder.build, config(tmp_path), 0)
