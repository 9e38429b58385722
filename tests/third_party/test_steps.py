"""The PyTorch side of kind 'benchmark' answers as skinjax does, for the same networks."""

import importlib.metadata
import json
import subprocess
import sys
from typing import Any

import pytest

from tests.helpers import ROOT, environment

torch = pytest.importorskip('torch')
from skinjax import contender  # noqa: E402
from third_party.torch_baselines import steps  # noqa: E402


def test_both_sides_know_the_same_cases():
    assert set(steps.CASES) == set(contender.CASES)


@pytest.mark.parametrize('flags', [('--case=clgr',), ('--case=resnet50', '--dtype=bfloat16')])
def test_steps_of_the_peer(flags):
    done = subprocess.run(
        [*(sys.executable, '-m', steps.__name__), *flags, '--batch=4', '--size=32'],
        input='prepare infer\nrun infer 1\nprepare train\nrun train 2\nprepare fed\n',
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=280,
    )
    facts, inferring, inferred, training, trained, refused = map(
        json.loads, done.stdout.splitlines()
    )
    assert facts['versions']['torch'] == importlib.metadata.version('torch')
    assert inferring['first'] > 0 and training['first'] > 0
    assert min(inferred['seconds'], trained['seconds']) > 0 and trained['memory'] > 10**7
    assert "no mode 'fed'" in refused['error']


def test_a_step_of_the_peer_trains():
    options = steps.argparse.Namespace(
        case='clgr', batch=4, size=32, dtype='float32', variant='eager'
    )
    model = steps.build(options, torch.device('cpu'))
    images = torch.randint(256, (4, 3, 32, 32), dtype=torch.uint8)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    steps.train(options, model, images, torch.arange(4))()
    moved = {n for n, value in model.state_dict().items() if bool((value != before[n]).any())}
    groups = ('encoder.conv1.weight', 'head.weight', 'bias_heads.ruler.out.weight')
    assert moved.issuperset(groups)


def test_a_step_of_the_unet_trains():
    options = steps.argparse.Namespace(
        case='unet', batch=1, size=228, dtype='float32', variant='eager'
    )
    torch.manual_seed(0)
    model = steps.unet.DilatedUNet(width=1 / 32)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    steps.train(options, model, torch.randn(1, 7, 228, 228), torch.arange(1))()
    assert all(bool((value != before[n]).any()) for n, value in model.state_dict().items())


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_a_step_of_the_dcgan_trains_both_networks(dtype):
    options = steps.argparse.Namespace(case='dcgan', batch=4, size=64, dtype=dtype, variant='eager')
    model: Any = steps.build(options, torch.device('cpu'))
    images = torch.randint(256, (4, 3, 64, 64), dtype=torch.uint8)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    steps.train(options, model, images, torch.arange(4))()
    assert all(bool((value != before[n]).any()) for n, value in model.state_dict().items())
    counts = {name: int(net.shared.layer4.norm.num_batches_tracked) for name, net in model.items()}
    assert counts == {'generator': 1, 'discriminator': 3}
    steps.infer(options, model, images, torch.arange(4))()
    assert not model.training


@pytest.mark.parametrize('case', sorted(contender.STYLES))
def test_styles_of_the_peer(case):
    """Images move and stay within black and white; the network stays as it is."""
    assert set(steps.STYLES) == set(contender.STYLES)
    options = steps.argparse.Namespace(
        case=case, batch=2, size=32, dtype='float32', variant='eager'
    )
    model: Any = steps.build(options, torch.device('cpu'))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8)
    step = steps.stylise(options, model, images, torch.arange(2))
    step()
    image = step.__self__.image.detach()
    start = images[:1].expand_as(images) if case == 'lesion_cnn' else images
    assert float((image - start / 255).abs().max()) > 1e-3
    assert float(image.min()) >= 0 and float(image.max()) <= 1
    assert all(bool((value == before[n]).all()) for n, value in model.state_dict().items())
    options.case = 'unet'
    with pytest.raises(ValueError, match='no mode style of unet'):
        steps.stylise(options, model, images, torch.arange(2))


def test_networks_of_torchvision_lose_their_last_layer():
    pytest.importorskip('torchvision')
    encoder = steps.torchvision('mobilenet_v2').eval()
    with torch.inference_mode():
        assert encoder(torch.zeros(1, 3, 32, 32)).shape == (1, encoder.num_features) == (1, 1280)
