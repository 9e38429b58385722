"""The network whose maps say what the style and the content of an image are; it is never trained.

Weights are a file (VGG-16, MobileNetV2, ...) or the directory of a run of skinjax: its encoder.
A layer is `mapN`, the N-th map of the encoder (finest first), or the path of a module in it, such
as `stage1/relu_1` of VGG-16, of which the output is taken.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from skinjax.engine.objective import Variables
from skinjax.models.options import one_of
from skinjax.models.pooling import AvgPool, MaxPool
from skinjax.styling.options import FIELD

GREY = (128 / 255,) * 3
# Fields of the encoders in files: those that Google's MobileNetV2 was trained with, and no dense
# layers, which belong to one size of images.
FILES: dict[str, dict[str, Any]] = {
    'mobilenet': {'padding': 'tf', 'mean': GREY, 'std': GREY},
    'vgg': {'top': 'mean'},
    'lesion_cnn': {'top': 'mean', 'mean': (0.0,) * 3, 'std': (1.0,) * 3},
}
# Layers of style and of content. Gatys et al. 2016, section 3: relu1_1, relu2_1, relu3_1, relu4_1
# and relu5_1; relu4_2. Of MobileNetV2 early ones behind an activation: deeper ones, and ends of
# blocks, leave a grid on smooth skin.
LAYERS = {
    'vgg': (
        ('stage1/relu_1', 'stage2/relu_6', 'stage3/relu_11', 'stage4/relu_18', 'stage5/relu_25'),
        ('stage4/relu_20',),
    ),
    'mobilenet': (
        ('stem', 'block2/expand', 'block4/expand'),
        ('block4/expand',),
    ),
}
POOLS = {'avg': AvgPool, 'max': MaxPool}
OWN = 'own'  # pooling as the encoder has it
PROBE = 64  # side of the image that a network is tried with

Maps = list[Float[Array, 'b _ _ _']]


@dataclasses.dataclass(frozen=True)
class Network:
    """What is computed, without weights: hashable, so that programs are compiled once for each.

    Attributes:
        module: an encoder, as in models/options.py.
        style, content: layers.
        style_pool, content_pool: avg or max, in place of every pooling; or own.
        batch_norm: normalise every image by its own moments, as the published code does: one that
            is half as bright has the same maps.
        mean, std: of the images that the encoder expects.
    """

    module: nn.Module
    style: tuple[str, ...]
    content: tuple[str, ...]
    style_pool: str = OWN
    content_pool: str = OWN
    batch_norm: bool = False
    mean: tuple[float, ...] = (0.0,) * 3
    std: tuple[float, ...] = (1.0,) * 3

    def __call__(self, variables: Variables, images: Float[Array, 'b h w 3']) -> tuple[Maps, Maps]:
        """Maps of the layers of style and of content, of images from 0 to 1; in float32.

        Raises:
            ValueError: the encoder has no such layer, or no pooling to replace.
        """
        if self.style_pool == self.content_pool:
            found = self._maps(variables, images, self.style + self.content, self.style_pool)
            return found[: len(self.style)], found[len(self.style) :]
        return (
            self._maps(variables, images, self.style, self.style_pool),
            self._maps(variables, images, self.content, self.content_pool),
        )

    def _maps(self, variables, images, layers: Sequence[str], pool: str) -> Maps:
        if self.batch_norm and images.shape[0] > 1:
            alone = lambda image: self._maps(variables, image[None], layers, pool)  # noqa: E731
            return [x[:, 0] for x in jax.vmap(alone)(images)]
        pools = []
        mean, std = (jnp.asarray(v, jnp.float32)[None, None, None] for v in (self.mean, self.std))

        def wanted(module, method) -> bool:
            return method == '__call__' and '/'.join(module.path) in layers

        def other_pool(call, arguments, options, context):
            old = context.module
            if pool == OWN or not isinstance(old, tuple(POOLS.values())):
                return call(*arguments, **options)
            pools.append(old.name)
            if not isinstance(old, POOLS[pool]):
                return POOLS[pool](old.window, old.stride, old.padding, parent=None).apply(
                    {}, *arguments
                )
            return call(*arguments, **options)

        with nn.intercept_methods(other_pool):
            (_, maps), state = self.module.apply(
                variables,
                (images - mean) / std,
                self.batch_norm,
                mutable=['intermediates', 'batch_stats'],
                capture_intermediates=wanted,
            )
        if pool != OWN and not pools:
            raise ValueError(
                f'{FIELD}: the encoder has no pooling, so that {pool!r} in its place does nothing: '
                f'set {FIELD}.style_pool and content_pool to {OWN!r}'
            )
        return [self._layer(name, maps, state) for name in layers]

    def _layer(self, name: str, maps: Sequence[Array], state: Any) -> Any:
        number = name.removeprefix('map')
        if number.isdecimal():
            if 0 < int(number) <= len(maps):
                return maps[int(number) - 1].astype(jnp.float32)
            raise ValueError(f'{FIELD}: no layer {name!r}: the encoder has {len(maps)} maps')
        found = state.get('intermediates', {})
        for part in (*name.split('/'), '__call__'):
            if part not in found:
                raise ValueError(
                    f'{FIELD}: no layer {name!r}: expected map1 to map{len(maps)}, or the path of '
                    'a module within the encoder, as skinjax.convert lists them without "encoder/"'
                )
            found = found[part]
        return found[0].astype(jnp.float32)


@dataclasses.dataclass(frozen=True)
class Features:
    """A network and its weights: `params` and `batch_stats` of the encoder."""

    network: Network
    variables: Variables


def load(config: Any) -> Features:
    """The network that the options of style transfer (`options.DEFAULTS`) describe.

    Raises:
        FileNotFoundError, ImportError, ValueError: there are no weights, they do not fit, or the
            network lacks what an option is about.
    """
    from skinjax.objectives import perceptual

    encoder = perceptual.read(_section(config), FIELD)
    images = {'mean': encoder.mean, 'std': encoder.std}
    found = network(encoder.name, encoder.module, config, images)
    check(found, encoder.variables)
    return Features(found, encoder.variables)


def check(network: Network, variables: Variables) -> None:
    """Raise ValueError, before the first image does, where a network lacks what is asked of it."""
    if network.batch_norm and not variables.get('batch_stats'):
        raise ValueError(
            f"{FIELD}.bn 'batch' does nothing with an encoder that normalises nothing: set "
            f"{FIELD}.bn to 'running'"
        )
    jax.eval_shape(network, variables, jax.ShapeDtypeStruct((1, PROBE, PROBE, 3), jnp.float32))


def network(name: str, module: nn.Module, config: Any, images: Mapping[str, Any]) -> Network:
    """An encoder of the family `name` with the options of style transfer.

    Args:
        name: of the family, for the layers.
        module: the encoder.
        config: as `load`.
        images: mean and std of those that it expects.

    Raises:
        ValueError: an unknown option.
    """
    for field in ('style_pool', 'content_pool'):
        one_of(f'{FIELD}.{field}', config[field], (OWN, *POOLS))
    one_of(f'{FIELD}.bn', config['bn'], ('running', 'batch'))
    return Network(
        module,
        *layers(name, config),
        config['style_pool'],
        config['content_pool'],
        config['bn'] == 'batch',
        tuple(images['mean']),
        tuple(images['std']),
    )


def layers(name: str, config: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Layers of style and content; those of `LAYERS`, or map1 to map5 and map4, where none are
    given: the blocks of the published network.
    """
    maps = tuple(f'map{i}' for i in range(1, 6))
    known = LAYERS.get(name, (maps, ('map4',)))
    return (
        tuple(config['style_layers']) or known[0],
        tuple(config['content_layers']) or known[1],
    )


def _section(config: Any) -> Any:
    """The section that `perceptual.read` takes: of the run or the file in `config['weights']`."""
    from skinjax import config as configs
    from skinjax import rundir
    from skinjax.objectives import perceptual

    weights = config['weights']
    if not weights:
        raise ValueError(
            f'{FIELD}.weights is empty: give a file of MobileNetV2 or (with {FIELD}.network=vgg) '
            'VGG-16, or the directory of a run, such as one of configs/lesion_cnn.py'
        )
    if not Path(weights).exists():
        raise FileNotFoundError(f'{FIELD}.weights: {weights} does not exist')
    if not (Path(weights) / 'config.json').is_file():
        name = config['network']
        section = perceptual.section(name, **FILES.get(name, {}))
        return configs.make({**section, 'pretrained': str(weights)})
    run = rundir.load_run(weights)
    section = run.model.to_dict()
    if 'top' in section:
        section['top'] = 'mean'
    about = {'mean': tuple(run.data.mean), 'std': tuple(run.data.std), 'maps': 1}
    return configs.make({**section, **about, 'pretrained': str(weights)})
