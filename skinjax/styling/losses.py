"""The losses of style transfer by Gram matrices, of one image (Gatys, Ecker & Bethge 2016).

F [N, M] are the maps of a layer at its N positions, M channels; P = F^T F / N. Three norms of the
distance E between the image's Gram matrix and that of the style, A:

    gatys     sum (F^T F - A)^2 / (4 N^2 M^2), with A = F^T F of the style   (their equation 4)
    report    the same of P: Debiasing-Melanoma-Images divides by N twice
    mean      mean over the M^2 entries of (P - P of the style)^2
    relative  sum (P - P of the style)^2 / sum (P of the style)^2: weights mean the same for all
              layers and networks

All are sum (P - P of the style)^2 times a factor, for a style of any size. The distance of the
content is 1/2 the sum of (F - F of the content)^2; its mean; or relative to F of the content.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from skinjax.objectives import inpainting_losses

NORMS = ('relative', 'mean', 'gatys', 'report')
TINY = 1e-12
CLEAN = 1e-4  # part of a position that may be lesion: rounding

Scalar = Float[Array, '']
Map = Float[Array, 'h w c']
Region = Float[Array, 'h w']  # 0 or 1
Maps = Sequence[Float[Array, '_ _ _']]  # of several sizes
Regions = Sequence[Float[Array, '_ _']]


def gram(x: Map, seen: Region) -> Float[Array, 'c c']:
    """P of the positions where `seen` is 1; 0 where there are none."""
    flat, weights = x.reshape(-1, x.shape[-1]), seen.reshape(-1, 1)
    return jnp.matmul(flat.T, flat * weights, precision='highest') / jnp.maximum(seen.sum(), 1)


def distance(p: Float[Array, 'c c'], target: Float[Array, 'c c'], n: Scalar, norm: str) -> Scalar:
    """E of an image with the Gram matrix `p` of `n` positions."""
    m, total = p.shape[0], jnp.square(p - target).sum()
    if norm == 'relative':
        return total / jnp.maximum(jnp.square(target).sum(), TINY)
    if norm == 'report':
        return total / (4 * m**2 * jnp.square(jnp.maximum(n, 1)))
    return total / {'mean': m**2, 'gatys': 4 * m**2}[norm]


def style(
    maps: Maps,
    targets: Sequence[Float[Array, '_ _']],
    seen: Regions,
    weights: Sequence[float],
    norm: str,
) -> Scalar:
    """(1 / L) sum over the L layers of weight E."""
    total = jnp.zeros(())
    for x, target, region, weight in zip(maps, targets, seen, weights, strict=True):
        total = total + weight * distance(gram(x, region), target, region.sum(), norm)
    return total / len(maps)


def content(maps: Maps, targets: Maps, weights: Regions, norm: str) -> Scalar:
    """The distance of `norm` with a weight for each position, summed over layers."""
    total = jnp.zeros(())
    for x, target, weight in zip(maps, targets, weights, strict=True):
        squares = jnp.square(x - target) * weight[..., None]
        if norm == 'relative':
            size = (jnp.square(target) * weight[..., None]).sum()
            total = total + squares.sum() / jnp.maximum(size, TINY)
        else:
            total = total + (squares.mean() if norm == 'mean' else 0.5 * squares.sum())
    return total


def variation(image: Float[Array, 'h w 3']) -> Scalar:
    """Sum of |difference| of neighbouring pixels, divided by 3 H W."""
    return inpainting_losses.variation(image[None], jnp.ones((1, *image.shape[:2])))[0]


def share(region: Float[Array, 'h w'], rows: int, columns: int) -> Float[Array, 'i j']:
    """The part of each of rows x columns positions that a region of pixels takes: area averages."""
    across, down = (
        _areas(*sizes) for sizes in ((region.shape[1], columns), (region.shape[0], rows))
    )
    return jnp.einsum('hw,ih,jw->ij', region, down, across, precision='highest')


def skin(lesion: Float[Array, 'h w'], rows: int, columns: int) -> Float[Array, 'i j']:
    """1 at the positions of a map that have no lesion pixel in them.

    Where there are none, at those with the least of it: a target needs one at least.
    """
    part = share(lesion, rows, columns)
    return (part <= jnp.maximum(CLEAN, part.min())).astype(jnp.float32)


def emphasis(
    lesion: Float[Array, 'h w'], rows: int, columns: int, weight: float
) -> Float[Array, 'i j']:
    """Weights of the positions in the loss of the content: `weight` in the lesion, with mean 1."""
    found = 1 + (weight - 1) * share(lesion, rows, columns)
    return found / found.mean()


def _areas(size: int, cells: int) -> Float[Array, 'cells size']:
    """Rows of weights with sum 1: how much of each cell a pixel is."""
    edges = np.arange(cells + 1) * size / cells
    low, high = edges[:-1, None], edges[1:, None]
    pixels = np.arange(size)[None]
    inside = np.minimum(high, pixels + 1) - np.maximum(low, pixels)
    return jnp.asarray(np.clip(inside, 0, None) * cells / size, jnp.float32)
