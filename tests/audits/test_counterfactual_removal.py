"""Removal around a classifier that heeds hair alone."""

import dataclasses

import numpy as np
import pytest

from skinjax import config as configs
from skinjax import editing, kinds
from skinjax.auditing import removal
from skinjax.audits import counterfactual
from skinjax.data.records import DataSet, Records
from skinjax.editors import insert
from skinjax.engine.writer import write_json
from tests.audits.test_counterfactual import CLASSES, judge, rows_of, settings


def hairy(n: int = 8) -> Records:
    """Plain skin; every other image has hair, and says so."""
    skin = np.random.default_rng(0).integers(-6, 7, (n, 128, 128, 3)) + np.array([200, 160, 140])
    marked = np.arange(n) % 2
    options = insert.options(kind='hair_medium')

    def read(row: int) -> dict[str, np.ndarray]:
        image = skin[row].astype(np.uint8)
        return {'image': insert.insert(image, str(row), options)[0] if marked[row] else image}

    names = np.array([f'skin-{k}' for k in range(n)])
    labels = (np.arange(n) // 2 % 2).astype(np.int32)
    return Records(names, labels, {'hair': marked.astype(np.int32)}, names, read)


def darkest(image: np.ndarray) -> float:
    """Hair is darker than skin."""
    return float((image.min(axis=2) < 90).mean() > 0.002)


def test_removal_undoes_what_insertion_does(tmp_path):
    one = judge(darkest, hairy(), hair=('no', 'yes'))
    config = settings(kinds=(), removal=('hair',), masks=1, bootstrap=0)
    block, sections = counterfactual.examined(config, [one], tmp_path)
    assert block['switches'] == [] and block['removal']['n'] == {'with': 4, 'without': 4}
    found = block['removal']['found_by']
    assert found == {'hair': 'flag hair', 'ruler': 'detector', 'ink': 'detector'}
    hit, control = block['removal']['rows']
    assert (hit['images'], hit['changed'], hit['switched_images']) == ('with', 1.0, 4.0)
    assert (control['images'], control['switched_images'], control['n']) == ('without', 0.0, 4)
    assert control['mean_abs']['value'] == 0 and hit['q'] >= hit['p']
    assert [section.heading for section in sections] == ['Removal', 'Images that move most']
    assert {row['edit'] for row in block['most_moved']} == {'after hair'}
    assert (tmp_path / 'figures' / 'removed.png').exists()
    assert "'hair' changes 100% of the images with artefacts" in sections[0].text
    assert 'There are 8 images only' in sections[0].text


def test_runs_that_remove_go_by_the_name_of_their_directory(tmp_path):
    """Their path is nobody's business: results are handed on."""
    run = tmp_path / 'secret' / 'purified'
    write_json(run / 'config.json', configs.to_json(kinds.purify(editors=('hair',))))
    one = judge(darkest, hairy(), hair=('no', 'yes'))
    named = (str(run), f'mine={run}', 'hair')
    config = settings(kinds=(), removal=named, bootstrap=0)
    block, sections = counterfactual.examined(config, [one], tmp_path / 'w')
    rows = rows_of(block['removal'], 'rows', images='with')
    assert [row['artefact'] for row in rows] == ['purified', 'mine', 'hair']
    assert {row['edit'] for row in block['most_moved']} == {f'after {r["artefact"]}' for r in rows}
    assert 'secret' not in f'{block} {sections[0].text} {sections[0].tables} {sections[1].tables}'
    other = tmp_path / 'other' / 'purified'
    write_json(other / 'config.json', configs.to_json(kinds.purify(editors=('hair',))))
    with pytest.raises(ValueError, match=r"audit.removal: 'purified' cannot be the name of"):
        removal.editors(settings(removal=(str(run), str(other))))


def test_editors_are_built_once(tmp_path, monkeypatch):
    built, named = [], editing.named

    def counted(name):
        built.append(name)
        return named(name)

    monkeypatch.setattr(editing, 'named', counted)
    one = judge(darkest, hairy(), hair=('no', 'yes'))
    counterfactual.examined(settings(kinds=(), removal=('hair',)), [one], tmp_path)
    assert built == ['hair']


def test_detectors_are_asked_where_there_are_no_flags():
    records = hairy()
    flags, _ = removal.something(records, DataSet('x', CLASSES, {'hair': ('no', 'yes')}, {}))
    plain = dataclasses.replace(records, bias={})
    found, source = removal.something(plain, DataSet('x', CLASSES, {}, {}))
    assert set(source.values()) == {'detector'}
    np.testing.assert_array_equal(found, flags)
    unknown = np.where(np.arange(8) < 2, -1, records.bias['hair']).astype(np.int32)
    some = dataclasses.replace(records, bias={'hair': unknown})
    found, source = removal.something(some, DataSet('x', CLASSES, {'hair': ('no', 'yes')}, {}))
    assert source['hair'] == 'flag hair, detector for 2 images'
    np.testing.assert_array_equal(found, flags)
