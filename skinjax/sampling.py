"""Images out of a trained generator, each a function of (seed, its number, its label)."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from skinjax.engine.objective import Variables
from skinjax.objectives.adversaries import GENERATOR, Adversaries

Labels = Int[np.ndarray, ' _']


@dataclasses.dataclass(frozen=True)
class Sampler:
    """A generator and how it is asked; computes on the first device of this process.

    Attributes:
        net: see objectives/adversaries.py.
        classes: how many the network knows.
        batch_size: images at a time; up to rounding they do not depend on it.
        batch_statistics: normalise by each batch, as the published code does. Images then depend on
            `batch_size` and on the other latents of their batch (of which a network that knows the
            classes makes every class, so that their labels do not matter).
    """

    net: Adversaries
    classes: int
    batch_size: int = 64
    batch_statistics: bool = False

    def __call__(
        self, variables: Variables, labels: Labels, seed: int, first: int = 0
    ) -> UInt8[np.ndarray, 'n h w 3']:
        """An image for each label; the first is number `first` of the seed."""
        return self.of_latents(variables, self.latents(seed, first, len(labels)), labels)

    def latents(self, seed: int, first: int, count: int) -> Float[np.ndarray, 'n l']:
        """The latents of images number `first`, ... of a seed."""
        size = -(-count // self.batch_size) * self.batch_size
        keys = self._keys(jax.random.key(seed), np.arange(first, first + size))
        return np.asarray(self.net.latents(keys))[:count]

    def of_latents(
        self, variables: Variables, latents: Float[np.ndarray, 'n l'], labels: Labels
    ) -> UInt8[np.ndarray, 'n h w 3']:
        """The images of these latents."""
        device = jax.local_devices()[0]
        known = {
            part: {GENERATOR: variables[part][GENERATOR]} for part in ('params', 'batch_stats')
        }
        known = jax.device_put(jax.tree.map(np.asarray, known), device)
        parts, size = [], self.batch_size
        for start in range(0, len(latents), size):
            z, y = (x[start : start + size] for x in (latents, labels))
            lacking = size - len(z)
            z = np.pad(z, ((0, lacking), (0, 0)), mode='wrap')  # not zeros, for the statistics
            found = self._run(known, z, np.pad(y.astype(np.int32), (0, lacking)))
            parts.append(np.asarray(found)[: size - lacking])
        return np.concatenate(parts)

    @functools.cached_property
    def _keys(self) -> Any:
        return jax.jit(jax.vmap(jax.random.fold_in, (None, 0)))

    @functools.cached_property
    def _run(self) -> Any:
        def images(
            variables: Variables, z: Float[Array, 'b l'], labels: Int[Array, ' b']
        ) -> UInt8[Array, 'b h w 3']:
            if not self.batch_statistics:
                return self.net.predict(variables, z, labels)['image']
            every = self.classes if self.net.balanced else 1
            batch = jnp.tile(jnp.arange(every, dtype=jnp.int32)[:, None], (1, len(z))).reshape(-1)
            made = self.net.predict(variables, jnp.tile(z, (every, 1)), batch, True)['image']
            made = made.reshape(every, len(z), *made.shape[1:])
            return made[labels if every > 1 else jnp.zeros_like(labels), jnp.arange(len(z))]

        return jax.jit(images)


def shares(counts: Sequence[int] | Labels, total: int) -> Labels:
    """`total` labels, sorted, in proportion to the counts of the classes (largest remainders)."""
    weights = np.asarray(counts, np.float64)
    exact = total * weights / weights.sum()
    whole = np.floor(exact).astype(int)
    first = np.argsort(whole - exact, kind='stable')[: total - whole.sum()]
    whole[first] += 1
    return np.repeat(np.arange(len(whole)), whole)


def walk(
    start: Float[np.ndarray, ' l'], end: Float[np.ndarray, ' l'], steps: int
) -> Float[np.ndarray, 's l']:
    """Latents from one to another on the arc between them, since they lie near a sphere.

    sin((1 - t) Ω) / sin Ω · start + sin(t Ω) / sin Ω · end, Ω the angle between them (White,
    "Sampling generative networks", 2016).
    """
    cosine = start @ end / (np.linalg.norm(start) * np.linalg.norm(end))
    angle = np.arccos(np.clip(cosine, -1, 1))
    t = np.linspace(0, 1, steps)[:, None]
    if np.sin(angle) < 1e-6:
        return ((1 - t) * start + t * end).astype(np.float32)
    parts = np.sin((1 - t) * angle) * start + np.sin(t * angle) * end
    return (parts / np.sin(angle)).astype(np.float32)
