"""Insertion and removal around classifiers that are plain functions, whose answers are known."""

import csv
import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from skinjax import config as configs
from skinjax.auditing import calling, moved_most
from skinjax.auditing.classifiers import Classifier
from skinjax.audits import counterfactual
from skinjax.bootstrap import proportion
from skinjax.data.records import DataSet, Records
from skinjax.editors import insert
from skinjax.engine.writer import read_json, write_json
from skinjax.predictions import Predictions
from tests.helpers import tiny_records

CLASSES = ('nevus', 'melanoma')
FEW = {'masks': 2, 'strengths': (0.5, 1.0), 'removal': (), 'examples': 2, 'bootstrap': 50}


def settings(**fields):
    values = {**counterfactual.DEFAULTS, **FEW, 'kinds': ('frame', 'red_circle'), **fields}
    return configs.make(values)


def judge(
    chance: Callable[[np.ndarray], float], records: Records, name: str = 'plain', **bias
) -> Classifier:
    """A classifier that says `chance(image)`."""
    data = DataSet('tiny', CLASSES, bias, {'test': records})

    def say(rows: Records):
        scores = np.array([chance(rows.read(row)['image']) for row in range(len(rows))])
        return Predictions(rows.ids, rows.labels, scores), None

    size = len(records.read(0)['image'])
    return Classifier(name, size, data, records, 0.5, say)


def border(image: np.ndarray) -> float:
    """The mean brightness of the outermost pixels."""
    edge = np.concatenate([image[[0, -1]].ravel(), image[:, [0, -1]].ravel()])
    return float(edge.mean() / 255)


def bright_records(n: int = 20) -> Records:
    """Melanomas are brighter than one half. At 224 pixels circles lie inside."""
    records = tiny_records(n, size=4)

    def read(row: int) -> dict[str, np.ndarray]:
        shade = 60 + 120 * int(records.labels[row]) + row
        return {'image': np.full((224, 224, 3), shade, np.uint8)}

    return dataclasses.replace(records, read=read)


def rows_of(block, key='switches', **wanted):
    return [row for row in block[key] if all(row[name] == value for name, value in wanted.items())]


@pytest.fixture(scope='module')
def examined(tmp_path_factory):
    """What moves a classifier of the border, and one that never moves."""
    work = tmp_path_factory.mktemp('audit')
    records = bright_records()
    named = [judge(border, records), judge(lambda image: 0.7, records, 'constant')]
    block, sections = counterfactual.examined(settings(), named, work)
    return work, block, sections


def test_a_model_of_the_border_is_moved_by_frames_alone(examined):
    _, block, _ = examined
    (frame,) = rows_of(block, classifier='plain', artefact='frame')
    (circle,) = rows_of(block, classifier='plain', artefact='red_circle')
    assert frame['mean_abs']['low'] > 20 and frame['p'] < frame['q'] < 0.05
    melanomas = frame['by_class']['melanoma']
    # All melanomas are called nevi with a frame; a nevus stays one.
    assert melanomas['switched_of'] == melanomas['are'] == frame['switched_images']
    # The soft edge of a circle may touch a pixel of the border.
    assert circle['mean_abs']['high'] < 1e-3 and circle['switched'] == proportion(0, 20)
    assert circle['p'] == 1
    assert all(r['mean_abs']['value'] == 0 for r in rows_of(block, classifier='constant'))


def test_responses_grow_with_the_strength_and_end_at_the_first_insertion(examined):
    work, block, _ = examined
    half, full = rows_of(block, 'strengths', classifier='plain', artefact='frame')
    assert (half['strength'], full['strength']) == (0.5, 1.0)
    assert 0 < half['mean_abs']['value'] < 0.7 * full['mean_abs']['value']
    assert half['mean_abs']['low'] < half['mean_abs']['value'] < half['mean_abs']['high']
    with (work / 'switches.csv').open(newline='') as file:
        masks = [row for row in csv.DictReader(file) if row['classifier'] == 'plain']
    (first,) = (row for row in masks if (row['artefact'], row['mask']) == ('frame', '0'))
    assert full['mean_abs']['value'] == pytest.approx(float(first['mean_abs']))
    assert full['switched']['value'] * full['n'] == pytest.approx(float(first['switched']))
    assert len(rows_of(block, 'strengths')) == 2 * 2 * 2


def test_the_images_that_move_most_come_first(examined):
    _, block, _ = examined
    moved = [row for row in block['most_moved'] if row['edit'] == 'frame']
    assert len(moved) == 2 and {row['classifier'] for row in moved} == {'plain'}
    sizes = [abs(row['after'] - row['before']) for row in moved]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > 0.4
    records = bright_records()
    at = records.ids.tolist().index(moved[0]['id'])
    options = insert.options(kind='frame', seed=0, spread=0.1)
    image = insert.inserted(records, options).read(at)['image']
    assert border(image) == pytest.approx(moved[0]['after'], abs=1e-6)
    assert moved[0]['class'] == CLASSES[records.labels[at]] == moved[0]['called_before']
    assert moved[0]['called_after'] == 'nevus'


def test_files_sections_and_remarks(examined):
    work, block, sections = examined
    figures = {path.stem for path in (work / 'figures').glob('*.png')}
    strengths = {'strength_switched', 'strength_mean_abs'}
    assert figures == {'switched', 'insertions', 'moved_plain'} | strengths
    headings = [section.heading for section in sections]
    assert headings == ['Predictions that switch', 'Strength and response', 'Images that move most']
    assert (work / 'predictions' / 'constant' / 'frame_1.csv').is_file()
    assert 'constant says the same of all images as they are, and with every' in sections[0].text
    assert 'There are 20 images only: one switch is 5.0% of them' in sections[0].text
    write_json(work / 'results.json', block)  # plain values
    assert read_json(work / 'results.json')['remarks'] == block['remarks']


def test_identity_changes_nothing(tmp_path):
    config = settings(kinds=('identity',), strengths=(), masks=1)
    block, _ = counterfactual.examined(config, [judge(border, bright_records())], tmp_path)
    (row,) = block['switches']
    assert row['mean_abs']['value'] == row['switched']['value'] == row['f1_change']['value'] == 0
    assert row['switched']['high'] > 0.1  # of 20 images
    assert row['p'] == row['q'] == 1 and block['most_moved'] == [] and 'strengths' not in block


def in_another_light(records: Records) -> Records:
    """The same images, a third as bright: what another `data.purify` may do."""
    return dataclasses.replace(records, read=lambda row: {'image': records.read(row)['image'] // 3})


def test_classifiers_of_other_pictures_see_their_own(tmp_path):
    records = bright_records()
    named = [judge(border, records), judge(border, in_another_light(records), 'dark')]
    config = settings(kinds=('identity', 'frame'), removal=('hair',), masks=1)
    block, _ = counterfactual.examined(config, named, tmp_path)
    for one in named:
        for row in rows_of(block, classifier=one.name, artefact='identity'):
            assert row['switched']['value'] == row['mean_abs']['value'] == 0
        for row in rows_of(block, 'strengths', classifier=one.name, artefact='identity'):
            assert row['mean_abs']['value'] == 0
    for row in block['removal']['rows']:  # there is no hair
        assert row['mean_abs']['value'] == 0 and row['changed'] == 0
    bright, dark = (rows_of(block, classifier=one.name, artefact='frame') for one in named)
    assert dark[0]['mean_abs']['value'] < 0.5 * bright[0]['mean_abs']['value']


def test_classifiers_of_the_same_pictures_share_them():
    records, made = bright_records(4), []

    def edit(rows: Records) -> Records:
        made.append(len(rows))
        return rows

    named = [
        dataclasses.replace(judge(border, records, name), pictures=pictures)
        for name, pictures in (('a', 'x'), ('b', 'y'), ('c', 'x'), ('d', ''), ('e', ''))
    ]
    called = calling.call(named, {'frame': [edit, edit]})
    assert [one.classifier for one in called] == ['a', 'b', 'c', 'd', 'e']
    assert made == [4] * 2 * 4
    for one in called:
        assert all((table.scores == one.clean.scores).all() for table in one.biased['frame'])


def test_a_model_that_heeds_the_artefact_alone_is_not_said_to_be_still(tmp_path):
    """A detector of frames says the same of all images as they are, and turns with a frame."""
    one = judge(lambda image: 0.9 if image[0, 0].max() < 30 else 0.1, bright_records())
    config = settings(kinds=('frame',), strengths=(), masks=1)
    block, _ = counterfactual.examined(config, [one], tmp_path)
    assert block['switches'][0]['switched'] == proportion(20, 20)
    assert 'plain says the same of all images as they are.' in block['remarks']


def test_the_two_images_of_the_oracle(tmp_path):
    """p = (.1, .6) becomes (.89, .4): 49.5 points on average, 79 at most, one switch each way."""
    records = tiny_records(2, seed=3)
    records = dataclasses.replace(records, labels=np.array([0, 1], np.int32))
    originals = [records.read(row)['image'] for row in range(2)]

    def chance(image: np.ndarray) -> float:
        for original, p in zip(originals, (0.1, 0.6), strict=True):
            if np.array_equal(image, original):
                return p
        near = np.argmin([np.abs(image[4, 4] - o[4, 4].astype(float)).sum() for o in originals])
        return (0.89, 0.4)[int(near)]

    config = settings(kinds=('frame',), masks=1)
    block, _ = counterfactual.examined(config, [judge(chance, records)], tmp_path)
    (row,) = block['switches']
    assert row['mean_abs']['value'] == pytest.approx(49.5) and row['p'] == 0.5
    assert row['switched_images'] == 2
    assert [row['by_class'][name]['switched_from'] for name in CLASSES] == [1, 1]
    assert max(row['by_class'][name]['max_abs'] for name in CLASSES) == pytest.approx(79)


def test_the_order_of_images_does_not_matter(tmp_path):
    records = tiny_records(6, size=48)
    tables = []
    for name, order in (('a', np.arange(6)), ('b', np.array([3, 5, 0, 1, 4, 2]))):
        config = settings(kinds=('hair_medium', 'ruler'), strengths=(), masks=1, examples=0)
        one = judge(lambda image: float(image.mean() / 255), records.select(order))
        counterfactual.examined(config, [one], tmp_path / name)
        folder = tmp_path / name / 'predictions' / 'plain'
        tables.append([Predictions.read_csv(folder / f'{kind}_0.csv') for kind in config.kinds])
    for first, second in zip(*tables, strict=True):
        at = [second.ids.tolist().index(name) for name in first.ids.tolist()]
        np.testing.assert_array_equal(first.scores, second.scores[at])


def test_one_class_and_one_call_are_told(tmp_path):
    records = bright_records(8)
    only = records.select(records.labels == 1)
    config = settings(kinds=('frame',), masks=1, strengths=(), examples=0)
    block, _ = counterfactual.examined(config, [judge(border, only)], tmp_path)
    assert any("All images are 'melanoma'" in text for text in block['remarks'])
    assert any("plain calls all images 'melanoma'" in text for text in block['remarks'])
    (row,) = block['switches']
    assert row['f1_clean']['value'] == 1 and np.isnan(row['by_class']['nevus']['max_abs'])
    assert counterfactual.steps(config, 3) == 6


def test_more_than_two_classes_move_by_what_was_called():
    scores = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
    clean = Predictions(np.array(['a', 'b']), np.array([0, 2]), scores)
    edited = Predictions(clean.ids, clean.labels, scores[:, ::-1])
    from skinjax.auditing.switches import Called

    called = Called('x', 0.5, clean, {'frame': [edited]})
    first, second = moved_most.rows(called, 'frame', 5, ('p', 'q', 'r'))
    assert (first['id'], first['before'], first['after']) == ('b', 0.7, 0.1)
    assert (first['called_before'], first['called_after']) == ('r', 'p')
    assert (second['id'], second['class']) == ('a', 'p')


def test_options_are_checked(tmp_path):
    for fields, error, message in (
        ({'kinds': ('frane',)}, ValueError, r"no 'frane'.*'frame'"),
        ({'kinds': ()}, ValueError, r'kinds and .removal are empty'),
        ({'kinds': ('frame', 'ink', 'frame')}, ValueError, r"audit.kinds names 'frame' twice"),
        ({'strengths': (0.5, 1.0, 0.5)}, ValueError, r'audit.strengths names 0.5 twice'),
        ({'removal': ('hair', 'hair')}, ValueError, r"audit.removal names 'hair' twice"),
        ({'strengths': (0.0, 1.0)}, ValueError, r'strengths: 0.0, expected numbers above 0'),
        ({'masks': 0}, ValueError, r'masks is 0, expected at least 1'),
        ({'removal': ('hiar',)}, ValueError, r"'hiar'.*did you mean 'hair'"),
        ({'n': -1}, ValueError, r'audit\.n is -1'),
        ({'kinds': ('ink',), 'templates': str(tmp_path)}, FileNotFoundError, r'no templates of'),
        ({}, ValueError, r'give one classifier \(--config.init_from=DIRECTORY\) or several'),
        ({'init_from': 'a', 'runs': f'a={tmp_path}'}, ValueError, r'give one classifier'),
        ({'runs': 'a=nowhere'}, FileNotFoundError, r'nowhere: no such folder'),
    ):
        with pytest.raises(error, match=message):
            counterfactual.build(settings(**fields))


def test_errors_name_the_field_as_it_was_written(tmp_path):
    field = 'config.audit.counterfactual'
    for fields, name in (
        ({'kinds': ('frane',)}, 'kinds'),
        ({'kinds': ('frame', 'frame')}, 'kinds'),
        ({'kinds': ()}, 'kinds'),
        ({'masks': 0}, 'masks'),
        ({'strengths': (2.0,)}, 'strengths'),
        ({'removal': ('hiar',)}, 'removal'),
        ({'removal': ('a b',)}, 'removal'),
        ({'kinds': ('ink',), 'templates': str(tmp_path)}, 'templates'),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=rf'^{field}\.{name}\b'):
            counterfactual.check(settings(**fields), field)
