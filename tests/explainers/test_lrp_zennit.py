"""Relevance of published families beside zennit's, number by number, and the time that both take.

zennit computes in double precision here. Differences are parts of the largest relevance of an
image.
"""

import functools
import itertools
import os
import time
from typing import Any

import jax
import numpy as np
import pytest

from skinjax.models.classifier import Classifier
from skinjax.models.options import Options
from tests.explainers import networks
from tests.models.cases import CASES, CLASSES

torch = pytest.importorskip('torch')
pytest.importorskip('zennit')
from tests.explainers import zennit_side  # noqa: E402

EXACT = 1e-4
FAMILIES = ('resnet', 'vgg', 'densenet', 'mobilenet')
QUICK = (  # every family, every rule
    ('resnet', 'epsilon'),
    ('resnet', 'epsilon_gamma_box'),
    ('vgg', 'epsilon_alpha2_beta1_flat'),
    ('densenet', 'epsilon_plus'),
    ('mobilenet', 'deep_taylor_unbounded'),
)
PAIRS = [
    pytest.param(*pair, marks=[] if pair in QUICK else [pytest.mark.slow])
    for pair in itertools.product(FAMILIES, zennit_side.COMPOSITES)
]


@pytest.fixture(autouse=True, scope='module')
def one_thread():
    """Many threads cost PyTorch more than they gain on arrays of this size."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def explain(name: str, composite: str) -> Any:
    """(variables, images, targets) -> relevance; ties as in PyTorch."""
    net = Classifier(CASES[name].encoder(Options()), CLASSES)
    epsilon = zennit_side.EPSILON if composite == 'epsilon' else 1e-6
    return networks.explain(net, composite=composite, epsilon=epsilon, max_pool='first')


@pytest.mark.parametrize(('name', 'composite'), PAIRS)
def test_relevance_is_that_of_zennit(name, composite):
    variables, images = zennit_side.drawn(name)
    have = explain(name, composite)(variables, images, zennit_side.targets(len(images)))
    want = zennit_side.relevance(name, composite)
    for ours, theirs in zip(np.asarray(have), want, strict=True):
        assert np.abs(theirs).max() > 0
        assert np.abs(ours - theirs).max() < EXACT * np.abs(theirs).max()


@pytest.mark.slow
@pytest.mark.parametrize('composite', ['epsilon_plus', 'epsilon_gamma_box'])
@pytest.mark.parametrize('name', ['resnet50', 'vgg16', 'densenet121', 'mobilenet_v2'])
def test_faster_than_zennit(name, composite, capsys):
    """Published networks, two images of 224 px, all cores, in turns; needs full compilation.

    Run it alone: XLA_FLAGS= pytest -m slow -k faster_than tests/explainers/test_lrp_zennit.py
    """
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    variables, images = zennit_side.drawn(name)
    targets = zennit_side.targets(len(images))
    ours = functools.partial(explain(name, composite), jax.device_put(variables), images, targets)
    theirs = functools.partial(
        zennit_side.attribution(name, composite),
        torch.from_numpy(images).permute(0, 3, 1, 2),
        torch.from_numpy(targets),
    )
    seconds: dict[str, list[float]] = {'skinjax': [], 'zennit': []}
    for _ in range(4):
        for side, run in (('skinjax', ours), ('zennit', theirs)):
            start = time.perf_counter()
            np.asarray(run())
            seconds[side].append(time.perf_counter() - start)
    best = {side: min(times[1:]) for side, times in seconds.items()}
    with capsys.disabled():
        times = ', '.join(f'{side} {value:.2f} s' for side, value in best.items())
        print(f'\n{name} {composite}: {times}, {best["zennit"] / best["skinjax"]:.1f} x')
    assert best['skinjax'] < best['zennit']
