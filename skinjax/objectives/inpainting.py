"""Filling holes with a network of partial convolutions (Liu et al. 2018).

    L = L_valid + 6 L_hole + 0.05 L_perceptual + 120 (L_style_out + L_style_composite) + 0.1 L_tv

Holes are drawn anew for every image of every batch. Where a batch has 'artefact' masks, those of
the images before are added: hair and rulers as they really lie. What an image lost itself is not
known: the network does not see it, and no term looks at it.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from skinjax import config as configs
from skinjax.data.augment_device import normalize
from skinjax.data.holes import random_holes
from skinjax.data.records import DataSet
from skinjax.engine import optimizers
from skinjax.engine.objective import Batch, Loss, Objective, Output, Phase, Variables
from skinjax.models.options import one_of
from skinjax.objectives import inpainting_losses as terms
from skinjax.objectives import perceptual

TASK = 'inpainting'
DEFAULTS: dict[str, Any] = {
    'valid': 1.0,  # weights of the terms
    'hole': 6.0,
    'perceptual': 0.05,
    'style': 120.0,  # of the output and of the composite
    'variation': 0.1,
    'variation_region': 'hole',  # and the pixels around it; or image, as widespread copies have it
    'features': perceptual.NONE,  # encoder of the perceptual and style terms; see perceptual.py
}
GROUPS = ('encoder', 'decoder')


@dataclasses.dataclass(frozen=True)
class Filler:
    """A network bound to its config."""

    model: Any
    config: Any

    def images(self, images: Array) -> Float[Array, 'b h w 3']:
        """uint8 images -> normalised float32."""
        return normalize(images, self.config.data.mean, self.config.data.std)

    def bright(self, images: Float[Array, 'b h w 3']) -> Float[Array, 'b h w 3']:
        """Normalised images -> 0 to 1, or beyond."""
        mean, std = (
            jnp.asarray(v, jnp.float32)[None, None, None]
            for v in (self.config.data.mean, self.config.data.std)
        )
        return images * std + mean

    def init(self, key: Array, batch: Batch) -> Variables:
        """Parameters and statistics."""
        images = self.images(batch['image'])
        return self.model.init(key, images, jnp.ones(images.shape[:3]), True)

    def predict(
        self,
        variables: Variables,
        images: Array,
        holes: Bool[Array, 'b h w'] | None = None,
        unknown: Bool[Array, 'b h w'] | None = None,
    ) -> dict[str, Array]:
        """{'image': the uint8 images with their holes filled}; all else is as it was.

        Args:
            holes: what to fill; nothing without it.
            unknown: what the network must not see either, but which stays as it is.
        """
        none = jnp.zeros(images.shape[:3], bool)
        holes = none if holes is None else holes
        valid = ~(holes if unknown is None else holes | unknown)
        known = {name: variables[name] for name in ('params', 'batch_stats') if name in variables}
        out = self.model.apply(known, self.images(images), valid.astype(jnp.float32), False)
        out = jnp.clip(jnp.round(255 * self.bright(out)), 0, 255).astype(jnp.uint8)
        return {'image': jnp.where(holes[..., None], out, images)}


def masks(
    keys: Key[Array, ' b'], batch: Batch
) -> tuple[Bool[Array, 'b h w'], Bool[Array, 'b h w']]:
    """(holes, what is not known of the images themselves) of a batch; they do not overlap."""
    holes = random_holes(keys, *batch['image'].shape[1:3])
    if 'artefact' not in batch:
        return holes, jnp.zeros_like(holes)
    unknown = batch['artefact'] > 127
    return (holes | jnp.roll(unknown, 1, axis=0)) & ~unknown, unknown


def create(config: Any) -> Filler:
    """The network of `config.model`."""
    return Filler(configs.find('models', config.model.name).build(config.model), config)


def build(config: Any, data: DataSet, steps: int) -> Objective:
    """One phase that updates encoder and decoder.

    The encoder that compares images is a state collection, `features`, of every checkpoint. To
    continue a run takes the file that it came from, too; to judge and to use it does not.

    Raises:
        ValueError, FileNotFoundError: unknown region, or no weights of the encoder that compares.
    """
    del data
    net, wanted = create(config), config.objective
    one_of('objective.variation_region', wanted.variation_region, ('hole', 'image'))
    features = perceptual.load(wanted.features)

    def init(key, batch):
        return {**net.init(key, batch), **({'features': features.variables} if features else {})}

    def loss(variables, batch, moment):
        images = net.images(batch['image'])
        holes, unknown = masks(moment.keys, batch)
        known = {name: variables[name] for name in ('params', 'batch_stats') if name in variables}
        valid = (~(holes | unknown)).astype(jnp.float32)
        out, new = net.model.apply(known, images, valid, True, mutable=['batch_stats'])
        found = compare(net, features, variables, images, out, holes, unknown)
        weights = batch['valid'].astype(jnp.float32)
        return Output({k: Loss(v, weights, scales[k]) for k, v in found.items()}, new)

    scales = {name: wanted[name] for name in ('valid', 'hole', 'perceptual', 'variation')}
    scales |= dict.fromkeys(('style_out', 'style_composite'), wanted.style)
    return Objective(
        init,
        {'main': optimizers.build(config.optimizer, GROUPS, steps)},
        (Phase('main', loss, {'main': GROUPS}),),
        net.predict,
    )


def compare(
    net: Filler,
    features: perceptual.Features | None,
    variables: Variables,
    images: Float[Array, 'b h w 3'],
    out: Float[Array, 'b h w 3'],
    holes: Bool[Array, 'b h w'],
    unknown: Bool[Array, 'b h w'],
) -> dict[str, Float[Array, ' b']]:
    """The terms of the loss by name, without their weights."""
    # Where the truth is unknown the output is taken for it, which gives no loss and no gradient.
    out = jnp.where(unknown[..., None], images, out)
    composite = jnp.where(holes[..., None], out, images)
    hole, valid = (part.astype(jnp.float32) for part in (holes, ~(holes | unknown)))
    region = terms.dilated(hole) if net.config.objective.variation_region == 'hole' else 1.0
    found = {
        'valid': terms.absolute(out, images, valid),
        'hole': terms.absolute(out, images, hole),
        'variation': terms.variation(composite, region * (hole + valid)),
    }
    if features is not None:
        true, ours, joined = (
            features(variables['features'], net.bright(x)) for x in (images, out, composite)
        )
        true = jax.lax.stop_gradient(true)
        found['perceptual'] = terms.perceptual(ours, true) + terms.perceptual(joined, true)
        found['style_out'] = terms.style(ours, true)
        found['style_composite'] = terms.style(joined, true)
    return found
