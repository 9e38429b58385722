"""Classifiers judged with an artefact in every image: `config.evaluate.insert`."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from skinjax import config as configs
from skinjax import evaluate, recipes, train
from skinjax.predictions import Predictions
from skinjax.tasks import classified
from tests.helpers import shrink, tiny_data

KINDS = ('red_circle', 'identity')


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """Directory and results of a tiny run."""
    work = tmp_path_factory.mktemp('inserted') / 'run'
    fields: dict[str, Any] = {'evaluate.insert': KINDS, 'evaluate.splits': ('plain',)}
    fields |= {'data.insert': 'frame', 'evaluate.purify': 'hair'}
    config = shrink(recipes.unlearning('baseline'), linear=True, **fields)
    return work, train.run(configs.resolve(config), work)


def table(work, split):
    return Predictions.read_csv(work / 'predictions' / f'{split}.csv')


def test_every_judged_split_has_a_twin_and_is_its_pair(finished):
    work, results = finished
    judged = ('val', 'plain')  # but insertions into val are of no use
    twins = {f'plain_with_{kind}' for kind in KINDS}
    purified = {f'{split}_purified' for split in judged}
    assert set(results['splits']) == set(judged) | twins | purified
    pairs = {f'{kind}_in_plain': 'plain' for kind in KINDS}
    assert set(results['insertion']) == set(pairs)  # 'marked' of the drawn pair is not judged
    for name, split in pairs.items():
        kind, block = name.removesuffix(f'_in_{split}'), results['insertion'][name]
        clean, biased = table(work, split), table(work, f'{split}_with_{kind}')
        np.testing.assert_array_equal(clean.ids, biased.ids)
        threshold = results['threshold']['value']
        switched = (clean.positive >= threshold) != (biased.positive >= threshold)
        assert block['n'] == len(clean.ids) and block['switched'] == switched.sum()
        shift = 100 * np.abs(clean.positive - biased.positive).mean()
        assert block['mean_abs'] == pytest.approx(shift, abs=1e-4)
        assert (block['mean_abs'] == 0) == (kind == 'identity')
    assert results['probes']['ruler']['linear'] and results['probes']['ruler']['split'] == 'plain'
    page = (work / 'report.html').read_text()
    assert 'red_circle_in_plain' in page and 'Inserted artefacts' in page


def test_the_table_says_why_a_probe_has_no_auc(finished):
    """No row of these has a ruler."""
    lines = classified.summary(finished[1], tiny_data()).splitlines()
    (line,) = (line for line in lines if 'fresh probe' in line)
    assert line == (
        "AUC of a fresh probe for 'ruler' on frozen features: linear - (needs two values that "
        'occur in at least 2 groups each, found groups per value: {0: 24})'
    )


def test_a_finished_run_can_be_asked_about_another_artefact(finished, tmp_path):
    work, _ = finished
    config = configs.override(
        configs.evaluate(),
        {
            'init_from': str(work), 'devices': 1, 'evaluate.insert': ('frame',),
            'evaluate.splits': ('plain', 'marked'), 'evaluate.probes': (),
            'evaluate.bootstrap': 5, 'evaluate.probe_split': 'plain',
            'evaluate.insert_splits': ('marked',),
        },
    )  # fmt: skip
    results = evaluate.run(configs.resolve(config), tmp_path / 'again')
    assert set(results['insertion']) == {'ruler', 'frame_in_marked'}  # and the pair of the data
    assert results['insertion']['frame_in_marked']['mean_abs'] > 0


def test_images_are_those_of_the_editor_with_the_seed_of_the_run():
    data = tiny_data(8, size=16)
    config = recipes.unlearning('baseline')
    config.seed, config.evaluate.insert = 7, ('frame', 'ruler')
    both = classified.with_twins(config, data)
    assert both.pairs['ruler_in_test'] == ('test', 'test_with_ruler')
    assert classified.judged_splits(config, both)[:2] == ['val', 'test']
    clean, biased = data.splits['test'], both.splits['test_with_ruler']
    np.testing.assert_array_equal(biased.bias['ruler'], clean.bias['ruler'])
    framed, places = both.splits['test_with_frame'], set()
    config.seed = 8
    other = classified.with_twins(config, data).splits['test_with_ruler']
    for row in range(8):
        before, after = clean.read(row)['image'], biased.read(row)['image']
        drawn = (before != after).any(-1)
        assert drawn.any() and (after[drawn].mean() < before[drawn].mean())  # ticks are black
        assert (other.read(row)['image'] != after).any()
        places.add(drawn.tobytes())
        before, after = clean.read(row)['image'], framed.read(row)['image']
        assert not after[[0, 0, -1, -1], [0, -1, 0, -1]].any()
        np.testing.assert_array_equal(after[5:11, 5:11], before[5:11, 5:11])
    assert len(places) == 8


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'insert': ('rulr',)}, r"config.evaluate.insert: no kind 'rulr'.*did you mean 'ruler'"),
        ({'insert_splits': ('tst',)}, r"insert_splits: 'tst' is not judged.*did you mean 'test'"),
        ({'splits': ('val',), 'insert_splits': ('test',)}, r"insert_splits: 'test' is not judged"),
    ],
)
def test_what_cannot_be_inserted_is_told_by_its_option(fields, message):
    config = recipes.unlearning('baseline')
    config.evaluate.update({'insert': ('ruler',), **fields})
    with pytest.raises(ValueError, match=message):
        classified.with_twins(config, tiny_data(8, size=16))


def test_names_taken_and_more_classes_are_errors():
    config = recipes.unlearning('baseline')
    config.evaluate.insert = ('ruler',)
    data = tiny_data(8, size=16)
    both = classified.with_twins(config, data)
    with pytest.raises(ValueError, match=r"a split 'test_with_ruler'.* give it another name"):
        classified.with_twins(config, both)
    three = dataclasses.replace(data, classes=('nevus', 'melanoma', 'keratosis'))
    with pytest.raises(ValueError, match=r'for two classes, and the data have 3: .*counterfactual'):
        classified.with_twins(config, three)
    config.evaluate.insert = ()
    assert set(classified.with_twins(config, three).splits) == set(data.splits)


def test_a_remark_says_that_the_editor_of_the_run_came_before(tmp_path):
    fields: dict[str, Any] = {'evaluate.insert': ('identity',), 'evaluate.splits': ('plain',)}
    config = shrink(recipes.unlearning('baseline'), linear=True, **fields)
    assert classified.inserted_last(config) == ''
    config = configs.override(config, {'data.purify': 'hair'})
    (remark,) = train.run(configs.resolve(config), tmp_path / 'run')['remarks']
    assert "Artefacts (identity) were inserted into images that 'hair'" in remark
    assert remark.split('(')[0] in (tmp_path / 'run' / 'report.html').read_text()
