"""Kind 'inspect': what a data set holds and what is wrong with it, before anything is trained.

Every image is read once. Nothing that is found stops the inspection: missing and unreadable files,
groups divided between splits and duplicates are all listed. The work directory holds

    results.json     all counts        problems.csv      images that are missing or unreadable
    report.html      the page          duplicates.csv    pairs of equal or nearly equal images
    figures/         its pictures      skipped.csv       with data.on_error='skip': rows left out
                                       detected.csv      with detect: artefacts found by detectors
"""

import csv
import dataclasses
import functools
import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skinjax import config as configs
from skinjax import overview, panels, rundir, synopsis
from skinjax.data import balance, counts, detected, detectors, groups, splits, survey, writing
from skinjax.data.counts import Findings
from skinjax.data.files import names_in, other_case
from skinjax.data.records import COMMON, DataSet, concatenate
from skinjax.engine.writer import Progress, duration, read_json, write_atomic, write_json

# Fields of config.data that change the rows or the images.
CHANGING = (
    'skew_artefact', 'group_duplicates', 'purify', 'add_purified', 'add_generated', 'balance',
    'only', 'label_noise',
)  # fmt: skip
PROBLEMS = ('id', 'split', 'file', 'kind', 'problem')
DUPLICATES = (
    'id', 'other_id', 'distance', 'kind', 'split', 'other_split', 'label', 'other_label',
    'same_group', 'leak',
)  # fmt: skip

Row = Mapping[str, Any]


def run(config: Any, workdir: Path) -> dict[str, Any]:
    """Inspect the data set of `config.data` and write what is found into `workdir`.

    Returns:
        The contents of results.json.

    Raises:
        ValueError: the directory holds something else, or the table of the source is not as
            described.
        FileNotFoundError: there is no table.
    """
    if rundir.done(config, workdir):
        print(f'{workdir} is done: {workdir}/report.html (delete it to run again)', flush=True)
        return read_json(workdir / 'results.json')
    data = load(config)
    with rundir.lock(workdir):
        rundir.claim(config, workdir)
        begun = time.monotonic()
        with Progress(sum(map(len, data.splits.values())), unit='image') as progress:
            found = examine(config, data, progress.update)
        if config.detect:
            found = _detect(config, found, workdir)
        seconds = time.monotonic() - begun
        problems, pairs = [*list_problems(found, config.data.root)], [*list_pairs(found)]
        results = describe(config, found, problems, pairs)
        write_csv(workdir / 'problems.csv', PROBLEMS, problems)
        write_csv(workdir / 'duplicates.csv', DUPLICATES, pairs)
        if config.data.on_error == 'skip':
            left_out = [(p['split'], p['id'], p['problem']) for p in problems]
            writing.write_skipped(workdir, left_out)
        panels.draw(workdir / 'figures', found)
        write_json(workdir / 'results.json', results)
        overview.write_page(workdir, results, configs.to_json(config), problems, pairs)
        write_atomic(workdir / 'DONE', f'{progress.total} images\n')
    print(synopsis.summary(results, problems), flush=True)
    print(f'{progress.total} images in {duration(seconds)}; report: {workdir}/report.html')
    return results


def load(config: Any) -> DataSet:
    """The data set as its source builds it, and divided into folds where `config.data` says so.

    What `groups.load` would refuse is not refused, and no file need exist.

    Raises:
        ValueError: an impossible option, one that changes the rows for training, or a table that is
            not as described.
        FileNotFoundError: there is no table.
    """
    groups.check_options(config.data)
    if config.detect and config.data.image_size < detectors.SIDE:
        raise ValueError(
            f'the detectors look at {detectors.SIDE} pixels, and data.image_size is '
            f'{config.data.image_size}: add --config.data.image_size={detectors.SIDE}'
        )
    for field in CHANGING:
        if value := config.data[field]:
            raise ValueError(
                f'data.{field}={value!r} changes the data for training; an inspection looks at '
                f'them as they are: leave it at {COMMON[field]!r}'
            )
    lenient = configs.override(config, {'data.on_error': 'skip'}).data
    data = configs.find('data', lenient.name).build(lenient, config.seed)
    if lenient.folds:
        data = splits.refold(data, lenient.folds, lenient.fold, config.seed)
    return data


def examine(config: Any, data: DataSet, told: Callable[[int], None]) -> Findings:
    """Reads every image of `data`; `told` hears the number of images read so far."""
    records = concatenate([*data.splits.values()])
    names = np.repeat([*data.splits], [len(part) for part in data.splits.values()])
    found = survey.survey(
        records,
        len(data.classes),
        config.data.image_size,
        _reference(names),
        config.data.threads,
        told,
    )
    variables = counts.variables(data, records, found)
    pairs = survey.alike(found, names, records.groups, config.distance, config.correlation)
    return Findings(data, records, names, found, variables, pairs)


def _detect(config: Any, found: Findings, workdir: Path) -> Findings:
    """Writes detected.csv, and adds what was detected to the variables."""
    records, rows = found.records, np.flatnonzero(found.survey.good)
    if not len(rows):
        return found
    with Progress(len(rows), unit='image') as progress:
        columns = detected.table(records, rows, config.data.threads, progress.update)
    more = detected.variables(columns, rows, len(records))
    columns = {'id': columns.pop('id'), 'split': found.splits[rows], **columns}
    lists = (
        [f'{v:.6g}' for v in c] if c.dtype.kind == 'f' else c.tolist() for c in columns.values()
    )
    table = [dict(zip(columns, cells, strict=True)) for cells in zip(*lists, strict=True)]
    write_csv(workdir / 'detected.csv', tuple(columns), table)
    return dataclasses.replace(found, variables={**found.variables, **more})


def _reference(names: np.ndarray) -> np.ndarray:
    """The training rows, or all rows where there are none."""
    return names == 'train' if 'train' in names else np.ones(len(names), bool)


def describe(
    config: Any, found: Findings, problems: Sequence[Row], pairs: Sequence[Row]
) -> dict[str, Any]:
    """The contents of results.json, with the rows of problems.csv and duplicates.csv counted."""
    data, records, names = found.data, found.records, found.splits
    reference = _reference(names)
    missing = int(found.survey.missing.sum())
    return {
        'data': data.describe(),
        'seed': config.seed,
        'about': _about(data, config),
        'reference': 'train' if 'train' in names else 'all splits',
        'refused': [*_refusals(data, config, len(problems), missing)],
        'problems': {'missing': missing, 'unreadable': len(problems) - missing},
        'classes': counts.by_class(records.labels, names, data.classes),
        'groups': counts.grouping(records.groups, names),
        'files': counts.files(found.survey),
        'masks': counts.masks(found.survey, records.labels, data.classes),
        'duplicates': _duplicates(config, pairs),
        'variables': {
            name: counts.by_value(one, records.labels, names, data.classes)
            for name, one in found.variables.items()
        },
        'strengths': {
            name: balance.cramers_v(records.labels[reference], one.codes[reference])
            for name, one in found.variables.items()
        },
        'between': counts.between(found.variables, reference),
        'colour': _colour(found, reference),
    }


def _about(data: DataSet, config: Any) -> str:
    """What the data set says of itself, or the first lines of its source."""
    text = data.info.get('description') or configs.find('data', config.data.name).__doc__ or ''
    return ' '.join(str(text).partition('\n\n')[0].split())


def _refusals(data: DataSet, config: Any, unreadable: int, missing: int) -> Iterator[str]:
    """Why training would not begin, in its words."""
    options = configs.override(config, {'data.batch_size': 1}).data  # of training, not of the data
    for check in (
        lambda: groups.check_splits(data, options),
        lambda: splits.check_no_leak(data.splits),
    ):
        try:
            check()
        except ValueError as error:
            yield str(error)
    if not unreadable or config.data.on_error != 'raise':
        return
    if 2 * unreadable > (total := sum(map(len, data.splits.values()))):
        yield (  # to leave them out would hide a mistake
            f'{unreadable} of {total} images cannot be read, {missing} of them are missing: check '
            "data.root and the names in the table before you leave them out by data.on_error='skip'"
        )
    else:
        yield f"{unreadable} images cannot be read; data.on_error='skip' leaves them out"


def list_problems(found: Findings, root: str) -> Iterator[Row]:
    """Rows of problems.csv; files in `root` are named from there on."""
    records, seen, home = found.records, found.survey, Path(root).resolve()
    listed = functools.cache(names_in)
    for row in np.flatnonzero(~seen.good):
        file, problem = '' if records.files is None else str(records.files[row]), seen.errors[row]
        if root and file and Path(file).is_relative_to(home):
            file = Path(file).relative_to(home).as_posix()
            if seen.missing[row] and (other := other_case(home, file, listed)):
                problem += f'; there is {other!r}'
        kind = 'missing' if seen.missing[row] else 'unreadable'
        cells = (str(records.ids[row]), str(found.splits[row]), file, kind, problem)
        yield dict(zip(PROBLEMS, cells, strict=True))


def list_pairs(found: Findings) -> Iterator[Row]:
    """Rows of duplicates.csv."""
    records, names = found.records, found.splits
    for pair in found.pairs:
        rows = (pair.one, pair.other)
        cells = (
            *(str(records.ids[row]) for row in rows),
            pair.distance,
            pair.kind,
            *(str(names[row]) for row in rows),
            *(found.data.classes[records.labels[row]] for row in rows),
            pair.same_group,
            pair.leak,
        )
        yield dict(zip(DUPLICATES, cells, strict=True))


def _duplicates(config: Any, pairs: Sequence[Row]) -> dict[str, Any]:
    kinds = {kind: sum(p['kind'] == kind for p in pairs) for kind in survey.KINDS}
    return {
        'distance': config.distance,
        'correlation': config.correlation,
        **kinds,
        'leaks': sum(p['leak'] for p in pairs),
        'leaks_between_groups': sum(p['leak'] and not p['same_group'] for p in pairs),
        'conflicts': sum(p['label'] != p['other_label'] for p in pairs),
    }


def _colour(found: Findings, reference: np.ndarray) -> dict[str, Any]:
    seen = found.survey
    means = seen.class_means.mean((1, 2)) / 255
    return {
        'rows': 'train' if 'train' in found.splits else 'all splits',
        'images': int((seen.good & reference).sum()),
        'mean': seen.mean.tolist(),
        'std': seen.std.tolist(),
        'classes': {
            name: means[k].tolist()
            for k, name in enumerate(found.data.classes)
            if seen.class_counts[k]
        },
    }


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Row]) -> None:
    """A table, whole or not at all; yes and no as 1 and 0."""
    text = io.StringIO(newline='')
    writer = csv.DictWriter(text, header, lineterminator='\n')
    writer.writeheader()
    for row in rows:
        writer.writerow({k: int(v) if isinstance(v, bool) else v for k, v in row.items()})
    write_atomic(path, text.getvalue())
