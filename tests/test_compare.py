"""Kind 'compare': its arithmetic, and a whole small comparison that is continued."""

import json
import signal

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from skinjax import compare, comparison, jobs, kinds, recipes, rundir
from skinjax import config as configs
from skinjax.engine.writer import write_json
from skinjax.predictions import Predictions
from tests.helpers import TINY, shrink, small_run

COLUMNS = (('plain', 'splits.plain.auc.value'), ('probe', 'probes.ruler.linear.auc'))


def linear_run(method):
    """Two steps of one method with a linear encoder."""
    return shrink(recipes.unlearning(method), linear=True)


def test_lookup():
    results = {'splits': {'plain': {'auc': {'value': 0.5}}}, 'none': None}
    assert compare.lookup(results, 'splits.plain.auc.value') == 0.5
    results['splits']['plain']['share_of_bayes'] = 0.9
    assert compare.lookup(results, 'splits.plain.share_of_bayes') == 0.9
    assert np.isnan(compare.lookup(results, 'splits.marked.auc.value'))
    assert np.isnan(compare.lookup(results, 'none'))


@pytest.mark.parametrize('name', ['auc', 'mean_auc', 'jaccard', 'psnr_hole'])
def test_the_progress_line_has_the_main_figure_of_any_task(name):
    assert jobs.headline({'n': 3, 'dice': {'value': 0.1}, name: {'value': 0.25}}) == '0.250'
    assert jobs.headline({name: {'value': None}}) == '-'


def test_summary_by_hand():
    runs = {name: small_run() for name in ('base', 'best', 'new')}
    config = kinds.compare(
        runs, reference='base', ceiling='best', columns=(('auc', 'x'),), seeds=(0, 1)
    )
    values = {
        'base': {'auc': [0.5, 0.7]},
        'best': {'auc': [0.9, 0.9]},
        'new': {'auc': [0.7, 0.8]},
    }
    found = compare.summarise(config, values)['methods']['new']['auc']
    assert found['mean'] == pytest.approx(0.75)
    assert found['sd'] == pytest.approx(np.sqrt(0.005))
    assert found['difference']['mean'] == pytest.approx(0.15)
    assert found['share_of_gap'] == pytest.approx(0.5)
    # t with one degree of freedom: 12.706 * sd(.2, .1) / sqrt 2
    half = 12.7062 * np.sqrt(0.005) / np.sqrt(2)
    assert found['difference']['high'] == pytest.approx(0.15 + half, abs=1e-4)


def test_unknown_reference(tmp_path):
    config = kinds.compare({'a': small_run()}, reference='b')
    with pytest.raises(ValueError, match=r"reference: 'b' is not among the runs; known: 'a'"):
        compare.run(config, tmp_path)


@pytest.mark.parametrize(
    ('fields', 'text'),
    [
        ({'seeds': ()}, r'config.seeds is \(\)'),
        ({'seeds': (3, 3)}, r'config.seeds is \(3, 3\): .* each of them once'),
        ({'jobs': 0}, 'config.jobs is 0'),
        ({'ceiling': 'b'}, "config.ceiling: 'b' is not among the runs"),
        ({'support': (('x', 'n'),)}, "config.support: 'x' is not among the columns; known: none"),
        ({'order': ('a', 'bse')}, "config.order: 'bse' is not among the runs; known: 'a'"),
        (
            {'columns': COLUMNS, 'drawn': ('plian',)},
            r"config.drawn: 'plian' is not among the columns; .*did you mean 'plain'",
        ),
    ],
)
def test_what_can_be_seen_to_be_wrong_is_said_before_anything_is_written(fields, text, tmp_path):
    config = kinds.compare({'a': small_run()}, **fields)
    with pytest.raises(ValueError, match=text):
        compare.run(config, tmp_path / 'w')
    assert not (tmp_path / 'w').exists()


def test_a_column_that_no_run_has_is_named(tmp_path):
    config = kinds.compare({'a': small_run(), 'b': small_run()}, seeds=(0,))
    jobs = compare.plan(config, tmp_path)
    results = {'splits': {'plain': {'auc': {'value': 0.5}}}, 'worst': None}
    for (name, *_), (_, folder) in jobs.items():
        write_json(folder / 'results.json', results | ({'extra': 2} if name == 'b' else {}))

    def collect(path):
        config.columns = (('x', path),)
        return compare.collect(config, jobs)

    assert collect('splits.plain.auc.value') == {'a': {'x': [0.5]}, 'b': {'x': [0.5]}}
    assert np.isnan(collect('worst.auc.value')['a']['x'])
    assert np.isnan(collect('extra')['a']['x']) and collect('extra')['b']['x'] == [2]
    text = r"config.columns: no run has .*'splits.plian.auc.*no 'plian'.*did you mean 'plain'"
    with pytest.raises(ValueError, match=text):
        collect('splits.plian.auc.value')
    with pytest.raises(ValueError, match=r"config.columns: .*no number; known: 'value'"):
        collect('splits.plain.auc')
    config.support = (('x', 'splits.plain.m'),)
    with pytest.raises(ValueError, match=r"config.support: no run .* no 'm' there; known: 'auc'"):
        collect('splits.plain.auc.value')


def test_the_rows_behind_a_column_stand_in_its_heading(tmp_path):
    columns = (('x', 'value'), ('y', 'value'), ('z', 'value'))
    config = kinds.compare(
        {'a': small_run(), 'b': small_run()},
        seeds=(0, 1),
        reference='a',
        columns=columns,
        support=(('x', 'n.x'), ('y', 'n.y'), ('z', 'n.z')),
    )
    planned = compare.plan(config, tmp_path)
    for (name, seed, _), (_, folder) in planned.items():
        counts = {'x': 7, 'y': 23 - seed} | ({'z': None} if name == 'a' else {})
        write_json(folder / 'results.json', {'value': 0.5, 'n': counts})
    found = compare.support(config, planned)
    assert found == {'x': (7, 7), 'y': (22, 23)}
    values = compare.collect(config, planned)
    summary = {**compare.summarise(config, values), 'support': found}
    comparison.publish(config, summary, values, tmp_path)
    text = (tmp_path / 'table.md').read_text()
    assert text.count('| method | x (n = 7) | y (n = 22–23) | z |') == 2


def test_the_directory_of_another_run_is_left_as_it_is(tmp_path):
    config = kinds.compare({'a': small_run()}, seeds=(0,))
    work = tmp_path / 'w'
    rundir.claim(small_run(), work)
    (work / 'DONE').touch()
    before = (work / 'config.json').read_bytes()
    with pytest.raises(ValueError, match=r"another config \(kind: 'train' -> 'compare'\)"):
        compare.run(config, work)
    assert {path.name for path in work.iterdir()} == {'config.json', 'DONE'}
    assert (work / 'config.json').read_bytes() == before
    (work / 'config.json').unlink()
    with pytest.raises(ValueError, match='is no run'):
        compare.run(config, work)
    assert [path.name for path in work.iterdir()] == ['DONE']


def test_an_interrupted_comparison_is_known_and_may_change_in_what_is_free(tmp_path, monkeypatch):
    config = kinds.compare({'a': small_run(), 'b': small_run()}, seeds=(0,), columns=COLUMNS)

    def stop(jobs, workers):
        raise KeyboardInterrupt

    monkeypatch.setattr(jobs, 'execute', stop)
    for fields in ({}, {'seeds': (0, 1), 'jobs': 2, 'note': 'x', 'order': ('b',), 'drawn': ()}):
        config = configs.override(config, fields)
        with pytest.raises(KeyboardInterrupt):
            compare.run(config, tmp_path)
        assert rundir.load_run(tmp_path).to_dict() == config.to_dict()
    changed = configs.override(config, {'reference': 'a'})
    (tmp_path / 'DONE').touch()
    with pytest.raises(ValueError, match=r"another config \(reference: '' -> 'a'\)"):
        compare.run(changed, tmp_path)
    assert (tmp_path / 'DONE').exists()
    with rundir.lock(tmp_path), pytest.raises(ValueError, match='another process'):
        compare.run(config, tmp_path)


def test_a_comparison_is_continued_and_extended(tmp_path, capsys):
    runs = {name: linear_run(name) for name in ('baseline', 'tabe')}
    config = kinds.compare(
        runs, reference='baseline', columns=COLUMNS, drawn=('plain',), seeds=(0,), jobs=2
    )
    handler = signal.getsignal(signal.SIGTERM)
    first = compare.run(config, tmp_path / 'w')
    assert signal.getsignal(signal.SIGTERM) is handler
    assert 'tabe' in (tmp_path / 'w' / 'table.md').read_text()
    stamp = (tmp_path / 'w' / 'tabe' / 'seed0' / 'results.json').stat().st_mtime_ns
    config.seeds = (0, 1)
    config.jobs = 1
    second = compare.run(config, tmp_path / 'w')
    assert '2 of 4 runs are done already' in capsys.readouterr().out
    assert (tmp_path / 'w' / 'tabe' / 'seed0' / 'results.json').stat().st_mtime_ns == stamp
    assert second['methods']['tabe']['plain']['n'] == 2
    values = json.loads((tmp_path / 'w' / 'comparison.json').read_text())['values']
    assert values['tabe']['plain'][0] == first['methods']['tabe']['plain']['mean']
    changed = configs.override(config, {'runs.tabe.objective.confusion': 0.5})
    with pytest.raises(ValueError, match=r'objective.confusion: 0.3 -> 0.5'):
        compare.run(changed, tmp_path / 'w')


def test_pooled_ranked_and_mean_aucs_of_folds_by_hand(tmp_path):
    """The second fold's scores all lie above the first's: pooling mixes what ranks keep apart."""
    config = kinds.compare({'a': small_run()}, columns=COLUMNS, seeds=(0, 1), folds=2)
    jobs = compare.plan(config, tmp_path)
    assert {(job.data.folds, job.data.fold) for job, _ in jobs.values()} == {(2, 0), (2, 1)}
    labels = np.array([0, 1])
    for (_, seed, fold), (_, folder) in jobs.items():
        scores = np.array([0.1, 0.2]) + 0.7 * fold
        scores = scores[::-1] if (seed, fold) == (1, 1) else scores
        (folder / 'predictions').mkdir(parents=True)
        table = Predictions(np.array([f'{fold}-0', f'{fold}-1']), labels, scores)
        table.write_csv(folder / 'predictions' / 'val.csv')
    found = compare.cross_validation(config, jobs)['a']
    # Seed 0: the positive wins 3 of the 4 pooled pairs, and both within its fold. Seed 1: 2 of 4.
    assert found['pooled']['mean'] == pytest.approx((0.75 + 0.5) / 2)
    assert found['mean']['mean'] == pytest.approx((1 + 0.5) / 2)
    # As ranks: 1 2 1 2 against 0 1 0 1, and 1 2 2 1: a win, two ties and a loss.
    assert found['ranked']['mean'] == pytest.approx((1 + 0.5) / 2)


def test_a_fold_that_is_judged_may_not_choose_the_checkpoint(tmp_path):
    one = configs.override(small_run(), {'train.select': 'best'})
    config = kinds.compare({'a': one}, columns=COLUMNS, folds=2)
    with pytest.raises(ValueError, match=r"config.runs.a.train.select is 'best': with config.fo"):
        compare.run(config, tmp_path / 'w')
    assert not (tmp_path / 'w').exists()


def test_folds_are_pooled(tmp_path):
    config = kinds.compare({'baseline': linear_run('baseline')}, columns=COLUMNS, seeds=(0,))
    config.folds = 2
    found = compare.run(config, tmp_path / 'w')['folds']['baseline']
    assert set(found) == {'pooled', 'ranked', 'mean'}
    one = tmp_path / 'w' / 'baseline' / 'seed0_fold0' / 'predictions' / 'val.csv'
    other = tmp_path / 'w' / 'baseline' / 'seed0_fold1' / 'predictions' / 'val.csv'
    ids = [
        line.split(',')[0] for path in (one, other) for line in path.read_text().splitlines()[1:]
    ]
    assert len(ids) == len(set(ids)) == TINY['data.n_train'] + TINY['data.n_val']
    parts = [Predictions.read_csv(path) for path in (one, other)]
    labels, scores = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ('labels', 'positive')
    )
    assert found['pooled']['mean'] == pytest.approx(roc_auc_score(labels, scores))
    each = [roc_auc_score(part.labels, part.positive) for part in parts]
    assert found['mean']['mean'] == pytest.approx(np.mean(each))
