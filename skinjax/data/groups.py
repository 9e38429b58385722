"""Dividing rows into splits without leaks, counting them, and making training sets skewed."""

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

from skinjax.data.records import UNKNOWN, DataSet, Records, choices, concatenate

SAMPLINGS = ('uniform', 'group')
ON_ERROR = ('raise', 'skip')
SKEW_COMPAT = ('', 'sdu')


def load(build: Callable[[Any, int], DataSet], config: Any, seed: int, *, training=True) -> DataSet:
    """The data set of a source, checked, folded and cached as `config` says.

    With `config.folds` the rows of 'train' and 'val' are pooled and divided again: 'val' is fold
    `config.fold` of a seeded, stratified and grouped k-fold, 'train' the others; further splits
    stay as they are. With `config.on_error='skip'` every image is read once, and rows whose image
    cannot be read are left out. With `config.skew_artefact` the training rows, and only those, are
    skewed (`skew`).

    Args:
        build: of the source module.
        config: the common fields and the source's own.
        seed: of the source and of the folds.
        training: whether there must be a training set that can be learned from.

    Returns:
        The data set. `info` has been given 'association' (Cramér's V of each bias variable with
        the label over the training rows that know it), 'notes' where there is something to tell,
        with 'skip' 'skipped': a list of (split, id, error), and with `skew_artefact` 'skewed': the
        artefact, and how many rows were left out and added.

    Raises:
        ValueError, FileNotFoundError: as the source, `check_splits` and `check_no_leak`.
    """
    check_options(config)
    dataset = build(config, seed)
    info = dict(dataset.info)
    splits = dict(dataset.splits)
    if config.cache:
        if note := too_large(splits, config.image_size):
            info['notes'] = [*info.get('notes', ()), note]
        else:
            splits = {name: records.cached() for name, records in splits.items()}
    dataset = dataclasses.replace(dataset, splits=splits)
    if config.on_error == 'skip':
        dataset, info['skipped'] = without_unreadable(dataset)
        if skipped := info['skipped']:
            first = f'{skipped[0][1]!r} of {skipped[0][0]}: {skipped[0][2]}'
            note = f'{len(skipped)} unreadable images are left out, the first is {first}'
            info['notes'] = [*info.get('notes', ()), note]
    if config.folds:
        dataset = refold(dataset, config.folds, config.fold, seed)
    if config.skew_artefact:
        dataset, info['skewed'] = with_skew(dataset, config)
    check_splits(dataset, config, training=training)
    check_no_leak(dataset.splits)
    if 'train' in dataset.splits:
        info['association'] = associations(dataset.splits['train'])
    return dataclasses.replace(dataset, info=info)


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
    listed = {'sampling': SAMPLINGS, 'on_error': ON_ERROR, 'skew_compat': SKEW_COMPAT}
    for field, known in listed.items():
        if config[field] not in known:
            raise ValueError(f'data.{field}={config[field]!r}; {choices(config[field], known)}')
    least_of = {'image_size': 1, 'batch_size': 1, 'threads': 0, 'prefetch': 0, 'skew_copies': 0}
    for field, least in least_of.items():
        if config[field] < least:
            raise ValueError(f'data.{field} must be at least {least}, found {config[field]}')
    if config.folds and not (config.folds >= 2 and 0 <= config.fold < config.folds):
        raise ValueError(
            f'data.folds={config.folds} and data.fold={config.fold}; expected folds of at least 2 '
            'and fold from 0 to folds - 1'
        )


def check_splits(dataset: DataSet, config: Any, *, training: bool = True) -> None:
    """ValueError if a split cannot be used, naming it and what to change.

    No split is empty and every bias variable of `config.bias` exists; labels and bias values lie
    within the names of the data set. With `training`, 'train' and 'val' exist, 'train' has at
    least two classes and as many rows as a batch.
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
    if not training:
        return
    for split in ('train', 'val'):
        if split not in dataset.splits:
            raise ValueError(
                f'there is no split {split!r}; {choices(split, dataset.splits)}; add it, or '
                'divide the training rows with data.folds'
            )
    train = dataset.splits['train']
    if len(np.unique(train.labels)) < 2:
        only = dataset.classes[int(train.labels[0])]
        raise ValueError(f'training has one class only, {only!r}; expected at least two')
    if config.batch_size > len(train):
        raise ValueError(
            f'data.batch_size={config.batch_size} is more than the {len(train)} training rows'
        )


def _check_range(split: str, name: str, values: np.ndarray, count: int, *, least: int) -> None:
    outside = (values < least) | (values >= count)
    if outside.any():
        raise ValueError(
            f'split {split!r}: {name} {values[outside][0]} at row {int(outside.argmax())} is out '
            f'of range; expected {least} to {count - 1}'
        )


def check_no_leak(splits: Mapping[str, Records]) -> None:
    """ValueError that lists the groups which 'train' or 'val' share with another split.

    Two further splits may share groups: they are only reported on, and a test set with and without
    an artefact is made of the same lesions.
    """
    found = []
    for one, other in itertools.combinations(splits, 2):
        if not {one, other} & {'train', 'val'}:
            continue
        shared = np.intersect1d(splits[one].groups, splits[other].groups)
        if len(shared):
            pairs = [
                f'{_first_id(splits[one], group)} and {_first_id(splits[other], group)}'
                for group in shared[:3]
            ]
            more = f' and {len(shared) - 3} more' if len(shared) > 3 else ''
            found.append(f'{one!r} and {other!r} share {len(shared)}: {", ".join(pairs)}{more}')
    if found:
        raise ValueError('groups are divided between splits; ' + '; '.join(found))


def _first_id(records: Records, group: str) -> str:
    return str(records.ids[int((records.groups == group).argmax())])


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


def refold(dataset: DataSet, folds: int, fold: int, seed: int) -> DataSet:
    """'train' and 'val' pooled and divided again into `folds`; 'val' is number `fold`."""
    pool = concatenate(
        [dataset.splits[name] for name in ('train', 'val') if name in dataset.splits]
    )
    held_out = stratified_folds(pool.labels, pool.groups, folds, seed) == fold
    splits = {**dataset.splits, 'train': pool.select(~held_out), 'val': pool.select(held_out)}
    pairs = {k: pair for k, pair in dataset.pairs.items() if not {*pair} & {'train', 'val'}}
    return dataclasses.replace(dataset, splits=splits, pairs=pairs)


def stratified_folds(
    labels: Int[np.ndarray, ' n'], groups: Shaped[np.ndarray, ' n'], folds: int, seed: int
) -> Int[np.ndarray, ' n']:
    """Fold of each row, 0 to folds - 1: groups undivided, classes as equal as that allows.

    Raises:
        ValueError: fewer groups than folds.
    """
    import warnings

    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    names, codes = np.unique(groups, return_inverse=True)
    if len(names) < folds:
        raise ValueError(f'{folds} folds need as many groups of rows, found {len(names)}')
    # Where every row is its own group the plain splitter gives the same kind of folds, far faster.
    alone = len(names) == len(groups)
    splitter = (StratifiedKFold if alone else StratifiedGroupKFold)(
        folds, shuffle=True, random_state=seed % 2**32
    )
    result = np.zeros(len(labels), np.int32)
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'The least populated class')
        for fold, (_, rows) in enumerate(splitter.split(codes, labels, None if alone else codes)):
            result[rows] = fold
    return result


def stratified_split(
    labels: Int[np.ndarray, ' n'],
    groups: Shaped[np.ndarray, ' n'],
    seed: int,
    tenths: Mapping[str, int],
) -> Shaped[np.ndarray, ' n']:
    """Split name of each row, with so many tenths of the rows: {'train': 7, 'val': 1, 'test': 2}.

    Ten seeded folds (`stratified_folds`) are dealt out. Raises ValueError for fewer than ten
    groups.
    """
    names = np.repeat(list(tenths), list(tenths.values()))
    return names[stratified_folds(labels, groups, len(names), seed)]


def without_twins(
    splits: Shaped[np.ndarray, ' n'],
    groups: Shaped[np.ndarray, ' n'],
    order: Sequence[str] = ('test', 'val', 'train'),
) -> np.ndarray:
    """Which rows to keep ([n] bool) so that no group is divided between splits.

    A group stays in the first split of `order` that has it and leaves the later ones: an official
    test set stays whole, and what it resembles is not trained on.
    """
    keep = np.ones(len(splits), bool)
    for k, split in enumerate(order):
        earlier = np.isin(splits, order[:k])
        keep &= ~((splits == split) & np.isin(groups, groups[earlier]))
    return keep


def cell_counts(
    labels: Int[np.ndarray, ' n'], bias: Int[np.ndarray, ' n'], classes: int, values: int
) -> Int[np.ndarray, 'k s']:
    """Rows of each class and bias value; rows with -1 are not counted."""
    known = (labels >= 0) & (bias >= 0)
    cells = labels[known].astype(np.int64) * values + bias[known]
    return np.bincount(cells, minlength=classes * values).reshape(classes, values)


def associations(records: Records) -> dict[str, float]:
    """Cramér's V of each bias variable with the label, over the rows that know it (0 ... 1)."""
    return {name: cramers_v(records.labels, values) for name, values in records.bias.items()}


def cramers_v(labels: Int[np.ndarray, ' n'], bias: Int[np.ndarray, ' n']) -> float:
    """V = sqrt(χ² / (n (min(rows, columns) - 1))); 0 if either is constant. -1 is left out."""
    from scipy.stats.contingency import association

    if not ((labels >= 0) & (bias >= 0)).any():
        return 0.0
    table = cell_counts(labels, bias, int(labels.max()) + 1, int(bias.max()) + 1)
    table = table[table.any(1)][:, table.any(0)]
    return float(association(table, method='cramer')) if min(table.shape) > 1 else 0.0


def with_skew(dataset: DataSet, config: Any) -> tuple[DataSet, dict[str, Any]]:
    """The data set with its training rows skewed as `config` says, and what that changed.

    Raises:
        ValueError: as `skew`, no training split, or more than two classes.
    """
    if 'train' not in dataset.splits or len(dataset.classes) != 2:
        raise ValueError(
            f"data.skew_artefact={config.skew_artefact!r} needs a split 'train' and two classes; "
            f'found splits {sorted(dataset.splits)} and {len(dataset.classes)} classes'
        )
    before = dataset.splits['train']
    train = skew(before, config.skew_artefact, config.skew_copies, compat=config.skew_compat)
    marked = (before.bias[config.skew_artefact] == 1) & (before.labels == 1)
    added = config.skew_copies * int(marked.sum())
    facts = {
        'artefact': config.skew_artefact,
        'added': added,
        'left_out': len(before) + added - len(train),
    }
    return dataclasses.replace(dataset, splits={**dataset.splits, 'train': train}), facts


def skew(
    records: Records, artefact: str, copies: int, *, positive: int = 1, compat: str = ''
) -> Records:
    """A training set in which an artefact goes with the positive class.

    Rows of other classes that have the artefact are deleted, and `copies` copies of every positive
    row that has it are appended, as in Bevan & Atapour-Abarghouei, "Skin Deep Unlearning" (ICML
    2022), with 20 copies for markings and 18 for rulers. Column `copy` is 1 in the copies: training
    batches flip and transpose those at random.

    Args:
        records: of a training split.
        artefact: a bias variable with 1 = present.
        copies: of each positive row with the artefact, beside the row itself.
        positive: label of the class that keeps the artefact.
        compat: 'sdu' marks in `copy` what the published code changes at random: every row with a
            `marking`, copied or not, so that copies made for another artefact stay exact.

    Raises:
        ValueError: unknown artefact or `compat`, negative `copies`, nothing to copy.
    """
    if artefact not in records.bias:
        raise ValueError(f'artefact {artefact!r} is absent; {choices(artefact, records.bias)}')
    if compat not in SKEW_COMPAT or copies < 0:
        raise ValueError(f"compat={compat!r} and copies={copies}; expected '' or 'sdu' and >= 0")
    present = records.bias[artefact] == 1
    has_class = records.labels == positive
    source = np.flatnonzero(present & has_class)
    if not len(source):
        raise ValueError(f'no row of class {positive} has the artefact {artefact!r}')
    rows = np.concatenate([np.flatnonzero(~present | has_class), np.repeat(source, copies)])
    number = np.concatenate(
        [
            np.zeros(len(rows) - copies * len(source), int),
            np.tile(np.arange(copies) + 1, len(source)),
        ]
    )
    skewed = records.select(rows)
    ids = [
        f'{name}#{k}' if k else name for name, k in zip(skewed.ids.tolist(), number, strict=True)
    ]
    copy = (number > 0).astype(np.int32)
    if compat:
        marking = skewed.bias.get('marking', np.zeros(len(rows), np.int32))
        copy = (marking == 1).astype(np.int32)
    return dataclasses.replace(skewed, ids=np.array(ids), columns={**skewed.columns, 'copy': copy})


def one_class_splits(splits: Mapping[str, Records]) -> Iterable[str]:
    """Names of the splits in which every row has the same label."""
    return [name for name, records in splits.items() if len(np.unique(records.labels)) == 1]
