"""Coupled DCGAN: one pair of networks for all classes (Bisla et al. 2019, supplement, section 4).

The layers next to 4x4 pixels are shared, those next to the image belong to a class each: of 256
pixels, layers 5-7 of the generator and 1-3 of the discriminator (`dcgan.py` has all of them). The
same latents with another label are the same image of another class, as far as there is one.

Weights of the classes have a leading axis. A batch to train on has as many rows of one class as of
any other, in any order; to generate, labels are whatever they are.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from skinjax.models import dcgan
from skinjax.models.dcgan import Fall, Rise, Verdict
from skinjax.models.options import Options

TASK = 'generation'
DEFAULTS = {**dcgan.DEFAULTS, 'variant': 'coupled_dcgan', 'latent': 100}
OPTIONS = dcgan.OPTIONS
OWN = 3  # layers of a class in networks for 256 pixels
LIFTED: Any = {
    'variable_axes': {'params': 0, 'batch_stats': 0},
    'split_rngs': {'params': True},
}


def by_class(
    branch: Any, x: Float[Array, 'b ...'], labels: Int[Array, ' b'], classes: int, train: bool
) -> Float[Array, 'b i j f']:
    """Each row through `branch` with the weights and statistics of its label.

    Raises:
        ValueError: `train`, and the batch does not divide into the classes.
    """
    if branch.is_initializing() or not train:
        return _one_after_the_other(branch, x, labels, classes)
    if x.shape[0] % classes:
        raise ValueError(
            f'a batch of {x.shape[0]} rows does not divide into {classes} classes: choose a '
            'multiple for data.batch_size'
        )
    order = jnp.argsort(labels, stable=True)
    x = x[order].reshape(classes, -1, *x.shape[1:])
    x = _beside_each_other(branch, x, train)
    return x.reshape(-1, *x.shape[2:])[jnp.argsort(order)]


def _beside_each_other(branch, x, train):
    """Each slice of x through a branch of its own.

    All at once they are convolutions in groups, which CPUs work through more slowly than one
    after the other.
    """
    if jax.default_backend() != 'cpu':
        return nn.vmap(lambda branch, x: branch(x, train), **LIFTED)(branch, x)

    def run(branch, carry, x):
        return carry, branch(x, train)

    return nn.scan(run, unroll=len(x), **LIFTED)(branch, None, x)[1]


def _one_after_the_other(branch, x, labels, classes):
    """All rows through every branch; each keeps what its own says."""

    def run(branch, out, label):
        mine = (labels == label).reshape(-1, 1, 1, 1)
        return jnp.where(mine, branch(x, False), out), None

    out = jnp.zeros_like(branch.result(x))
    return nn.scan(run, **LIFTED)(branch, out, jnp.arange(classes))[0]


class Generator(nn.Module):
    """Latents and labels to images from -1 to 1."""

    options: Options
    channels: tuple[int, ...]
    own_layers: int
    classes: int

    def setup(self):
        shared, own = self.channels[: -self.own_layers], self.channels[-self.own_layers :]
        self.shared = Rise(self.options, shared, last=False)
        self.own = Rise(self.options, own, len(shared) + 1)

    def __call__(
        self, z: Float[Array, 'b l'], labels: Int[Array, ' b'], train: bool
    ) -> Float[Array, 'b h w 3']:
        return by_class(self.own, self.shared(z, train), labels, self.classes, train)


class Discriminator(nn.Module):
    """Images and labels to (logits, which are high for real ones; features)."""

    options: Options
    channels: tuple[int, ...]
    own_layers: int
    classes: int
    first_norm: bool = False
    minibatch: int = 0

    def setup(self):
        own, shared = self.channels[: self.own_layers], self.channels[self.own_layers :]
        self.own = Fall(self.options, own, 1, self.first_norm)
        self.shared = Fall(self.options, shared, len(own) + 1)
        self.verdict = Verdict(self.minibatch, self.options.norm_groups)

    def __call__(
        self, x: Float[Array, 'b h w 3'], labels: Int[Array, ' b'], train: bool
    ) -> tuple[Float[Array, ' b'], Float[Array, 'b d']]:
        x = by_class(self.own, x, labels, self.classes, train)
        return self.verdict(self.shared(x, train), train)


class Family(dcgan.Family):
    """Networks that know the classes."""

    balanced = True

    def networks(self, classes: int, image_size: int) -> tuple[nn.Module, nn.Module]:
        """As of dcgan.Family; batches to train on have equally many rows of every class."""
        rising, falling = self.channels(image_size)
        own = OWN - (dcgan.SIZES[-1] // image_size).bit_length() + 1
        return (
            Generator(self.options, rising, own, classes),
            Discriminator(self.options, falling, own, classes, self.first_norm, self.minibatch),
        )


def build(config) -> Family:
    """The family that `config` (with the fields of DEFAULTS) describes.

    Raises:
        ValueError: unknown variant or dtype, or numbers that make no network.
    """
    return Family(**dcgan.fields(config, 'coupled_dcgan'))
