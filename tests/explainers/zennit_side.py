"""zennit's relevance of the torch twins in `tests/models/cases.py`.

zennit replaces modules alone: sums, poolings and activations that torchvision writes as functions
become modules here, and batch normalisation is merged where it follows a convolution. What zennit
0.5.1 leaves of a merged normalisation is x / sqrt(1 + eps) instead of x, which changes logits by
1e-5 and relevance by up to 1e-2; here it is x.
"""

import functools
from typing import Any

import jax
import numpy as np
import pytest

from skinjax.models.classifier import Classifier
from skinjax.models.options import Options
from tests.models import sides
from tests.models.cases import CASES, CLASSES
from tests.models.torchvision_models import models  # first: it makes torchvision importable

pytest.importorskip('zennit')
import torch
from torchvision.models.densenet import _DenseLayer
from torchvision.models.mobilenetv2 import InvertedResidual
from zennit import composites
from zennit.attribution import Gradient
from zennit.canonizers import (
    AttributeCanonizer,
    CompositeCanonizer,
    MergeBatchNorm,
    NamedMergeBatchNorm,
    SequentialMergeBatchNorm,
)
from zennit.layer import Sum
from zennit.rules import Epsilon, WSquare, ZBox, ZPlus
from zennit.torchvision import ResNetCanonizer
from zennit.types import Convolution, Linear

LOW, HIGH = -2.0, 2.5  # of pixels
EPSILON = 0.1  # of composite epsilon, without which denominators near 0 would magnify rounding
DRAWN = {'densenet': (1.0, 0.5), 'mobilenet': (1.0, 0.5)}  # variance by layer, mean of the offsets


def bounds() -> dict[str, Any]:
    """Those that a rule takes."""
    low, high = (torch.full((1, 3, 1, 1), value) for value in (LOW, HIGH))
    return {'low': low, 'high': high}


def deep_taylor(first: Any, canonizers: Any) -> Any:
    """z+ without biases everywhere, another rule in the first layer."""
    base = composites.layer_map_base()
    return composites.SpecialFirstLayerMapComposite(
        [*base, (Linear, ZPlus(zero_params='bias'))], [(Convolution, first)], canonizers
    )


COMPOSITES = {
    'epsilon': lambda canonizers: composites.LayerMapComposite(
        [*composites.layer_map_base(), (Linear, Epsilon(EPSILON))], canonizers
    ),
    'epsilon_plus': lambda c: composites.EpsilonPlus(canonizers=c),
    'epsilon_plus_flat': lambda c: composites.EpsilonPlusFlat(canonizers=c),
    'epsilon_gamma_box': lambda c: composites.EpsilonGammaBox(**bounds(), canonizers=c),
    'epsilon_alpha2_beta1': lambda c: composites.EpsilonAlpha2Beta1(canonizers=c),
    'epsilon_alpha2_beta1_flat': lambda c: composites.EpsilonAlpha2Beta1Flat(canonizers=c),
    'deep_taylor': lambda c: deep_taylor(ZBox(**bounds()), c),
    'deep_taylor_unbounded': lambda c: deep_taylor(WSquare(zero_params='bias'), c),
}


def forward_mobilenet(self: Any, x: Any) -> Any:
    """torchvision's, its pooling as a module."""
    return self.classifier(torch.flatten(self.pool(self.features(x)), 1))


def forward_residual(self: Any, x: Any) -> Any:
    """torchvision's, its sum as a module."""
    y = self.conv(x)
    return self.sum(torch.stack([x, y], -1)) if self.use_res_connect else y


def forward_densenet(self: Any, x: Any) -> Any:
    """torchvision's, its last activation and pooling as modules."""
    return self.classifier(torch.flatten(self.pool(self.last(self.features(x))), 1))


def as_modules(name: str, module: Any) -> dict[str, Any] | None:
    """What to give a module, so that all of it is modules."""
    del name
    pool = torch.nn.AdaptiveAvgPool2d(1)
    if isinstance(module, models.MobileNetV2):
        return {'forward': forward_mobilenet.__get__(module), 'pool': pool}
    if isinstance(module, InvertedResidual):
        return {'forward': forward_residual.__get__(module), 'sum': Sum()}
    if isinstance(module, models.DenseNet):
        last = {'pool': pool, 'last': torch.nn.ReLU()}
        return {'forward': forward_densenet.__get__(module), **last}
    return None


def whole(modules: Any, batch_norm: Any) -> None:
    """zennit's merge, after which the normalisation is the identity to the last digit."""
    _merge(modules, batch_norm)
    batch_norm.running_var.data -= batch_norm.eps


_merge = MergeBatchNorm.merge_batch_norm
MergeBatchNorm.merge_batch_norm = staticmethod(whole)  # type: ignore[method-assign]


def canonizer(net: Any) -> Any:
    """Merges what follows a convolution, and makes modules of functions."""
    if isinstance(net, models.ResNet):
        return ResNetCanonizer()
    if not isinstance(net, models.DenseNet):
        return CompositeCanonizer((SequentialMergeBatchNorm(), AttributeCanonizer(as_modules)))
    layers = [name for name, module in net.named_modules() if isinstance(module, _DenseLayer)]
    pairs = [([f'{name}.conv1'], f'{name}.norm2') for name in layers]
    pairs.append((['features.conv0'], 'features.norm0'))
    return CompositeCanonizer((NamedMergeBatchNorm(pairs), AttributeCanonizer(as_modules)))


def targets(count: int) -> np.ndarray:
    """Of the images of a case."""
    return np.arange(count) % CLASSES


@functools.cache
def drawn(name: str) -> tuple[Any, np.ndarray]:
    """(variables, images): pixels within bounds, and weights that keep rounding small.

    With the offsets of `sides.inputs` all images would look alike to deep layers.
    """
    case, rng = CASES[name], np.random.default_rng(1)
    images = rng.uniform(LOW, HIGH, (2, case.size, case.size, 3)).astype(np.float32)
    net = Classifier(case.encoder(Options()), CLASSES)
    shapes = jax.eval_shape(functools.partial(net.init, train=True), jax.random.key(0), images)
    gain, offset = DRAWN.get(case.family, (2.0, 0.0))

    def draw(path, leaf):
        values = sides.random_variables({path[-1].key: leaf}, rng, gain)[path[-1].key]
        return values + np.float32(offset - 0.5) if path[-1].key == 'bias' else values

    return jax.tree_util.tree_map_with_path(draw, shapes), images


def attribution(name: str, composite: str, dtype: Any = torch.float32) -> Any:
    """(images, targets) -> relevance, for tensors [b, 3, h, w]."""
    case = CASES[name]
    state = {k: torch.from_numpy(v) for k, v in sides.theirs_named(case, drawn(name)[0]).items()}
    with torch.device('meta'):
        net = case.twin()
    net.load_state_dict(state, strict=False, assign=True)
    for module in net.modules():  # on the way back, what was overwritten would be missed
        if hasattr(module, 'inplace'):
            module.inplace = False
    net, made = net.eval().to(dtype), COMPOSITES[composite]([canonizer(net)])

    def attribute(images, targets):
        def start(logits):
            return torch.eye(logits.shape[1], dtype=dtype)[targets] * logits

        with Gradient(net, made) as attributor:
            found: Any = attributor(images.to(dtype), start)
        return found[1]

    return attribute


def relevance(name: str, composite: str) -> np.ndarray:
    """[b, h, w, 3], computed in double precision."""
    images = torch.from_numpy(drawn(name)[1]).permute(0, 3, 1, 2)
    chosen = torch.from_numpy(targets(len(images)))
    found: Any = attribution(name, composite, torch.float64)(images, chosen)
    return np.moveaxis(np.asarray(found), 1, -1)
