"""The six terms of Liu et al. 2018, one value for each example.

Images are [b, h, w, c] in the normalised range, regions 0 or 1. Means run over all C H W values of
an image, whatever the size of its hole.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from skinjax.models.partial_conv import window_sum

Values = Float[Array, ' b']
Images = Float[Array, 'b h w c']
Maps = Sequence[Float[Array, 'b _ _ _']]  # of several sizes
Region = Float[Array, 'b h w']


def absolute(a: Images, b: Images, region: Region) -> Values:
    """sum over the region of |a - b|, divided by C H W."""
    return (jnp.abs(a - b) * region[..., None]).mean((1, 2, 3))


def perceptual(maps: Maps, true: Maps) -> Values:
    """Sum over the maps of the mean of |a - b|."""
    parts = [jnp.abs(a - b).mean((1, 2, 3)) for a, b in zip(maps, true, strict=True)]
    return sum(parts[1:], start=parts[0])


def style(maps: Maps, true: Maps) -> Values:
    """Sum over the maps of the mean, over C^2, of the differences of their Gram matrices."""
    parts = [jnp.abs(gram(a) - gram(b)).mean((1, 2)) for a, b in zip(maps, true, strict=True)]
    return sum(parts[1:], start=parts[0])


def gram(x: Images) -> Float[Array, 'b c c']:
    """Products of the channels, summed over the pixels and divided by C H W."""
    return jnp.einsum('bhwc,bhwd->bcd', x, x) / (x.shape[1] * x.shape[2] * x.shape[3])


def variation(image: Images, region: Region) -> Values:
    """Sum of |difference| of neighbours that both lie in the region, divided by C H W."""
    size = image.shape[1] * image.shape[2] * image.shape[3]
    down = jnp.abs(image[:, 1:] - image[:, :-1]) * (region[:, 1:] * region[:, :-1])[..., None]
    across = jnp.abs(image[:, :, 1:] - image[:, :, :-1])
    across = across * (region[:, :, 1:] * region[:, :, :-1])[..., None]
    return (down.sum((1, 2, 3)) + across.sum((1, 2, 3))) / size


def dilated(region: Region) -> Region:
    """The region and every pixel that touches it, at a corner too."""
    return (window_sum(region[..., None], 3)[..., 0] > 0).astype(region.dtype)
