"""How convolutions start, beside torchvision: the spread and the shape of the distributions.

The head starts alike in every family, as `nn.Dense` does: torchvision has another for most.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax import config as configs
from skinjax.models import naming
from skinjax.models.options import Options
from skinjax.models.vgg import _DENSE_INIT
from tests.models import cases, sides


def ours(name: str) -> dict[str, Any]:
    """Torch's name of each convolution -> function that draws our kernel in torch's layout."""
    case, found = cases.CASES[name], {}

    def note(call, args, kwargs, context):
        if isinstance(context.module, nn.Conv):
            found[('params', 'encoder', *context.module.path, 'kernel')] = context.module
        return call(*args, **kwargs)

    images = jnp.zeros((1, case.size, case.size, 3))
    with nn.intercept_methods(note):
        net: Any = case.encoder(Options())
        shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), images, False))
    shapes = {'params': {'encoder': shapes['params']}}
    slots = naming.name_slots(shapes, configs.find('models', case.family), case.naming)

    def draw(slot):
        return slot.give(np.asarray(found[slot.path].kernel_init(jax.random.key(1), slot.shape)))

    return {slot.name: functools.partial(draw, slot) for slot in slots if slot.path in found}


@pytest.mark.parametrize('name', sorted(set(cases.SMALL) - {'lesion_cnn'}))
def test_convolutions_start_as_torchvisions(name):
    """Of the largest kernels over whole maps, and the largest over single channels or groups."""
    more = {'init_weights': True} if name == 'inception' else {}
    sides.torch.manual_seed(0)
    twin: Any = cases.CASES[name].twin
    kernels = {k: v.detach().numpy() for k, v in twin(**more).named_parameters() if v.ndim == 4}
    have = ours(name)
    assert set(have) == set(kernels)
    order = sorted(kernels, key=lambda key: kernels[key].size)
    grouped = [key for key in order if kernels[key].shape[1] < 8]
    for key in {*order[-2:], *grouped[-1:]}:
        drawn, want = have[key](), kernels[key]
        assert drawn.shape == want.shape
        close = 6 / np.sqrt(want.size)  # six deviations
        assert abs(drawn.std() / want.std() - 1) < close, key
        tails = [np.mean(np.abs(v) > 2 * v.std()) for v in (drawn, want)]
        assert abs(tails[0] - tails[1]) < 0.3 * close + 0.001, key  # .0455 of a normal one


def test_dense_layers_of_vgg_start_small():
    drawn = np.asarray(_DENSE_INIT(jax.random.key(0), (256, 64)))
    assert abs(drawn.std() - 0.01) < 2e-4
