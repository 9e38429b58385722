"""How often each training image was seen, and how much it counted.

The state collection `history` has an entry for every row of the training split. It is part of
every checkpoint, so that a run that was stopped goes on counting where it was, and it is updated
from sums over the global batch, so that it is the same on any number of devices. A weight of 1
means as much as in the plain mean over the batch.
"""

import csv
import io
import textwrap
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from skinjax import figures
from skinjax.data.label_noise import FLIPPED
from skinjax.data.records import DataSet
from skinjax.engine.objective import Batch, Findings, Variables

NAME = 'history'
_COUNTS = ('seen', 'ranked', 'chosen')
_SHOWN = 8  # pictures in a row
_WIDTH = 120  # letters of a line above it


def empty(rows: int) -> Variables:
    """The collection before the first step.

    seen: how often each row was in a batch. ranked: how often a curriculum decided about it, so
    not while it warms up or takes everybody; chosen: for it. weight: what the row has counted in
    all batches. loss: that of its last batch, by which it is ranked.
    """
    return {
        **{name: jnp.zeros(rows, jnp.int32) for name in _COUNTS},
        **{name: jnp.zeros(rows) for name in ('weight', 'loss')},
    }


def sums(
    batch: Batch,
    *,
    weights: Float[Array, ' b'],
    losses: Float[Array, ' b'],
    decided: Bool[Array, ' b'],
    kept: Float[Array, ' b'],
    total: Float[Array, ''],
    rows: int,
) -> dict[str, Array]:
    """What `update` needs of a batch, to be summed over the slices and devices that share it.

    Args:
        batch: with `index`, the row of each example.
        weights: [b] factor of each loss, 0 for padding.
        losses: [b] that rank the examples.
        decided: [b] whether a curriculum chose among these, see `Rule.choose`.
        kept: [b] 1 where it counts.
        total: what the sum of the weighted losses is divided by.
        rows: of the training split.
    """
    index, valid = jnp.where(batch['valid'], batch['index'], 0), batch['valid']
    counted = {'seen': valid, 'ranked': decided & valid, 'chosen': decided & valid & (kept > 0)}
    return {
        **{
            name: jnp.zeros(rows, jnp.int32).at[index].add(of.astype(jnp.int32))
            for name, of in counted.items()
        },
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
        **{name: old[name] + found[name] for name in _COUNTS},
        'weight': old['weight'] + scale * found['weight'],
        'loss': jnp.where(seen > 0, mean, old['loss']),
    }
    return {**state, NAME: new}


def findings(data: DataSet, variables: Variables, tables: Mapping[str, Any], mesh: Any) -> Findings:
    """What a run has made of its training images, up to the checkpoint that is judged.

    With train.select='best' that is not the last one: what came after it is not told.

    Files: weights_history.csv, a row for each image, most counted first; figures of the share of
    each class in it, of the images that counted most and least whenever they were seen, and, after
    a curriculum, of those that it chose always and never. Results: `weights`, the same by class.
    `never_chosen` and `always_chosen` are of the images about which a curriculum has decided
    (`ranked`). With `data.label_noise` the table says which labels are wrong, and `label_noise` has
    the same of the images with such a label (`flipped`) and of the others (`right`). Nothing after
    a run without steps.
    """
    del tables, mesh
    table = {name: np.asarray(values) for name, values in variables[NAME].items()}
    if not table['seen'].any():
        return Findings()
    each = table['weight'] / np.maximum(table['seen'], 1)
    order = np.argsort(-each, kind='stable')
    classes = _by_class(data, table)
    files: dict[str, str | bytes] = {
        'weights_history.csv': _csv(data, table, each, order),
        'figures/weights_classes.png': _bars(
            classes,
            'share of the class',
            {'share_seen': 'of the images seen', 'share': 'of the weight'},
        ),
        'figures/weights_images.png': _extremes(data, each, table['seen'], order),
    }
    if table['ranked'].any():
        parts = {'always_chosen': 'always chosen', 'never_chosen': 'never chosen'}
        shares = {
            name: {field: block[field] / max(block['ranked'], 1) for field in parts}
            for name, block in classes.items()
        }
        files['figures/weights_chosen.png'] = _bars(shares, 'share of the images', parts)
    if strips := always_and_never(data, table):
        files['figures/weights_chosen_images.png'] = figures.strips_figure(strips)
    return Findings({'weights': classes, **_by_noise(data, table)}, files)


def _bars(classes: Mapping[str, Mapping[str, Any]], axis: str, titles: Mapping[str, str]) -> bytes:
    """Fields of the block of each class beside each other."""
    values = {
        title: {name: [block[field]] for name, block in classes.items()}
        for field, title in titles.items()
    }
    return figures.comparison_figure(values, axis)


def _csv(
    data: DataSet, table: Mapping[str, np.ndarray], each: np.ndarray, order: np.ndarray
) -> str:
    train, text = data.splits['train'], io.StringIO(newline='')
    more = {FLIPPED: train.flagged(FLIPPED).astype(int)} if FLIPPED in train.columns else {}
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['id', 'label', *_COUNTS, 'weight', 'mean_weight', 'last_loss', *more])
    for row in order.tolist():
        numbers = (table['weight'][row], each[row], table['loss'][row])
        shown = [f'{number:.6g}' if table['seen'][row] else '' for number in numbers]
        counts = [int(table[name][row]) for name in _COUNTS]
        known = [train.ids[row], data.classes[train.labels[row]], *counts, *shown]
        writer.writerow([*known, *(int(flags[row]) for flags in more.values())])
    return text.getvalue()


def _by_class(data: DataSet, table: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    labels = data.splits['train'].labels
    return {name: _counted(labels == code, table) for code, name in enumerate(data.classes)}


def _by_noise(data: DataSet, table: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The same of the images whose label was replaced, and of the others, where some were."""
    train = data.splits['train']
    if FLIPPED not in train.columns:
        return {}
    flipped = train.flagged(FLIPPED)
    return {'label_noise': {FLIPPED: _counted(flipped, table), 'right': _counted(~flipped, table)}}


def _counted(own: np.ndarray, table: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Of some of the images; `chosen` is how often a curriculum took them where it decided."""
    seen, weight = (table[name].astype(np.float64) for name in ('seen', 'weight'))
    ranked = int(table['ranked'][own].sum())
    return {
        'images': int(own.sum()),
        'ranked': int((own & (table['ranked'] > 0)).sum()),
        'chosen': float(table['chosen'][own].sum() / ranked) if ranked else None,
        'always_chosen': int((own & _always(table)).sum()),
        'never_chosen': int((own & _never(table)).sum()),
        'share_seen': float(seen[own].sum() / max(seen.sum(), 1)),
        'share': float(weight[own].sum() / max(weight.sum(), 1e-12)),
        'mean_weight': float(weight[own].sum() / max(seen[own].sum(), 1)),
    }


def _always(table: Mapping[str, np.ndarray]) -> np.ndarray:
    return (table['ranked'] > 0) & (table['chosen'] == table['ranked'])


def _never(table: Mapping[str, np.ndarray]) -> np.ndarray:
    return (table['ranked'] > 0) & (table['chosen'] == 0)


def _extremes(data: DataSet, each: np.ndarray, seen: np.ndarray, order: np.ndarray) -> bytes:
    """The images that counted most and least, of those that were seen."""
    known = order[seen[order] > 0].tolist()
    count = min(_SHOWN, max(len(known) // 2, 1))
    strips = {}
    for title, rows in (('most', known[:count]), ('least', known[::-1][:count])):
        low, high = each[rows].min(), each[rows].max()
        strips |= _strip(data, f'{title}, {low:.2g} to {high:.2g}', rows, each, '.2g')
    return figures.strips_figure(strips)


def always_and_never(data: DataSet, table: Mapping[str, np.ndarray]) -> dict[str, list[np.ndarray]]:
    """Title -> images that a curriculum always chose, and never; most often decided first."""
    strips = {}
    for title, which in (('always', _always(table)), ('never', _never(table))):
        rows = np.flatnonzero(which)
        rows = rows[np.argsort(-table['ranked'][rows], kind='stable')][:_SHOWN].tolist()
        if rows:
            head = f'{title} chosen, {which.sum()} of {(table["ranked"] > 0).sum()} images; ranked'
            strips |= _strip(data, head, rows, table['ranked'], 'd')
    return strips


def _strip(
    data: DataSet, title: str, rows: list[int], numbers: np.ndarray, form: str
) -> dict[str, list[np.ndarray]]:
    """A row of pictures under their title, with the class and a number of each."""
    train = data.splits['train']
    names = ', '.join(f'{data.classes[train.labels[row]]} {numbers[row]:{form}}' for row in rows)
    title = textwrap.fill(f'{title}: {names}', _WIDTH)
    return {title: [train.read(row)['image'] for row in rows]}
