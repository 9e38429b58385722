"""The audit of generated data from folders and runs to its report, and what it refuses."""

import csv
import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skinjax import audit, kinds, train
from skinjax import config as configs
from skinjax.auditing import calling, classifiers, generated_images, prevalence
from skinjax.audits import generated_data
from skinjax.data import detectors, generated, writing
from skinjax.data.records import DataSet
from skinjax.editors import insert
from skinjax.engine.writer import read_json, write_json
from skinjax.measures import choose_threshold
from skinjax.predictions import Predictions
from tests.audits.generated import write_generated
from tests.helpers import shrink, tiny_records

CLASSES = ('nevus', 'melanoma')
POOLED = configs.plugin('models', 'tests.audits.pooled_encoder')
LESIONS = {'n_train': 32, 'n_val': 24, 'n_test': 24, 'batch_size': 16}
TINY = {'kinds': ('identity', 'frame'), 'masks': 2, 'bootstrap': 20, 'n': 6, 'examples': 2}


def settings(**fields):
    config = kinds.audit('generated_data', **{**TINY, **fields})
    config.audit.data.update(artefact='none', skew=(0.0, 0.0), **LESIONS)
    return config


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding='utf-8', newline='') as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    return write_generated(tmp_path_factory.mktemp('made'), CLASSES)


@pytest.fixture(scope='module')
def runs(tmp_path_factory, made):
    """A classifier of the synthetic lesions at 32 pixels, and the same one for 24."""
    root = tmp_path_factory.mktemp('runs')
    fields: dict[str, Any] = {'data.artefact': 'none', 'data.skew': (0.0, 0.0)}
    fields |= {'data.add_generated': str(made), 'evaluate.probes': ()}
    config = shrink(configs.train(model=POOLED), **fields)
    train.run(config, root / 'mixed')
    shutil.copytree(root / 'mixed', root / 'smaller')
    values = read_json(root / 'mixed' / 'config.json')
    values['data']['image_size'] = 24
    write_json(root / 'smaller' / 'config.json', values)
    return root


@pytest.fixture(scope='module')
def whole(tmp_path_factory, made, runs):
    """A work directory of the audit of both parts."""
    work = tmp_path_factory.mktemp('audit') / 'w'
    named = f'real={runs}/mixed,smaller={runs}/smaller,again={runs}/mixed'
    config = settings(generated=f'gan={made}', runs=named)
    audit.run(configs.resolve(config), work)
    return work


def test_files_and_report(whole):
    assert (whole / 'DONE').exists() and (whole / 'report.html').stat().st_size > 10_000
    figures = {path.stem for path in (whole / 'figures').glob('*.png')}
    assert figures == {'prevalence_0', 'prevalence_1', 'examples', 'switched', 'insertions'}
    results = read_json(whole / 'results.json')
    assert len(results['prevalence']) == len(rows(whole / 'prevalence.csv')) == 12
    table = rows(whole / 'switches.csv')
    assert len(table) == 3 * 2 * 2
    for row in results['switches']:
        mine = [t for t in table if all(t[k] == row[k] for k in ('classifier', 'artefact'))]
        shifts = [float(t['mean_abs']) for t in mine]
        assert row['mean_abs']['value'] == pytest.approx(np.mean(shifts))
        assert row['mean_abs_sd'] == pytest.approx(np.std(shifts, ddof=1))
    page = (whole / 'report.html').read_text()
    assert 'McNemar' in page and 'Katz' in page


def test_real_and_generated_images_are_looked_at_in_one_size(whole, made):
    results = read_json(whole / 'results.json')
    assert results['image_size'] == 32
    looked = rows(whole / 'per_image' / 'gan.csv')
    assert len(looked) == 8 and {row['label'] for row in looked} == {*CLASSES}
    real = rows(whole / 'per_image' / 'real.csv')
    assert {name: [row['label'] for row in real].count(name) for name in CLASSES} == dict.fromkeys(
        CLASSES, 6
    )
    records, _ = generated_images.made(made, 32, CLASSES)
    score = detectors.hair(records.read(0)['image'])
    assert float(looked[0]['hair_score']) == pytest.approx(score)
    for name in CLASSES:
        hits = sum(int(row['hair']) for row in looked if row['label'] == name)
        (found,) = (
            row
            for row in results['prevalence']
            if (row['class'], row['artefact']) == (name, 'hair')
        )
        assert found['found']['value'] == pytest.approx(hits / 4) and found['n_real'] == 6


def test_switches_are_those_of_the_prediction_tables(whole, runs):
    found = read_json(whole / 'results.json')
    for name in ('real', 'smaller'):
        threshold = read_json(runs / 'mixed' / 'results.json')['threshold']['value']
        assert found['thresholds'][name] == threshold
        folder = whole / 'predictions' / name
        clean = Predictions.read_csv(folder / 'clean.csv')
        assert len(clean) == 24
        for row in rows(whole / 'switches.csv'):
            if row['classifier'] == name:
                biased = Predictions.read_csv(folder / f'{row["artefact"]}_{row["mask"]}.csv')
                count = (clean.predicted(threshold) != biased.predicted(threshold)).sum()
                assert int(row['switched']) == count
                if row['artefact'] == 'identity':
                    assert count == 0 and (clean.scores == biased.scores).all()
    moved = {(row['classifier'], row['artefact']): row for row in found['switches']}
    assert moved['real', 'identity']['switched']['value'] == 0
    first = Predictions.read_csv(whole / 'predictions' / 'real' / 'frame_0.csv')
    second = Predictions.read_csv(whole / 'predictions' / 'real' / 'frame_1.csv')
    assert (first.scores != second.scores).any()  # masks differ
    # The same run under another name is the same classifier.
    assert moved['again', 'frame']['switched'] == moved['real', 'frame']['switched']
    assert moved['again', 'frame']['more'] == {'value': 0, 'low': None, 'high': None}


def test_a_classifier_says_what_the_run_says(whole, runs):
    expected = Predictions.read_csv(runs / 'mixed' / 'predictions' / 'plain.csv')
    clean = Predictions.read_csv(whole / 'predictions' / 'real' / 'clean.csv')
    np.testing.assert_array_equal(clean.ids, expected.ids)
    np.testing.assert_allclose(clean.scores, expected.scores, atol=1e-6)
    smaller = Predictions.read_csv(whole / 'predictions' / 'smaller' / 'clean.csv')
    np.testing.assert_array_equal(smaller.ids, expected.ids)
    assert (np.abs(smaller.scores - expected.scores) > 1e-6).any()


def test_insertions_are_those_of_the_editor(whole, runs):
    config = configs.resolve(settings(runs=str(runs / 'mixed'))).audit
    one = classifiers.restore('real', runs / 'mixed', config)
    options = insert.options(kind='frame', seed=1, spread=calling.SPREAD)
    by_hand = one.predict(insert.inserted(one.records, options))
    table = Predictions.read_csv(whole / 'predictions' / 'real' / 'frame_1.csv')
    np.testing.assert_allclose(by_hand.scores, table.scores, atol=1e-6)


def test_one_part_alone(runs, tmp_path):
    config = settings(runs=f'{runs}/mixed', kinds=('red_circle',), masks=1).audit
    found, sections = generated_data.build(config)(tmp_path)
    assert 'prevalence' not in found and len(found['switches']) == len(sections) == 1
    assert found['switches'][0]['classifier'] == 'mixed'


def test_remarks_say_what_tells_the_images_apart(made, tmp_path):
    config = settings(generated=str(made), image_size=40).audit
    found, (section,) = generated_data.build(config)(tmp_path)
    remark, weak = found['remarks']
    assert remark == f'{made}: generated images have 32 pixels, image_size is 40: they are blurred.'
    assert section.text.endswith(f'{remark}\n\n{weak}')
    data = configs.make({**generated_data.real_data('folder'), 'image_size': 32})
    assert generated.differences(made, data) == []
    cropped = tmp_path / 'cropped'
    shutil.copytree(made, cropped)
    facts = read_json(made / 'dataset.json')
    write_json(cropped / 'dataset.json', {**facts, 'info': {'generated': {'geometry': 'crop'}}})
    (text,) = generated.differences(cropped, data)
    assert "in the geometry 'crop', data.geometry is 'squash'" in text


def test_the_geometry_of_the_run_is_kept_where_both_sources_have_it(tmp_path):
    plugin = configs.plugin('data', 'folder', geometry='crop')
    trained = configs.train(data=plugin, model=POOLED)
    write_json(tmp_path / 'config.json', configs.to_json(trained))
    write_json(tmp_path / 'results.json', {'threshold': {'value': 0.5, 'rule': 'youden'}})
    own = kinds.audit('generated_data').audit
    for source, kept in (('folder', 'crop'), ('synthetic', None)):
        with own.unlocked():
            own.data = generated_data.real_data(source)
        found, _ = classifiers._configured(tmp_path, own)
        assert found.data.name == source and found.data.get('geometry') == kept


def test_other_views_have_another_threshold(runs):
    config = configs.resolve(settings(runs=f'{runs}/mixed', tta='on')).audit
    one = classifiers.restore('mixed', runs / 'mixed', config)
    val = one.predict(one.data.splits['val'])
    assert one.threshold == choose_threshold(val.labels, val.positive, 'youden')
    plain = read_json(runs / 'mixed' / 'results.json')['threshold']
    assert plain['rule'] == 'youden' and one.threshold != plain['value']


def test_edited_and_generated_rows_are_not_real(made):
    rows = generated_images.made(made, 8, CLASSES)[0]
    half = np.arange(len(rows)) % 2
    data = DataSet('x', CLASSES, {}, {'train': rows})
    with pytest.raises(ValueError, match=r"split 'train' has no real images"):
        classifiers.split_of(data, 'train', 'split')
    for column in ('synthetic', 'purified'):
        part = dataclasses.replace(rows, columns={column: half})
        data = DataSet('x', CLASSES, {}, {'train': part})
        found = classifiers.split_of(data, 'train', 'split')
        assert found.ids.tolist() == rows.ids[::2].tolist()


def test_options_are_checked(made, runs, tmp_path):
    for fields, error, message in (
        ({}, ValueError, r'nothing to audit.*audit\.generated=NAME=FOLDER'),
        ({'generated': 'nowhere'}, FileNotFoundError, r'audit\.generated: nowhere: no such folder'),
        ({'runs': f'a={runs}/mixed,a={runs}/smaller'}, ValueError, r"'a' cannot be the name"),
        ({'runs': f'a b={runs}/mixed'}, ValueError, r"'a b' cannot be the name"),
        ({'runs': str(runs), 'kinds': ('frane',)}, ValueError, r"no 'frane'.*'frame'"),
        ({'runs': str(runs), 'kinds': ()}, ValueError, r'kinds is empty'),
        ({'runs': str(runs), 'tta': 'yes'}, ValueError, r"audit\.tta is 'yes'.*'off'"),
        ({'runs': str(runs), 'masks': 0}, ValueError, r'masks is 0, expected at least 1'),
    ):
        with pytest.raises(error, match=message):
            generated_data.build(settings(**fields).audit)
    for fields, error, message in (
        ({'generated': f'real={made}'}, ValueError, r"'real' is the name of the real images"),
        ({'generated': str(made), 'split': 'trian'}, ValueError, r"'trian'.*'train'"),
        ({'runs': str(made)}, FileNotFoundError, r'is not the directory of a run'),
        ({'runs': f'{runs}/mixed', 'test': 'tset'}, ValueError, r"audit\.test is 'tset'.*plain"),
    ):
        with pytest.raises(error, match=message):
            generated_data.build(settings(**fields).audit)(tmp_path)


def test_folders_that_do_not_fit_are_refused(tmp_path):
    real = write_generated(tmp_path / 'real', CLASSES, synthetic=0)
    with pytest.raises(ValueError, match=r"8 of the 8 images of .*real are not generated.*'made-0"):
        generated_images.made(real, 8, CLASSES)
    other = write_generated(tmp_path / 'other', ('nevus', 'melanom'))
    with pytest.raises(ValueError, match=r"class 'melanom'.*did you mean 'melanoma'"):
        generated_images.made(other, 8, CLASSES)
    plain = dataclasses.replace(tiny_records(4), bias={})
    writing.write(DataSet('x', CLASSES, {}, {'train': plain}), tmp_path / 'plain')
    with pytest.raises(ValueError, match=r'4 of the 4 images'):
        generated_images.made(tmp_path / 'plain', 8, CLASSES)
    only = write_generated(tmp_path / 'only', ('melanoma',))
    assert (generated_images.made(only, 8, CLASSES)[1] == 1).all()


def test_runs_that_do_not_fit_are_refused(runs, tmp_path):
    config = configs.resolve(settings(runs=str(runs / 'mixed'))).audit
    seven = configs.override(config, {'data.classes': 7, 'data.skew': (0.0,) * 7})
    with pytest.raises(ValueError, match=r'the run knows the classes nevus, melanoma'):
        classifiers.restore('real', runs / 'mixed', seven)
    half = tmp_path / 'half'
    half.mkdir()
    write_json(half / 'config.json', read_json(runs / 'mixed' / 'config.json'))
    with pytest.raises(ValueError, match=r'half is not finished'):
        classifiers.restore('half', half, config)
    with pytest.raises(FileNotFoundError, match=r'^config.init_from: there is no directory .*nope'):
        classifiers.of_run('nope', configs.make({'init_from': str(tmp_path / 'nope')}))
    other = tmp_path / 'other'
    other.mkdir()
    conv = configs.plugin('models', 'tests.objectives.one_conv')
    write_json(other / 'config.json', configs.to_json(configs.train('segmentation', model=conv)))
    with pytest.raises(ValueError, match=r'other is a run of segmentation, expected classific'):
        classifiers.restore('other', other, config)
    one = classifiers.restore('real', runs / 'mixed', config)
    other = dataclasses.replace(one, name='other', records=one.records.select(np.arange(5)))
    with pytest.raises(ValueError, match=r'real and other.*give runs of one seed'):
        classifiers.same_rows([one, other])


def test_names_are_those_of_folders_where_none_are_given(tmp_path):
    for name in ('a', 'b'):
        (tmp_path / name).mkdir()
    found = generated_data.named_folders(f'{tmp_path}/a, x = {tmp_path}/b/', 'runs')
    assert [*found] == ['a', 'x']
    assert prevalence.REAL == 'real'
