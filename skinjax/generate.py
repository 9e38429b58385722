"""Kind 'generate': any data source, written as a folder of images that kind 'train' can read.

With `config.init_from` the images are made by the generative model of a run: see `synthesis.py`;
with `config.style` the skin of the images is given another tone: see `stylise.py`.

The work directory is the new data set: images/, masks/, records.csv and dataset.json (see
`skinjax/data/writing.py`), beside the report and `figures/contact_sheet.png`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from skinjax import config as configs
from skinjax import making, report, rundir
from skinjax.data import gallery, groups, writing
from skinjax.data.records import DataSet
from skinjax.engine.writer import read_json, write_atomic, write_json
from skinjax.pictures import beside_rows, class_rows

SIDE, COLUMNS = 96, 12  # of the pictures on the contact sheet, and how many a row has


def run(config: Any, workdir: Path) -> dict[str, Any]:
    """Write the data set of `config.data` into `workdir`; the same command continues after a stop.

    Returns:
        The contents of results.json: under 'data' the source, classes, bias variables and rows.

    Raises:
        ValueError: the directory holds something else, the source cannot be read, or there are no
            pictures in `config.beside`.
        SystemExit: after SIGTERM or Ctrl-C; what is written stays.
    """
    if 'init_from' in config:
        from skinjax import synthesis

        return synthesis.run(config, workdir)
    if 'style' in config:
        from skinjax import stylise

        return stylise.run(config, workdir)
    if rundir.done(config, workdir):
        print(f'{workdir} is done: {workdir}/report.html (delete it to run again)', flush=True)
        return read_json(workdir / 'results.json')
    source = configs.find('data', config.data.name)
    data = groups.load(source.build, config.data, config.seed, training=False)
    page = contact_sheet(_rows(source, config, data))
    with rundir.lock(workdir):
        rundir.claim(config, workdir)
        total = sum(map(len, data.splits.values()))
        there = sum(1 for _ in (workdir / writing.IMAGES).glob('*.png'))
        with making.stoppable(total, min(there, total)) as (told, stopped):
            writing.write(data, workdir, told, stopped=stopped)
        if 'skipped' in data.info:
            writing.write_skipped(workdir, data.info['skipped'])
        write_atomic(workdir / 'figures' / 'contact_sheet.png', page)
        results = {'data': data.describe(), 'seed': config.seed}
        write_json(workdir / 'results.json', results)
        report.build_run_report(workdir, data)
        write_atomic(workdir / 'DONE', f'{total} images\n')
    rows = ', '.join(f'{len(records)} {name}' for name, records in data.splits.items())
    print(f'{rows}: --config.data.root={workdir}\nreport: {workdir}/report.html', flush=True)
    return results


def contact_sheet(rows: Sequence[Sequence[np.ndarray]]) -> bytes:
    """A PNG of rows of square pictures."""
    return cv2.imencode('.png', gallery.sheet(rows)[..., ::-1])[1].tobytes()


def _rows(source: Any, config: Any, data: DataSet) -> list[list[np.ndarray]]:
    """The contact sheet: what the source shows of itself, or each class; real images below."""
    if hasattr(source, 'sheet'):
        rows = source.sheet(config.data, SIDE, COLUMNS)
    else:
        rows = class_rows(next(iter(data.splits.values())), SIDE, COLUMNS)
    return [*rows, *beside_rows(config.beside, SIDE, COLUMNS)]
