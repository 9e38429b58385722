"""The instrument proxy, the shared folds and the table that has both, against published counts."""

import csv
from pathlib import Path

import cv2
import ml_collections
import numpy as np
import pytest

from skinjax.data import groups, instrument, isic2017_2020, tfrecords
from skinjax.data.records import COMMON
from tests.helpers import SHARED

METADATA = SHARED / 'data' / 'metadata'
here = pytest.mark.skipif(not METADATA.is_dir(), reason='../shared/data/metadata is absent')

# spec/01, section 5: images and melanomas of each instrument, in the order of text.
PUBLISHED = {
    '1024x1024': (2649, 486),
    '1872x1872': (7534, 130),
    '2592x2592': (674, 71),
    '3264x3264': (1483, 92),
    '4288x4288': (729, 47),
    '5184x5184': (3411, 72),
    '6000x6000': (14278, 21),
    '640x640': (4147, 91),
}


def config(root, **fields):
    source = {**COMMON, **isic2017_2020.DEFAULTS, 'image_size': 8, 'batch_size': 2}
    return ml_collections.ConfigDict({**source, 'root': str(root), **fields})


def test_proxy():
    widths = np.array([6000, 640, 1024, 800, 0, -1])
    named = ['6000x6000', '640x640', '1024x1024', '800x800', '', '']
    assert instrument.proxy(widths).tolist() == named
    assert instrument.codes(widths).tolist() == [6, 7, 0, -1, -1, -1]
    assert list(instrument.GROUPS) == sorted(instrument.GROUPS)


def test_groups_of_other_data_sets():
    widths = instrument.widths_of(np.array(['1022.0', '640', ' 640', '', 'NaN', '9', '0']))
    assert widths.tolist() == [1022, 640, 640, 0, 0, 9, 0]
    assert instrument.common(widths, 2) == ('640x640',)
    names = instrument.common(widths, 1)
    assert names == ('1022x1022', '640x640', '9x9')
    assert instrument.codes(widths, names).tolist() == [0, 1, 1, -1, -1, 2, -1]
    assert instrument.widths_of(np.array([8, 0], np.int32)).tolist() == [8, 0]
    for cell in ('wide', 'inf'):
        with pytest.raises(ValueError, match='a width is no number: '):
            instrument.widths_of(np.array(['8', cell]))


def test_shared_folds():
    numbers = np.arange(15)
    found = tfrecords.folds(numbers, np.full(15, 2020))
    assert [set(numbers[found == k].tolist()) for k in range(5)] == [
        {2, 4, 5},
        {1, 10, 13},
        {0, 9, 12},
        {3, 8, 11},
        {6, 7, 14},
    ]
    assert tfrecords.folds(np.array([28, 5, 0]), np.array([2017, 2018, 2017])).tolist() == [3, 0, 0]
    assert tfrecords.duplicate(np.array([-1, 0])).tolist() == [True, False]
    for number, year in ((15, 2020), (-1, 2020), (-1, 2017)):
        with pytest.raises(ValueError, match=f'row 1: tfrecord {number} of {year} has no fold'):
            tfrecords.folds(np.array([0, number]), np.array([2020, year]))


@pytest.fixture(scope='module')
def published():
    return isic2017_2020.build(config(METADATA, on_error='skip'), 0)  # there are no images here


def joined(dataset, get):
    return np.concatenate([get(records) for records in dataset.splits.values()])


@here
def test_published_counts(published):
    labels = joined(published, lambda records: records.labels)
    assert (len(labels), labels.sum()) == (34_905, 1_010)
    bias = {name: joined(published, lambda r, name=name: r.bias[name]) for name in published.bias}
    counts = {
        name: (int((bias['instrument'] == k).sum()), int(labels[bias['instrument'] == k].sum()))
        for k, name in enumerate(published.bias['instrument'])
    }
    assert counts == PUBLISHED
    assert (bias['marking'].sum(), labels[bias['marking'] == 1].sum()) == (523, 43)
    assert (bias['ruler'].sum(), labels[bias['ruler'] == 1].sum()) == (4908, 350)
    assert published.info['left_out'] == {}


@here
def test_published_class_weights(published):
    """spec/01, section 8: w_k = (1/n_k) / Σ_j (1/n_j) of these counts."""
    weights = {
        'marking': (0.014984, 0.985016),
        'ruler': (0.140610, 0.859390),
        'instrument': (0.0813, 0.0286, 0.3195, 0.1452, 0.2954, 0.0631, 0.0151, 0.0519),
    }
    for name, expected in weights.items():
        counts = np.bincount(joined(published, lambda r, name=name: r.bias[name]))
        np.testing.assert_allclose(1 / counts / (1 / counts).sum(), expected, rtol=0, atol=5e-5)


@here
def test_folds_of_the_published_table_divide_no_patient(published):
    rows = {name: len(records) for name, records in published.splits.items()}
    years = joined(published, lambda records: records.columns['year'])
    patients = joined(published, lambda records: records.groups)
    assert sum(rows.values()) == 34_905 and min(rows.values()) > 6_500
    assert ((years == 2017).sum(), len(np.unique(patients[years == 2020]))) == (2_649, 2_008)
    assert len(np.unique(patients)) == 2_008 + 2_649
    found = groups.load(
        lambda *_: published, config(METADATA, cache=False, bias=('instrument',)), 0
    )
    # The size of the original image alone tells more than any artefact: training says so.
    strengths = found.info['association']
    assert strengths['instrument'] > 0.25 > strengths['ruler'] > strengths['marking']


ROWS = (
    # image, patient, target, tfrecord, width, year, scale, marked
    ('ISIC_0000001_downsampled', '-1', 0, 8, 1024, 2017, 0, 0),
    ('ISIC_0000002_downsampled', '-1', 1, 10, 1024, 2017, 1, 0),
    ('ISIC_0000003', 'IP_1', 0, 2, 6000, 2020, 0, 1),
    ('ISIC_0000004', 'IP_1', 1, 2, 640, 2020, 0.0, 1.0),
    ('ISIC_0000005', 'IP_2', 0, 1, 640, 2020, '', 0),
    ('ISIC_0000006', 'IP_3', 1, 3, 1872, 2020, 0, 0),
    ('ISIC_0000007', 'IP_4', 0, 3, 1872, 2020, 0, 0),
    ('ISIC_0000008', 'IP_4', 0, -1, 1872, 2020, 0, 0),
    ('ISIC_0000009', 'IP_5', 0, 3, 1872, 2019, 0, 0),
    ('ISIC_0000010', 'IP_6', 0, 3, 800, 2020, 0, 0),
    ('ISIC_0000011', 'IP_7', 1, 6, 640, 2020, 0, 0),
)
HEADER = ('image_name', 'patient_id', 'target', 'tfrecord', 'width', 'year', 'scale', 'marked')


@pytest.fixture
def root(tmp_path):
    return write(tmp_path, ROWS)


def write(root: Path, rows) -> Path:
    (root / 'images').mkdir()
    with (root / isic2017_2020.DEFAULTS['csv']).open('w', encoding='utf-8', newline='') as file:
        csv.writer(file).writerows([HEADER, *rows])
    for name, *_ in rows:
        cv2.imwrite(str(root / 'images' / f'{name}.jpg'), np.full((6, 9, 3), 90, np.uint8))
    return root


def test_a_table_with_images(root):
    (root / 'mclass.txt').write_text('ISIC_0000007\nISIC_9999999\n', encoding='utf-8')
    settings = config(root, leave_out='mclass.txt')
    found = groups.load(isic2017_2020.build, settings, 0, training=False)
    assert {name: records.ids.tolist() for name, records in found.splits.items()} == {
        'train': ['ISIC_0000001', 'ISIC_0000006', 'ISIC_0000011'],
        'val': ['ISIC_0000002', 'ISIC_0000003', 'ISIC_0000004'],
        'test': ['ISIC_0000005'],
    }
    assert found.info['left_out'] == {
        'duplicate': 1,
        'year 2019': 1,
        'leave_out': 1,
        'other instrument': 1,
    }
    val, test = found.splits['val'], found.splits['test']
    assert val.bias['instrument'].tolist() == [0, 6, 7]
    assert val.bias['ruler'].tolist() == [1, 0, 0] and val.bias['marking'].tolist() == [0, 1, 1]
    assert test.bias['ruler'].tolist() == [-1]
    assert val.groups.tolist() == ['ISIC_0000002', 'IP_1', 'IP_1']
    assert val.read(0)['image'].shape == (8, 8, 3)
    more = isic2017_2020.build(config(root, other_instruments=True), 0).splits['train']
    assert more.bias['instrument'][more.ids == 'ISIC_0000010'].tolist() == [-1]
    assert set(isic2017_2020.variables(config(root))) == set(found.bias)


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'root': ''}, 'read from a folder: --config.data.root=FOLDER'),
        ({'test_fold': 0}, 'data.val_fold=0 and data.test_fold=0; expected two different folds'),
        ({'val_fold': 5}, 'data.val_fold=5'),
        ({'leave_out': 'no.txt'}, 'no such file .data.leave_out.; expected one id a line'),
        ({'ending': '.png'}, 'no file .*ISIC_0000001_downsampled.png'),
    ],
)
def test_refused_options(root, fields, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        isic2017_2020.build(config(**{'root': root, **fields}), 0)


@pytest.mark.parametrize(
    ('column', 'cell', 'message'),
    [
        ('year', 'MMXX', "row 4, column 'year': 'MMXX' is no whole number"),
        ('target', '2', "row 4, column 'target': '2' is unknown"),
        ('tfrecord', '19', "row 4, column 'tfrecord': tfrecord 19 of 2020 has no fold"),
        ('marked', 'yes', "row 4, column 'marked': 'yes' is unknown"),
        ('image_name', 'ISIC_0000001_downsampled', "have the same id 'ISIC_0000001'"),
    ],
)
def test_refused_cells(tmp_path, column, cell, message):
    rows = [list(row) for row in ROWS]
    rows[2][HEADER.index(column)] = cell
    with pytest.raises(ValueError, match=message):
        isic2017_2020.build(config(write(tmp_path, rows)), 0)


def test_messages_count_the_rows_of_the_file(tmp_path):
    """Three rows before the last are left out; the table has it in row 12."""
    root = write(tmp_path, ROWS)
    (root / 'images' / 'ISIC_0000011.jpg').write_bytes(b'')
    with pytest.raises(ValueError, match=r'17_20\.csv row 12: .*11\.jpg: the file is empty'):
        isic2017_2020.build(config(root), 0)
    (root / 'images' / 'ISIC_0000011.jpg').unlink()
    with pytest.raises(FileNotFoundError, match=r"row 12, column 'image': no file .*11\.jpg"):
        isic2017_2020.build(config(root), 0)


def test_nothing_left(tmp_path):
    root = write(tmp_path, ROWS[7:10])
    with pytest.raises(ValueError, match='none of the 3 rows is left to use'):
        isic2017_2020.build(config(root), 0)
