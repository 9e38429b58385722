"""Kind 'purify': a data set whose images editors have changed, as a folder that kind 'train' reads.

The work directory is the new data set: images/, masks/ (lesions), artefacts/ (what was removed),
records.csv and dataset.json (see `skinjax/data/writing.py`), beside the report with pictures before
and after. The same command continues a run that was stopped or killed.
"""

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np

from skinjax import config as configs
from skinjax import editing, figures, making, report, rundir
from skinjax.data import groups, images, writing
from skinjax.data.records import DataSet, Records
from skinjax.engine.writer import read_json, write_atomic, write_json

FREE = ('workers',)  # fields that do not change what is written
SIDE, SHOWN = 160, 16  # pixels of a picture, and how many images are shown before and after
MARK = (255, 0, 255)  # colour of what was removed


def run(config: Any, workdir: Path) -> dict[str, Any]:
    """Edit the data set of `config.data` by the editors of `config.chain`, in order.

    The table has three more columns: `editors`, `source_image` (the file's path below data.root)
    and `removed`, the share of the image that editors marked as artefact.

    Returns:
        The contents of results.json: under 'data' the source, classes, bias variables and rows,
        under 'removed' the mean share of each split.

    Raises:
        ValueError: the directory holds something else, an option is impossible, or the source or
            an image cannot be read.
        FileNotFoundError: an image, or a run that an editor needs, does not exist.
        SystemExit: after SIGTERM or Ctrl-C; what is written stays.
    """
    _check(config)
    if rundir.done(config, workdir, FREE):
        print(f'{workdir} is done: {workdir}/report.html (delete it to run again)', flush=True)
        return read_json(workdir / 'results.json')
    edit = editing.chain(config)
    source = configs.find('data', config.data.name)
    data = groups.load(source.build, config.data, config.seed, training=False)
    data = _with_provenance(data, config)
    with rundir.lock(workdir):
        rundir.claim(config, workdir, FREE)
        _write(config, data, edit, workdir)
        if 'skipped' in data.info:
            writing.write_skipped(workdir, data.info['skipped'])
        removed = writing.with_shares(workdir, 'artefact', 'removed', config.data.image_size)
        results = {'data': data.describe(), 'seed': config.seed, 'removed': removed}
        _panels(data, workdir)
        write_json(workdir / 'results.json', results)
        report.build_run_report(workdir)
        write_atomic(workdir / 'DONE', f'{sum(map(len, data.splits.values()))} images\n')
    rows = ', '.join(f'{len(records)} {name}' for name, records in data.splits.items())
    print(f'{rows}: --config.data.root={workdir}\nreport: {workdir}/report.html', flush=True)
    return results


def _check(config: Any) -> None:
    if not config.chain:
        raise ValueError('config.chain is empty: name the editors, such as hair')
    if config.data.purify:
        raise ValueError(
            f'config.data.purify is {config.data.purify!r}: name all editors in config.chain'
        )
    if config.workers < 0:
        raise ValueError(f'config.workers must be at least 0, found {config.workers}')


def _with_provenance(data: DataSet, config: Any) -> DataSet:
    """The data set with the names of the editors, and of each source image, beside its rows."""

    def more(records: Records) -> Records:
        before = records.columns.get('editors', np.full(len(records), ''))  # of an earlier run
        names = ['+'.join(filter(None, (name, *config.chain))) for name in before.tolist()]
        new = {'editors': np.array(names), **making.source_images(records, config.data.root)}
        return dataclasses.replace(records, columns={**records.columns, **new})

    info = {**data.info, 'purified': [*data.info.get('purified', ()), *config.chain]}
    splits = {name: more(records) for name, records in data.splits.items()}
    return dataclasses.replace(data, splits=splits, info=info)


def _write(config: Any, data: DataSet, edit: Any, workdir: Path) -> None:
    there = sum(1 for _ in (workdir / writing.IMAGES).glob('*.png'))
    total = sum(map(len, data.splits.values()))
    with making.stoppable(total, min(there, total)) as (told, stopped):
        writing.write(
            data,
            workdir,
            told,
            edit=edit,
            workers=config.workers or os.cpu_count() or 1,
            stopped=stopped,
        )


def _panels(data: DataSet, workdir: Path) -> None:
    """Before, mask and after, of images from those that lost most to those that lost nothing."""
    table = writing.read_rows(workdir)
    order = np.argsort([-float(row['removed'] or 0) for row in table], kind='stable')
    chosen = np.unique(np.linspace(0, len(table) - 1, min(SHOWN, len(table))).astype(int))
    at = {
        str(name): (records, row)
        for records in data.splits.values()
        for row, name in enumerate(records.ids.tolist())
    }
    strips: dict[str, list[np.ndarray]] = {'before': [], 'removed': [], 'after': []}
    for cells in (table[order[k]] for k in chosen):
        records, row = at[cells['id']]
        before = images.fit(records.read(row)['image'], SIDE)
        after = images.decode(workdir / cells['image'], SIDE)
        marked = before.copy()
        if cells.get('artefact'):  # no column where no editor marked anything
            marked[images.decode_mask(workdir / cells['artefact'], SIDE) > 0] = MARK
        for strip, picture in zip(strips.values(), (before, marked, after), strict=True):
            strip.append(picture)
    tiles = [tile for strip in zip(*strips.values(), strict=True) for tile in strip]
    titles = [name for _ in chosen for name in strips]
    write_atomic(workdir / 'figures' / 'before_after.png', figures.image_grid(tiles, titles, 6))
