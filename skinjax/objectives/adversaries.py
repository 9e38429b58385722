"""Generator and discriminator as the objective and everything that samples see them."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt8

from skinjax import config as configs
from skinjax.data.augment_device import normalize
from skinjax.engine.objective import Batch, Variables

GENERATOR, DISCRIMINATOR = 'generator', 'discriminator'
BATCHES, ROWS = 16, 64  # of latents, whose statistics are taken by `with_standing_statistics`


@dataclasses.dataclass(frozen=True)
class Adversaries:
    """Two networks that are trained against each other.

    `generate` and `discriminate` are passes in training mode. They return variables with the
    statistics after the pass, from which the next one goes on.

    Attributes:
        latent: numbers that an image is made from.
        balanced: a batch in training mode must have equally many rows of every class.
    """

    generator: Any
    discriminator: Any
    latent: int
    balanced: bool

    def images(self, images: UInt8[Array, 'b h w 3']) -> Float[Array, 'b h w 3']:
        """As the networks know them: from -1 to 1."""
        return normalize(images, (0.5,) * 3, (0.5,) * 3)

    def init(self, key: Array, batch: Batch) -> Variables:
        """Parameters and statistics of both networks, by name."""
        first, second = jax.random.split(key)
        labels = jnp.zeros(1, jnp.int32)
        images = jnp.zeros((1, *batch['image'].shape[1:]))
        made = {
            GENERATOR: self.generator.init(first, jnp.zeros((1, self.latent)), labels, False),
            DISCRIMINATOR: self.discriminator.init(second, images, labels, False),
        }
        return {
            kind: {name: one.get(kind, {}) for name, one in made.items()}
            for kind in ('params', 'batch_stats')
        }

    def latents(self, keys: Key[Array, ' b']) -> Float[Array, 'b l']:
        """Drawn from a normal distribution, one row a key."""
        return jax.vmap(lambda key: jax.random.normal(key, (self.latent,)))(keys)

    def generate(
        self, variables: Variables, latents: Float[Array, 'b l'], labels: Int[Array, ' b']
    ) -> tuple[Float[Array, 'b h w 3'], Variables]:
        """(images from -1 to 1, variables)."""
        return self._pass(self.generator, GENERATOR, variables, latents, labels)

    def discriminate(
        self, variables: Variables, images: Float[Array, 'b h w 3'], labels: Int[Array, ' b']
    ) -> tuple[tuple[Float[Array, ' b'], Float[Array, 'b d']], Variables]:
        """((logits, which are high for what seems real; features), variables)."""
        return self._pass(self.discriminator, DISCRIMINATOR, variables, images, labels)

    def _pass(self, module: Any, name: str, variables: Variables, *inputs: Array) -> Any:
        known = {kind: variables[kind][name] for kind in ('params', 'batch_stats')}
        out, new = module.apply(known, *inputs, True, mutable=['batch_stats'])
        statistics = {**variables['batch_stats'], name: new.get('batch_stats', {})}
        return out, {**variables, 'batch_stats': statistics}

    def predict(
        self,
        variables: Variables,
        latents: Float[Array, 'b l'],
        labels: Int[Array, ' b'],
        batch_statistics: bool = False,
    ) -> dict[str, Array]:
        """{'image': uint8 [b, h, w, 3]} of latents.

        Args:
            batch_statistics: normalise by the batch, as the published code does: an image then
                depends on those beside it, and a coupled network needs equally many of each class.
        """
        if batch_statistics:
            images, _ = self.generate(variables, latents, labels)
        else:
            known = {kind: variables[kind][GENERATOR] for kind in ('params', 'batch_stats')}
            images = self.generator.apply(known, latents, labels, False)
        found = jnp.clip(jnp.round(127.5 * (images + 1)), 0, 255)
        return {'image': found.astype(jnp.uint8)}


def create(config: Any, classes: int) -> Adversaries:
    """The networks of `config.model` for images of so many classes.

    Raises:
        ValueError: images of a size that the networks are not made for.
    """
    family = configs.find('models', config.model.name).build(config.model)
    generator, discriminator = family.networks(classes, config.data.image_size)
    return Adversaries(generator, discriminator, family.latent, family.balanced)


def with_standing_statistics(
    config: Any, net: Adversaries, variables: Variables, classes: int
) -> Variables:
    """Variables of a run to generate with, by their statistics.

    Running statistics belong to the parameters that were trained. Their moving averages
    (`train.ema`) have smaller activations, so that images by those statistics are pale and alike.
    Averages get statistics of their own: means over batches of latents that are always the same
    ("standing statistics", Brock et al. 2019). Without averages all stays as it is.
    """
    if not config.train.ema or config.model.get('frozen_norm', False):
        return variables
    known = {kind: variables[kind][GENERATOR] for kind in ('params', 'batch_stats')}
    known = jax.device_put(jax.tree.map(np.asarray, known), jax.local_devices()[0])
    groups, momentum = config.model.get('norm_groups', 1), config.model.get('norm_momentum', 0.9)
    found = _standing(net, classes, groups, momentum, known)
    return {**variables, 'batch_stats': {**variables['batch_stats'], GENERATOR: found}}


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _standing(
    net: Adversaries, classes: int, groups: int, momentum: float, known: Variables
) -> Variables:
    """The statistics of a generator over batches with equally many rows of every class, in each of
    the slices that have statistics of their own.
    """
    unit = classes * groups
    rows = -(-ROWS // unit) * unit
    labels = jnp.arange(rows, dtype=jnp.int32) % classes
    nothing = jax.tree.map(jnp.zeros_like, known['batch_stats'])

    def batch(key: Key[Array, '']) -> Variables:
        latents = net.latents(jax.random.split(key, rows))
        now = {'params': {GENERATOR: known['params']}, 'batch_stats': {GENERATOR: nothing}}
        return net.generate(now, latents, labels)[1]['batch_stats'][GENERATOR]

    found = jax.lax.map(batch, jax.random.split(jax.random.key(0), BATCHES))
    return jax.tree.map(lambda x: x.mean(0) / (1 - momentum), found)  # from 0 on, one update each
