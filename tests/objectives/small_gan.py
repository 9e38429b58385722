"""A model plug-in for generation that compiles at once: dense layers, images of any size."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from skinjax.models.options import Options

TASK = 'generation'
OPTIONS = ('norm_groups', 'norm_momentum')
DEFAULTS = {'latent': 3, 'features': 6}


class Generator(nn.Module):
    """Latents to images, with statistics on the way."""

    options: Options
    size: int

    @nn.compact
    def __call__(self, z, labels, train):
        x = jnp.tanh(self.options.norm(name='norm')(nn.Dense(8, name='first')(z), train))
        x = jnp.tanh(nn.Dense(3 * self.size**2, name='last')(x))
        return x.reshape(-1, self.size, self.size, 3)


class Discriminator(nn.Module):
    """Images to logits and features, with statistics on the way."""

    options: Options
    features: int

    @nn.compact
    def __call__(self, x, labels, train):
        x = nn.Dense(self.features, name='first')(x.reshape(len(x), -1))
        x = jnp.tanh(self.options.norm(name='norm')(x, train))
        return nn.Dense(1, name='last')(x)[:, 0], x


@dataclasses.dataclass(frozen=True)
class Family:
    config: Any
    balanced: bool = False

    @property
    def latent(self):
        return self.config.latent

    def networks(self, classes, image_size):
        options = Options.read(self.config)
        return Generator(options, image_size), Discriminator(options, self.config.features)


def build(config):
    return Family(config)
