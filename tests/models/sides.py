"""Runs a case on both sides: our network and its torch twin.

Both get the same random weights and statistics and the same images, and give logits, stage maps,
running statistics after one pass in training mode, and the gradients of a random projection of the
logits by every parameter.

Gradients can be taken of the *smooth* network too: SiLU in place of every ReLU and ReLU6, and a
mean in place of every maximum, on both sides. In the plain one, rounding can move an activation
across a kink, or another maximum to the front, and then a gradient jumps by far more than rounding.
"""

import contextlib
import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from skinjax.models import layers, pooling, pretrained
from skinjax.models.classifier import Classifier
from skinjax.models.options import Options
from tests.models.cases import CASES, CLASSES, Case

torch = pytest.importorskip('torch')
F = torch.nn.functional


@dataclasses.dataclass(frozen=True)
class Values:
    """What one side gives: maps as [b, h, w, c], statistics by torch's names."""

    logits: np.ndarray
    maps: list[np.ndarray]
    statistics: dict[str, np.ndarray]


def random_variables(shapes: Any, rng: np.random.Generator, gain: float = 1.0) -> Any:
    """Values far from those of initialisation, in the structure of `shapes`.

    A small gain and an offset keep rounding from growing from layer to layer, and most activations
    off the kink of a ReLU.
    """

    def draw(path, leaf):
        kind = path[-1].key
        if kind == 'kernel':
            values = rng.standard_normal(leaf.shape, np.float32)
            return values * np.float32(np.sqrt(gain / np.prod(leaf.shape[:-1])))
        if kind in ('scale', 'var'):
            return rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
        return rng.normal(0.5 if kind == 'bias' else 0, 0.3, leaf.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


@functools.lru_cache(3)
def inputs(name: str, seed: int = 0) -> tuple[Any, np.ndarray, np.ndarray]:
    """(variables, images, projection of the logits)."""
    case, rng = CASES[name], np.random.default_rng(seed)
    images = rng.normal(size=(case.batch, case.size, case.size, 3)).astype(np.float32)
    net = Classifier(case.encoder(Options()), CLASSES)
    shapes = jax.eval_shape(
        functools.partial(net.init, train=True), jax.random.key(0), jnp.asarray(images)
    )
    projection = rng.normal(size=(case.batch, CLASSES)).astype(np.float32)
    return random_variables(shapes, rng, case.gain), images, projection


def theirs_named(case: Case, tree: Any) -> dict[str, np.ndarray]:
    """Our arrays under the twin's names."""
    return pretrained.give(tree, ConfigDict({'name': case.family}), case.naming)


@functools.lru_cache(16)
def ours(name: str, dtype: str | None = None) -> Values:
    """Our logits and maps in evaluation mode, and statistics after a pass in training mode."""
    variables, images, _ = inputs(name)
    net: Any = Classifier(CASES[name].encoder(Options(dtype=dtype)), CLASSES)

    @jax.jit
    def run(variables, x):
        features, maps = net.apply(variables, x, method=lambda m, x: m.encoder(x, False))
        logits = net.apply(variables, features, method='classify')
        return logits, maps, net.apply(variables, x, True, mutable=['batch_stats'])[1]

    logits, maps, new = run(variables, images)
    return Values(np.asarray(logits), [np.asarray(m) for m in maps], theirs_named(CASES[name], new))


@functools.lru_cache(16)
def our_gradients(
    name: str, seed: int = 0, smooth: bool = False, remat: bool = False
) -> dict[str, np.ndarray]:
    """By torch's names, in evaluation mode."""
    variables, images, projection = inputs(name, seed)
    net: Any = Classifier(CASES[name].encoder(Options(remat=remat)), CLASSES)

    @jax.jit
    @jax.grad
    def run(params, stats, x, weights):
        return (net.apply({'params': params, **stats}, x, False)['logits'] * weights).sum()

    stats = {k: v for k, v in variables.items() if k != 'params'}
    with nn.intercept_methods(_smooth) if smooth else contextlib.nullcontext():
        found = run(variables['params'], stats, images, projection)
    return theirs_named(CASES[name], {'params': found})


def _smooth(call, args, kwargs, context):
    module = context.module
    if isinstance(module, layers.ReLU | layers.ReLU6):
        return nn.silu(*args)
    if isinstance(module, pooling.MaxPool):
        mean: Any = pooling.AvgPool(module.window, module.stride, module.padding, parent=None)
        return mean.apply({}, *args)
    return call(*args, **kwargs)


class Smooth(torch.overrides.TorchFunctionMode):
    """The same in torch, whether a module calls the function or the network itself."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in (F.relu, F.hardtanh):
            return F.silu(args[0])
        if func is F.max_pool2d:
            return F.avg_pool2d(*args, **{k: kwargs[k] for k in ('stride', 'padding')})
        return func(*args, **kwargs)


def twin(name: str, seed: int) -> tuple[Any, Any]:
    """(network in evaluation mode, images)."""
    case = CASES[name]
    variables, images, _ = inputs(name, seed)
    with torch.device('meta'):  # no memory and no initialisation: weights are assigned
        net = case.twin()
    state = {k: torch.from_numpy(v.copy()) for k, v in theirs_named(case, variables).items()}
    missing, unexpected = net.load_state_dict(state, strict=False, assign=True)
    assert not unexpected
    assert all(key.endswith('num_batches_tracked') for key in missing), missing
    return net.eval(), torch.from_numpy(images).permute(0, 3, 1, 2)


@functools.lru_cache(16)
def theirs(name: str) -> Values:
    """The twin's side of `ours`.

    Statistics are taken in float64, since torch adds up variances with an error of 2e-4 in float32
    (100 000 positions, on a CPU).
    """
    net, x = twin(name, 0)
    seen: dict[str, np.ndarray] = {}

    def keep(module, inputs, out, name):
        del module, inputs
        value = torch.relu(out) if name == 'features.norm5' else out
        seen[name] = np.moveaxis(value.numpy().copy(), 1, -1)

    maps = CASES[name].maps
    with torch.no_grad():
        hooks = [
            net.get_submodule(m).register_forward_hook(functools.partial(keep, name=m))
            for m in maps
        ]
        logits = net(x)
        for hook in hooks:
            hook.remove()
        for module in net.modules():  # dropout draws other numbers than ours
            for rate in {'p', 'drop'} & set(vars(module)):
                setattr(module, rate, 0.0)
        net.double().train()(x.double())
    statistics = {k: v.numpy() for k, v in net.named_buffers() if 'running' in k}
    return Values(logits.numpy(), [seen[m] for m in maps], statistics)


@functools.lru_cache(16)
def their_gradients(name: str, seed: int = 0, smooth: bool = False) -> dict[str, np.ndarray]:
    """The twin's side of `our_gradients`."""
    net, x = twin(name, seed)
    with Smooth() if smooth else contextlib.nullcontext():
        logits = net(x)
    (logits * torch.from_numpy(inputs(name, seed)[2])).sum().backward()
    return {k: v.grad.numpy() for k, v in net.named_parameters() if v.grad is not None}


def distance(have: np.ndarray, want: np.ndarray) -> float:
    """Largest difference relative to the largest absolute value."""
    assert have.shape == want.shape
    return float(np.abs(have - want).max() / max(np.abs(want).max(), 1e-30))
