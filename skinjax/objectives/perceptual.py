"""Maps of a trained encoder, by which images are compared; the encoder itself is never trained."""

import dataclasses
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from skinjax import config as configs
from skinjax import rundir
from skinjax.data.records import COMMON
from skinjax.engine.objective import Variables
from skinjax.models import attention, options, pretrained
from skinjax.models.classifier import Classifier

# Without a name the encoder is that of the run in `pretrained`; without both there is none.
NONE: dict[str, Any] = {'name': '', 'pretrained': '', 'maps': 3}
POOLED = ('vgg',)  # families whose maps are pooled first: pool1, pool2 and pool3 of the paper


def section(name: str, **fields: Any) -> dict[str, Any]:
    """The encoder `name` with `fields` of its own, of `options.COMMON`, or of the normalisation.

    `mean` and `std` are those of the images that it was trained on, 0 to 1.
    """
    given = {'mean': COMMON['mean'], 'std': COMMON['std'], 'maps': NONE['maps']}
    given |= {key: fields.pop(key) for key in tuple(fields) if key in (*options.COMMON, *given)}
    return {**options.COMMON, **configs.plugin('models', name, **fields), **given}


@dataclasses.dataclass(frozen=True)
class Encoder:
    """An encoder and its weights.

    Attributes:
        name: of its family.
        module: as in models/options.py.
        variables: 'params' and 'batch_stats' of it.
        mean, std: of the images that it expects.
    """

    name: str
    module: nn.Module
    variables: Variables
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, variables: Variables, images: Float[Array, 'b h w 3']) -> Any:
        """(features [b, d], maps) of images from 0 to 1."""
        mean, std = (jnp.asarray(v, jnp.float32)[None, None, None] for v in (self.mean, self.std))
        return self.module.apply(variables, (images - mean) / std, False)


@dataclasses.dataclass(frozen=True)
class Features:
    """Maps of an encoder.

    Attributes:
        encoder: as in models/options.py.
        variables: 'params' and 'batch_stats' of it.
        mean, std: of the images that it expects.
        maps: how many, finest first.
        pooled: maps are halved in size first, by the largest of four.
    """

    encoder: nn.Module
    variables: Variables
    mean: tuple[float, ...]
    std: tuple[float, ...]
    maps: int
    pooled: bool

    def __call__(
        self, variables: Variables, images: Float[Array, 'b h w 3']
    ) -> list[Float[Array, 'b _ _ _']]:
        """Maps of images from 0 to 1."""
        encoder = Encoder('', self.encoder, variables, self.mean, self.std)
        maps = encoder(variables, images)[1][: self.maps]
        if self.pooled:
            maps = [nn.max_pool(x, (2, 2), (2, 2)) for x in maps]
        return [x.astype(jnp.float32) for x in maps]


def load(config: Any) -> Features | None:
    """The encoder that a section describes; None where it names neither encoder nor run.

    Raises:
        FileNotFoundError, ImportError, ValueError: there are no weights, or they do not fit;
            or less than one map is asked for.
    """
    if not (config.name or config.pretrained):
        return None
    if config.maps < 1:
        raise ValueError(f'config.objective.features.maps is {config.maps}, expected at least 1')
    found = read(config)
    pooled = found.name in POOLED
    return Features(found.module, found.variables, found.mean, found.std, config.maps, pooled)


def read(config: Any, field: str = 'config.objective.features', seed: int | None = None) -> Encoder:
    """The encoder of a section, with the weights that it names.

    Args:
        config: as `section` makes it, or with `pretrained` alone: a run.
        field: the section's place, for messages.
        seed: of random weights, where the section names none.

    Raises:
        FileNotFoundError, ImportError, ValueError: there are no weights, or they do not fit.
    """
    model, mean, std = _model(config, field)
    module = attention.encoder(model)
    head = Classifier(module, 1)  # weights have one, which stays behind
    image = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    if config.pretrained:
        shapes = jax.eval_shape(lambda key, x: head.init(key, x, False), jax.random.key(0), image)
        shapes = {'batch_stats': {}, **shapes}
        found = pretrained.load(config.pretrained, shapes, model).variables
    elif seed is not None:
        found = jax.jit(lambda key: head.init(key, jnp.zeros((1, 64, 64, 3)), False))(
            jax.random.key(seed)
        )
    else:
        raise ValueError(
            f'{field} is {config.name!r} without weights, which compares nothing: give '
            f'--{field}.pretrained=FILE'
        )
    variables = {part: tree['encoder'] for part, tree in found.items()}
    return Encoder(model['name'], module, variables, tuple(mean), tuple(std))


def _model(config: Any, field: str) -> tuple[Any, Any, Any]:
    """Model section, and mean and standard deviation of its images."""
    if config.name:
        missing = {'mean', 'std', *configs.find('models', config.name).DEFAULTS} - set(config)
        if missing:
            raise ValueError(
                f'{field} lacks {sorted(missing)} of {config.name!r}: make it '
                'with skinjax.objectives.perceptual.section'
            )
        return _without_head(config), config.mean, config.std
    path = Path(config.pretrained)
    if not path.exists():
        raise FileNotFoundError(f'{field}.pretrained: {path} does not exist')
    if not (path / 'config.json').is_file():
        raise ValueError(
            f'{field}.pretrained is {config.pretrained!r}, which is no run of '
            'skinjax: a file of weights needs the name of its encoder beside it'
        )
    run = rundir.load_run(path)
    return _without_head(run.model), run.data.mean, run.data.std


def _without_head(config: Any) -> Any:
    config = config.copy_and_resolve_references()
    with config.unlocked():
        config.update(leave_out=('head',), dropout=0.0, dtype='float32')
    return config
