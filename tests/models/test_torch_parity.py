"""Every family against torchvision: logits, stage maps, gradients, statistics, names and shapes.

What holds in float32, in parts of the largest value of each array: EXACT for logits, maps,
statistics, and for the gradients by every parameter of the smooth networks (see `sides.py`), in
small and published sizes. Gradients of the networks as they are agree as well where no activation
lies within rounding of a kink; a draw where one does is far off, so that they are held to KINKED.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax import config as configs
from skinjax.models import efficientnet, naming
from tests.models import cases, sides, small
from tests.models.torchvision_models import models

torch = pytest.importorskip('torch')

EXACT = 2e-5  # of the largest value
KINKED = 1e-4
ROUGH = 0.05
PAIRS = [*cases.SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in cases.FULL)]


@pytest.fixture(autouse=True, scope='module')
def one_thread():
    """Many threads cost PyTorch more than they gain on arrays of this size."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_every_family_has_a_case():
    assert set(cases.SMALL) == set(configs.siblings('models', 'classification'))
    assert {case.family for case in cases.FULL.values()} == set(cases.SMALL)


@pytest.mark.parametrize('name', PAIRS)
def test_logits_and_stage_maps(name):
    have, want = sides.ours(name), sides.theirs(name)
    assert sides.distance(have.logits, want.logits) < EXACT
    spread = np.ptp(want.logits, 0).max() / np.abs(want.logits).max()
    assert spread > 100 * EXACT, 'the images look the same'
    for ours, theirs in zip(have.maps, want.maps, strict=True):
        assert sides.distance(ours, theirs) < EXACT


@pytest.mark.parametrize('name', PAIRS)
def test_gradients_of_all_parameters(name):
    """Of the smooth network, in a single draw."""
    have, want = (f(name, smooth=True) for f in (sides.our_gradients, sides.their_gradients))
    assert set(have) == set(want)
    worst = max((sides.distance(have[key], want[key]), key) for key in want)
    assert worst[0] < EXACT, worst
    assert all(value.any() for value in want.values())


def test_gradients_of_a_network_as_it_is():
    """For one of three draws: a ReLU or a maximum within rounding of a tie may fall either way."""
    name, worst = 'resnet', []
    for seed in range(3):
        have, want = sides.our_gradients(name, seed), sides.their_gradients(name, seed)
        assert set(have) == set(want)
        worst.append(max((sides.distance(have[key], want[key]), key) for key in want))
        if worst[-1][0] < KINKED:
            return
    pytest.fail(f'{name}: {worst}')


@pytest.mark.parametrize('name', PAIRS)
def test_running_statistics_after_a_pass_in_training_mode(name):
    have, want = sides.ours(name).statistics, sides.theirs(name).statistics
    assert set(have) == set(want)
    before = sides.theirs_named(
        cases.CASES[name], {'batch_stats': sides.inputs(name)[0].get('batch_stats', {})}
    )
    for key in want:
        assert (want[key] != before[key]).any()
        assert sides.distance(have[key], want[key]) < EXACT, key


def test_rematerialisation_of_a_whole_network_changes_no_gradient():
    """See test_blocks.py for the blocks of every family."""
    plain, again = (sides.our_gradients('densenet', smooth=True, remat=r) for r in (False, True))
    for key, value in plain.items():
        assert sides.distance(again[key], value) < 1e-5, key


def published(family: str, variant: str) -> Any:
    """torchvision's network, without memory for weights."""
    more = {'aux_logits': False, 'init_weights': False} if family == 'inception' else {}
    with torch.device('meta'):
        return getattr(models, variant)(**more)


@pytest.mark.parametrize(
    ('family', 'variant'),
    [(family, v) for family, names in small.TORCHVISION.items() for v in names],
)
def test_published_networks_have_our_names_and_shapes(family, variant):
    twin = published(family, variant)
    want = {k: tuple(v.shape) for k, v in twin.state_dict().items() if v.ndim}
    shapes = small.published_shapes(family, variant)
    slots = naming.name_slots(shapes, configs.find('models', family), 'torchvision')
    assert {slot.name: slot.foreign_shape for slot in slots} == want


@pytest.mark.parametrize('family', small.TORCHVISION)
def test_dropout_is_that_of_torchvision(family):
    defaults = configs.find('models', family).DEFAULTS
    twin = published(family, defaults['variant'])
    rates = {m.p for m in twin.modules() if isinstance(m, torch.nn.Dropout)}
    assert rates == ({defaults['dropout']} if defaults['dropout'] else set())
    assert configs.train(model=family).model.dropout == defaults['dropout']


@pytest.mark.parametrize('variant', ['efficientnet_b0', 'efficientnet_b3'])
def test_stochastic_depth_grows_as_in_torchvision(variant):
    drops = [m for m in published('efficientnet', variant).modules() if hasattr(m, 'mode')]
    assert {m.mode for m in drops} == {'row'}
    seen = []

    def note(call, args, kwargs, context):
        if isinstance(context.module, efficientnet.MBConv):
            seen.append(context.module.drop)
        return call(*args, **kwargs)

    net = small.build('efficientnet', variant=variant)
    with nn.intercept_methods(note):
        jax.eval_shape(lambda: net.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), False))
    np.testing.assert_allclose(seen, [m.p for m in drops], atol=1e-12)
    assert seen[0] == 0 and 0.18 < seen[-1] < 0.2


QUICK = ('resnet', 'lesion_cnn')
BFLOAT16 = [
    pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in cases.SMALL
]


@pytest.mark.parametrize('name', BFLOAT16)
def test_bfloat16_stays_near_float32(name):
    """Within ROUGH, a dozen roundings, of the largest logit and of the largest value of a map."""
    have, want = sides.ours(name, 'bfloat16'), sides.ours(name)
    assert have.logits.dtype == np.float32
    assert 0 < sides.distance(have.logits, want.logits) < ROUGH
    for ours, theirs in zip(have.maps, want.maps, strict=True):
        assert sides.distance(ours.astype(np.float32), theirs) < ROUGH
