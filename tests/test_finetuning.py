"""Weights of runs: training that starts from them, and files made of them."""

import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from skinjax import config as configs
from skinjax import convert, kinds, rundir, train
from skinjax.engine import checkpoint
from skinjax.engine.mesh import Mesh
from skinjax.engine.state import TrainState
from tests.helpers import restore_state, small_run


def make_trainer(config: Any) -> train.Trainer:
    return train.Trainer(config, train.load_data(config), Mesh.create('jit', 1))


def run_config(method: str = 'clgr', **fields: Any) -> Any:
    return small_run(method, devices=1, **{'train.ema': 0.9, **fields})


def save_run(work: Path, config: Any) -> TrainState:
    """A run as training leaves it, with values that no initialisation has."""
    rng = np.random.default_rng(0)
    state = make_trainer(config).fresh()
    params, model, ema = jax.tree.map(
        lambda x: rng.uniform(0.5, 1.5, x.shape).astype(x.dtype),
        (state.params, state.model, state.ema),
    )
    state = state.replace(params=params, model=model, ema=ema)  # type: ignore[attr-defined]
    rundir.claim(config, work)
    saver = checkpoint.Checkpointer(work, keep=1)
    saver.save(state, 0.5)
    saver.close()
    return state


def assert_equal(have: Any, want: Any) -> None:
    jax.tree.map(
        lambda x, y: np.testing.assert_array_equal(np.asarray(x), np.asarray(y)), have, want
    )


@pytest.fixture(scope='module')
def source(tmp_path_factory) -> tuple[Path, TrainState]:
    """A run with a bias head and averaged parameters, and its state."""
    work = tmp_path_factory.mktemp('source') / 'run'
    return work, save_run(work, run_config())


def test_starts_from_exactly_these_weights(source):
    path, want = source
    now = make_trainer(run_config(**{'model.pretrained': str(path)})).fresh()
    plain = make_trainer(run_config()).fresh()
    for group in ('encoder', 'head'):
        assert_equal(now.params[group], want.ema[group])  # the averaged parameters
        assert_equal(now.ema[group], want.ema[group])
    assert_equal(now.model['batch_stats']['encoder'], want.model['batch_stats']['encoder'])
    assert_equal(now.params['bias_ruler'], plain.params['bias_ruler'])
    assert_equal(now.opt, plain.opt)
    assert int(now.step) == 0


def test_a_group_that_is_left_out_starts_fresh(source):
    path, want = source
    fields: Any = {'model.pretrained': str(path), 'model.leave_out': ('head',)}
    now, plain = make_trainer(run_config(**fields)).fresh(), make_trainer(run_config()).fresh()
    assert_equal(now.params['head'], plain.params['head'])
    assert_equal(now.params['encoder'], want.ema['encoder'])


def test_a_run_without_averages(tmp_path):
    want = save_run(tmp_path / 'run', run_config('baseline', **{'train.ema': 0.0}))
    now = make_trainer(run_config(**{'model.pretrained': str(tmp_path / 'run')})).fresh()
    assert_equal(now.params['encoder'], want.params['encoder'])


def test_resumes_exactly(source, tmp_path):
    fields: Any = {'model.pretrained': str(source[0]), 'train.checkpoint_every': 0.5}
    config, whole, again = run_config(**fields), tmp_path / 'whole', tmp_path / 'again'
    train.run(config, whole)
    shutil.copytree(whole, again)
    shutil.rmtree(again / 'checkpoints' / '6')
    (again / 'DONE').unlink()
    train.run(config, again)
    trainer = make_trainer(config)
    abstract = checkpoint.with_sharding(trainer.abstract(), trainer.mesh.replicated)
    (step, want), (_, have) = (restore_state(w, abstract) for w in (whole, again))
    assert step == 6
    assert_equal(have, want)
    for table in (whole / 'predictions').iterdir():
        assert (again / 'predictions' / table.name).read_bytes() == table.read_bytes()


def test_a_file_for_pytorch(source, tmp_path, capsys):
    torch = pytest.importorskip('torch')
    from third_party.torch_baselines.resnet import resnet

    path, want = source
    target = tmp_path / 'run.safetensors'
    fields = {'source': str(path), 'target': str(target)}
    result = convert.run(configs.override(kinds.convert(), fields), tmp_path / 'work')
    assert (result['outputs'], result['arrays']) == (1, 47)
    assert f'note: {path}: 4 arrays of bias heads stay behind' in capsys.readouterr().out
    found = load_file(target)
    assert np.array_equal(found['fc.weight'], want.ema['head']['kernel'].T)
    encoder = {k: torch.from_numpy(v) for k, v in found.items() if not k.startswith('fc.')}
    resnet('narrow').load_state_dict(encoder)
    statistics = want.model['batch_stats']['encoder']['stem_norm']
    assert np.array_equal(found['bn1.running_var'], statistics['var'])
