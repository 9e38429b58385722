"""Encoders beside their torch twins: small ones of every family, and published ones in full size.

`sides.py` runs both.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import pytest
from ml_collections import ConfigDict

from skinjax import config as configs
from skinjax.models import efficientnet
from skinjax.models.options import Options
from tests.models.small import SMALL as ENCODERS
from tests.models.torchvision_models import models

torch = pytest.importorskip('torch')
from third_party.torch_baselines import lesion_cnn as torch_lesion_cnn  # noqa: E402

CLASSES = 5
# Of the variance from layer to layer; 1 elsewhere. Too small, and all images look the same to the
# last layers; too large, and differences of rounding grow with the signal.
GAINS = {'densenet': 1.5, 'inception': 1.5, 'efficientnet': 1.5}


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
        naming: of the twin.
    """

    family: str
    encoder: Callable[[Options], Any]
    twin: Callable[[], Any]
    maps: tuple[str, ...]
    size: int = 64
    batch: int = 4
    naming: str = 'torchvision'

    @property
    def gain(self) -> float:
        """Of the variance from layer to layer."""
        return GAINS.get(self.family, 1.0)


def published(family: str, maps: tuple[str, ...], size: int = 224, **fields: Any) -> Case:
    """A network as torchvision has it."""
    module: Any = configs.find('models', family)
    variant = fields.get('variant', module.DEFAULTS['variant'])
    more = {'aux_logits': False, 'init_weights': False} if family == 'inception' else {}

    def encoder(options):
        config = ConfigDict({**module.DEFAULTS, **fields, 'remat': options.remat})
        return module.build(config)

    twin = functools.partial(getattr(models, variant), num_classes=CLASSES, **more)
    return Case(family, encoder, twin, maps, size, batch=2)


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
    ),
    'efficientnet': Case(
        'efficientnet', ENCODERS['efficientnet'], small_efficientnet, EFFICIENTNET
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
    'lesion_cnn_224': dataclasses.replace(
        SMALL['lesion_cnn'],
        twin=functools.partial(torch_lesion_cnn.LesionCNN, CLASSES, 224),
        size=224,
        batch=2,
    ),
}
CASES = {**SMALL, **FULL}
