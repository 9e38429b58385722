"""Purified copies and generated images in a training set."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from skinjax.data import balancing, groups, mixing, pipeline, writing
from skinjax.data.balance import BISLA, Plan
from skinjax.data.records import DataSet, Records
from tests.data.rows import config, make
from tests.data.test_balance import FIGURE_7, SOURCES

CLASSES = ('melanoma', 'nevus', 'seborrheic_keratosis')
RULER = {'ruler': ('absent', 'present')}
PURIFIED, MADE = 100, 200  # grey levels of their images


def grey(records: Records, level: int, size: int = 2) -> Records:
    """The records with images of one level, and a bright left edge."""
    image = np.full((size, size, 3), level, np.uint8)
    image[:, 0] = 255
    return dataclasses.replace(records, read=lambda row: {'image': image.copy()})


def real() -> DataSet:
    """12 training rows, four a class; 3 in each further split."""
    train = make([0, 1, 2] * 4, 'train', ruler=[0, 1] * 6)
    train = dataclasses.replace(
        train, columns={'site': np.array(['arm'] * 12), 'x': np.arange(12.0)}
    )
    splits = {name: make([0, 1, 2], name, ruler=[0, 1, -1]) for name in ('val', 'test')}
    return DataSet('test', CLASSES, RULER, {'train': train, **splits})


@pytest.fixture(scope='module')
def purified(tmp_path_factory) -> Path:
    """Copies of all rows of `real`; the later ones have lost more."""
    root = tmp_path_factory.mktemp('purified')
    splits = {}
    for name, part in real().splits.items():
        removed = np.array([f'{k / 20:.2f}' for k in range(len(part))])
        splits[name] = dataclasses.replace(grey(part, PURIFIED), columns={'removed': removed})
    writing.write(dataclasses.replace(real(), splits=splits), root)
    return root


def generated(root: Path, labels, classes=CLASSES, split='train', **bias) -> Path:
    rows = dataclasses.replace(
        grey(make(labels, 'made', **bias), MADE),
        columns={
            'synthetic': np.ones(len(labels), np.int32),
            'site': np.array(['leg'] * len(labels)),
        },
    )
    writing.write(DataSet('x', classes, RULER if bias else {}, {split: rows}), root)
    return root


@pytest.fixture(scope='module')
def made(tmp_path_factory) -> Path:
    """Eight melanomas and eight keratoses, whose folder has classes in another order."""
    root = tmp_path_factory.mktemp('made')
    return generated(root, [0, 1] * 8, ('seborrheic_keratosis', 'melanoma'))


def loaded(source=None, **fields) -> DataSet:
    fields = {
        name: str(value) if isinstance(value, Path) else value for name, value in fields.items()
    }
    return groups.load(lambda *_: source or real(), config(**fields), 0)


def levels(records: Records) -> list[int]:
    return [int(records.read(row)['image'][0, 1, 0]) for row in range(len(records))]


def test_without_the_fields_nothing_changes():
    found = loaded()
    assert 'mixed' not in found.info and list(found.splits['train'].columns) == ['site', 'x']


def test_purified_copies_of_training_rows_join_them(purified):
    found = loaded(add_purified=purified)
    train, before = found.splits['train'], real().splits['train']
    assert len(train) == 24 and len(found.splits['val']) == 3
    assert train.ids[12:15].tolist() == ['train11#purified', 'train10#purified', 'train9#purified']
    originals = np.arange(12)[::-1]
    for values, own in ((train.labels, before.labels), (train.groups, before.groups)):
        np.testing.assert_array_equal(values[12:], own[originals])
    np.testing.assert_array_equal(train.bias['ruler'][12:], before.bias['ruler'][originals])
    np.testing.assert_array_equal(train.columns['x'][12:], originals)
    assert levels(train) == [*range(12), *[PURIFIED] * 12]
    assert train.columns['purified'].tolist() == [0] * 12 + [1] * 12
    for part in found.splits.values():
        assert not part.columns['synthetic'].any()
    row = {'originals': 4, 'purified': 4, 'generated': 0, 'mirrored': 0, 'rows': 8}
    assert found.info['mixed'] == dict.fromkeys(CLASSES, row)


@pytest.mark.parametrize('fold', range(3))
def test_copies_of_rows_outside_of_training_are_left_out(purified, fold):
    found = loaded(add_purified=purified, folds=3, fold=fold)
    train, val = found.splits['train'], found.splits['val']
    copies = train.flagged('purified')
    assert copies.sum() == (~copies).sum() == 10 and len(val) == 5
    assert {*train.groups[copies]} == {*train.groups[~copies]}
    assert not {*train.groups} & {*val.groups}
    # Those of the published validation split may be in training now.
    assert any(name.startswith('val') for name in train.ids[copies].tolist())


def test_generated_images_are_matched_by_the_names_of_classes(made, purified):
    found = loaded(add_generated=made, add_purified=purified)
    train = found.splits['train']
    rows = train.flagged('synthetic')
    assert rows.sum() == 16 and len(train) == 40
    assert train.labels[rows].tolist() == [2, 0] * 8
    assert set(train.bias['ruler'][rows]) == {-1}
    assert train.columns['site'][rows].tolist() == ['leg'] * 16
    assert np.isnan(train.columns['x'][rows]).all()
    assert levels(train.select(rows)) == [MADE] * 16
    assert found.info['mixed']['melanoma'] == {
        'originals': 4, 'purified': 4, 'generated': 8, 'mirrored': 0, 'rows': 16,
    }  # fmt: skip


def test_several_folders_and_their_bias_variables(made, tmp_path):
    more = generated(tmp_path, [1, 1, 0], ruler=[1, 0, -1])
    train = loaded(add_generated=f'{made}, {more}').splits['train']
    train = train.select(train.labels == 1)
    assert train.ids[-2:].tolist() == ['made0#2', 'made1#2']  # both folders have a made0
    assert train.bias['ruler'][-2:].tolist() == [1, 0] and len(train) == 4 + 2


def test_what_tells_generated_images_from_real_ones_is_noted(made, tmp_path):
    assert 'notes' not in loaded(add_generated=made, geometry='squash').info  # nothing is known
    rows = grey(make([0, 1], 'cropped'), MADE)
    about = {'generated': {'geometry': 'crop', 'image_size': 2}}
    writing.write(DataSet('x', CLASSES, {}, {'train': rows}, info=about), tmp_path)
    assert 'notes' not in loaded(add_generated=tmp_path, geometry='crop').info
    assert 'notes' not in loaded(add_generated=tmp_path).info  # a source without the field
    found = loaded(add_generated=f'{made},{tmp_path}', geometry='squash').info['notes']
    assert found == [
        f"data.add_generated: {tmp_path}: the model has learned from images in the geometry 'crop',"
        " data.geometry is 'squash': shapes tell generated images from real ones"
    ]
    assert loaded(add_generated=made, image_size=5).info['notes'] == [
        f'data.add_generated: {made}: generated images have 2 pixels, image_size is 5: they are '
        'blurred'
    ]
    assert 'notes' not in loaded(add_generated=made, image_size=1).info


def test_generated_images_of_other_shapes_are_brought_to_size_as_real_ones(tmp_path):
    wide = np.zeros((2, 4, 3), np.uint8)
    wide[:, 1:3] = MADE
    rows = dataclasses.replace(make([0, 1], 'wide'), read=lambda row: {'image': wide.copy()})
    writing.write(DataSet('x', CLASSES, {}, {'train': rows}), tmp_path)
    for geometry, level in (('crop', MADE), ('squash', MADE // 2)):
        train = loaded(add_generated=tmp_path, geometry=geometry).splits['train']
        assert levels(train)[-1] == level


def test_only_one_class(made):
    found = alone(only='melanoma', add_generated=made)
    assert found.classes == ('melanoma',) and list(found.info['mixed']) == ['melanoma']
    for name, count in {'train': 4 + 8, 'val': 1, 'test': 1}.items():
        assert len(found.splits[name]) == count and not found.splits[name].labels.any()
    assert found.splits['train'].ids[:4].tolist() == ['train0', 'train3', 'train6', 'train9']
    with pytest.raises(
        ValueError, match=r"data.only: no class 'melanom'; .*did you mean 'melanoma"
    ):
        loaded(only='melanom')
    with pytest.raises(ValueError, match="split 'train' has one class only, 'nevus'"):
        loaded(only='nevus')


def alone(**fields) -> DataSet:
    fields = {name: str(value) for name, value in fields.items()}
    return groups.load(lambda *_: real(), config(**fields), 0, classify=False)


def test_generated_images_are_refused_outside_of_training(tmp_path):
    whole = real()
    root = generated(tmp_path, [0, 1, 2] * 4, ruler=[0, 1] * 6)
    train = loaded(add_generated=root).splits['train']
    made = train.select(train.flagged('synthetic'))
    mixed = dataclasses.replace(whole, splits={**whole.splits, 'test': made})
    message = r"split 'test' has 12 generated images \(column 'synthetic'\), such as 'made0'"
    with pytest.raises(ValueError, match=message):
        loaded(mixed)
    assert len(loaded(mixed, allow_synthetic=True).splits['test']) == 12
    with pytest.raises(ValueError, match=message):
        groups.load(lambda *_: mixed, config(), 0, training=False)


def test_a_model_that_has_seen_what_is_tested_on_is_refused(made, tmp_path):
    root = generated(tmp_path, [0, 1])
    mixing.write_trained_on(root, real().splits['train'])
    assert len(loaded(add_generated=root).splits['train']) == 14
    with pytest.raises(ValueError, match=r"learned from 5 rows that are now in 'val', such as 'tr"):
        loaded(add_generated=root, folds=3, fold=0)


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'balance': 'bislo'}, "data.balance='bislo'; .*did you mean 'bisla'"),
        ({'balance': 'bisla'}, "needs 1 purified images of 'melanoma' for 4 originals, and .* 0"),
        ({'add_purified': 'nowhere'}, 'nowhere/records.csv: no such table'),
    ],
)
def test_options_that_cannot_be_met(fields, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        loaded(**fields)


def test_folders_that_do_not_fit(tmp_path, made):
    strange = generated(tmp_path / 'a', [0, 1], ('melanoma', 'naevus'))
    with pytest.raises(
        ValueError, match=r"add_generated: .*a has the class 'naevus'; .*mean 'nevus'"
    ):
        loaded(add_generated=strange)
    late = generated(tmp_path / 'b', [0, 1], split='test')
    with pytest.raises(ValueError, match=r"b has no split 'train', but \['test'\]"):
        loaded(add_generated=late)
    with pytest.raises(ValueError, match=r"no copy of a training row: .*'made0', .*'train0'"):
        loaded(add_purified=made)
    table = generated(tmp_path / 'c', [0, 1], ruler=[0, 1]) / 'records.csv'
    table.write_text(table.read_text().replace('present', 'there').replace('absent', 'gone'))
    facts = tmp_path / 'c' / 'dataset.json'
    facts.write_text(facts.read_text().replace('present', 'there').replace('absent', 'gone'))
    with pytest.raises(ValueError, match=r"c, 'ruler' has the value 'gone'; known: 'absent', 'pr"):
        loaded(add_generated=tmp_path / 'c')
    other = DataSet('x', CLASSES, RULER, {'test': real().splits['test']})
    with pytest.raises(ValueError, match=r"add to a split 'train'; found \['test'\]"):
        groups.load(lambda *_: other, config(add_generated=str(made)), 0, training=False)


HALVES = Plan(
    purified={'melanoma': 0.5, 'nevus': 0.25},
    generated={'melanoma': 1.5},
    flipped=('melanoma',),
    views=2,
)


def test_a_plan_takes_what_it_needs(made, purified, monkeypatch):
    monkeypatch.setitem(mixing.PLANS, 'halves', HALVES)
    found = loaded(add_generated=made, add_purified=purified, balance='halves')
    train = found.splits['train']
    assert found.info['mixed'] == {
        'melanoma': {'originals': 4, 'purified': 2, 'generated': 6, 'mirrored': 10, 'rows': 44},
        'nevus': {'originals': 4, 'purified': 1, 'generated': 0, 'mirrored': 0, 'rows': 10},
        'seborrheic_keratosis': {
            'originals': 4, 'purified': 0, 'generated': 0, 'mirrored': 0, 'rows': 8,
        },
    }  # fmt: skip
    assert len({*train.ids.tolist()}) == len(train) == 62
    assert sorted(train.ids[train.flagged('purified') & (train.columns['balance_view'] == 0)]) == [
        'train10#purified', 'train6#purified', 'train9#purified',
    ]  # fmt: skip
    for row in np.flatnonzero(train.flagged('mirrored')):
        image = train.read(int(row))['image']
        first = train.ids.tolist().index(train.ids[row].split('#mirrored')[0])
        np.testing.assert_array_equal(image, train.read(first)['image'][:, ::-1])
        assert train.groups[row] == train.groups[first]
    assert train.ids[31] == 'train0#view1'


def test_too_few_images_for_a_plan(made, purified, monkeypatch):
    fields = {'add_generated': made, 'add_purified': purified, 'balance': 'halves'}
    wants = dataclasses.replace(HALVES, generated={'seborrheic_keratosis': 2.5})
    monkeypatch.setitem(mixing.PLANS, 'halves', wants)
    message = r"needs 10 generated images of 'seborrheic_keratosis' for 4 originals, .* are 8: give"
    with pytest.raises(ValueError, match=message):
        loaded(**fields)
    monkeypatch.setitem(mixing.PLANS, 'halves', dataclasses.replace(HALVES, flipped=('mole',)))
    with pytest.raises(ValueError, match=r"data\.balance: class 'mole' is absent"):
        loaded(**fields)


def test_views_are_turned_upside_down_and_cropped_at_random():
    """But first views are not; a picture keeps its left side on the left."""
    places = np.zeros((16, 16, 3), np.uint8)
    places[..., 0], places[..., 1] = 10 * np.arange(16), 10 * np.arange(16)[:, None]
    rows = dataclasses.replace(make([0, 1] * 4), read=lambda _: {'image': places.copy()})
    rows = balancing.repeated(rows, 3)
    fields = config(image_size=16, batch_size=24, threads=0)
    batches = pipeline.train_batches(rows, fields, seed=0)
    upside, seen = set(), set()
    for _, batch in zip(range(8), batches, strict=False):
        for image, row in zip(batch['image'].astype(int), batch['index'], strict=True):
            if row < 8:
                np.testing.assert_array_equal(image, places)
                continue
            assert image[8, 14, 0] > image[8, 1, 0]
            upside.add(bool(image[1, 8, 1] > image[14, 8, 1]))
            seen.add(image.tobytes())
    batches.close()
    assert upside == {False, True} and len(seen) > 100


def test_the_published_totals():
    """Fig. 7 of Bisla et al. (2019), row by row, from the published numbers of originals."""
    originals = [sum(SOURCES[name]) for name in CLASSES]
    extra = [
        round(BISLA.purified[name] * n) + 3 for name, n in zip(CLASSES, originals, strict=True)
    ]
    labels = np.concatenate([np.repeat(range(3), n) for n in (originals, extra, (360, 0, 751))])
    rows = make(labels)
    kinds = np.repeat(range(3), [sum(originals), sum(extra), 360 + 751])
    flags = {'purified': kinds == 1, 'synthetic': kinds == 2}
    rows = dataclasses.replace(rows, columns={k: v.astype(np.int32) for k, v in flags.items()})
    found = balancing.balanced(rows, CLASSES, BISLA)
    table = balancing.counts(found, CLASSES)
    assert tuple(row['rows'] for row in table.values()) == (16_110, 17_928, 16_632)
    assert len(found) == 50_670 and found.flagged('synthetic').sum() == 13_200
    for column, name in enumerate(CLASSES):
        row, so_far = table[name], 0
        for kind, step in zip(row, ('originals', 'purified', 'generated', 'flipped'), strict=False):
            so_far += row[kind]
            assert so_far == FIGURE_7[step][column]
    assert len(np.unique(found.ids)) == len(found)
