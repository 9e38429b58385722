"""Filling holes from the same weights on the same batches, in skinjax and in PyTorch.

The holes are drawn by skinjax. Where an activation lies within rounding of zero, the two sides may
fall on different sides of a rectifier: a wrong update would differ for every draw, so a case has to
agree for one of two.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip('torch')

from skinjax import config as configs  # noqa: E402
from skinjax.data.holes import random_holes  # noqa: E402
from skinjax.engine import state  # noqa: E402
from skinjax.engine.step import example_keys, make_step  # noqa: E402
from skinjax.objectives import inpainting, perceptual  # noqa: E402
from tests.helpers import tiny_data  # noqa: E402
from third_party.torch_baselines import inpainting as theirs  # noqa: E402

SIDE, BATCH, STEPS, LEVELS, WIDTH = 32, 4, 4, 3, 0.0625
LEAVES = {'kernel': 'weight', 'scale': 'weight', 'bias': 'bias'} | {
    'mean': 'running_mean',
    'var': 'running_var',
}
OPTIMIZERS = {
    'adam': {'name': 'adam', 'learning_rate': 2e-3, 'momentum': 0.5},
    'second': {'name': 'sgd', 'learning_rate': 1e-2, 'momentum': 0.9},
}


class Maps(nn.Module):
    """An encoder of two convolutions."""

    @nn.compact
    def __call__(self, x, train):
        del train
        first = jnp.tanh(nn.Conv(6, (3, 3), 2, [(1, 1), (1, 1)], name='first')(x))
        return x.mean((1, 2)), [first, jnp.tanh(nn.Conv(8, (3, 3), 2, [(1, 1), (1, 1)])(first))]


def flat(*trees: Any) -> dict[str, Any]:
    """Flax collections under PyTorch's names and in its layout."""
    found = {}
    for tree in trees:
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            *parents, last = [part.key for part in path]
            # nn.Conv is a module within ours.
            names = parents[:-1] if last == 'kernel' else parents
            array = np.array(leaf)
            array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
            found['.'.join([*names, LEAVES[last]])] = torch.from_numpy(np.ascontiguousarray(array))
    return found


@functools.cache
def sides(case: str):
    """(config, jitted step, abstract state, the features of both sides) of a case."""
    config: Any = configs.train('inpainting', model='partial_unet')
    config.model.update(levels=LEVELS, width=WIDTH, frozen_encoder_norm=case == 'second')
    config.optimizer.update(**OPTIMIZERS[case])
    images = jnp.zeros((1, SIDE, SIDE, 3))
    variables: Any = Maps().init(jax.random.key(5), images, False)
    features = perceptual.Features(Maps(), variables, (0.4,) * 3, (0.3,) * 3, 2, False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(perceptual, 'load', lambda section: features)
        objective = inpainting.build(config, tiny_data(), STEPS)
    create = functools.partial(state.create, objective, batch=batches(0)[0], ema=False)
    options = {'xla_backend_optimization_level': '1'}
    step = jax.jit(make_step(objective), compiler_options=options)
    return config, step, jax.eval_shape(create, jax.random.key(0)), features


def batches(seed: int) -> list[dict[str, jax.Array]]:
    rng = np.random.default_rng([1, seed])
    found = []
    for _ in range(STEPS):
        coarse = rng.integers(0, 256, (BATCH, SIDE // 4, SIDE // 4, 3)).repeat(4, 1).repeat(4, 2)
        image = np.clip(coarse + rng.normal(0, 20, coarse.shape), 0, 255).astype(np.uint8)
        found.append({'image': image, 'label': np.zeros(BATCH, np.int32)})
        found[-1]['valid'] = np.ones(BATCH, bool)
    return [jax.tree.map(jnp.asarray, batch) for batch in found]


def start(shapes: Any, features: Any, seed: int) -> Any:
    """Random weights and statistics, and zeros for the rest."""
    rng = np.random.default_rng([2, seed])

    def fill(path, leaf):
        keys = [getattr(part, 'key', getattr(part, 'name', '')) for part in path]
        if 'params' not in keys and 'model' not in keys:
            values = np.zeros(leaf.shape)
        elif keys[-1] == 'kernel':
            values = rng.normal(0, np.sqrt(2 / np.prod(leaf.shape[:-1])), leaf.shape)
        elif keys[-1] in ('scale', 'var'):
            values = rng.uniform(0.5, 1.5, leaf.shape)
        else:
            values = rng.normal(0, 0.1, leaf.shape)
        return jnp.asarray(values, leaf.dtype)

    now = jax.tree_util.tree_map_with_path(fill, shapes)
    now.model['features'] = features.variables
    return now


def torch_maps(features: Any, config: Any):
    weights = [
        torch.from_numpy(np.array(features.variables['params'][name]['kernel']))
        .permute(3, 2, 0, 1)
        .contiguous()
        for name in ('first', 'Conv_0')
    ]
    mean, std = (torch.tensor(v)[None, :, None, None] for v in (config.data.mean, config.data.std))

    def maps(x):
        x = (x * std + mean - 0.4) / 0.3
        found = []
        for kernel in weights:
            x = torch.tanh(torch.nn.functional.conv2d(x, kernel, stride=2, padding=1))
            found.append(x)
        return found

    return maps


def run(case: str, seed: int) -> dict[str, float]:
    """Largest relative differences after all steps: of the terms, the weights, their change."""
    config, step, shapes, features = sides(case)
    now = begin = start(shapes, features, seed)
    model = theirs.PartialUNet(LEVELS, WIDTH, case == 'second')
    model.load_state_dict(flat(now.params, now.model['batch_stats']), strict=False)
    options = OPTIMIZERS[case]
    optimizer: Any = torch.optim.SGD(model.parameters(), options['learning_rate'], momentum=0.9)
    if case == 'adam':
        optimizer = torch.optim.Adam(model.parameters(), options['learning_rate'], (0.5, 0.999))
    weights = {**config.objective, 'style_out': 120.0, 'style_composite': 120.0}
    trainer = theirs.Trainer(model, optimizer, weights, torch_maps(features, config))
    key, terms = jax.random.key(seed), 0.0
    mean, std = (np.asarray(v, np.float32) for v in (config.data.mean, config.data.std))
    for batch in batches(seed):
        keys = example_keys(jax.random.fold_in(key, now.step), 1, batch, None)
        valid = 1 - np.asarray(random_holes(keys, SIDE, SIDE), np.float32)[:, None]
        now, metrics = step(now, batch, key)
        images = ((np.asarray(batch['image']) / np.float32(255) - mean) / std).transpose(0, 3, 1, 2)
        found = trainer.step(torch.from_numpy(images.astype(np.float32)), torch.from_numpy(valid))
        terms = max(
            terms,
            *(abs(float(metrics[f'main/{k}']) / float(v) - 1) for k, v in found.items()),
        )
    before, want = (flat(s.params, s.model['batch_stats']) for s in (begin, now))
    have = {name: value for name, value in model.state_dict().items() if name in want}
    assert set(have) == set(want) and len(found) == 6

    def far(a, b):
        return max(float((a[k] - b[k]).abs().max() / b[k].abs().max().clamp(min=1e-30)) for k in b)

    moved, expected = ({k: x[k] - before[k] for k in want} for x in (have, want))
    fixed = {k for k, v in expected.items() if not v.any()}
    frozen = {k for k in want if 'encoder' in k and 'running' in k} if case == 'second' else set()
    assert fixed == frozen
    moved, expected = ({k: v for k, v in x.items() if k not in fixed} for x in (moved, expected))
    return {'terms': terms, 'values': far(have, want), 'change': far(moved, expected)}


@pytest.mark.parametrize('case', OPTIMIZERS)
def test_training_agrees(case):
    measured = []
    for seed in range(2):
        measured.append(run(case, seed))
        # Adam divides gradients by their own size, noise in those near zero included.
        limits = {'terms': 2e-4, 'values': 1e-3, 'change': 2e-2}
        if all(measured[-1][k] < limit for k, limit in limits.items()):
            return
    pytest.fail(f'{case}: {measured}')


def test_forward_and_gradients_agree():
    """One pass, in training and in evaluation, of holes with much that no window sees."""
    config, _, shapes, features = sides('adam')
    now = start(shapes, features, 3)
    model = theirs.PartialUNet(LEVELS, WIDTH)
    model.load_state_dict(flat(now.params, now.model['batch_stats']), strict=False)
    net = inpainting.create(config).model
    rng = np.random.default_rng(0)
    images = rng.normal(size=(BATCH, SIDE, SIDE, 3)).astype(np.float32)
    valid = (rng.random((BATCH, SIDE, SIDE)) < 0.2).astype(np.float32)
    valid[:, 4:24, 4:24], valid[0] = 0, 0
    there = (torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(valid)[:, None])
    here = jnp.asarray(images), jnp.asarray(valid)
    variables = {'params': now.params, 'batch_stats': now.model['batch_stats']}
    found = jax.jit(lambda v: net.apply(v, *here, False))(variables)
    want = model.eval()(*there).permute(0, 2, 3, 1).detach().numpy()
    np.testing.assert_allclose(found, want, atol=1e-5 * np.abs(want).max())

    def loss(params):
        now = {**variables, 'params': params}
        out, _ = net.apply(now, *here, True, mutable=['batch_stats'])
        return jnp.square(out - 1).mean()

    value, gradients = jax.jit(jax.value_and_grad(loss))(now.params)
    wanted = (model.train()(*there) - 1).square().mean()
    wanted.backward()
    assert float(value) == pytest.approx(wanted.item(), rel=1e-5)
    named = dict(model.named_parameters())
    found = flat(gradients)
    assert set(found) == set(named)
    for name, gradient in found.items():
        theirs_ = named[name].grad
        assert theirs_ is not None
        assert float((gradient - theirs_).abs().max()) < 1e-4 * float(theirs_.abs().max()), name
