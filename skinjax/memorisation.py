"""Whether made images are copies: the nearest training image of each, by pixels and by features.

A small distance alone says little, since a blurred image is near to many. So the distances of
held-out real images to the training images stand beside those of the made ones, and a copy is what
is much nearer to one training image than to any other.
"""

import csv
import dataclasses
import functools
import io
from collections.abc import Collection, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8
from scipy.spatial.distance import cdist
from scipy.stats import mannwhitneyu

from skinjax.embedding import Pictures

Images = UInt8[np.ndarray, '_ _ _ 3']
Distances = Float[np.ndarray, ' _']

CANDIDATES = 8  # of which the nearest are chosen, once their distances are computed exactly
RATIO = 1 / 3  # of the distances to the nearest and the second nearest image, below which is a copy
SHARE = 0.01  # of held-out images that are nearer than `threshold`
TURNS = {'vflip': 2, 'flip': 4, 'd4': 8}  # symmetries that an augmentation shows
QUANTILES = (0.01, 0.05, 0.5, 0.95, 0.99)


def nearest(
    queries: Images, references: Images, chunk: int = 256
) -> tuple[Int[np.ndarray, ' n'], Distances]:
    """The nearest reference of each query: its row, and the mean squared error of pixels in 0..1.

    Exactly 0 where an image is among the references. See `neighbours`.
    """
    index, mse = neighbours(queries, references, 1, chunk)
    return index[:, 0], mse[:, 0]


def neighbours(
    queries: Images,
    references: Images,
    k: int = 2,
    chunk: int = 256,
    groups: np.ndarray | None = None,
) -> tuple[Int[np.ndarray, 'n k'], Float[np.ndarray, 'n k']]:
    """Rows and mean squared errors of the k nearest references of each query, nearest first.

    The device finds max(k, CANDIDATES) of them, from products of matrices of `chunk` images a side;
    their errors are then computed in whole numbers. Where there are less than k, the rest is row -1
    and nan.

    Args:
        groups: of the references [m], such as lesions: the nearest one of k groups each. Where the
            candidates are of less than k groups, more are looked at.

    Raises:
        ValueError: no references, or images of another size.
    """
    if not len(references) or queries.shape[1:] != references.shape[1:]:
        raise ValueError(
            f'references of {queries.shape[1:]} expected, found {len(references)} of '
            f'{references.shape[1:]}'
        )
    owners = np.arange(len(references))
    if groups is not None:
        owners = np.unique(groups, return_inverse=True)[1]
    index, mse = np.full((len(queries), k), -1), np.full((len(queries), k), np.nan)
    left, count = np.arange(len(queries)), min(max(k, CANDIDATES), len(references))
    while len(left):
        for row, near in zip(
            left, _candidates(queries[left], references, count, chunk), strict=True
        ):
            errors = _errors(queries[row], references[near])
            order = np.argsort(errors, kind='stable')
            first = np.sort(np.unique(owners[near[order]], return_index=True)[1])[:k]
            index[row, : len(first)] = near[order[first]]
            mse[row, : len(first)] = errors[order[first]]
        left = left[index[left, -1] < 0] if count < len(references) else left[:0]
        count = min(4 * count, len(references))
    return index, mse


def turn(images: Images, i: int) -> Images:
    """Symmetry `i` of the square: 1 upside down, 2 left to right, 4 transposed, and their sums."""
    if i & 4:
        images = images.swapaxes(1, 2)
    return images[:, :: 1 - 2 * (i & 1), :: 1 - (i & 2)]


def turns(names: Collection[str]) -> range:
    """The symmetries that augmentations of these names show a network."""
    return range(max((count for name, count in TURNS.items() if name in names), default=1))


def neighbours_turned(
    queries: Images,
    references: Images,
    symmetries: range,
    k: int = 2,
    groups: np.ndarray | None = None,
) -> tuple[Int[np.ndarray, 'n k'], Float[np.ndarray, 'n k']]:
    """`neighbours` of that turn of each query which is nearest to a reference.

    A network that was shown turned images can copy those.
    """
    turned = np.concatenate([turn(queries, i) for i in symmetries])
    index, mse = (
        x.reshape(len(symmetries), len(queries), k)
        for x in neighbours(turned, references, k, groups=groups)
    )
    best = mse[:, :, 0].argmin(0), np.arange(len(queries))
    return index[best], mse[best]


def _errors(query: UInt8[np.ndarray, 'h w 3'], others: Images) -> Distances:
    """Mean squared error to each of the others, of pixels in 0..1."""
    apart = others.astype(np.int32) - query
    return np.square(apart).reshape(len(others), -1).mean(1, dtype=np.float64) / 255**2


def _candidates(
    queries: Images, references: Images, count: int, chunk: int
) -> Int[np.ndarray, 'n c']:
    """Rows of about the nearest references, in rising order of the row."""
    best = []
    for start in range(0, len(queries), chunk):
        block = _padded(queries[start : start + chunk], chunk)
        distance = np.full((chunk, count), np.inf, np.float32)
        index = np.zeros((chunk, count), np.int64)
        for first in range(0, len(references), chunk):
            part = references[first : first + chunk]
            known = jnp.arange(chunk) < len(part)
            near, at = _block(block, _padded(part, chunk), known, min(count, chunk))
            distance = np.concatenate([distance, np.asarray(near)], axis=1)
            index = np.concatenate([index, first + np.asarray(at)], axis=1)
            keep = np.argsort(distance, axis=1, kind='stable')[:, :count]
            distance, index = (np.take_along_axis(x, keep, axis=1) for x in (distance, index))
        best.append(index)
    return np.sort(np.concatenate(best)[: len(queries)], axis=1)


def _padded(images: Images, count: int) -> jax.Array:
    return jnp.asarray(np.pad(images, ((0, count - len(images)), (0, 0), (0, 0), (0, 0))))


@functools.partial(jax.jit, static_argnames='count')
def _block(
    queries: UInt8[Array, 'a h w 3'],
    references: UInt8[Array, 'b h w 3'],
    known: Bool[Array, ' b'],
    count: int,
) -> tuple[Float[Array, 'a c'], Int[Array, 'a c']]:
    """Squared distances (less |query|²) and rows of the nearest of one block of references."""
    q, r = (
        x.reshape(len(x), -1).astype(jnp.float32) / 255 - 0.5  # centred: smaller sums
        for x in (queries, references)
    )
    product = jnp.matmul(q, r.T, precision='highest')
    distance = jnp.where(known, (r * r).sum(1), jnp.inf)[None] - 2 * product
    near, at = jax.lax.top_k(-distance, count)
    return -near, at


def nearest_features(
    queries: Float[np.ndarray, 'n d'], references: Float[np.ndarray, 'm d']
) -> tuple[Int[np.ndarray, ' n'], Distances]:
    """Row of the nearest reference of each query, and its Euclidean distance."""
    apart = cdist(queries, references)
    index = apart.argmin(1)
    return index, apart[np.arange(len(queries)), index]


def minmax(images: Images) -> Images:
    """Each image stretched to 0..255, as the published code does before it compares.

    That makes contrast larger than it is; for comparison with its figures only.
    """
    low, high = (
        f(images, axis=(1, 2, 3), keepdims=True).astype(np.float64) for f in (np.min, np.max)
    )
    scaled = (images - low) / np.maximum(high - low, 1)
    return np.rint(255 * scaled).astype(np.uint8)


def threshold(control: Distances, share: float = SHARE) -> float:
    """The distance below which `share` of the held-out real images lie from the training images."""
    return float(np.quantile(control, share))


def against_control(made: Distances, control: Distances) -> dict[str, Any]:
    """Distances of made images to the training images beside those of held-out real ones.

    `further` is the share of pairs in which the made image is further from the training images than
    the held-out one: 0.5 where both are alike, towards 0 where training images are copied. `z` is
    the Mann-Whitney statistic of it, the C_T of Meehan et al., "A non-parametric test to detect
    data-copying in generative models" (2020), in one cell: below -3 speaks for copies, or for
    images that are plainer than real ones. `p` is that of the two-sided test.
    """
    found = mannwhitneyu(made, control, method='asymptotic')
    n, m = len(made), len(control)
    further = float(found.statistic) / (n * m)
    ties = np.unique(np.concatenate([made, control]), return_counts=True)[1]
    spread = n * m / 12 * (n + m + 1 - (ties**3 - ties).sum() / ((n + m) * (n + m - 1)))
    z = (float(found.statistic) - n * m / 2) / np.sqrt(spread) if spread > 0 else 0.0
    limit = threshold(control)
    return {
        'made': _described(made),
        'heldout': _described(control),
        'further': further,
        'z': float(z),
        'p': float(found.pvalue),
        'threshold': limit,
        'below_threshold': float((made < limit).mean()),
    }


def _described(distances: Distances) -> dict[str, Any]:
    """Number, mean, standard deviation, least and quantiles."""
    quantiles = np.quantile(distances, QUANTILES)
    return {
        'n': len(distances),
        'mean': float(distances.mean()),
        'sd': float(distances.std()),
        'least': float(distances.min()),
        **{f'q{100 * q:.0f}': float(v) for q, v in zip(QUANTILES, quantiles, strict=True)},
    }


def copies(mse: Float[np.ndarray, 'n 2']) -> Bool[np.ndarray, ' n']:
    """Whether an image is a copy: at most a third as far from the nearest as from the second.

    (Yoon et al., "Diffusion probabilistic models generalize when they fail to memorize", 2023; the
    distances are Euclidean, the roots of the errors.) An image that is there to the bit always is.
    The second must be no other photograph of the same lesion, which is near, too: see `neighbours`.
    """
    return (mse[:, 0] == 0) | (np.sqrt(mse[:, 0]) < RATIO * np.sqrt(mse[:, 1]))


@dataclasses.dataclass(frozen=True)
class Examined:
    """What is known of generated images and the training images nearest to them.

    Attributes:
        results: for results.json.
        index, mse: the two nearest training images by pixels [n, 2] (of two groups), and their
            errors.
        nearest_features, distance: the nearest one by features [n], and its distance.
        control: distances of held-out images by 'pixels' and by 'features'.
    """

    results: dict[str, Any]
    index: Int[np.ndarray, 'n 2']
    mse: Float[np.ndarray, 'n 2']
    nearest_features: Int[np.ndarray, ' n']
    distance: Distances
    control: dict[str, Distances]

    def table(self, labels: Sequence[str], ids: Sequence[str]) -> str:
        """CSV: a row for each generated image. `ids` are of the training images."""
        text = io.StringIO(newline='')
        writer = csv.writer(text, lineterminator='\n')
        writer.writerow(
            ['number', 'label', 'nearest', 'mse', 'copy', 'nearest_in_features', 'distance']
        )
        found = zip(labels, copies(self.mse), strict=True)
        for k, (label, copied) in enumerate(found):
            pixels, features = ids[self.index[k, 0]], ids[self.nearest_features[k]]
            row = [k, label, pixels, f'{self.mse[k, 0]:.6g}', int(copied), features]
            writer.writerow([*row, f'{self.distance[k]:.6g}'])
        return text.getvalue()


def examine(
    made: Pictures,
    train: Pictures,
    held: Pictures,
    symmetries: range = range(1),
    stretched: bool = False,
    groups: np.ndarray | None = None,
) -> Examined:
    """Made and held-out images against the training images, by pixels and by features.

    Args:
        held: real images that were not trained on.
        symmetries: under which pixels are compared; see `turns`.
        stretched: also the mean error of the published code, of made images after `minmax`.
        groups: of the training images; see `neighbours`.
    """
    index, mse = neighbours_turned(made.images, train.images, symmetries, groups=groups)
    _, held_mse = neighbours_turned(held.images, train.images, symmetries, groups=groups)
    nearest_features_, distance = nearest_features(made.features, train.features)
    _, held_distance = nearest_features(held.features, train.features)
    control = {'pixels': held_mse[:, 0], 'features': held_distance}
    pixels = against_control(mse[:, 0], control['pixels'])
    pixels |= {'copies': copies(mse).mean(), 'heldout_copies': copies(held_mse).mean()}
    results = {'training_images': len(train.labels), 'pixels': pixels}
    results['features'] = against_control(distance, control['features'])
    if stretched:
        errors = nearest(minmax(made.images), train.images)[1]
        results['minmax'] = {'mean': float(errors.mean()), 'sd': float(errors.std())}
    return Examined(results, index, mse, nearest_features_, distance, control)
