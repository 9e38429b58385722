"""Every family against torchvision: logits, stage maps, gradients, statistics, names and shapes."""

import numpy as np
import pytest

from skinjax import config as configs
from skinjax.models import naming
from tests.models import cases
from tests.models.small import published_shapes
from tests.models.torchvision_models import models

torch = pytest.importorskip('torch')

EXACT = 2e-5  # of the largest value
PAIRS = [*cases.SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in cases.FULL)]


@pytest.fixture(autouse=True, scope='module')
def one_thread():
    """Many threads cost PyTorch more than they gain on arrays of this size."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_every_family_has_a_case():
    assert set(cases.SMALL) == set(configs.siblings('models'))


@pytest.mark.parametrize('name', PAIRS)
def test_logits_and_stage_maps(name):
    have, want = cases.ours(name), cases.theirs(name)
    assert cases.distance(have.logits, want.logits) < EXACT
    assert np.ptp(want.logits, 0).max() > 1e-2, 'both images look the same'
    for ours, theirs in zip(have.maps, want.maps, strict=True):
        assert cases.distance(ours, theirs) < EXACT


@pytest.mark.parametrize('name', PAIRS)
def test_gradients_of_all_parameters(name):
    """For one of three draws: a ReLU or a maximum within rounding of a tie may fall either way."""
    worst = []
    for seed in range(3):
        have, want = cases.ours(name, seed).gradients, cases.theirs(name, seed).gradients
        assert set(have) == set(want)
        worst.append(max((cases.distance(have[k], want[k]), k) for k in want))
        if worst[-1][0] < cases.CASES[name].gradient:
            return
    pytest.fail(f'{name}: {worst}')


@pytest.mark.parametrize('name', PAIRS)
def test_running_statistics_after_a_pass_in_training_mode(name):
    have, want = cases.ours(name).statistics, cases.theirs(name).statistics
    assert set(have) == set(want)
    before = cases.theirs_named(
        cases.CASES[name], {'batch_stats': cases.inputs(name, 0)[0].get('batch_stats', {})}
    )
    for key in want:
        assert (want[key] != before[key]).any()
        assert cases.distance(have[key], want[key]) < EXACT, key


@pytest.mark.parametrize('name', ['resnet', 'densenet'])  # blocks of an array and of a list
def test_rematerialisation_changes_nothing(name):
    plain, again = cases.ours(name), cases.ours(name, remat=True)
    assert cases.distance(again.logits, plain.logits) < 1e-6
    for key, value in plain.gradients.items():
        assert cases.distance(again.gradients[key], value) < cases.CASES[name].gradient, key
    for key, value in plain.statistics.items():
        assert cases.distance(again.statistics[key], value) < 1e-5, key


VARIANTS = {
    'resnet': ('resnet18', 'resnet34', 'resnet50', 'resnet101'),
    'densenet': ('densenet121', 'densenet161'),
    'vgg': ('vgg16', 'vgg16_bn'),
    'inception': ('inception_v3',),
    'efficientnet': tuple(f'efficientnet_b{i}' for i in range(4)),
    'mobilenet': ('mobilenet_v2',),
}
VARIANTS['resnet'] += ('resnext50_32x4d', 'resnext101_32x8d')


@pytest.mark.parametrize(
    ('family', 'variant'), [(family, v) for family, names in VARIANTS.items() for v in names]
)
def test_published_networks_have_our_names_and_shapes(family, variant):
    module = configs.find('models', family)
    more = {'aux_logits': False, 'init_weights': False} if family == 'inception' else {}
    with torch.device('meta'):
        twin = getattr(models, variant)(**more)
    want = {k: tuple(v.shape) for k, v in twin.state_dict().items() if v.ndim}
    slots = naming.name_slots(published_shapes(family, variant), module, 'torchvision')
    assert {slot.name: slot.foreign_shape for slot in slots} == want
