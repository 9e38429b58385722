"""The dilated U-Net in skinjax and in PyTorch: forward pass, gradients, five training steps.

Both sides get the same weights, as files have them, and the same images. Steps of Adam are about as
long for tiny gradients as for large ones, so weights whose gradients are all but rounding differ:
changes are compared in the mean square, the averages of gradients value by value. Where an
activation lies within rounding of zero, the two sides may fall on different sides of a ReLU; that
depends on the numbers drawn, so two of three draws have to agree.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

pytest.importorskip('torch')

import torch

from skinjax import config as configs
from skinjax.data.channels import channels
from skinjax.data.records import DataSet
from skinjax.engine import state
from skinjax.engine.step import make_step
from skinjax.models import pretrained
from skinjax.objectives import segmentation
from third_party.torch_baselines import unet

SIZE, BATCH, STEPS, WIDTH = 236, 2, 5, 1 / 32
TOLERANCE = {'values': 1e-5, 'change': 2e-3, 'mu': 2e-3}
# Compiling costs far more here than the few steps.
QUICK = {'xla_backend_optimization_level': '0'}
EMPTY = DataSet('none', ('benign', 'malignant'), {}, {})


@pytest.fixture(autouse=True, scope='module')
def one_thread():
    """Many threads cost PyTorch more than they gain on arrays of this size."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@functools.cache
def program() -> tuple[Any, Any, Any]:
    """(config, objective, compiled step) of kind 'train'."""
    objective = configs.plugin('objectives', 'segmentation')
    config: Any = configs.train(
        objective=objective, model=configs.plugin('models', 'dilated_unet', width=WIDTH)
    )
    config.data.update(with_mask=True, image_size=SIZE)
    config.optimizer.update(name='adam', learning_rate=1e-3)
    built = segmentation.build(config, EMPTY, STEPS)
    return config, built, jax.jit(make_step(built), compiler_options=QUICK)


def batches(seed: int) -> list[dict[str, np.ndarray]]:
    """Coarse patterns with noise, and masks of the brighter squares."""
    rng, found = np.random.default_rng([1, seed]), []
    for _ in range(STEPS):
        coarse = rng.integers(40, 216, (BATCH, 4, 4, 1))
        image = np.kron(coarse, np.ones((1, 59, 59, 3))) + rng.normal(0, 15, (BATCH, SIZE, SIZE, 3))
        mask = (np.kron(coarse, np.ones((1, 59, 59, 1)))[..., 0] > 128) * 255
        rows = np.ones(BATCH, bool)
        found.append(
            {
                'image': np.clip(image, 0, 255).astype(np.uint8),
                'mask': mask.astype(np.uint8),
                **{'valid': rows, 'has_mask': rows, 'label': np.zeros(BATCH, np.int32)},
            }
        )
    return found


@functools.cache
def start(seed: int) -> Any:
    """A fresh state."""
    batch = jax.tree.map(jnp.asarray, batches(seed)[0])
    create = functools.partial(state.create, program()[1], ema=False)
    create = jax.jit(create, compiler_options=QUICK)
    return create(jax.random.key(seed), batch=batch)


def named(params: Any) -> dict[str, np.ndarray]:
    """Our arrays under PyTorch's names and in its layout."""
    return pretrained.give({'params': params}, program()[0].model, 'torch_baselines')


def twin(params: Any) -> unet.DilatedUNet:
    """The PyTorch network with these weights."""
    net = unet.DilatedUNet(width=WIDTH)
    net.load_state_dict({name: torch.from_numpy(value) for name, value in named(params).items()})
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def seen(batch: dict[str, np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """(channels [b, 7, h, w], masks [b, h, w]) of a batch."""
    inputs = torch.from_numpy(np.array(channels(jnp.asarray(batch['image'])))).permute(0, 3, 1, 2)
    return inputs, torch.from_numpy(batch['mask'] / np.float32(255))


def distance(have: dict[str, Any], want: dict[str, Any], order: float = np.inf) -> float:
    """Largest relative distance of any array in the norm of that order."""
    assert set(have) == set(want)
    pairs = [(np.ravel(have[name]), np.ravel(want[name])) for name in want]
    return max(float(np.linalg.norm(a - b, order) / np.linalg.norm(b, order)) for a, b in pairs)


def test_forward_pass_and_all_gradients_agree():
    net, params = segmentation.create(program()[0]), start(0).params
    batch = jax.tree.map(jnp.asarray, batches(0)[0])

    @functools.partial(jax.jit, compiler_options=QUICK)
    def run(params):
        def loss(params):
            logits = net.logits({'params': params}, batch['image'], True)
            return net.terms(logits, batch)['bce'].values.mean(), logits

        return jax.value_and_grad(loss, has_aux=True)(params)

    (loss, logits), gradients = run(params)
    there, (inputs, masks) = twin(params), seen(batches(0)[0])
    theirs = there(inputs)
    value = torch.nn.functional.binary_cross_entropy_with_logits(theirs, masks)
    value.backward()
    assert abs(float(loss) - value.item()) < 1e-5 * value.item()
    want = theirs.detach().numpy()
    np.testing.assert_allclose(logits, want, atol=1e-5 * np.abs(want).max())
    found = {name: p.grad.numpy() for name, p in there.named_parameters() if p.grad is not None}
    assert all(np.abs(gradient).max() > 0 for gradient in found.values())
    assert distance(named(gradients), found) < 1e-4


def compare(seed: int) -> dict[str, float]:
    """Distances of all parameters, of their change, and of the averages that Adam keeps."""
    first = now = start(seed)
    trainer = unet.Trainer(twin(first.params), lr=1e-3)
    for batch in batches(seed):
        now, metrics = program()[2](now, batch, jax.random.key(0))
        value = trainer.step(*seen(batch))
        assert abs(float(metrics['main/bce']) - value.item()) < 1e-3
    before, want = named(first.params), named(now.params)
    have = {name: value.numpy() for name, value in trainer.model.state_dict().items()}
    moved, expected = ({k: side[k] - before[k] for k in want} for side in (have, want))
    kept = jax.tree.leaves(now.opt['main'], is_leaf=lambda node: hasattr(node, 'mu'))
    (mu,) = (named({segmentation.GROUP: part.mu}) for part in kept if hasattr(part, 'mu'))
    states = trainer.optimizer.state
    theirs = {name: states[p]['exp_avg'] for name, p in trainer.model.named_parameters()}
    return {
        'values': distance(have, want, 2),
        'change': distance(moved, expected, 2),
        'mu': distance({k: v.numpy() for k, v in theirs.items()}, mu),
    }


def test_five_steps_of_adam_agree():
    measured = []
    for seed in range(3):
        measured.append(compare(seed))
        agree = [all(m[k] < limit for k, limit in TOLERANCE.items()) for m in measured]
        if sum(agree) == 2:
            return
    pytest.fail(str(measured))


def test_weights_of_the_baseline_are_read(tmp_path):
    """A state_dict fills the network, kernels of transposed convolutions turned."""
    params, config = start(0).params, program()[0].model
    path = tmp_path / 'unet.pth'
    torch.save(twin(params).state_dict(), path)
    loaded = pretrained.load(path, {'params': params}, config)
    assert loaded.naming == 'torch_baselines'
    have, want = (flatten_dict(tree) for tree in (loaded.variables['params'], params))
    assert set(have) == set(want)
    for name in want:
        np.testing.assert_array_equal(have[name], want[name])
