"""Kind 'benchmark': what it measures of itself and of a peer, and that it needs little to run."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import jax
import pytest

from skinjax import benchmark, contender, kinds, timing
from skinjax import config as configs
from skinjax.engine import state
from skinjax.engine.step import make_step
from tests.helpers import ROOT, environment

PEER = """
    import time
    from skinjax import timing

    def prepare(mode):
        if mode == 'infer':
            raise MemoryError('too little')
        print('libraries print what they like', flush=True)
        return lambda steps: time.sleep(0.01 * steps), {}

    timing.serve({'versions': {'peer': '1'}}, prepare, None)
"""
# Of what training needs, what the benchmark must do without.
BLOCKED = (
    'ml_collections', 'grain', 'tensorflow_datasets', 'array_record', 'cv2', 'PIL', 'orbax',
    'sklearn', 'matplotlib', 'tqdm', 'safetensors',
)  # fmt: skip
BARE = """
    import importlib.abc, json, runpy, sys

    class Block(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path=None, target=None):
            if name.partition('.')[0] in {blocked}:
                raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)

    sys.meta_path.insert(0, Block())
    sys.argv[:] = ['-', *{arguments}]
    runpy.run_module({module!r}, run_name='__main__', alter_sys=True)
"""
TINY = ('--batch=4', '--size=32', '--devices=1')


@pytest.fixture(autouse=True)
def one_device(monkeypatch):
    """The contenders start as users start them, and compile in a moment."""
    monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
    monkeypatch.setenv('JAX_DISABLE_MOST_OPTIMIZATIONS', '1')


@pytest.fixture
def peers(tmp_path) -> Path:
    """A folder with a peer that sleeps, and one that ends with an error."""
    (tmp_path / 'peers').mkdir()
    (tmp_path / 'peers' / 'slow.py').write_text(textwrap.dedent(PEER))
    (tmp_path / 'peers' / 'broken.py').write_text('import no_such_module')
    return tmp_path


def plan(**fields: Any) -> benchmark.Plan:
    return benchmark.Plan(
        cases=('mobilenet_v2',), batch=4, size=32, devices=1, rounds=3, steps=2, **fields
    )


def bare(module: str, *arguments: str, said: str = '') -> subprocess.CompletedProcess[str]:
    """A module run without the packages of BLOCKED."""
    code = BARE.format(blocked=set(BLOCKED), arguments=list(arguments), module=module)
    return subprocess.run(
        [sys.executable, '-c', textwrap.dedent(code)],
        input=said,
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=280,
    )


def test_rounds_of_skinjax_beside_a_peer(peers, tmp_path, capsys):
    fields: dict[str, Any] = {
        'cases': ('mobilenet_v2',), 'batch': 4, 'size': 32, 'devices': 1, 'rounds': 3, 'steps': 2,
        'modes': ('infer', 'train'), 'peer': 'peers.slow', 'variants': ('one',),
        'repository': str(peers),
    }  # fmt: skip
    config = configs.resolve(kinds.benchmark(**fields))
    results = benchmark.run(config, tmp_path / 'w')
    assert results == json.loads((tmp_path / 'w' / 'results.json').read_text())
    found = results['cases']['mobilenet_v2']
    assert {m: set(r) for m, r in found['rounds'].items()} == {
        'matmul': {'skinjax'}, 'infer': {'skinjax'}, 'train': {'skinjax', 'peers one'},
    }  # fmt: skip
    assert found['left_out'] == {'peers one, infer': 'MemoryError: too little'}
    rows = {(r['mode'], r['program']): r for r in benchmark.summarize(plan(), found)}
    ours, theirs = rows['train', 'skinjax'], rows['train', 'peers one']
    for one in (ours, theirs, rows['infer', 'skinjax']):
        assert one['images/s'] > 0 and one['memory'] > 10**6 and one['first'] > 0
    assert 200 < theirs['images/s'] < 400  # 4 in a little over .01 s
    answers = found['rounds']['train']
    each = [
        b['seconds'] / a['seconds']
        for a, b in zip(answers['skinjax'], answers['peers one'], strict=True)
    ]
    assert theirs['ratio'] == [sorted(each)[1], min(each), max(each)]
    assert 'ratio' not in ours and ours['compile'] > 0 and theirs['compile'] is None
    text = (tmp_path / 'w' / 'table.md').read_text()
    assert '| mobilenet_v2 | train | peers one |' in text and 'too little' in text
    assert f'jax {found["facts"]["skinjax"]["versions"]["jax"]}, ' in text and ', peer 1.' in text
    capsys.readouterr()
    assert benchmark.run(config, tmp_path / 'w') == results
    assert 'is done' in capsys.readouterr().out


def test_a_peer_that_cannot_run_is_left_out_with_its_reason(peers):
    missing = plan(modes=('infer',), peer='peers.none', variants=('a',), repository=str(peers))
    found = benchmark.measure(missing, 'mobilenet_v2')
    (why,) = found['left_out'].values()
    assert 'No module named peers.none' in why and set(found['rounds']['infer']) == {'skinjax'}
    with pytest.raises(RuntimeError, match=r"status 1: ModuleNotFoundError: .*'no_such_module'"):
        timing.Contender(['peers.broken'], peers, {})


def test_share_of_the_peak_and_ratios_from_known_answers():
    def answers(*seconds):
        return [{'seconds': s, 'processor': 2 * s, 'memory': 5 * s} for s in seconds]

    found = {
        'prepared': {
            'matmul': {'skinjax': {'first': 1.0, 'flop': 100.0}},
            'train': {
                'skinjax': {'first': 2.0, 'compile': 1.5, 'flop': 400.0}, 'p': {'first': 3.0},
            },
        },
        'rounds': {
            'matmul': {'skinjax': answers(2.0, 1.0, 1.0)},
            'train': {'skinjax': answers(8.0, 5.0, 20.0), 'p': answers(12.0, 5.0, 40.0)},
        },
    }  # fmt: skip
    ours, theirs = benchmark.summarize(plan(modes=('train',)), found)
    assert ours['images/s'] == 4 * 2 / 8 and theirs['images/s'] == 4 * 2 / 12
    assert theirs['ratio'] == [1.5, 1.0, 2.0] and theirs['core ratio'] == [1.5, 1.0, 2.0]
    assert ours['core seconds'] == 16 / 2 and ours['memory'] == 100
    assert ours['flop/s'] == 400 * 2 / 8  # shares by round: 1, .8, .2
    assert ours['share of peak'] == pytest.approx(0.8)
    assert theirs['share of peak'] == pytest.approx(400 / 100 * 2 / 12)


def test_it_runs_without_what_only_training_needs():
    """All of it but the input pipeline, as on a machine with jax, flax, optax and jaxtyping."""
    done = bare('skinjax.benchmark', '--help')
    assert done.returncode == 0 and '--cases' in done.stdout, done.stderr
    said = 'prepare train\nrun train 1\nprepare fed\n'
    done = bare('skinjax.contender', '--case=clgr', *TINY, said=said)
    facts, prepared, ran, fed = map(json.loads, done.stdout.splitlines())
    assert facts['platform'] == 'cpu' and facts['devices'] == 1
    # ResNet-50 without its last layer, one logit, and a head with two.
    assert prepared['parameters'] == 23508032 + 2049 + 2 * 2049
    assert prepared['flop'] > 1e9 and prepared['planned']['temporary'] > 0
    assert ran['seconds'] > 0
    assert fed['error'].startswith('ModuleNotFoundError')
    needed = bare('skinjax.train')
    assert needed.returncode and 'No module named' in needed.stderr  # the block works


def test_the_command_without_a_config(tmp_path):
    flags = [*TINY, '--cases=mobilenet_v2', '--modes=infer', '--rounds=1', '--steps=1', '--peer=']
    done = bare('skinjax.benchmark', *flags, f'--json={tmp_path / "found.json"}')
    assert '| mobilenet_v2 | infer | skinjax |' in done.stdout, done.stderr
    found = json.loads((tmp_path / 'found.json').read_text())
    assert found['plan']['batch'] == 4 and not found['cases']['mobilenet_v2']['left_out']


def test_a_plan_that_measures_nothing():
    for empty in (benchmark.Plan(cases=()), benchmark.Plan(modes=())):
        with pytest.raises(ValueError, match='must name something'):
            benchmark.check(empty)
    with pytest.raises(ValueError, match="kind 'benchmark' has no field 'bacth'"):
        kinds.benchmark(bacth=3)


@pytest.mark.parametrize('case', sorted(contender.CASES))
def test_every_case_is_a_network_that_there_is(case):
    """Traced, not compiled: the step takes its state and batch."""
    job = contender.Job(case, batch=4, size=64, devices=1)
    objective = job.objective()
    batch = contender.random_batch(job)
    shapes = jax.eval_shape(
        lambda key, batch: state.create(objective, key, batch, ema=False), jax.random.key(0), batch
    )
    after, metrics = jax.eval_shape(make_step(objective), shapes, batch, jax.random.key(1))
    assert jax.tree.structure(after) == jax.tree.structure(shapes)
    assert {'main/main', 'main/bce', 'generator/fake'} & {*metrics}
    seen = contender.inputs(job, batch)
    found = jax.eval_shape(objective.predict, {'params': shapes.params, **shapes.model}, *seen)
    assert all(value.shape[0] == 4 for value in jax.tree.leaves(found))


def test_styles_are_optimised_for_as_many_steps_as_asked_for():
    job = contender.Job('lesion_cnn', batch=2, size=32, devices=1)
    run, _ = job.prepare('style')
    run(1)
    run(2)
    with pytest.raises(ValueError, match='no mode style of clgr: choose vgg16 or lesion_cnn'):
        contender.Job('clgr').prepare('style')


@pytest.mark.slow
def test_training_at_the_end_of_the_pipeline():
    code = ['prepare fed', 'run fed 3']
    done = subprocess.run(
        [sys.executable, '-m', 'skinjax.contender', '--case=mobilenet_v2', *TINY],
        input='\n'.join(code) + '\n',
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=280,
    )
    _, prepared, ran = map(json.loads, done.stdout.splitlines())
    assert prepared['first'] > 0 and ran['seconds'] > 0
