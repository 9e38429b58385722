"""Terms of adversarial training, one value per row.

What is a property of a whole batch is that of the slice that a row is in: of `groups` equal slices,
as in batch normalisation (models/norm.py). All rows of a slice have the same value.
"""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

LEAST = 2 / 255  # the least deviation of images to compare with: a grey level, of -1 ... 1


def real(logits: Float[Array, ' b'], smoothing: float = 0.0) -> Float[Array, ' b']:
    """Cross-entropy of logits to be 1 - `smoothing` where 1 is real.

    One-sided label smoothing (Salimans et al. 2016, section 3.4): of fake images the target stays
    0, since else the discriminator would hold on to fakes that are far from all data.
    """
    target = jnp.full_like(logits, 1 - smoothing)
    return optax.sigmoid_binary_cross_entropy(logits, target)


def fake(logits: Float[Array, ' b']) -> Float[Array, ' b']:
    """-log(1 - D): cross-entropy of logits to be 0."""
    return optax.sigmoid_binary_cross_entropy(logits, jnp.zeros_like(logits))


def squared_norm(gradients: Float[Array, 'b h w c']) -> Float[Array, ' b']:
    """|g|^2 of each row: R1 of the gradients of logits at real images (Mescheder et al. 2018)."""
    return jnp.square(gradients).sum((1, 2, 3))


def feature_distance(
    true: Float[Array, 'b d'], made: Float[Array, 'b d'], groups: int = 1
) -> Float[Array, ' b']:
    """|mean(true) - mean(made)|^2, the means over the rows of a slice.

    Feature matching (Salimans et al. 2016, section 3.1).
    """
    first, second = (x.reshape(groups, -1, x.shape[-1]).mean(1) for x in (true, made))
    return _rows(jnp.square(first - second).sum(-1), len(true))


def diversity(
    made: Float[Array, 'b h w c'], true: Float[Array, 'b h w c'], groups: int = 1
) -> Float[Array, ' b']:
    """Deviation of generated images from each other by that of real ones; 0 after a collapse.

    The standard deviation of a pixel over the rows of a slice, mean over the pixels. Real images
    that are all the same count as if they differed by one of 255 grey levels. Has no gradient.
    """

    def deviation(images: Float[Array, 'b h w c']) -> Float[Array, ' g']:
        rows = jax.lax.stop_gradient(images).reshape(groups, -1, images[0].size)
        return rows.std(1).mean(1)

    return _rows(deviation(made) / jnp.maximum(deviation(true), LEAST), len(true))


def _rows(values: Float[Array, ' g'], count: int) -> Float[Array, ' b']:
    return jnp.repeat(values, count // len(values))
