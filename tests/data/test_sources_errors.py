"""What is wrong with files as users have them: one line that names file, row and column."""

import shutil

import pytest

from tests.data import layouts
from tests.data.layouts import picture
from tests.data.test_sources import load, root  # noqa: F401 (a fixture)


def replaced(old, new):
    """Changes the text of a file."""

    def change(path):
        text = path.read_text(encoding='utf-8')
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding='utf-8')

    return change


def remove(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def empty(path):
    path.write_bytes(b'')


def latin(path):
    path.write_bytes(path.read_bytes() + 'ISIC_Ä'.encode('latin-1'))


def again(path):
    """Its last row twice."""
    lines = path.read_text(encoding='utf-8').splitlines()
    path.write_text('\n'.join([*lines, lines[-1]]), encoding='utf-8')


def moved_out(path):
    """Outside the root, with a link in its place."""
    target = path.parents[2] / f'{path.parent.name}-{path.name}-elsewhere'
    path.rename(target)
    path.symlink_to(target)


def twin(path):
    picture(path.with_suffix('.png'))


TRUTH = 'ISIC_2019_Training_GroundTruth.csv'
META = 'ISIC_2019_Training_Metadata.csv'
HAM = 'HAM10000_metadata.tab'
PART = 'HAM10000_images_part_1'
IMAGE = f'{PART}/ISIC_0000001.jpg'
ROW = 'ISIC_0000002,0.0,0.0,1.0'


@pytest.mark.parametrize(
    ('layout', 'file', 'change', 'message'),
    [
        (
            layouts.isic2019,
            TRUTH,
            replaced(ROW, 'ISIC_0000002,0.0,0.0,0.0'),
            r'GroundTruth\.csv: row 4: expected a 1 in one of the columns MEL, NV, .*in none',
        ),
        (
            layouts.isic2019,
            TRUTH,
            replaced(ROW, 'ISIC_0000002,1.0,0.0,1.0'),
            r'GroundTruth\.csv: row 4: .*found it in MEL and BCC',
        ),
        (
            layouts.isic2019,
            TRUTH,
            replaced(ROW, 'ISIC_0000002,nan,0.0,1.0'),
            r"GroundTruth\.csv: row 4, column 'MEL': is empty",
        ),
        (
            layouts.isic2019,
            TRUTH,
            replaced('MEL', 'MELA'),
            r"GroundTruth\.csv: no column 'MEL'; did you mean 'MELA'",
        ),
        (layouts.isic2019, TRUTH, latin, r'GroundTruth\.csv: not UTF-8 \(byte 0xc4 at \d+\)'),
        (layouts.isic2019, TRUTH, again, r"rows 25 and 26 have the same id 'ISIC_0000023_downs"),
        (layouts.isic2019, META, again, r'Metadata\.csv: rows 25 and 26 have the same id'),
        (layouts.isic2019, META, remove, r'no ISIC_2019_Training_Metadata\.csv here or in the 2'),
        (
            layouts.isic2019,
            META,
            replaced('female', 'femal'),
            r"Metadata\.csv: row 2, column 'sex': 'femal' is unknown; did you mean 'female'\?",
        ),
        (
            layouts.isic2019,
            TRUTH,
            replaced('ISIC_0000002,', '../ISIC_0000002,'),
            r"row 4, column 'image': '\.\./ISIC_0000002' leads out of the folders",
        ),
        (
            layouts.ham10000,
            HAM,
            replaced('ISIC_0000003', '/etc/ISIC_0000003'),
            r"row 5, column 'image_id': '/etc/ISIC_0000003' leads out of",
        ),
        (layouts.ham10000, HAM, replaced('\tbcc', '\tBBC'), r"column 'dx': 'BBC' is unknown"),
        (layouts.ham10000, HAM, replaced('\tbcc', '\t'), r"row 4, column 'dx': is empty"),
        (layouts.ham10000, HAM, replaced('\tbcc', '\tNaN'), r"row 4, column 'dx': is empty"),
        (layouts.ham10000, HAM, replaced('\tbcc', '\t1'), r"column 'dx': '1' is unknown"),
        (layouts.ham10000, HAM, replaced('ISIC_0000002', ''), r"row 4, column 'image_id': is empt"),
        (layouts.ham10000, IMAGE, remove, r"row 3, column 'image_id': no image 'ISIC_0000001' in"),
        (layouts.ham10000, IMAGE, empty, r'tab row 3: .*ISIC_0000001\.jpg: the file is empty'),
        (layouts.ham10000, IMAGE, twin, r"two files for 'ISIC_0000001', HAM.*1\.(jp|pn)g and HAM"),
        (layouts.ham10000, IMAGE, moved_out, r"row 3, column 'image': '.*001\.jpg' leads out of"),
        (
            layouts.ham10000,
            PART,
            moved_out,
            r'part_1: a symbolic link out of .*put the files insid',
        ),
        (layouts.ham10000, HAM, moved_out, r'metadata\.tab: a symbolic link out of'),
        (
            layouts.derm7pt,
            'release_v0/meta/meta.csv',
            replaced('NEL/NEL052.JPG', '../../../x.jpg'),
            r"row 4, column 'image': 'release_v0/images/\.\./\.\./\.\./x\.jpg' leads out of",
        ),
        (
            layouts.derm7pt,
            'release_v0/meta/meta.csv',
            replaced('NEL/NEL052.JPG', '/etc/x.jpg'),
            r"row 4, column 'image': '/etc/x\.jpg' leads out of",
        ),
        (
            layouts.derm7pt,
            'release_v0/meta/test_indexes.csv',
            replaced('9', '10'),
            r"test_indexes\.csv: row 4, column 'indexes': '10' is no row of meta\.csv",
        ),
        (
            layouts.derm7pt,
            'release_v0/meta/test_indexes.csv',
            replaced('9', '0'),
            "groups are divided between splits; 'train' and 'test' share 1: 1 and 1",
        ),
        (
            layouts.isic2016,
            'ISBI2016_ISIC_Part3_Test_GroundTruth.csv',
            replaced('1.0', '2.0'),
            r"Test_GroundTruth\.csv: row 2, column 'label': '2' is unknown",
        ),
        (
            layouts.ph2,
            'PH2Dataset/PH2_dataset.txt',
            replaced('|| 0 | T | A | A | A | A ||', '|'),
            r'PH2_dataset\.txt: row 2 has 3 cells between \|\|, expected 5',
        ),
        (layouts.ph2, 'PH2Dataset/PH2_dataset.txt', empty, r'no rows that start with \|\|'),
        (
            layouts.mclass,
            'BenchmarkDermoscopic/malign',
            lambda path: path.rename(path.with_name('cancer')),
            r'cancer/ISIC_9\.jpg: in a folder that is no class; known: .*malign',
        ),
        (layouts.mclass, 'BenchmarkDermoscopic', remove, 'no BenchmarkDermoscopic here or in'),
    ],
)
def test_one_line_that_names_the_place(layout, file, change, message, tmp_path):
    place = tmp_path / 'data'
    place.mkdir()
    layout(place)
    change(place / file)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        load(layout.__name__, place)
    assert '\n' not in str(error.value)


def test_a_bom_and_semicolons_are_read(tmp_path):
    layouts.isic2020(tmp_path)
    path = tmp_path / 'ISIC_2020_Training_GroundTruth_v2.csv'
    path.write_text('\ufeff' + path.read_text().replace(',', ';'), encoding='utf-8')
    assert sum(len(part) for part in load('isic2020', tmp_path).splits.values()) == 28


def test_without_a_folder(tmp_path):
    with pytest.raises(ValueError, match='ham10000 is read from a folder; give it with --config'):
        load('ham10000', '')
    with pytest.raises(FileNotFoundError, match='nowhere: no such folder; expected the files of h'):
        load('ham10000', 'nowhere')
    (tmp_path / 'readme.txt').write_text('x')
    message = r'no HAM10000_metadata\.csv or HAM10000_metadata or .*; found readme\.txt$'
    with pytest.raises(FileNotFoundError, match=message):
        load('ham10000', tmp_path)


def test_missing_images_are_left_out_and_told(tmp_path):
    layouts.fitzpatrick17k(tmp_path)
    gone = sorted((tmp_path / 'images').iterdir())[:2]
    for path in gone:
        path.unlink()
    data = load('fitzpatrick17k', tmp_path, on_error='skip')
    assert sum(len(part) for part in data.splits.values()) == 22
    skipped = data.info['skipped']
    assert {name for _, name, _ in skipped} == {path.stem for path in gone}
    assert all('no such image' in error for _, _, error in skipped)


def test_an_unknown_positive_class(root):  # noqa: F811
    message = r"positive class 'melanomas' is unknown; did you mean 'melanoma'"
    with pytest.raises(ValueError, match=message):
        load('ham10000', root(layouts.ham10000), positive='melanomas')


def test_a_mask_may_be_missing_and_unreadable_sizes_are_unknown(tmp_path):
    layouts.isic2016(tmp_path)
    (tmp_path / 'ISBI2016_ISIC_Part3_Test_Data' / 'ISIC_0001002.jpg').write_bytes(b'x')
    data = load('isic2016', tmp_path, with_mask=True, on_error='skip', min_instrument=2)
    test = data.splits['test']
    assert test.ids.tolist() == ['ISIC_0001000', 'ISIC_0001001', 'ISIC_0001003']
    assert 'mask' not in test.read(0) and 'mask' in test.read(1)
    assert test.bias['instrument'].tolist() == [1, 0, 0]  # 8 and 640 wide
