"""Kind 'prepare': any data source, decoded once and written as ArrayRecord files.

The work directory is the new data set. Source `prepared` reads it, and so do tfds and grain:

    shards/          the files, with the description of tfds     records.csv     labels, splits ...
    shards.json      what each file must be                      dataset.json    classes, bias, ...
    skipped.csv      with data.on_error='skip': rows left out    report.html     with some images

The same command continues a run that was stopped or killed, and repairs one whose files are gone or
damaged; the files are byte for byte those of a run that was left alone.
"""

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np

from skinjax import config as configs
from skinjax import report, rundir
from skinjax.data import cloud, examples, groups, shards, unpack, writing
from skinjax.data.parallel import Stopped
from skinjax.data.records import DataSet, choices
from skinjax.engine.startup import Interrupts
from skinjax.engine.writer import Progress, read_json, write_atomic, write_json

ENCODINGS = ('jpeg', 'png')
FREE = ('archives', 'copy_to', 'workers')  # fields that do not change what is written


def run(config: Any, workdir: Path) -> dict[str, Any]:
    """Prepare the data set of `config.data` in `workdir`.

    Returns:
        The contents of results.json: under 'data' the source, classes, bias variables and rows,
        under 'files' their number and bytes.

    Raises:
        ValueError: the directory holds something else, an option is impossible, an archive is
            unsafe or damaged, or the source cannot be read; without data.on_error='skip' also an
            image that cannot be: names the row and the file.
        SystemExit: after SIGTERM or Ctrl-C; finished files stay.
    """
    _check(config)
    workdir = cloud.local(workdir, '--workdir')
    if rundir.done(config, workdir, FREE) and not damaged(workdir):
        print(f'{workdir} is done: {workdir}/report.html (delete it to run again)', flush=True)
        _copy(config, workdir)
        return read_json(workdir / 'results.json')
    for name in filter(None, config.archives.split(',')):
        if unpack.unpack(cloud.local(name, 'archives'), config.data.root or '.'):
            print(f'{name}: unpacked into {config.data.root}', flush=True)
    data = load(config)
    if 'purified' in data.info:
        print('note: masks of what an editor has removed are not stored', flush=True)
    planned = shards.plan(data, config.shard_rows)
    writing.check(data)
    with rundir.lock(workdir):
        rundir.claim(config, workdir, FREE)
        (workdir / 'DONE').unlink(missing_ok=True)
        for path in workdir.glob('.*.tmp'):  # of a process that was killed
            path.unlink()
        facts = _write(config, data, planned, workdir)
        data, left_out = without(data, facts)
        results = _finish(config, data, left_out, facts, workdir)
    rows = ', '.join(f'{len(records)} {name}' for name, records in data.splits.items())
    if left_out:
        print(f'{len(left_out)} images are left out: {workdir}/skipped.csv', flush=True)
    print(f'{rows}: --config.data.root={workdir}\nreport: {workdir}/report.html', flush=True)
    _copy(config, workdir)
    return results


def _check(config: Any) -> None:
    if config.encoding not in ENCODINGS:
        raise ValueError(f'encoding={config.encoding!r}; {choices(config.encoding, ENCODINGS)}')
    if not 1 <= config.quality <= 100:
        raise ValueError(f'quality must be from 1 to 100, found {config.quality}')
    if config.shard_rows < 1 or config.workers < 0:
        raise ValueError(
            f'expected shard_rows of at least 1 and workers of at least 0, found '
            f'{config.shard_rows} and {config.workers}'
        )
    if config.archives and not config.data.root:
        raise ValueError('archives are unpacked into a folder; give it with --config.data.root')
    if config.data.root:
        cloud.local(config.data.root, 'data.root')
    if config.copy_to:
        cloud.check(config.copy_to)


def damaged(workdir: Path) -> list[str]:
    """What is wrong with the files of a finished run, by their sizes."""
    facts = read_json(workdir / shards.FACTS)
    found = [shards.damage(workdir, name, fact) for name, fact in facts.items()]
    tables = (shards.FACTS, writing.TABLE, writing.FACTS, 'results.json')
    found += [f'{name} is missing' for name in tables if not (workdir / name).is_file()]
    return [problem for problem in found if problem]


def load(config: Any) -> DataSet:
    """The rows to write. What cannot be read is found later, as it is written.

    With data.on_error='skip' all images are read beforehand only where a row that is left out
    matters to others: to its counterfactual partner, to groups of duplicates, folds or copies.
    """
    source = configs.find('data', config.data.name)
    data = source.build(config.data, config.seed)
    fields: dict[str, Any] = {'data.cache': False}
    others = (config.data.group_duplicates, config.data.folds, config.data.skew_artefact)
    if config.data.on_error == 'skip' and not (data.pairs or any(others)):
        fields['data.on_error'] = 'raise'
    values = configs.override(config, fields).data
    return groups.load(lambda *_: data, values, config.seed, training=False)


def _write(
    config: Any, data: DataSet, planned: list[shards.Shard], workdir: Path
) -> dict[str, Any]:
    total = sum(len(shard.rows) for shard in planned)
    kept = shards.kept(workdir, data, planned)
    start = sum(len(shard.rows) for shard in planned if shard.name in kept)
    if start:
        print(f'continuing: {start} of {total} images are there', flush=True)
    with Interrupts() as interrupts, Progress(total, start, unit='image') as progress:
        try:
            return shards.write(
                data,
                planned,
                workdir,
                form(config),
                kept,
                workers=config.workers or os.cpu_count() or 1,
                skip=config.data.on_error == 'skip',
                told=progress.update,
                stopped=lambda: interrupts.signal,
            )
        except Stopped:
            number = interrupts.signal or 0
    print(f'signal {number}: stopped; the same command continues from here', flush=True)
    raise SystemExit(128 + number)


def form(config: Any) -> examples.Form:
    """How the config wants pixels to be stored."""
    data = config.data
    return examples.Form(data.image_size, config.encoding, config.quality, data.with_mask)


def without(data: DataSet, facts: dict[str, Any]) -> tuple[DataSet, list[tuple[str, str, str]]]:
    """The rows that were written, and (split, id, error) of the others."""
    splits, left_out = dict(data.splits), [*data.info.get('skipped', ())]
    for split, records in data.splits.items():
        skipped = [
            (int(row), str(error))
            for fact in facts.values()
            if fact['split'] == split
            for row, error in fact['skipped']
        ]
        left_out += [(split, str(records.ids[row]), error) for row, error in skipped]
        if len(skipped) == len(records):
            raise ValueError(f'split {split!r}: no image can be read, the first: {skipped[0][1]}')
        keep = np.ones(len(records), bool)
        keep[[row for row, _ in skipped]] = False
        splits[split] = records if keep.all() else records.select(keep)
    return dataclasses.replace(data, splits=splits), left_out


def _finish(
    config: Any,
    data: DataSet,
    left_out: list[tuple[str, str, str]],
    facts: dict[str, Any],
    workdir: Path,
) -> dict[str, Any]:
    """Everything beside the files, DONE last."""
    stored = {
        'source': config.data.name,
        'image_size': config.data.image_size,
        'geometry': config.data.get('geometry', 'squash'),
        'encoding': config.encoding,
    }
    info = {**data.info, 'prepared': stored}
    info.pop('skipped', None)
    data = dataclasses.replace(data, info=info)
    examples.describe(data, facts, workdir / shards.FOLDER, form(config))
    writing.write_table(data, workdir)
    if left_out:
        writing.write_skipped(workdir, left_out)
    else:
        (workdir / 'skipped.csv').unlink(missing_ok=True)
    size = sum(fact['bytes'] for fact in facts.values())
    results = {
        'data': data.describe(),
        'seed': config.seed,
        'files': {'number': len(facts), 'bytes': size, 'left_out': len(left_out)},
    }
    write_json(workdir / 'results.json', results)
    report.build_run_report(workdir, data)
    write_atomic(workdir / 'DONE', f'{sum(map(len, data.splits.values()))} images\n')
    return results


def _copy(config: Any, workdir: Path) -> None:
    """A copy of the finished directory at `config.copy_to`."""
    if not config.copy_to:
        return
    files = sorted(path for path in workdir.rglob('*') if path.is_file())
    names = [str(path.relative_to(workdir)) for path in files if path.name[0] != '.']
    names.remove('DONE')
    copied = cloud.copy(workdir, config.copy_to, [*names, 'DONE'])
    print(f'{copied} files copied to {config.copy_to}', flush=True)
