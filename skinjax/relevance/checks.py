"""Whether the maps of a run can be believed: both checks, with its own programs and batches."""

import functools
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from skinjax import making
from skinjax.data.choosing import some_of_each
from skinjax.data.records import Records
from skinjax.predictions import Predictions
from skinjax.relevance import faithfulness as deletion
from skinjax.relevance import randomisation as randomised

if TYPE_CHECKING:
    from skinjax.explain import Setting


def sanity(setting: 'Setting', table: Predictions) -> dict[str, Any]:
    """Rank correlations of the maps with those of randomised weights, and some of the maps."""
    rows = some_of_each(table.labels, setting.config.sanity)
    if not len(rows):
        return {}
    records, seed = setting.records.select(rows), setting.config.seed
    images = _pixels(records)
    made, targets = setting.mapper, table.columns['target'][rows]
    normal = setting.net.images(jnp.asarray(images))
    layers = randomised.units(made.subject, setting.variables, normal)
    again = functools.partial(made, records=records, targets=targets)
    calls = 1 + min(randomised.DEPTHS, len(layers))
    with making.counted(again, calls, 'randomised map') as told:
        steps = list(randomised.cascade(told, setting.variables, layers, seed))
    return {'sanity': randomised.summary(layers, steps, seed), 'cascade': (images, steps)}


def faithfulness(setting: 'Setting', table: Predictions, maps: np.ndarray) -> dict[str, Any]:
    """Curves of the target's probability while cells are deleted and inserted."""
    config = setting.config
    rows = some_of_each(table.labels, config.faithfulness)
    if not len(rows):
        return {}
    targets = table.columns['target'][rows]

    def chance(images):
        chances = _chances(setting, images)
        if chances.shape[1] == 1:
            return np.where(targets == 1, chances[:, 0], 1 - chances[:, 0])
        return chances[np.arange(len(chances)), targets]

    images = _pixels(setting.records.select(rows))
    with making.counted(chance, deletion.CALLS, 'point') as told:
        found = deletion.curves(told, images, maps[rows], config.fill, config.seed)
    block = {'n': len(rows), 'fill': config.fill, **deletion.summary(found, config.seed)}
    return {'faithfulness': block, 'curves': found}


def _chances(setting: 'Setting', images: np.ndarray) -> np.ndarray:
    """Probabilities [n, c] of images, in batches of the size of the maps."""
    made, found = setting.mapper, []
    size = made.batch_size
    for start in range(0, len(images), size):
        part = images[start : start + size]
        padded = np.pad(part, ((0, size - len(part)), (0, 0), (0, 0), (0, 0)))
        batch = made.mesh.put_batch({'image': padded, 'label': np.zeros(size, np.int32)})
        facts = setting.facts(setting.variables, batch['image'], batch['label'])
        found.append(np.asarray(facts['chances'])[: len(part)])
    return np.concatenate(found)


def _pixels(records: Records) -> np.ndarray:
    return np.stack([records.read(row)['image'] for row in range(len(records))])
