"""Records to batches: in a fixed order that depends on (seed, step) alone, from any step on.

grain runs the threads and the prefetching over whole batches; which rows a batch holds is index
arithmetic, so that any step can be asked for directly, and the batches of several processes, laid
side by side, are exactly the batch of one.
"""

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import grain
import numpy as np
from jaxtyping import Int

from skinjax.data import targeted
from skinjax.data.augment import Example, augment
from skinjax.data.balance import SAMPLINGS
from skinjax.data.records import UNKNOWN, Records, choices

Batch = dict[str, np.ndarray]

# First words of the seeds of numpy generators, so that no two uses share their numbers.
_SHUFFLE, _CELLS, _AUGMENT = range(3)  # and targeted.STREAM
_BLOCKS = 1024
# How rows are changed at random that are flagged in a column.
MARKED = {'copy': ('d4',), 'balance_view': ('vflip', 'crop')}


def train_batches(
    records: Records,
    config: Any,
    *,
    seed: int,
    bias: Mapping[str, Sequence[str]] | None = None,
    start_step: int = 0,
    batch_size: int | None = None,
    process_index: int = 0,
    process_count: int = 1,
) -> grain.DatasetIterator[Batch]:
    """Endless training batches, the first of them that of step `start_step`.

    The batch of a step is a function of (records, config, seed, step). Each epoch is a fresh
    permutation and epochs follow each other without a gap, so that every row is seen once before
    any is seen twice. With `config.sampling='class'` every label gives the same share of the rows,
    with 'group' every cell of label x `config.bias[0]` (of label alone without bias variables);
    rows whose value is unknown (-1) are in no cell and are not drawn.

    With `config.insert` an artefact is first put into a share of the images (`targeted.py`); bias
    variables of the batch that it makes true say so, by the names in `bias`. Host changes
    (`config.augment_host`) draw from (seed, position in the order). Rows with 1 in a column `copy`
    (`balance.skew`) are flipped and transposed at random, those with 1 or more in a column
    `balance_view` (`balancing`) turned upside down and cropped.

    Args:
        records: of the training split.
        config: `sampling`, `bias`, `insert`, `insert_probability`, `augment_host`, `with_mask`,
            `image_size`, `threads`, `prefetch` and `batch_size` are used.
        seed: of order and changes.
        bias: variable -> names of its values, of the data set; those without stay as they are.
        start_step: of the first batch.
        batch_size: global; default `config.batch_size`. A process gets rows
            process_index * b ... of each global batch, b = batch_size / process_count.
        process_index, process_count: of `jax`.

    Returns:
        A grain iterator; call its `close()` at the end. A batch has `image` uint8 [b, h, w, 3],
        `label` int32 [b], an int32 [b] for each bias variable, `index` int32 [b] (the row),
        `valid` bool [b] and, with `config.with_mask`, `mask` uint8 [b, h, w] and `has_mask` [b].
        Further arrays of an example, such as a second image, keep their names; every row of
        `records` must have them. Geometric changes move them with the image.

    Raises:
        ValueError: no rows, a batch size that the processes cannot share, an unknown sampling,
            kind or change. Later, from the iterator: ValueError or FileNotFoundError with the
            row's id.
    """
    size = batch_size or int(config.batch_size)
    local = _local_size(records, size, process_count)
    order = _order(records, config, seed)
    insertion = targeted.named(config, seed, bias)
    read = _reader(records, config, insertion, _changes(records, config, seed))

    def batch(step: int) -> Batch:
        start = step * size + process_index * local
        positions = np.arange(start, start + local)
        return read(order(positions), positions)

    return _iterate(batch, sys.maxsize, config, start_step)


def split_batches(
    records: Records,
    config: Any,
    batch_size: int | None = None,
    process_index: int = 0,
    process_count: int = 1,
) -> grain.DatasetIterator[Batch]:
    """Every row once, in order; the same number of batches on every process.

    The last global batch is filled up with rows of zeros that have `valid` False, `index` -1 and
    unknown (-1) bias variables. Arguments, batches and errors as in `train_batches`; nothing is
    changed at random.
    """
    size = batch_size or int(config.batch_size)
    local = _local_size(records, size, process_count)
    read = _reader(records, config)

    def batch(step: int) -> Batch:
        start = step * size + process_index * local
        rows = np.arange(start, start + local)
        return read(np.where(rows < len(records), rows, -1), rows)

    return _iterate(batch, -(-len(records) // size), config)


def _iterate(
    batch: Callable[[int], Batch], steps: int, config: Any, start_step: int = 0
) -> grain.DatasetIterator[Batch]:
    if config.threads:
        cv2.setNumThreads(0)  # the batches' threads use the cores: OpenCV's own get in their way
    # grain's default of 500 buffered elements would be 500 batches here.
    options = grain.ReadOptions(
        num_threads=config.threads,
        prefetch_buffer_size=max(config.prefetch, config.threads) if config.threads else 0,
    )
    iterator = iter(grain.MapDataset.range(steps).map(batch).to_iter_dataset(options))
    if start_step:
        grain.experimental.set_next_index(iterator, start_step)
    return iterator


def _local_size(records: Records, batch_size: int, process_count: int) -> int:
    if not len(records):
        raise ValueError('there are no rows to make batches of')
    if batch_size < 1 or batch_size % process_count:
        raise ValueError(
            f'batch_size={batch_size} cannot be shared by {process_count} processes; expected a '
            'positive multiple'
        )
    return batch_size // process_count


Order = Callable[[Int[np.ndarray, ' b']], Int[np.ndarray, ' b']]


def _order(records: Records, config: Any, seed: int) -> Order:
    """position 0, 1, ... -> row."""
    if config.sampling not in SAMPLINGS:
        raise ValueError(
            f'sampling={config.sampling!r} is unknown; {choices(config.sampling, SAMPLINGS)}'
        )
    if config.sampling == 'uniform':
        return _shuffled(np.arange(len(records)), seed, 0)
    cells = _cells(records, config)
    streams = [_shuffled(rows, seed, cell) for cell, rows in enumerate(cells)]

    @functools.lru_cache(maxsize=8)
    def turns(chunk: int) -> Int[np.ndarray, ' t']:
        # Every block of len(cells) positions has each cell once, in random order: with a fixed
        # order a process or device could always meet the same cells.
        blocks = np.tile(np.arange(len(cells)), (_BLOCKS, 1))
        return np.random.default_rng((seed, _CELLS, chunk)).permuted(blocks, axis=1).ravel()

    def order(positions: Int[np.ndarray, ' b']) -> Int[np.ndarray, ' b']:
        period = _BLOCKS * len(cells)
        chunks = positions // period
        turn = np.empty(len(positions), np.int64)
        for chunk in np.unique(chunks).tolist():
            here = chunks == chunk
            turn[here] = turns(chunk)[positions[here] % period]
        rows = np.empty(len(positions), np.int64)
        for cell, stream in enumerate(streams):
            here = turn == cell
            rows[here] = stream(positions[here] // len(cells))
        return rows

    return order


def _shuffled(rows: Int[np.ndarray, ' n'], seed: int, stream: int) -> Order:
    """The order that shuffles `rows` anew in every epoch."""

    @functools.lru_cache(maxsize=8)
    def epoch(number: int) -> Int[np.ndarray, ' n']:
        return np.random.default_rng((seed, _SHUFFLE, stream, number)).permutation(rows)

    def order(positions: Int[np.ndarray, ' b']) -> Int[np.ndarray, ' b']:
        epochs = positions // len(rows)
        result = np.empty(len(positions), np.int64)
        for number in np.unique(epochs).tolist():
            here = epochs == number
            result[here] = epoch(number)[positions[here] % len(rows)]
        return result

    return order


def _cells(records: Records, config: Any) -> list[Int[np.ndarray, ' n']]:
    """Rows of each label, or of each combination with the first bias variable, that occurs."""
    cell = records.labels.astype(np.int64)
    if config.bias and config.sampling == 'group':
        name = config.bias[0]
        if name not in records.bias:
            raise ValueError(f'bias variable {name!r} is absent; {choices(name, records.bias)}')
        values = records.bias[name].astype(np.int64)
        cell = np.where(values == UNKNOWN, UNKNOWN, cell * (values.max() + 1) + values)
    found = [np.flatnonzero(cell == number) for number in np.unique(cell[cell >= 0])]
    if not found:
        raise ValueError(f'every value of {config.bias[0]!r} is unknown: no groups to sample from')
    return found


Change = Callable[[Example, int, int], Example]


def _changes(records: Records, config: Any, seed: int) -> Change | None:
    """(example, row, position) -> the example changed at random."""
    names = tuple(config.augment_host)
    marked = [(records.flagged(column), augment(more)) for column, more in MARKED.items()]
    marked = [(rows, more) for rows, more in marked if rows.any()]
    if not names and not marked:
        return None
    change = augment(names)

    def changed(example: Example, row: int, position: int) -> Example:
        found = [more for rows, more in marked if rows[row]]
        if not names and not found:
            return example
        rng = np.random.default_rng((seed, _AUGMENT, position))
        for one in (*found, change):
            example = one(example, rng)
        return example

    return changed


def _reader(
    records: Records,
    config: Any,
    insertion: targeted.Insertion | None = None,
    change: Change | None = None,
) -> Callable[[Int[np.ndarray, ' b'], Int[np.ndarray, ' b']], Batch]:
    """(rows, positions) -> batch. Row -1 is padding."""
    size = int(config.image_size)

    @functools.cache
    def further() -> Example:
        # Of one row, since a batch that is all padding has the same arrays.
        example = read_row(records, 0, size)
        return {name: array for name, array in example.items() if name not in ('image', 'mask')}

    def read(rows: Int[np.ndarray, ' b'], positions: Int[np.ndarray, ' b']) -> Batch:
        valid = rows >= 0
        batch = {
            'image': np.zeros((len(rows), size, size, 3), np.uint8),
            'label': np.where(valid, records.labels[rows], 0).astype(np.int32),
            'index': rows.astype(np.int32),
            'valid': valid,
        }
        for name, values in records.bias.items():
            batch[name] = np.where(valid, values[rows], UNKNOWN).astype(np.int32)
        if config.with_mask:
            batch['mask'] = np.zeros((len(rows), size, size), np.uint8)
            batch['has_mask'] = np.zeros(len(rows), bool)
        for name, array in further().items():
            batch[name] = np.zeros((len(rows), *array.shape), array.dtype)
        for k in np.flatnonzero(valid).tolist():
            example = read_row(records, int(rows[k]), size)
            if insertion is not None:
                example, kind = insertion(example, str(records.ids[rows[k]]), int(positions[k]))
                for flag, value in insertion.shown(kind).items():
                    if flag in records.bias:
                        batch[flag][k] = value
            if change is not None:
                example = change(example, int(rows[k]), int(positions[k]))
            for name in ('image', *further()):
                if name not in example:
                    raise ValueError(f'{records.ids[rows[k]]}: no {name!r}, which other rows have')
                batch[name][k] = example[name]
            if config.with_mask and 'mask' in example:
                batch['mask'][k] = example['mask']
                batch['has_mask'][k] = True
        return batch

    return read


def read_row(records: Records, row: int, size: int) -> Example:
    """`records.read(row)`, image and mask of the expected size. Errors are given the row's id."""
    try:
        example = records.read(row)
    except (OSError, ValueError) as error:
        kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
        raise kind(f'{records.ids[row]}: {error}') from error
    if example['image'].shape != (size, size, 3):
        raise ValueError(
            f'{records.ids[row]}: expected an image of ({size}, {size}, 3), found '
            f'{example["image"].shape}'
        )
    if 'mask' in example and example['mask'].shape != (size, size):
        raise ValueError(
            f'{records.ids[row]}: expected a mask of ({size}, {size}), found '
            f'{example["mask"].shape}'
        )
    return example
