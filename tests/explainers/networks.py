"""Small networks, as explainers see them."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from skinjax.explainers import compiled, lrp
from skinjax.models import resnet
from skinjax.models.attention import Attended
from skinjax.models.classifier import Classifier
from skinjax.models.options import Options
from skinjax.relevance.lrp.composites import read
from skinjax.relevance.lrp.rewriter import Rewriter
from skinjax.relevance.subject import Subject
from tests.models.small import SMALL

LOW, HIGH = -2.0, 2.5  # of pixels
SIZES = {'inception': 75, 'lesion_cnn': 64}
NARROW = resnet.ResNet(resnet.VARIANTS['narrow'])
ENCODERS = {name: make(Options()) for name, make in SMALL.items()} | {
    'narrow': NARROW,
    'attended': Attended(NARROW),
}


def subject(net: Any) -> Subject:
    """Of a Classifier."""

    def encode(variables, images):
        return net.apply(variables, images, False, method='encode')

    def classify(variables, features):
        return net.apply(variables, features, method='classify')

    low, high = (np.full(3, bound, np.float32) for bound in (LOW, HIGH))
    return Subject(encode, classify, low, high)


def drawn(net: Any, size: int = 32, count: int = 2, seed: int = 0) -> tuple[Any, np.ndarray]:
    """(variables, images): kernels that keep the variance, statistics and offsets at random."""
    rng = np.random.default_rng(seed)
    images = rng.uniform(LOW, HIGH, (count, size, size, 3)).astype(np.float32)
    shapes = jax.eval_shape(functools.partial(net.init, train=True), jax.random.key(0), images)

    def draw(path, leaf):
        kind = path[-1].key
        if kind == 'kernel':
            values = rng.normal(size=leaf.shape) * np.sqrt(2 / np.prod(leaf.shape[:-1]))
        elif kind in ('scale', 'var'):
            values = rng.uniform(0.5, 1.5, leaf.shape)
        else:
            values = rng.normal(0, 0.3, leaf.shape)
        return values.astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes), images


def without_bias(variables: Any) -> Any:
    """Offsets and means are 0: then a network of ReLUs is linear between its kinks."""

    def clear(path, leaf):
        return np.zeros_like(leaf) if path[-1].key in ('bias', 'mean') else leaf

    return jax.tree_util.tree_map_with_path(clear, variables)


def classifier(encoder: Any, outputs: int = 3) -> Any:
    """With a head on an encoder."""
    return Classifier(encoder, outputs)


def config(**fields: Any) -> Any:
    """Of the explainer."""
    return ConfigDict({**lrp.DEFAULTS, **fields})


def explain(net: Any, **fields: Any) -> Any:
    """(variables, images, targets) -> relevance, compiled."""
    return compiled(lrp.build(config(**fields)), subject(net))


class Chain(nn.Module):
    """Any modules, one after the other, on a map; its mean pixel is the logits."""

    layers: Any

    @nn.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x


def through(layer: Any, x: Any, start: Any, **fields: Any) -> np.ndarray:
    """The relevance that a layer without parameters hands down of `start`, [b, h, w, c]."""

    def run(x):
        bounds = np.zeros(3, np.float32), np.ones(3, np.float32)
        with nn.intercept_methods(Rewriter(read(config(**fields)), bounds)):
            return Chain((layer,)).apply({}, x)

    return np.asarray(jax.vjp(run, jnp.asarray(x, jnp.float32))[1](jnp.asarray(start))[0])
