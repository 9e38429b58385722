"""Networks for tests: small ones of every family, and shapes of the published ones.

Nothing here needs PyTorch, and nothing is computed: shapes are traced, each of them once.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from skinjax import config as configs
from skinjax.models import (
    densenet,
    efficientnet,
    inception,
    lesion_cnn,
    mobilenet,
    resnet,
    vgg,
)
from skinjax.models.classifier import Classifier
from skinjax.models.options import COMMON, Options

# Every kind of block, as seldom as possible.
SMALL: dict[str, Callable[[Options], Any]] = {
    'resnet': lambda o: resnet.ResNet(
        resnet.Variant((1, 2, 1, 1), cardinality=32, group_width=4), o
    ),
    'densenet': lambda o: densenet.DenseNet(densenet.Variant((2, 3, 2, 2), 8, 16), o),
    'vgg': lambda o: vgg.VGG(True, 24, o),
    'inception': inception.Inception,
    'efficientnet': lambda o: efficientnet.EfficientNet(0.25, 0.5, options=o),
    'mobilenet': lambda o: mobilenet.MobileNetV2(options=o),
    'lesion_cnn': lambda o: lesion_cnn.LesionCNN(options=o),
}
# Variants that torchvision has, under the same names.
TORCHVISION: dict[str, tuple[str, ...]] = {
    'resnet': (
        'resnet18', 'resnet34', 'resnet50', 'resnet101', 'resnext50_32x4d', 'resnext101_32x8d',
    ),
    'densenet': ('densenet121', 'densenet161'),
    'vgg': ('vgg16', 'vgg16_bn'),
    'inception': ('inception_v3',),
    'efficientnet': tuple(f'efficientnet_b{i}' for i in range(4)),
    'mobilenet': ('mobilenet_v2',),
}  # fmt: skip
SIDES = {'inception': 96, 'lesion_cnn': 224}  # of images, where 32 pixels do not do


def build(family: str, **fields: Any) -> Any:
    """The encoder of a config with these fields."""
    module = configs.find('models', family)
    return module.build(ConfigDict({**COMMON, **module.DEFAULTS, **fields}))


@functools.cache
def published_shapes(family: str, variant: str) -> Any:
    """Variables of a whole network with 1000 classes."""
    side = SIDES.get(family, 32)
    init = functools.partial(Classifier(build(family, variant=variant), 1000).init, train=True)
    images = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    return jax.eval_shape(init, jax.random.key(0), images)
