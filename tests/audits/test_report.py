"""The audit report: of functions and of runs, and of what can hardly be audited."""

import dataclasses
import re
from typing import Any

import numpy as np
import pytest

from skinjax import audit, kinds, train
from skinjax import config as configs
from skinjax.engine.writer import read_json
from tests.audits.toys import CLASSES, QUICK, constant, shortcut, striped
from tests.helpers import shrink, write_folder

POOLED = configs.plugin('models', 'tests.audits.pooled_encoder')


def audited(work, predict=shortcut, records=None, **options):
    """The least audit of a function; options go over QUICK."""
    fields = {**QUICK, **options}
    records = striped() if records is None else records
    return audit.audit(predict, records, work, classes=CLASSES, batch_size=80, **fields)


def texts(results, about):
    return ' '.join(one['text'] for one in results['findings'] if one['about'] == about)


def test_a_planted_shortcut_is_found_everywhere(tmp_path):
    results = audited(tmp_path / 'w')
    page = (tmp_path / 'w' / 'report.html').read_text(encoding='utf-8')
    headings = re.findall('<h2>(.*?)</h2>', page)
    assert [heading.split()[0] for heading in headings[:5]] == ['1', '2.1', '2.2', '2.3', '3']
    assert headings[-3:] == ['6 Model and data', 'Versions', 'Configuration']
    assert '5.2 Every image' in headings and 'class="scatter"' in page
    assert (tmp_path / 'w' / 'DONE').exists()
    assert read_json(tmp_path / 'w' / 'results.json')['findings'] == results['findings']

    (gap,) = [row for row in results['gaps'] if row['class'] == 'nevus']
    assert gap['worst']['value'] == 'yes' and gap['gap']['value'] == 1  # all nevi with a stripe
    assert 'Of nevus the model recognises 0 % (0 to 16 %) where ruler is “yes”' in page
    assert results['leaks']['variables']['ruler']['linear']['auc'] == 1
    assert texts(results, 'leaks').startswith('The features know more than the diagnosis tells')
    assert 'red circle' in texts(results, 'insertion')
    assert results['clusters']['explainer'] == 'occlusion'
    sure = [row for row in results['clusters']['enrichment'] if row['q'] < 1e-3]
    assert {row['inside']['value'] for row in sure if row['flag'] == 'ruler'} == {0, 1}
    assert 'ruler “yes”' in texts(results, 'clusters')


def test_a_function_is_audited_anew_each_time(tmp_path):
    first = audited(tmp_path, n_maps=2)
    second = audited(tmp_path, lambda images: 1 - shortcut(images)['probabilities'], n_maps=2)
    assert (
        first['splits']['test']['auc']['value']
        > 0.6
        > 0.4
        > second['splits']['test']['auc']['value']
    )
    assert 'gives no features' in texts(second, 'leaks')
    with pytest.raises(ValueError, match='another'):
        audited(tmp_path, n_maps=3)


def test_a_constant_model(tmp_path):
    results = audited(tmp_path, constant)
    assert results['constant'] and 'says the same of all 80 images' in texts(results, 'performance')
    assert results['clusters']['empty'] == 80
    assert 'All 80 maps are zero everywhere' in texts(results, 'clusters')
    assert results['splits']['test']['auc']['value'] == 0.5


def test_twenty_images_of_one_class_without_flags(tmp_path):
    records = dataclasses.replace(striped(20, share=0), bias={})
    results = audited(tmp_path, records=records)
    few = texts(results, 'performance')
    assert 'rests on 20 images (20 of nevus, 0 of melanoma)' in few and 'have one diagnosis' in few
    assert 'Nothing is known of the images but their diagnosis' in texts(results, 'groups')
    assert 'none of them varies' in texts(results, 'clusters')
    assert 'No flag occurs often enough' in texts(results, 'leaks')
    assert sum(results['clusters']['classes']['melanoma']['clusters']) == 10


def test_maps_that_fall_apart_and_maps_that_are_no_maps(tmp_path):
    def far(images, targets):
        """Two kinds of maps that have nothing in common."""
        maps = np.random.default_rng(0).random(images.shape[:3]) / 20
        maps[::2, :8] += 1
        maps[1::2, 16:] += 1
        return maps

    fields = {'explain': far, 'clusters': {**QUICK['clusters'], 'by': 'all', 'neighbours': 5}}
    results = audited(tmp_path / 'a', **fields)
    assert results['clusters']['classes']['all']['parts'] == 2
    assert 'The neighbour graph falls into 2 parts' in ' '.join(results['clusters']['remarks'])
    assert results['clusters']['agreement'][0]['ari'] == 1
    with pytest.raises(ValueError, match='`explain` gives maps of shape'):
        audited(tmp_path / 'b', explain=lambda images, targets: np.full(images.shape[:3], np.nan))


def test_too_few_images_for_clusters(tmp_path):
    results = audited(tmp_path, n_maps=2, detect=True)
    assert 'too few images to divide into clusters' in texts(results, 'clusters')
    assert any(block['detected'] for block in results['flags'].values())


def test_refusals(tmp_path):
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({'n': -1}, 'audit.n is -1, expected at least 0'),
        ({'probes': ('lineal',)}, "no 'lineal'.*did you mean 'linear'"),
        ({'clusters': {'name': 'x'}}, "clusters.name is 'x'"),
        ({'clusters': {'sise': 3}}, "no field 'sise'.*did you mean 'size'"),
        ({'counterfactual': {'kinds': ('rule',)}}, "audit.counterfactual.kinds: no 'rule'"),
        ({'splits': ()}, "no field 'splits'"),
        ({'split': 'tests'}, "split is 'tests'.*did you mean 'test'"),
    )
    for fields, message in wrong:
        with pytest.raises(ValueError, match=message):
            audit.audit(shortcut, striped(), tmp_path / 'w', classes=CLASSES, **fields)
    assert not (tmp_path / 'w').exists()
    with pytest.raises(ValueError, match='there is nothing to audit'):
        audit.run(configs.resolve(kinds.audit('report')), tmp_path / 'w')


def test_of_a_folder(tmp_path):
    root = write_folder(tmp_path / 'data', n=24, size=16)
    results = audit.audit(
        lambda images: images.mean((1, 2, 3)) / 255,
        root,
        tmp_path / 'w',
        classes=('nevus', 'melanoma'),
        bias=('ruler',),
        image_size=24,
        name='mean',
        **{**QUICK, 'n_maps': 2},
    )
    assert results['splits']['test']['auc']['value'] == 1 and results['model'] == 'mean'
    assert results['flags'] == {'ruler': {'detected': False, 'known': 24}}


def test_of_a_run(tmp_path):
    fields = {'data.n_train': 64, 'data.n_test': 48, 'data.skew': (0.1, 0.9), 'evaluate.probes': ()}
    train.run(shrink(configs.train(model=POOLED), **fields), tmp_path / 'run')
    quick = {
        name: value for name, value in QUICK.items() if name not in ('counterfactual', 'clusters')
    }
    quick |= {f'counterfactual.{name}': v for name, v in QUICK['counterfactual'].items()}
    quick |= {f'clusters.{name}': value for name, value in QUICK['clusters'].items()}
    config = kinds.audit('report', explainer=configs.plugin('explainers', 'gradient_x_input'))
    config = configs.override(config, {f'audit.{name}': value for name, value in quick.items()})
    config = configs.override(config, {'init_from': str(tmp_path / 'run'), 'devices': 1})
    results = audit.run(configs.resolve(config), tmp_path / 'w')
    assert (results['flag_split'], results['model']) == ('balanced', 'run')
    assert results['clusters']['explainer'] == 'gradient_x_input'
    assert {'ruler', 'diagnosis'} <= set(results['leaks']['variables'])
    assert [row['artefact'] for row in results['pairs']] == ['ruler']
    page = (tmp_path / 'w' / 'report.html').read_text(encoding='utf-8')
    assert '4.1 Artefacts of the data' in page and 'ruler as in the data' in page
    assert audit.run(configs.resolve(config), tmp_path / 'w') == read_json(
        tmp_path / 'w' / 'results.json'
    )
