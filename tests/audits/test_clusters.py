"""The audits spray and gebi: from a run of kind 'explain' to their report, and what they refuse."""

import csv

import numpy as np
import pytest

from skinjax import audit, explain, kinds, train
from skinjax import config as configs
from skinjax.auditing import clusters
from skinjax.auditing.seen import Part, Seen
from skinjax.discovery import enrichment
from skinjax.discovery.spectral import Clustering
from skinjax.engine.writer import read_json
from skinjax.relevance import explained
from tests.helpers import shrink

POOLED = configs.plugin('models', 'tests.audits.pooled_encoder')
FLAG = 'ruler'


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A classifier, and its maps of 80 images of which about half have a ruler."""
    root = tmp_path_factory.mktemp('explained')
    fields = {'data.n_train': 80, 'data.skew': (0.5, 0.5), 'evaluate.probes': ()}
    train.run(shrink(configs.train(model=POOLED), **fields), root / 'run')
    config = kinds.explain('gradient_x_input')
    chosen = {'init_from': str(root / 'run'), 'split': 'train', 'n': 0, 'target': 'label'}
    chosen |= {'sanity': 0, 'faithfulness': 0, 'shown': 0}
    explain.run(configs.override(config, chosen), root / 'maps')
    return root / 'maps'


@pytest.fixture
def planted(run, tmp_path):
    """The same directory with maps that are bright below where there is a ruler."""
    found = explained.read(run)
    for path in run.iterdir():
        if path.is_file() and path.name != explained.MAPS:
            (tmp_path / path.name).write_bytes(path.read_bytes())
    rng, heat = np.random.default_rng(0), np.zeros(found.maps.shape, np.float16)
    for row, there in enumerate(found.table.bias[FLAG]):
        rows = slice(-8, None) if there else slice(8, 20)
        heat[row, rows, 8:24] = 1
        heat[row] += 0.1 * rng.random(heat.shape[1:])
    np.save(tmp_path / explained.MAPS, heat)
    return tmp_path


def settings(name, maps, **fields):
    config = kinds.audit(name, maps=str(maps), perplexity=5.0, exemplars=2, **fields)
    return configs.resolve(config)


def rows(path):
    with path.open(encoding='utf-8', newline='') as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize('name', ['spray', 'gebi'])
def test_planted_rulers_are_found(name, planted, tmp_path, capsys):
    work = tmp_path / 'w'
    results = audit.run(settings(name, planted, clusters=2), work)
    out = capsys.readouterr().out
    assert out.index('Eigengaps\nclass ') < out.index('Clusters\nclass ') < out.index('report: ')
    assert (work / 'DONE').exists() and (work / 'report.html').stat().st_size > 20_000
    assert {'eigenvalues', 'views', 'exemplars_0', 'exemplars_1'} == {
        path.stem for path in (work / 'figures').glob('*.png')
    }
    table = explained.read(planted).table
    listed = rows(work / 'clusters.csv')
    assert sorted(row['id'] for row in listed) == sorted(table.ids)
    assert set(results['classes']) == {'nevus', 'melanoma'}
    for found in results['agreement']:
        if found['flag'] == FLAG:
            assert min(found['ari'], found['joint_ari']) > 0.9 and found['value'] == FLAG
            assert min(found['precision'], found['recall']) > 0.9
    sure = [row for row in results['enrichment'] if row['q'] < 1e-3]
    assert {row['class'] for row in sure if row['flag'] == FLAG} == set(results['classes'])
    assert len(rows(work / 'enrichment.csv')) == len(results['enrichment'])
    one = listed[0]
    at = table.ids.tolist().index(one['id'])
    assert one[FLAG] == (FLAG if table.bias[FLAG][at] else f'no {FLAG}')
    assert one['true class'] == one['class'] == ('nevus', 'melanoma')[table.labels[at]]
    page = (work / 'report.html').read_text()
    assert f'{FLAG} = {FLAG}' in page and 'Benjamini' in page
    assert read_json(work / 'results.json')['explainer'] == 'gradient_x_input'


def test_all_at_once_of_real_maps(run, tmp_path):
    work = tmp_path / 'w'
    fields = {'by': 'all', 'n': 40, 'detect': True}
    results = audit.run(settings('spray', run, **fields), work)
    block = results['classes']['all']
    assert block['n'] == sum(block['clusters']) == 40 and len(block['eigenvalues']) == 32
    assert block['gap'] == pytest.approx(np.diff(block['eigenvalues']).max())
    flags = {row['flag'] for row in results['agreement']}
    assert {FLAG, 'ruler (detected)', clusters.CLASS} <= flags


def test_maps_of_zeros(run, planted, tmp_path):
    heat = np.load(planted / explained.MAPS)
    labels = explained.read(run).table.labels
    heat[labels == 1] = 0
    heat[np.flatnonzero(labels == 0)[:3]] = 0
    np.save(planted / explained.MAPS, heat)
    results = audit.run(settings('spray', planted), tmp_path / 'w')
    assert results['classes']['melanoma']['clusters'] == []
    assert sum(results['classes']['nevus']['clusters']) == (labels == 0).sum() - 3
    remarks = ' '.join(results['remarks'])
    assert f'melanoma: {(labels == 1).sum()} of {(labels == 1).sum()} maps are zero' in remarks
    assert 'does the explainer fit the network?' in remarks
    heat[:] = 1
    np.save(planted / explained.MAPS, heat)
    same = audit.run(settings('spray', planted), tmp_path / 'same')
    assert same['classes']['nevus']['clusters'] == [(labels == 0).sum()]
    assert 'points are the same' in same['remarks'][0]


def test_few_images(run, tmp_path):
    results = audit.run(settings('gebi', run, n=20), tmp_path / 'w')
    assert [block['n'] for block in results['classes'].values()] == [20, 20]
    with pytest.raises(ValueError, match='too few images to cluster: nevus: 3 images, of which at'):
        audit.run(settings('gebi', run, n=3), tmp_path / 'few')


def test_correction_is_over_all_classes(run):
    found = explained.read(run)
    config = settings('spray', run).audit
    seen = Seen.of(found)
    labels = np.arange(len(found.table)) % 2
    flags = clusters.flags_of(config, seen, np.arange(len(labels)))
    parts = []
    for name, at in clusters.groups(config, seen):
        clustering = Clustering(labels[at], np.zeros(2), 1, 1, np.zeros((len(at), 2)))
        parts.append(Part(name, at, clustering, np.zeros((len(at), 2)), np.zeros((len(at), 2))))
    table, _ = clusters.enriched(parts, flags)
    assert {row['class'] for row in table} == {'nevus', 'melanoma'}
    assert [row['q'] for row in table] == [row['q'] for row in enrichment.corrected(table)]


def test_refusals(run, tmp_path):
    for fields, message in (
        ({'maps': ''}, 'nothing to audit: give the directory'),
        ({'by': 'lable'}, "by is 'lable'.*did you mean 'label'"),
        ({'exemplars': 0}, 'exemplars is 0, expected at least 1'),
        ({'normalise': 'x'}, "normalise is 'x'"),
    ):
        config = configs.override(
            kinds.audit('gebi', maps=str(run)), {f'audit.{k}': v for k, v in fields.items()}
        )
        with pytest.raises(ValueError, match=message):
            audit.run(config, tmp_path / 'w')
    with pytest.raises(ValueError, match="kind 'train': give one of kind 'explain'"):
        audit.run(settings('spray', run.parent / 'run'), tmp_path / 'w')
    assert not (tmp_path / 'w').exists()
