"""The audit of artefact removal: exact twins, measures by hand, and small runs of each source."""

import csv
import json
import math

import cv2
import numpy as np
import pytest

from skinjax import config as configs
from skinjax import kinds
from skinjax.auditing import removal_cases, removal_flags, removal_tables
from skinjax.audits import artefact_removal
from skinjax.data import cameras, rendering
from skinjax.engine.writer import read_json
from tests.helpers import ISIC2017, SHARED

TEMPLATES = SHARED / 'data' / 'artefact_templates'
TINY = {'n': 3, 'sizes': (48,), 'bootstrap': 20, 'panels': 2}


def options(**fields):
    config = kinds.audit('artefact_removal', **{**TINY, **fields})
    return configs.make({**config.audit, 'root': config.root})


@pytest.mark.parametrize('kind', removal_cases.KINDS)
def test_coverage_is_where_the_twins_differ(kind):
    for index in range(4):
        pair = rendering.twins(5, index, index % 2, 64, (kind,), index)
        share = pair.coverage[kind]
        assert share.shape == (64, 64) and 0 <= share.min() < 1e-6 and 0.2 < share.max() <= 1.0001
        differs = (pair.clean.image != pair.marked.image).any(axis=2)
        assert not differs[share == 0].any()
        assert differs[share > 0.3].mean() > 0.9
        drawn = rendering.render(5, index, index % 2, 64, (kind,), index)
        np.testing.assert_array_equal(pair.marked.image, drawn.image)
        # Before the camera spreads it, coverage is what the picture's mask is made of.
        scene = rendering.twins(5, index, index % 2, 64, (kind,), None)
        np.testing.assert_array_equal(scene.coverage[kind] > 0, scene.marked.artefacts[kind] > 0)
        reach = cameras.reach(64)
        near = cv2.dilate(scene.marked.artefacts[kind], np.ones((2 * reach + 1,) * 2, np.uint8))
        assert not (share[near == 0] > 1e-6).any()


def test_a_later_artefact_hides_an_earlier_one():
    hidden = rendering.twins(5, 3, 0, 64, ('hair', 'frame'), None).coverage
    alone = rendering.twins(5, 3, 0, 64, ('hair',), None).coverage['hair']
    expected = alone * (1 - hidden['frame'])
    np.testing.assert_allclose(hidden['hair'], expected, atol=1e-6)


def test_overlap_and_comparison_by_hand():
    coverage = np.zeros((4, 4), np.float32)
    coverage[0] = (1.0, 0.5, 0.1, 0.0)  # two pixels are covered, three touched
    clean = np.full((4, 4, 3), 100, np.uint8)
    image = clean.copy()
    image[0, :3] = 110
    nowhere, everywhere = np.zeros((4, 4), bool), np.ones((4, 4), bool)
    case = removal_cases.Case('a', 'hair', image, clean, coverage, nowhere, everywhere)
    found = nowhere.copy()
    found[0, 1:] = True  # misses the first, has the second and third, and one that is none
    assert artefact_removal.overlap(case, found) == pytest.approx(
        {'recall': 1 / 2, 'precision': 2 / 3, 'iou': 2 / 4}
    )
    compared = artefact_removal.compared(case, image)
    assert compared['psnr'] == pytest.approx(10 * math.log10(255**2 / (100 * 3 / 16)))
    assert compared['psnr_touched'] == pytest.approx(20 * math.log10(25.5))
    assert math.isnan(compared['psnr_lesion'])


def test_mean_leaves_out_what_is_not_defined():
    found = removal_tables.mean([1.0, float('nan'), 3.0, float('inf')], options())
    assert found['value'] == 2 and 1 <= found['low'] <= found['high'] <= 3
    assert math.isnan(removal_tables.mean([float('nan')], options())['value'])


def test_synthetic(tmp_path):
    fields = {'kinds': ('hair', 'marking'), 'n': 3}
    results, sections = artefact_removal.build(options(**fields))(tmp_path)
    assert results['n'] == 6 and len(sections[0].tables) == 3
    json.dumps(results)
    with (tmp_path / 'per_image' / 'synthetic.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    methods = len(removal_tables.METHODS)
    assert len(rows) == 6 * (1 + methods)
    assert {row['kind'] for row in rows} == {'hair', 'marking'}
    assert len(list((tmp_path / 'figures').glob('*.png'))) == 2
    masks = results['tables']['Masks against the exact coverage']
    assert sum(row['n'] for row in masks if row['method'] == 'robust') == 6
    pictures = results['tables']['Pictures against their twins without the artefact']
    gain = {row['method']: row['PSNR']['value'] for row in pictures if row['artefact'] == 'marking'}
    assert gain['robust, Telea'] > gain['nothing removed'] + 3
    again, _ = artefact_removal.build(options(**fields))(tmp_path / 'again')
    assert json.dumps(again) == json.dumps(results)


def test_options_are_checked(tmp_path):
    with pytest.raises(ValueError, match=r"source 'isic'.*isic2017"):
        artefact_removal.build(options(source='isic'))
    with pytest.raises(ValueError, match='needs a folder'):
        artefact_removal.build(options(source='templates'))
    with pytest.raises(ValueError, match=r'audit\.n is 0, expected at least 1'):
        artefact_removal.build(options(n=0))
    with pytest.raises(FileNotFoundError, match=r'labels\.csv'):
        artefact_removal.build(options(source='isic2017', root=str(tmp_path)))
    with pytest.raises(FileNotFoundError, match=r'meta\.json'):
        artefact_removal.build(options(source='templates', root=str(tmp_path)))(tmp_path)
    with pytest.raises(ValueError, match=r"artefact 'hiar'.*hair"):
        artefact_removal.build(options(kinds=('hiar',)))(tmp_path)


def test_limits_were_chosen_on_other_rows(tmp_path):
    rows = [
        {'image_id': str(k), 'split': 'test' if k > 5 else 'train', 'hair': '0.0'}
        | {'near_dup_group': 'a' if k == 7 else ''}
        for k in range(9)
    ]
    rows[3]['hair'] = ''
    with (tmp_path / 'labels.csv').open('w', newline='') as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    measured = [row['image_id'] for row in removal_flags.measured_rows(tmp_path)]
    assert measured == ['1', '5', '6', '8']


@pytest.mark.skipif(not ISIC2017.is_dir(), reason='no ../shared/data/isic2017')
def test_isic2017(tmp_path):
    fields = {'source': 'isic2017', 'root': str(ISIC2017), 'n': 40, 'sizes': (128,)}
    results, sections = artefact_removal.build(options(**fields))(tmp_path)
    assert results['n'] == 40 and sections[1].figures
    found = results['tables']['Flagged against unflagged images']
    scores = {row['score: share of the frame, or detector']: row for row in found}
    assert scores['found: hair']['AUC']['value'] > 0.6
    # Nothing that was not found is changed.
    with (tmp_path / 'per_image' / 'isic2017.csv').open(newline='') as file:
        for row in csv.DictReader(file):
            assert float(row['robust, Telea: changed']) <= float(row['robust, Telea: found'])


@pytest.mark.skipif(not TEMPLATES.is_dir(), reason='no ../shared/data/artefact_templates')
def test_templates():
    cases = list(removal_cases.templates(TEMPLATES))
    kinds = [case.kind for case in cases]
    assert (kinds.count('ruler'), kinds.count('marking')) == (6, 28)
    for case in cases[::7]:
        assert case.image.shape == case.clean.shape == (450, 600, 3)
        differs = (case.image != case.clean).any(axis=2)
        assert 0 < differs.mean() < 0.2
        if case.kind == 'ruler':
            assert not differs[~case.measured].any()
    ruler = next(case for case in cases if case.kind == 'ruler')
    edited = artefact_removal.editors()[removal_tables.MAIN_METHOD]([{'image': ruler.image}])[0]
    before = artefact_removal.compared(ruler, ruler.image)
    assert artefact_removal.compared(ruler, edited['image'])['psnr'] > before['psnr']


def test_config_is_the_audit(tmp_path):
    from skinjax import audit

    config = kinds.audit('artefact_removal', **{**TINY, 'kinds': ('ruler',), 'n': 1})
    audit.run(configs.resolve(config), tmp_path / 'w')
    assert (tmp_path / 'w' / 'DONE').exists()
    assert read_json(tmp_path / 'w' / 'results.json')['source'] == 'synthetic'
