"""How often each training image was seen, and how much it counted.

The state collection `history` has an entry for every row of the training split. It is part of
every checkpoint, so that a run that was stopped goes on counting where it was, and it is updated
from sums over the global batch, so that it is the same on any number of devices. A weight of 1
means as much as in the plain mean over the batch.
"""

import csv
import io
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from skinjax import figures
from skinjax.data.records import DataSet
from skinjax.engine.objective import Batch, Findings, Variables

NAME = 'history'
_SHOWN = 8  # pictures of the images that count most, and least


def empty(rows: int) -> Variables:
    """The collection before the first step.

    seen: how often each row was in a batch. weight: what it has counted in all of them.
    loss: that of its last batch, by which it is ranked.
    """
    return {
        'seen': jnp.zeros(rows, jnp.int32),
        'weight': jnp.zeros(rows),
        'loss': jnp.zeros(rows),
    }


def sums(
    batch: Batch,
    weights: Float[Array, ' b'],
    losses: Float[Array, ' b'],
    total: Float[Array, ''],
    rows: int,
) -> dict[str, Array]:
    """What `update` needs of a batch, to be summed over the slices and devices that share it.

    Args:
        batch: with `index`, the row of each example.
        weights: [b] factor of each loss, 0 for padding.
        losses: [b] that rank the examples.
        total: what the sum of the weighted losses is divided by.
        rows: of the training split.
    """
    index, valid = jnp.where(batch['valid'], batch['index'], 0), batch['valid']
    return {
        'seen': jnp.zeros(rows, jnp.int32).at[index].add(valid.astype(jnp.int32)),
        'weight': jnp.zeros(rows).at[index].add(weights),
        'loss': jnp.zeros(rows).at[index].add(jnp.where(valid, losses, 0)),
        'total': total,
    }


def update(state: Variables, found: dict[str, Array]) -> Variables:
    """Add a batch of M rows: a weight becomes M w / total, so that 1 is that of the plain mean."""
    old, seen = state[NAME], found['seen']
    scale = seen.sum().astype(jnp.float32) / jnp.maximum(found['total'], 1e-12)
    mean = found['loss'] / jnp.maximum(seen, 1).astype(jnp.float32)
    new = {
        'seen': old['seen'] + seen,
        'weight': old['weight'] + scale * found['weight'],
        'loss': jnp.where(seen > 0, mean, old['loss']),
    }
    return {**state, NAME: new}


def findings(data: DataSet, variables: Variables, tables: Mapping[str, Any], mesh: Any) -> Findings:
    """What a run has made of its training images.

    Files: weights_history.csv, a row for each image, most counted first; two figures, the share of
    each class in it and the images that counted most and least whenever they were seen. Results:
    `weights`, the same by class, with the number of images that were seen and have never counted.
    Nothing after a run without steps.
    """
    del tables, mesh
    table = {name: np.asarray(values) for name, values in variables[NAME].items()}
    if not table['seen'].any():
        return Findings()
    each = table['weight'] / np.maximum(table['seen'], 1)
    order = np.argsort(-each, kind='stable')
    classes = _by_class(data, table)
    shares = {
        title: {name: [block[field]] for name, block in classes.items()}
        for title, field in (('of the images seen', 'share_seen'), ('of the weight', 'share'))
    }
    files: dict[str, str | bytes] = {
        'weights_history.csv': _csv(data, table, each, order),
        'figures/weights_classes.png': figures.comparison_figure(shares, 'share of the class'),
        'figures/weights_images.png': _extremes(data, each, table['seen'], order),
    }
    return Findings({'weights': classes}, files)


def _csv(
    data: DataSet, table: Mapping[str, np.ndarray], each: np.ndarray, order: np.ndarray
) -> str:
    train, text = data.splits['train'], io.StringIO(newline='')
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['id', 'label', 'seen', 'weight', 'mean_weight', 'last_loss'])
    for row in order.tolist():
        numbers = (table['weight'][row], each[row], table['loss'][row])
        shown = [f'{number:.6g}' if table['seen'][row] else '' for number in numbers]
        name = data.classes[train.labels[row]]
        writer.writerow([train.ids[row], name, int(table['seen'][row]), *shown])
    return text.getvalue()


def _by_class(data: DataSet, table: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    labels, blocks = data.splits['train'].labels, {}
    seen, weight = (table[name].astype(np.float64) for name in ('seen', 'weight'))
    for code, name in enumerate(data.classes):
        own = labels == code
        blocks[name] = {
            'images': int(own.sum()),
            'never_counted': int((own & (seen > 0) & (weight == 0)).sum()),
            'share_seen': float(seen[own].sum() / max(seen.sum(), 1)),
            'share': float(weight[own].sum() / max(weight.sum(), 1e-12)),
            'mean_weight': float(weight[own].sum() / max(seen[own].sum(), 1)),
        }
    return blocks


def _extremes(data: DataSet, each: np.ndarray, seen: np.ndarray, order: np.ndarray) -> bytes:
    """The images that counted most and least, of those that were seen."""
    train = data.splits['train']
    known = order[seen[order] > 0].tolist()
    count = min(_SHOWN, max(len(known) // 2, 1))
    strips = {}
    for title, rows in (('most', known[:count]), ('least', known[::-1][:count])):
        low, high = each[rows].min(), each[rows].max()
        images = [train.read(row)['image'] for row in rows]
        names = ', '.join(f'{data.classes[train.labels[row]]} {each[row]:.2g}' for row in rows)
        strips[f'{title}, {low:.2g} to {high:.2g}: {names}'] = images
    return figures.strips_figure(strips)
