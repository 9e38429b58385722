"""The one door to data: a source's rows, checked, folded, skewed and cached as its config says."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from skinjax.data import balancing, duplicates, label_noise, mixing
from skinjax.data.balance import PLANS, SAMPLINGS, SKEW_COMPAT, associations, with_skew
from skinjax.data.records import UNKNOWN, DataSet, Records, choices
from skinjax.data.splits import check_no_leak, refold

ON_ERROR = ('raise', 'skip')


def load(
    build: Callable[[Any, int], DataSet],
    config: Any,
    seed: int,
    *,
    training: bool = True,
    classify: bool = True,
) -> DataSet:
    """The data set of a source, checked, folded and cached as `config` says.

    With `config.folds` the rows of 'train' and 'val' are pooled and divided again: 'val' is fold
    `config.fold` of a seeded, stratified and grouped k-fold, 'train' the others; further splits
    stay as they are. With `config.on_error='skip'` every image is read once, and rows whose image
    cannot be read are left out. With `config.group_duplicates` every image is read too, and near
    duplicates are one group (`duplicates.join`). Once the rows are divided, `config.label_noise`
    replaces training labels (`label_noise.with_flipped`), which later copies of an image share;
    purified copies and generated images may join the training split (`mixing.with_more`),
    `config.only` reduces all splits to one class, and with `config.skew_artefact` the training
    rows, and only those, are skewed (`balance.skew`).

    Args:
        build: of the source module.
        config: the common fields and the source's own.
        seed: of the source and of the folds.
        training: whether there must be a training set that can be learned from.
        classify: whether it is the classes that are learned.

    Returns:
        The data set. `info` has been given 'association' (Cramér's V of each bias variable with
        the label over the training rows that know it), 'notes' where there is something to tell,
        with 'skip' 'skipped': a list of (split, id, error), with `label_noise` the same name: how
        many labels of each class are wrong, with added rows 'mixed': how many of which kind each
        class has, and with `skew_artefact` 'skewed': the artefact, and how many rows were left out
        and added.

    Raises:
        ValueError, FileNotFoundError: as the source, `check_splits` and `check_no_leak`.
    """
    check_options(config)
    dataset = build(config, seed)
    info = dict(dataset.info)
    dataset, cached = _read(dataset, config, info)
    dataset = _looked_at(dataset, config, info)
    if config.folds:
        dataset = refold(dataset, config.folds, config.fold, seed)
    dataset = _with_training_rows(dataset, config, seed, cached, info)
    check_splits(dataset, config, training=training, classify=classify)
    check_no_leak(dataset.splits)
    if 'train' in dataset.splits:
        info['association'] = associations(dataset.splits['train'])
    return dataclasses.replace(dataset, info=info)


def _read(dataset: DataSet, config: Any, info: dict[str, Any]) -> tuple[DataSet, bool]:
    """The data set whose images are edited and kept in memory as asked for; whether they fit."""
    if config.purify:
        from skinjax import editing

        dataset = editing.edited_data(dataset, editing.named(config.purify))
        if config.insert:
            note = f'{config.insert!r} is inserted into training images that {config.purify!r} '
            _note(info, f'{note}(data.purify) has changed before, and does not change again')
    if not config.cache:
        return dataset, False
    if note := too_large(dataset.splits, config.image_size):
        _note(info, note)
        return dataset, False
    splits = {name: records.cached() for name, records in dataset.splits.items()}
    return dataclasses.replace(dataset, splits=splits), True


def _with_training_rows(
    dataset: DataSet, config: Any, seed: int, cached: bool, info: dict[str, Any]
) -> DataSet:
    """The data set with other training labels, more or fewer training rows, as asked for."""
    if config.label_noise:
        dataset, facts = label_noise.with_flipped(dataset, config.label_noise, seed)
        info['label_noise'] = facts
        wrong = sum(facts['flipped'].values())
        _note(info, f'{wrong} of {facts["rows"]} training labels are wrong on purpose')
    if any(config[field] for field in mixing.FIELDS):
        dataset, info['mixed'] = mixing.with_more(dataset, config, cache=cached)
        _note(info, *mixing.remarks(config))
    if config.only:
        dataset = mixing.reduced(dataset, config.only)
        if 'mixed' in info:
            info['mixed'] = {config.only: info['mixed'][config.only]}
    if config.skew_artefact:
        dataset, info['skewed'] = with_skew(dataset, config)
    return dataset


def _looked_at(dataset: DataSet, config: Any, info: dict[str, Any]) -> DataSet:
    """The data set without unreadable images and with near duplicates as one group, if asked for.

    Reads every image; `info` is given 'skipped' and notes, as `load` says.
    """
    if config.on_error == 'skip':
        dataset, info['skipped'] = without_unreadable(dataset)
        if skipped := info['skipped']:
            first = f'{skipped[0][1]!r} of {skipped[0][0]}: {skipped[0][2]}'
            _note(info, f'{len(skipped)} unreadable images are left out, the first is {first}')
    if config.group_duplicates:
        splits, joined = duplicates.join(dataset.splits, config.group_duplicates)
        dataset = dataclasses.replace(dataset, splits=splits)
        if joined:
            note = f'{len(joined)} pairs of near duplicates count as one group, the closest is '
            _note(info, note + ' and '.join(joined[0]))
    return dataset


def _note(info: dict[str, Any], *notes: str) -> None:
    if notes:
        info['notes'] = [*info.get('notes', ()), *notes]


def too_large(splits: Mapping[str, Records], size: int) -> str:
    """A note if all images would fill more than half of the machine's memory, else ''."""
    if not hasattr(os, 'sysconf'):
        return ''  # Windows
    need = sum(len(records) for records in splits.values()) * size * size * 3
    have = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    if 2 * need <= have:
        return ''
    return f'images are not kept in memory: {need / 2**30:.1f} GiB of {have / 2**30:.1f} GiB'


def check_options(config: Any) -> None:
    """ValueError for a common option that is impossible whatever the data are."""
    listed = {
        'sampling': SAMPLINGS,
        'on_error': ON_ERROR,
        'skew_compat': SKEW_COMPAT,
        'balance': ('', *PLANS),
    }
    for field, known in listed.items():
        if config[field] not in known:
            raise ValueError(f'data.{field}={config[field]!r}; {choices(config[field], known)}')
    least_of = {'image_size': 1, 'batch_size': 1, 'threads': 0, 'prefetch': 0, 'skew_copies': 0}
    for field, least in least_of.items():
        if config[field] < least:
            raise ValueError(f'data.{field} must be at least {least}, found {config[field]}')
    if not 0 <= config.label_noise < 1:
        raise ValueError(f'data.label_noise={config.label_noise}; expected 0 (none) to below 1')
    if not 0 <= config.group_duplicates <= 64:
        raise ValueError(
            f'data.group_duplicates={config.group_duplicates}; expected 0 (off) to 64 bits'
        )
    if not 0 <= config.insert_probability <= 1:
        raise ValueError(
            f'data.insert_probability={config.insert_probability}; expected 0 (never) to 1 (always)'
        )
    if config.insert:
        from skinjax.data import targeted  # opens OpenCV only where it is used

        targeted.named(config, seed=0)
    if config.folds and not (config.folds >= 2 and 0 <= config.fold < config.folds):
        raise ValueError(
            f'data.folds={config.folds} and data.fold={config.fold}; expected folds of at least 2 '
            'and fold from 0 to folds - 1'
        )


def check_splits(
    dataset: DataSet, config: Any, *, training: bool = True, classify: bool = True
) -> None:
    """ValueError if a split cannot be used, naming it and what to change.

    No split is empty and every bias variable of `config.bias` exists; labels and bias values lie
    within the names of the data set; generated images are in 'train' alone, unless
    `config.allow_synthetic` says otherwise. With `training`, 'train' and 'val' exist, 'train' has
    as many rows as a batch, and, with `classify`, every split has rows of at least two classes.
    """
    for name in config.bias:
        if name not in dataset.bias:
            raise ValueError(f'bias variable {name!r} is absent; {choices(name, dataset.bias)}')
    for split, records in dataset.splits.items():
        if not len(records):
            raise ValueError(f'split {split!r} is empty')
        _check_range(split, 'label', records.labels, len(dataset.classes), least=0)
        for name, values in records.bias.items():
            _check_range(split, name, values, len(dataset.bias[name]), least=UNKNOWN)
        if split != 'train' and not config.allow_synthetic:
            _check_real(split, records)
    if not training:
        return
    for split in ('train', 'val'):
        if split not in dataset.splits:
            raise ValueError(
                f'there is no split {split!r}; {choices(split, dataset.splits)}; add it, or '
                'divide the training rows with data.folds'
            )
    for split, records in dataset.splits.items():
        if classify and len(np.unique(records.labels)) < 2:  # there is no AUC of it
            only = dataset.classes[int(records.labels[0])]
            raise ValueError(
                f'split {split!r} has one class only, {only!r}; expected at least two: more images '
                'of another class, of three groups at least, or a column that names their split'
            )
    train = dataset.splits['train']
    if config.batch_size > len(train):
        raise ValueError(
            f'data.batch_size={config.batch_size} is more than the {len(train)} training rows: set '
            f'--config.data.batch_size={1 << max(len(train).bit_length() - 2, 0)}'
        )


def _check_real(split: str, records: Records) -> None:
    made = records.flagged(balancing.SYNTHETIC)
    if made.any():
        raise ValueError(
            f'split {split!r} has {int(made.sum())} generated images (column '
            f'{balancing.SYNTHETIC!r}), such as {str(records.ids[made][0])!r}, and figures of them '
            "say nothing about patients: leave them in 'train', or set data.allow_synthetic=True"
        )


def _check_range(split: str, name: str, values: np.ndarray, count: int, *, least: int) -> None:
    outside = (values < least) | (values >= count)
    if outside.any():
        raise ValueError(
            f'split {split!r}: {name} {values[outside][0]} at row {int(outside.argmax())} is out '
            f'of range; expected {least} to {count - 1}'
        )


def without_unreadable(dataset: DataSet) -> tuple[DataSet, list[tuple[str, str, str]]]:
    """Reads every image once and leaves out the rows where that fails.

    A row of a paired split takes its partner with it.

    Returns:
        The data set, and (split, id, error) of each row left out.
    """
    skipped = []
    good = {split: np.ones(len(records), bool) for split, records in dataset.splits.items()}
    for split, records in dataset.splits.items():
        for row in range(len(records)):
            try:
                records.read(row)
            except (OSError, ValueError) as error:
                good[split][row] = False
                skipped.append((split, str(records.ids[row]), str(error)))
    for _ in dataset.pairs:  # once more for each pair: pairs may share a split
        for one, other in dataset.pairs.values():
            good[one] = good[other] = good[one] & good[other]
    splits = {split: records.select(good[split]) for split, records in dataset.splits.items()}
    return dataclasses.replace(dataset, splits=splits), skipped
