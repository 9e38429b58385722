"""Pictures of what a generator makes: samples, walks between latents, the closest real images."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from skinjax import figures
from skinjax.engine.objective import Variables
from skinjax.memorisation import Examined
from skinjax.sampling import Sampler, walk

Images = UInt8[np.ndarray, '_ h w 3']
COLUMNS = 10
ROWS = 5  # of a generator that does not know the classes
WALKS = 4


def grid(
    sampler: Sampler,
    variables: Variables,
    seed: int,
    classes: Sequence[str],
    real: Images,
    split: str,
) -> bytes:
    """Rows of generated images, and one of real ones.

    With `classes` there is a row for each, and a column has the same latents in all of them.
    """
    rows = {}
    for k, name in enumerate(classes or range(ROWS)):
        first = 0 if classes else k * COLUMNS
        z = sampler.latents(seed, first, COLUMNS)
        title = str(name) if classes else f'generated, {first + 1} to {first + COLUMNS}'
        rows[title] = list(sampler.of_latents(variables, z, np.full(COLUMNS, k if classes else 0)))
    at = np.linspace(0, len(real) - 1, min(COLUMNS, len(real))).astype(int)
    return figures.strips_figure({**rows, f'real images of {split}': list(real[at])})


def walks(sampler: Sampler, variables: Variables, seed: int, classes: Sequence[str]) -> bytes:
    """Rows of images on the way from one latent to another; of each class in turn."""
    ends, rows = sampler.latents(seed, 0, 2 * WALKS), {}
    for k in range(WALKS):
        label = k % len(classes) if classes else 0
        z = walk(ends[2 * k], ends[2 * k + 1], COLUMNS)
        title = f'walk {k + 1}' + (f', {classes[label]}' if classes else '')
        rows[title] = list(sampler.of_latents(variables, z, np.full(COLUMNS, label)))
    return figures.strips_figure(rows)


def closest(made: Images, train: Images, found: Examined, ids: Sequence[str], count: int) -> bytes:
    """The generated images that are nearest to a training image, with it, by both distances."""
    rows = {}
    by = {
        'pixels': (found.mse[:, 0], found.index[:, 0]),
        'features': (found.distance, found.nearest_features),
    }
    for name, (distance, index) in by.items():
        order = np.argsort(distance, kind='stable')[:count]
        near = ', '.join(f'{distance[k]:.3g}' for k in order)
        names = ', '.join(ids[int(index[k])] for k in order[:3])
        rows[f'closest by {name}: {near}'] = list(made[order])
        rows[f'their training images by {name}: {names}'] = list(train[index[order]])
    return figures.strips_figure(rows)


def distances(found: Examined) -> dict[str, bytes]:
    """Histograms of the distance to the nearest training image: generated and held-out images."""
    made = {'pixels': found.mse[:, 0], 'features': found.distance}
    labels = {'pixels': 'mean squared error of pixels', 'features': 'distance of features'}
    return {
        name: figures.distribution_figure(
            {'generated': made[name], 'held-out': held},
            f'{labels[name]} to the nearest training image',
            bins=40,
            top=float(max(made[name].max(), held.max(), 1e-9)),
        )
        for name, held in found.control.items()
    }
