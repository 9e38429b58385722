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


def test_a_planted_shortcut_is_found_everywhere(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '90')
    results = audited(tmp_path / 'w')
    _told(results, capsys.readouterr().out)
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


def _told(results, out):
    """Figures and findings in words, warnings first; no table is printed."""
    assert '---' not in out and max(map(len, out.splitlines()[:-1])) <= 90
    lines = out[out.index('In short\n') :].splitlines()
    assert lines[1].endswith('How well are diagnoses told apart? (split “test”) AUC')
    auc = results['splits']['test']['auc']
    assert lines[1].startswith(f'{auc["value"]:.3f} ({auc["low"]:.3f}–{auc["high"]:.3f})  ')
    assert lines[-1].startswith('report: ') and lines[-1].endswith('report.html')
    told = ' '.join(' '.join(lines).split())
    marks = [told.index(one['text']) for one in results['findings']]
    assert marks == sorted(marks) and told[: marks[0]].endswith('Act on this: ')


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
    results = audited(tmp_path / 'c', constant)
    assert results['constant'] and 'says the same of all 80 images' in texts(results, 'performance')
    assert results['clusters']['empty'] == 80
    assert 'All 80 maps are zero everywhere' in results['clusters']['reason']
    assert results['splits']['test']['auc']['value'] == 0.5
    assert {one['about'] for one in results['findings']} == {'performance'}
    rounded = audited(tmp_path / 'r', lambda x: constant(x) + 1e-9 * x.mean((1, 2, 3)), n_maps=2)
    assert rounded['constant']


def test_a_model_that_calls_all_images_benign(tmp_path):
    results = audited(tmp_path, lambda images: shortcut(images)['probabilities'] / 100)
    assert not results['constant'] and results['splits']['test']['auc']['value'] > 0.7
    assert 'never calls an image melanoma: it recognises none of 40' in texts(
        results, 'performance'
    )
    assert 'All 80 images are called nevus' in texts(results, 'insertion')
    assert all(one['severity'] != 'fine' for one in results['findings'])


def test_images_of_one_patient(tmp_path):
    records = dataclasses.replace(striped(), groups=np.full(80, 'a'))
    edits = {**QUICK['counterfactual'], 'kinds': ('red_circle', 'frame')}
    results = audited(tmp_path, records=records, counterfactual=edits)
    assert results['groups'] == 1
    assert 'All 80 images are of one patient' in texts(results, 'performance')
    assert 'with frame inserted cannot be said' in texts(results, 'insertion')
    about = {one['about'] for one in results['findings'] if one['severity'] == 'fine'}
    assert 'insertion' not in about


def test_twenty_images_of_one_class_without_flags(tmp_path):
    records = dataclasses.replace(striped(20, share=0), bias={})
    results = audited(tmp_path, records=records)
    few = texts(results, 'performance')
    assert (
        'rests on 20 images of test (20 of nevus, 0 of melanoma)' in few
        and 'have one diagnosis' in few
    )
    assert 'Nothing is known of the images but their diagnosis' in texts(results, 'groups')
    assert 'because there are none' in texts(results, 'clusters')
    assert 'No flag occurs often enough' in texts(results, 'leaks')
    assert sum(results['clusters']['classes']['melanoma']['clusters']) == 10


def test_maps_that_fall_apart_and_maps_that_are_no_maps(tmp_path):
    def far(images, targets):
        """Two kinds of maps that have nothing in common."""
        maps = np.random.default_rng(0).random(images.shape[:3]) / 20
        maps[::2, :8] += 1
        maps[1::2, 16:] += 1
        return maps

    def malignant(images):
        return 0.6 + shortcut(images)['probabilities'] / 4

    fields = {'explain': far, 'clusters': {**QUICK['clusters'], 'neighbours': 5}}
    results = audited(tmp_path / 'a', malignant, **fields)
    assert results['clusters']['classes']['melanoma']['parts'] == 2
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
        ({'clusters': {'by': 'label'}}, "no field 'by'"),  # that is called is explained
        ({'bootstrap': 99}, 'audit.bootstrap is 99, expected at least 100'),
        ({'clusters': {'sise': 3}}, "no field 'sise'.*did you mean 'size'"),
        ({'counterfactual': {'kinds': ('rule',)}}, "audit.counterfactual.kinds: no 'rule'"),
        ({'splits': ()}, "no field 'splits'"),
        ({'split': 'tests'}, "split is 'tests'.*did you mean 'test'"),
        ({'flag_split': 'tests'}, "flag_split is 'tests'.*did you mean 'test'"),
        ({'init_from': '/nonexistent'}, 'init_from is of audits of runs'),
        ({'devices': 77}, 'devices is of audits of runs'),
        ({'threads': 0}, 'audit.threads is 0, expected at least 1'),
        ({'threshold': 40.0}, 'threshold is 40.0, expected a probability'),
        ({'threshold': float('nan')}, 'threshold is nan'),
        ({'name': '../../escaped'}, "name is '../../escaped', which files are named after"),
        ({'image_size': 48}, 'image_size and csv are of a folder'),
        ({'csv': 'x.csv'}, 'image_size and csv are of a folder'),
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
    wrong = configs.override(config, {'audit.split': 'tset'})
    with pytest.raises(ValueError, match="split is 'tset'"):
        audit.run(configs.resolve(wrong), tmp_path / 'w')
    assert not (tmp_path / 'w').exists()
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


def test_what_an_earlier_audit_has_left_goes(tmp_path):
    audited(tmp_path, n_maps=20)
    assert (tmp_path / 'enrichment.csv').exists() and (tmp_path / 'figures').exists()
    (tmp_path / 'notes.txt').write_text('mine')
    records = striped(20)
    records = dataclasses.replace(records, bias={})
    stale = tmp_path / 'predictions' / 'earlier.csv'
    stale.write_text('id')
    audited(tmp_path, constant, records, n_maps=20)
    assert not stale.exists() and not (tmp_path / 'enrichment.csv').exists()
    assert (tmp_path / 'notes.txt').exists() and (tmp_path / 'DONE').exists()


def test_images_are_said_once_and_drawn_by_chance(tmp_path):
    """Of a table where every second image has a ruler about half have one; none is asked twice."""
    asked, single = [], {'counterfactual': {'kinds': (), 'removal': ()}, 'n_maps': 2, 'n': 80}

    def predict(images):
        asked.append(len(images))
        return shortcut(images)

    records = striped(160)
    results = audited(
        tmp_path, predict, records, explain=lambda images, of: images[..., 0] + 1.0, **single
    )
    # Two of the calls ask whether the company of an image matters.
    assert len(asked) == 2 + 2 and results['counterfactual'] == {}
    assert results['flagged'] == 80 and sum(results['images'].values()) == 160
    assert results['splits']['test']['n'] == 160
    (gap,) = [row for row in results['gaps'] if row['class'] == 'nevus']
    assert gap['worst']['n'] > 10 and gap['best']['n'] > 10
    assert 'No artefact was inserted' in texts(results, 'insertion')
    page = (tmp_path / 'report.html').read_text(encoding='utf-8')
    assert '<h2>4 What moves predictions' in page


def test_calls_in_place_of_probabilities_are_told(tmp_path):
    results = audited(tmp_path, lambda x: shortcut(x)['probabilities'].round(), n_maps=2)
    assert results['hard']
    page = (tmp_path / 'report.html').read_text(encoding='utf-8')
    assert 'The model says nothing but 0 and 1' in page
