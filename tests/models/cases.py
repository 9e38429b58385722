"""Encoders beside their torch twins: small ones of every family, and published ones in full size.

Both sides get the same random weights and statistics and the same images, and give logits,
stage maps, parameter gradients of a random projection of the logits, and running statistics after
one pass in training mode.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from skinjax import config as configs
from skinjax.models import efficientnet, pretrained
from skinjax.models.classifier import Classifier
from skinjax.models.options import Options
from tests.models.small import SMALL as ENCODERS
from tests.models.torchvision_models import models

torch = pytest.importorskip('torch')
from third_party.torch_baselines import lesion_cnn as torch_lesion_cnn  # noqa: E402

CLASSES = 5


@dataclasses.dataclass(frozen=True)
class Case:
    """One encoder and its twin.

    Attributes:
        family: name of the model file.
        encoder: options -> ours.
        twin: -> theirs, made without memory for weights.
        maps: their modules that give the stage maps.
        size: side of the images.
        batch: number of images.
        gain: of the variance from layer to layer; too small, and all images look the same.
        gradient: tolerance of gradients, relative to the largest of each array. Rounding alone
            gives 1e-5 (torch in float32 beside torch in float64). An activation that rounding
            moves across the kink of a ReLU adds a jump, which more activations make likelier.
    """

    family: str
    encoder: Callable[[Options], Any]
    twin: Callable[[], Any]
    maps: tuple[str, ...]
    size: int = 64
    batch: int = 4
    gain: float = 1.0
    naming: str = 'torchvision'
    gradient: float = 1e-4


def published(family: str, maps: tuple[str, ...], size: int = 224, **fields: Any) -> Case:
    """A network as torchvision has it."""
    module: Any = configs.find('models', family)
    variant = fields.get('variant', module.DEFAULTS['variant'])
    more = {'aux_logits': False, 'init_weights': False} if family == 'inception' else {}

    def encoder(options):
        config = ConfigDict({**module.DEFAULTS, **fields, 'remat': options.remat})
        return module.build(config)

    twin = functools.partial(getattr(models, variant), num_classes=CLASSES, **more)
    gain = {'inception': 2.0, 'efficientnet': 1.5}.get(family, 1.0)
    return Case(family, encoder, twin, maps, size, batch=2, gain=gain, gradient=2e-3)


def small_vgg() -> Any:
    """VGG-16-BN with narrow dense layers."""
    net, n = models.vgg16_bn(), torch.nn
    dense = (n.Linear(512 * 7 * 7, 24), n.ReLU(), n.Dropout(), n.Linear(24, 24), n.ReLU())
    net.classifier = n.Sequential(*dense, n.Dropout(), n.Linear(24, CLASSES))
    return net


def small_efficientnet() -> Any:
    """A quarter of the width and half the depth of B0."""
    from torchvision.models.efficientnet import EfficientNet, MBConvConfig

    stages = [
        MBConvConfig(expansion, kernel, stride, inputs, outputs, count, 0.25, 0.5)
        for (expansion, kernel, stride, outputs, count), inputs in zip(
            efficientnet.STAGES, (32, 16, 24, 40, 80, 112, 192), strict=True
        )
    ]
    return EfficientNet(stages, 0.2, num_classes=CLASSES)


RESNET = ('maxpool', 'layer1', 'layer2', 'layer3', 'layer4')
DENSENET = ('pool0', 'denseblock1', 'denseblock2', 'denseblock3', 'norm5')
DENSENET = tuple(f'features.{name}' for name in DENSENET)
VGG, VGG_BN = (
    tuple(f'features.{i}' for i in layers) for layers in ((3, 8, 15, 22, 29), (5, 12, 22, 32, 42))
)
INCEPTION = ('Conv2d_2b_3x3', 'Conv2d_4a_3x3', 'Mixed_5d', 'Mixed_6e', 'Mixed_7c')
EFFICIENTNET = tuple(f'features.{i}' for i in (1, 2, 3, 5, 8))
MOBILENET = tuple(f'features.{i}' for i in (1, 3, 6, 13, 18))
LESION_CNN = tuple(f'block{i}' for i in range(1, 6))

SMALL = {
    'resnet': Case(
        'resnet',
        ENCODERS['resnet'],
        lambda: models.ResNet(
            models.resnet.Bottleneck, [1, 2, 1, 1], CLASSES, groups=32, width_per_group=4
        ),
        RESNET,
    ),
    'densenet': Case(
        'densenet',
        ENCODERS['densenet'],
        lambda: models.DenseNet(8, (2, 3, 2, 2), 16, num_classes=CLASSES),
        DENSENET,
    ),
    'vgg': Case('vgg', ENCODERS['vgg'], small_vgg, VGG_BN),
    'inception': Case(
        'inception',
        ENCODERS['inception'],
        functools.partial(
            models.inception_v3, num_classes=CLASSES, aux_logits=False, init_weights=False
        ),
        INCEPTION,
        size=139,  # the last map is 3x3
        gain=2.0,
    ),
    'efficientnet': Case(
        'efficientnet', ENCODERS['efficientnet'], small_efficientnet, EFFICIENTNET, gain=1.5
    ),
    'mobilenet': Case(
        'mobilenet',
        ENCODERS['mobilenet'],
        functools.partial(models.mobilenet_v2, num_classes=CLASSES),
        MOBILENET,
    ),
    'lesion_cnn': Case(
        'lesion_cnn',
        ENCODERS['lesion_cnn'],
        functools.partial(torch_lesion_cnn.LesionCNN, CLASSES, 64),
        LESION_CNN,
        naming='torch_baselines',
    ),
}
FULL = {
    'resnet18': published('resnet', RESNET, variant='resnet18'),
    'resnet50': published('resnet', RESNET, variant='resnet50'),
    'densenet121': published('densenet', DENSENET),
    'vgg16': published('vgg', VGG, variant='vgg16'),
    'inception_v3': published('inception', INCEPTION, 299),
    'efficientnet_b0': published('efficientnet', EFFICIENTNET),
    'mobilenet_v2': published('mobilenet', MOBILENET),
}
CASES = {**SMALL, **FULL}


@dataclasses.dataclass(frozen=True)
class Result:
    """What one side gives: maps as [b, h, w, c], gradients and statistics by torch's names."""

    logits: np.ndarray
    maps: list[np.ndarray]
    gradients: dict[str, np.ndarray]
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
def inputs(name: str, seed: int) -> tuple[Any, np.ndarray, np.ndarray]:
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


@functools.cache
def program(name: str, remat: bool) -> Any:
    """(params, stats, images, projection) -> ((logits, maps), gradients, new statistics)."""
    net: Any = Classifier(CASES[name].encoder(Options(remat=remat)), CLASSES)

    def run(params, stats, x, weights):
        def project(params):
            now = {'params': params, **stats}
            features, maps = net.apply(now, x, method=lambda m, x: m.encoder(x, False))
            logits = net.apply(now, features, method='classify')
            return (logits * weights).sum(), (logits, maps)

        (_, out), gradients = jax.value_and_grad(project, has_aux=True)(params)
        _, new = net.apply({'params': params, **stats}, x, True, mutable=['batch_stats'])
        return out, gradients, new

    return jax.jit(run)


@functools.lru_cache(16)
def ours(name: str, seed: int = 0, remat: bool = False) -> Result:
    """Our side; gradients in evaluation mode, statistics after one pass in training mode."""
    variables, images, projection = inputs(name, seed)
    stats = {k: v for k, v in variables.items() if k != 'params'}
    (logits, maps), gradients, new = program(name, remat)(
        variables['params'], stats, images, projection
    )
    return Result(
        np.asarray(logits),
        [np.asarray(m) for m in maps],
        theirs_named(CASES[name], {'params': gradients}),
        theirs_named(CASES[name], new),
    )


@functools.lru_cache(16)
def theirs(name: str, seed: int = 0) -> Result:
    """The twin's side."""
    case = CASES[name]
    variables, images, projection = inputs(name, seed)
    with torch.device('meta'):  # no memory and no initialisation: weights are assigned
        net = case.twin()
    state = {k: torch.from_numpy(v.copy()) for k, v in theirs_named(case, variables).items()}
    missing, unexpected = net.load_state_dict(state, strict=False, assign=True)
    assert not unexpected
    assert all(key.endswith('num_batches_tracked') for key in missing), missing
    seen: dict[str, np.ndarray] = {}

    def keep(module, inputs, out, name):
        del module, inputs
        value = torch.relu(out) if name == 'features.norm5' else out
        seen[name] = np.moveaxis(value.detach().numpy().copy(), 1, -1)

    hooks = [
        net.get_submodule(m).register_forward_hook(functools.partial(keep, name=m))
        for m in case.maps
    ]
    x = torch.from_numpy(images).permute(0, 3, 1, 2)
    logits = net.eval()(x)
    (logits * torch.from_numpy(projection)).sum().backward()
    for hook in hooks:
        hook.remove()
    gradients = {k: v.grad.numpy() for k, v in net.named_parameters() if v.grad is not None}
    for module in net.modules():  # dropout draws other numbers than ours
        for rate in {'p', 'drop'} & set(vars(module)):
            setattr(module, rate, 0.0)
    with torch.no_grad():
        net.train()(x)
    statistics = {k: v.numpy() for k, v in net.named_buffers() if 'running' in k}
    return Result(logits.detach().numpy(), [seen[m] for m in case.maps], gradients, statistics)


def distance(have: np.ndarray, want: np.ndarray) -> float:
    """Largest difference relative to the largest absolute value."""
    assert have.shape == want.shape
    return float(np.abs(have - want).max() / max(np.abs(want).max(), 1e-30))
