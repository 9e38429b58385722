"""The training loop: errors, parallel modes, what a work directory holds."""

import json

import jax
import numpy as np
import pytest

from skinjax import config as configs
from skinjax import rundir, train
from skinjax.engine.mesh import Mesh
from skinjax.engine.writer import read_metrics
from skinjax.predictions import Predictions
from tests.helpers import LINEAR, SMALL, call, final_state, flags, small, small_run


def linear_run(method, **fields):
    """A small run of a network that compiles at once, on one device."""
    return small(configs.train(method, 'synthetic', LINEAR), devices=1, **fields)


def test_results_and_metrics(tmp_path):
    results = train.run(small_run('lntl', devices=1), tmp_path / 'w')
    assert results == json.loads((tmp_path / 'w' / 'results.json').read_text())
    assert set(results['splits']) == {
        'val', 'plain', 'marked', 'balanced', 'reversed', 'aligned'
    }  # fmt: skip
    assert 0 <= results['splits']['plain']['auc']['value'] <= 1
    assert results['insertion']['ruler']['n'] == 64
    assert 0 <= results['probes']['ruler']['linear']['auc'] <= 1
    names = set().union(*read_metrics(tmp_path / 'w' / 'metrics.jsonl'))
    assert {'main/main', 'main/ruler_entropy', 'bias/ruler', 'bias/ruler_push', 'auc'} <= names


def test_pmap_through_main_equals_jit_with_a_norm_group_per_device(tmp_path):
    """Same data, dropout and augmentation: the whole job differs by rounding alone."""
    fields = {'train.select': 'best', 'train.ema': 0.5, 'optimizer.learning_rate': 0.01}
    parallel = flags({**SMALL, **fields, 'parallel': 'pmap', 'devices': 2})
    work = tmp_path / 'pmap'
    done = call(
        '--config=configs/baseline.py', f'--workdir={work}', *parallel, JAX_NUM_CPU_DEVICES='2'
    )
    assert done.returncode == 0, done.stderr
    config = small_run('baseline', devices=2, **fields, **{'model.norm_groups': 2})
    results = train.run(config, tmp_path / 'jit')
    assert json.loads((work / 'results.json').read_text())['step'] == results['step'] == 6
    (step, one), (other_step, other) = final_state(work), final_state(tmp_path / 'jit')
    assert step == other_step == 6
    for tree in ('params', 'model', 'ema'):
        leaves = jax.tree_util.tree_leaves_with_path(getattr(one, tree))
        for (path, x), y in zip(leaves, jax.tree.leaves(getattr(other, tree)), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-4, err_msg=f'{tree} {path}')
    tables = [
        Predictions.read_csv(run / 'predictions' / 'plain.csv') for run in (work, tmp_path / 'jit')
    ]
    assert tables[0].ids.tolist() == tables[1].ids.tolist()
    np.testing.assert_allclose(tables[0].positive, tables[1].positive, atol=2e-3)
    assert np.ptp(tables[0].positive) > 0.02


@pytest.mark.parametrize(
    ('fields', 'error', 'text'),
    [
        ({'train.patience': -1}, ValueError, 'config.train.patience counts'),
        ({'train.patience': 2, 'train.evaluate_every': 0.0}, ValueError, 'evaluate_every above 0'),
        (
            {'optimizer.learning_rate': 1e38, 'optimizer.clip': 0.0},
            FloatingPointError,
            r'at step \d',
        ),
        ({'data.batch_size': 128, 'devices': 1}, ValueError, 'batch'),
        ({'data.batch_size': 18, 'devices': 4}, ValueError, '18 does not divide over 4 devices'),
        ({'devices': 99}, ValueError, 'there are 4 devices'),
        ({'data.skew': (1.0, 1.0)}, ValueError, "'ruler' takes fewer than two values"),
        ({'model.norm_groups': 3, 'devices': 1}, ValueError, 'norm_groups = 3 does not divide'),
        ({'train.augment': ('spin',)}, ValueError, "'spin' is unknown"),
        ({'train.accumulate': 3, 'devices': 1}, ValueError, 'accumulate = 3 does not divide'),
        ({'train.select': 'bset'}, ValueError, "select 'last' or 'best'"),
        ({'model.dtype': 'bf16'}, ValueError, 'bfloat16'),
        ({'evaluate.threshold': 'yuden'}, ValueError, 'unknown threshold rule'),
        ({'evaluate.splits': ('tset',)}, ValueError, "no 'tset'"),
        ({'evaluate.probes': ('svm',)}, ValueError, "no 'svm'"),
        ({'evaluate.probe_split': 'train'}, ValueError, 'not evaluated'),
        ({'evaluate.mean_over': ('naevus',)}, ValueError, "no class 'naevus'"),
    ],
)
def test_what_cannot_work_is_said_in_one_line(fields, error, text, tmp_path):
    with pytest.raises(error, match=text) as caught:
        train.run(small_run('clgr', **fields), tmp_path / 'w')
    assert '\n' not in str(caught.value)
    if error is ValueError:
        assert not (tmp_path / 'w').exists()


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    train.run(linear_run('baseline'), tmp_path / 'one')
    other = linear_run('clgr')
    rundir.claim(other, tmp_path / 'two')
    (tmp_path / 'one' / 'checkpoints').rename(tmp_path / 'two' / 'checkpoints')
    with pytest.raises(ValueError, match=r'checkpoints/6 does not fit this model') as caught:
        train.run(other, tmp_path / 'two')
    assert '\n' not in str(caught.value)


def test_training_ends_where_validation_gets_no_better(tmp_path):
    """Where it ends follows from the scores of a run that goes on; started again, it ends there."""
    fields = {'train.epochs': 4, 'train.evaluate_every': 0.34, 'train.select': 'best'}
    fields['optimizer.learning_rate'] = 0.3
    train.run(linear_run('baseline', **fields), tmp_path / 'whole')
    lines = read_metrics(tmp_path / 'whole' / 'metrics.jsonl')
    scores = {line['step']: line['auc'] for line in lines if line['split'] == 'val'}
    best, end = 0, max(scores)
    for step, score in scores.items():
        if score >= scores.get(best, 0):  # of equal ones the later
            best = step
        if step - best == 4:  # two evaluations, two steps apart
            end = step
            break
    assert best < end < max(scores)
    config = linear_run('baseline', **fields, **{'train.patience': 2})
    results = train.run(config, tmp_path / 'w')
    assert results['step'] == best
    assert final_state(tmp_path / 'w')[0] == end
    for name in ('DONE', 'results.json'):
        (tmp_path / 'w' / name).unlink()
    assert train.run(config, tmp_path / 'w') == results
    assert final_state(tmp_path / 'w')[0] == end


def test_bfloat16_trains_with_float32_parameters():
    config = small_run('clgr', devices=1, **{'model.dtype': 'bfloat16'})
    trainer = train.Trainer(config, train.load_data(config), Mesh.create('jit', 1))
    now = trainer.mesh.distribute(trainer.fresh())
    assert {x.dtype for x in jax.tree.leaves((now.params, now.model))} == {np.dtype('float32')}
    now, metrics = trainer.step(now, trainer.mesh.put_batch(next(trainer.batches(0))))
    assert {x.dtype for x in jax.tree.leaves((now.params, now.model))} == {np.dtype('float32')}
    assert np.isfinite(metrics['main/main'])
