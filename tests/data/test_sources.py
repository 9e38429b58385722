"""Published data sets in miniature: counts, classes, groups, splits, bias variables and masks."""

from collections import Counter

import ml_collections
import numpy as np
import pytest

from skinjax import config as configs
from skinjax.data import folder, groups, isic2017
from skinjax.data.records import COMMON
from tests.data import layouts

FEW = {'min_instrument': 2}
# name -> layout, options, rows of each split, positive rows of all, bias variables.
CASES = {
    'isic2016': (layouts.isic2016, FEW, (18, 2, 4), 12, ('instrument',)),
    'isic2017': (
        layouts.isic2017,
        FEW,
        (20, 4, 6),
        11,
        (
            'dark_corner',
            'hair',
            'gel_border',
            'gel_bubble',
            'ruler',
            'ink',
            'patches',
            'instrument',
        ),
    ),
    'isic2018': (layouts.isic2018, {}, (28, 7, 7), 6, ()),
    'isic2019': (layouts.isic2019, FEW, None, 3, ('sex', 'site', 'instrument')),
    'isic2020': (layouts.isic2020, {}, None, 14, ('sex', 'site')),
    'ham10000': (layouts.ham10000, {}, None, 4, ('sex', 'site')),
    'ph2': (layouts.ph2, {}, None, 4, ()),
    'derm7pt': (layouts.derm7pt, {}, (5, 2, 3), 4, ('sex', 'elevation', 'difficulty')),
    'fitzpatrick17k': (layouts.fitzpatrick17k, {}, None, 9, ('skin_type',)),
    'asan': (layouts.asan, {}, (6,), 2, ()),
    'mclass': (layouts.mclass, {}, (4,), 1, ()),
    'pad_ufes_20': (layouts.pad_ufes_20, {}, None, 6, ('skin_type', 'sex')),
    'ddi': (layouts.ddi, {}, (6,), 2, ('skin_type',)),
    'kaggle9': (layouts.kaggle9, {}, (18, 9, 9), 4, ()),  # three of each class: one is for val
}
MASKED = ('isic2016', 'isic2017', 'ham10000', 'ph2')
ABOUTS = {
    name: module.ABOUT
    for name in configs.siblings('data')
    if hasattr(module := configs.find('data', name), 'ABOUT')
}


def options(name, root, **fields):
    """The data section of a config for a source."""
    common = {**COMMON, 'image_size': 8, 'batch_size': 1, 'root': str(root)}
    defaults = configs.find('data', name).DEFAULTS
    return ml_collections.ConfigDict({**common, **defaults, **fields})


def load(name, root, **fields):
    # Not for training: the validation sets of miniatures may be of one class.
    config = options(name, root, **fields)
    return groups.load(configs.find('data', name).build, config, 0, training=False)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """Writes a layout at its first use."""
    written = {}

    def get(layout):
        if layout not in written:
            written[layout] = tmp_path_factory.mktemp(layout.__name__)
            layout(written[layout])
        return written[layout]

    return get


def joined(data, get):
    return np.concatenate([get(part) for part in data.splits.values()])


@pytest.mark.parametrize('name', CASES)
def test_the_files_as_published(name, root):
    layout, fields, sizes, positive, bias = CASES[name]
    data = load(name, root(layout), with_mask=True, **fields)
    about = ABOUTS[name]
    assert data.name == name
    assert data.classes[1] == 'melanoma' and len(data.classes) == 2
    assert joined(data, lambda part: part.labels).sum() == positive
    told = configs.find('data', name).variables(options(name, root(layout), **fields))
    assert tuple(data.bias) == bias and {*told} - {'instrument'} == {*bias} - {'instrument'}
    assert data.info['licence'] == about.licence
    if sizes:
        order = ('train', 'val', 'test') if about.trains else ('test',)
        assert {split: len(part) for split, part in data.splits.items()} == dict(
            zip(order, sizes, strict=True)
        )
    example = next(iter(data.splits.values())).read(1)
    assert example['image'].shape == (8, 8, 3)
    assert ('mask' in example) == (name in MASKED)
    if 'mask' in example:
        assert (example['mask'][:3] == 255).all() and not example['mask'][5:].any()


def test_every_source_is_tested_here():
    assert set(CASES) == set(ABOUTS)


@pytest.mark.parametrize('name', ['ham10000', 'isic2018', 'isic2019', 'ph2', 'kaggle9', 'asan'])
def test_own_classes(name, root):
    data = load(name, root(CASES[name][0]), positive='')
    classes = joined(data, lambda part: np.array(data.classes)[part.labels]).tolist()
    expected = {'asan': 12}.get(name, len(ABOUTS[name].classes))
    assert len(data.classes) == expected
    melanomas = CASES[name][3]
    assert Counter(classes)['melanoma'] == melanomas
    assert 'class' not in data.splits['test'].columns or name in ('kaggle9', 'asan')
    binary = load(name, root(CASES[name][0]))
    assert Counter(joined(binary, lambda part: part.columns['class']).tolist()) == Counter(classes)


@pytest.mark.parametrize(
    ('name', 'rows', 'count'),
    [('isic2019', 24, 14), ('isic2020', 28, 14), ('ham10000', 28, 14), ('pad_ufes_20', 36, 18)],
)
def test_groups_are_not_divided(name, rows, count, root):
    data = load(name, root(CASES[name][0]))
    assert set(data.splits) == {'train', 'val', 'test'}
    assert sum(len(part) for part in data.splits.values()) == rows
    assert len(set(joined(data, lambda part: part.groups).tolist())) == count
    again = load(name, root(CASES[name][0]))
    assert again.splits['test'].ids.tolist() == data.splits['test'].ids.tolist()


def test_isic2017_as_published(root):
    place = root(layouts.isic2017)
    data = load('isic2017', place, min_instrument=2)
    train = data.splits['train']
    assert data.bias['instrument'] == ('16x16', '8x8')
    assert train.bias['instrument'][:3].tolist() == [1, 0, 1]
    assert train.bias['ruler'][:3].tolist() == [0, 1, 0] and train.bias['ruler'][-1] == -1
    assert data.bias['ruler'] == ('absent', 'present')
    assert train.columns['sex'][:2].tolist() == ['male', 'unknown']
    assert train.columns['width'][:2].tolist() == [8, 16]
    three = load('isic2017', place, task='three', min_instrument=2)
    expected = Counter({'melanoma': 7, 'nevus': 6, 'seborrheic_keratosis': 7})
    assert Counter(np.array(three.classes)[three.splits['train'].labels].tolist()) == expected


def test_lesions_that_isic2017_shows_twice(root, monkeypatch):
    twins = {'ISIC_0000003': 'ISIC_0002001', 'ISIC_0000004': 'ISIC_0000005', 'ISIC_1': 'ISIC_2'}
    monkeypatch.setattr(isic2017, 'TWINS', twins)
    data = load('isic2017', root(layouts.isic2017))
    assert data.info['left_out'] == {'near duplicates': 1}
    train = data.splits['train']
    assert 'ISIC_0000003' not in train.ids and len(train) == 19
    assert train.groups[train.ids == 'ISIC_0000004'].tolist() == ['ISIC_0000005']


def test_isic2018_shapes(root):
    place = root(layouts.isic2018_shapes)
    data = load('isic2018', place, task=1, with_mask=True)
    assert data.classes == ('lesion',)
    assert {name: len(part) for name, part in data.splits.items()} == {'train': 18, 'val': 2}
    train = data.splits['train']
    assert 'mask' in train.read(0)
    columns = train.columns
    assert columns['attribute_milia_like_cyst'][0].endswith('_attribute_milia_like_cyst.png')
    assert (place / columns['attribute_milia_like_cyst'][0]).is_file()
    assert columns['attribute_streaks'].tolist() == [''] * 18
    with pytest.raises(ValueError, match=r'data\.task=4; expected 1 or 2'):
        load('isic2018', place, task=4)


def test_isic2019_with_its_test_set(root):
    data = load('isic2019', root(layouts.isic2019_test), positive='', **FEW)
    rows = {name: len(part) for name, part in data.splits.items()}
    assert rows['test'] == 9 and rows['train'] + rows['val'] == 24
    assert data.classes[-1] == 'unknown' and 8 in data.splits['test'].labels
    assert data.bias['site'][1] == 'head/neck'
    assert set(data.splits['train'].bias['site'].tolist()) == {1}
    assert set(data.splits['test'].bias['site'].tolist()) == {-1}
    assert data.bias['instrument'] == ('1024x1024', '8x8')
    assert set(data.splits['test'].bias['instrument'].tolist()) == {1}
    assert set(data.splits['train'].bias['sex'].tolist()) == {-1, 0}


def test_duplicates_and_lists_are_left_out(root, tmp_path):
    data = load('isic2020', root(layouts.isic2020))
    assert data.info['left_out'] == {'duplicates': 2}
    assert not {'ISIC_0000028', 'ISIC_0000029'} & set(joined(data, lambda p: p.ids).tolist())
    (tmp_path / 'ids.csv').write_text('\ufeffISIC_0000000.jpg,x\nISIC_0000028\nISIC_9\n')
    less = load('isic2020', root(layouts.isic2020), leave_out=str(tmp_path / 'ids.csv'))
    assert less.info['left_out'] == {'duplicates': 2, 'ids.csv': 1}
    with pytest.raises(ValueError, match='templates: none of its 51 images is in the data set'):
        load('isic2020', root(layouts.isic2020), leave_out='templates')
    with pytest.raises(FileNotFoundError, match="nowhere is neither 'templates' nor a file"):
        load('isic2020', root(layouts.isic2020), leave_out='nowhere')


def test_two_modalities_are_two_sets_of_images(root):
    for name, layout in (('derm7pt', layouts.derm7pt), ('mclass', layouts.mclass)):
        both = {
            modality: load(name, root(layout), modality=modality).splits['test']
            for modality in ('dermoscopic', 'clinical')
        }
        assert both['dermoscopic'].read(0)['image'].mean() == pytest.approx(10, abs=3)
        assert both['clinical'].read(0)['image'].mean() == pytest.approx(200, abs=3)
        with pytest.raises(ValueError, match=r"data\.modality='clinic' is unknown.*'clinical'"):
            load(name, root(layout), modality='clinic')
    # Two clinical images of MClass have the same name, in the folders of two classes.
    assert both['clinical'].ids.tolist()[:2] == ['benign/0', 'benign/1']


def test_skin_types(root):
    fitzpatrick = load('fitzpatrick17k', root(layouts.fitzpatrick17k))
    assert fitzpatrick.bias['skin_type'] == ('I', 'II', 'III', 'IV', 'V', 'VI')
    codes = joined(fitzpatrick, lambda part: part.bias['skin_type'])
    assert Counter(codes.tolist()) == {-1: 8, 0: 8, 5: 8}
    ddi = load('ddi', root(layouts.ddi))
    assert ddi.bias['skin_type'] == ('I-II', 'III-IV', 'V-VI')
    assert ddi.splits['test'].bias['skin_type'].tolist() == [0, 1, 2, 0, 1, 2]
    cancers = load('ddi', root(layouts.ddi), positive='malignant')
    assert cancers.classes == ('benign', 'malignant')
    assert cancers.splits['test'].labels.tolist() == [1, 1, 0, 1, 1, 0]


def test_asan_with_its_table(root):
    data = load('asan', root(layouts.asan_table))
    assert data.splits['test'].labels.tolist() == [1, 0]
    assert data.splits['test'].bias['marked'].tolist() == [0, 1]
    assert data.splits['test'].columns['diagnosis'].tolist() == ['melanoma', 'nevus']


def test_what_lies_in_both_folders_is_tested_on(root):
    data = load('kaggle9', root(layouts.kaggle9))
    assert data.info['left_out'] == {'in both folders': 1}
    assert 'ISIC_0000009' in data.splits['test'].groups


def test_any_folder_with_one_column_for_each_class(root):
    place = root(layouts.isic2018)
    table = place / 'ISIC2018_Task3_Test_GroundTruth' / 'ISIC2018_Task3_Test_GroundTruth.csv'
    header, *rows = [line.split(',') for line in table.read_text().splitlines()]
    rows = [[f'ISIC2018_Task3_Test_Input/{name}.jpg', *ones, 'test'] for name, *ones in rows]
    layouts.table(place / 'mine.csv', ','.join([*header, 'split']), rows)
    fields = {'csv': 'mine.csv', 'label': 'MEL,NV, BCC,AKIEC,BKL,DF,VASC'}
    found = folder.build(options('folder', place, **fields), 0)
    assert found.classes == ('MEL', 'NV', 'BCC', 'AKIEC', 'BKL', 'DF', 'VASC')
    assert found.splits['test'].labels.tolist() == list(range(7))
    assert not found.splits['test'].columns
    order = ('NV', 'MEL', 'BCC', 'AKIEC', 'BKL', 'DF', 'VASC')
    found = folder.build(options('folder', place, **fields, positive='MEL', classes=order), 0)
    assert found.classes == ('not MEL', 'MEL')
    assert found.splits['test'].labels.tolist() == [1, 0, 0, 0, 0, 0, 0]
    with pytest.raises(ValueError, match=r'data\.classes=.*expected the columns MEL, NV, BCC'):
        folder.build(options('folder', place, **fields, classes=('NV', 'MEL')), 0)


def test_links_that_go_in_a_circle(tmp_path):
    layouts.mclass(tmp_path)
    images = tmp_path / 'BenchmarkDermoscopic'
    (images / 'benign' / 'again').symlink_to(images)
    assert len(load('mclass', tmp_path).splits['test']) == 4
