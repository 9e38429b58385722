"""Tables of the audit 'artefact_removal': means over pictures with bootstrap intervals."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skinjax.bootstrap import Interval, interval
from skinjax.document import Table
from skinjax.engine.writer import write_atomic

Row = dict[str, Any]
# Of the editor 'hair'; the robust ones differ in their fills alone, but for the last.
METHODS: dict[str, dict[str, Any]] = {
    'paper': {'mode': 'paper'},
    'paper, threshold 10': {'mode': 'paper', 'threshold': 10.0},
    'robust, closing': {'fill': 'closing', 'protect_lesion': False},
    'robust, Navier-Stokes': {'fill': 'ns', 'protect_lesion': False},
    'robust, Telea': {'protect_lesion': False},
    'robust, Telea, lesion protected': {},
}
MAIN_METHOD = 'robust, Telea'
MASKS = ('paper', 'paper, threshold 10', MAIN_METHOD)  # methods that find other pixels


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Writes a CSV file with every column that any row has."""
    text = io.StringIO(newline='')
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, names, lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(path, text.getvalue())


def mean(values: Sequence[float], config: Any) -> Interval:
    """Mean over pictures with its bootstrap interval; what is not defined is left out."""
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    if not known.size:
        return interval(float('nan'), known)
    draws = np.random.default_rng(config.seed).integers(
        0, known.size, (config.bootstrap, known.size)
    )
    return interval(float(known.mean()), known[draws].mean(axis=1))


def _groups(rows: list[Row], terciles: bool) -> Iterable[tuple[str, str, list[Row]]]:
    """Kind (hair in three equal parts by density, if asked), size and their rows."""
    for kind, size in dict.fromkeys((row['kind'], row['size']) for row in rows):
        chosen = [row for row in rows if (row['kind'], row['size']) == (kind, size)]
        if not (terciles and kind == 'hair'):
            yield kind, str(size), chosen
            continue
        limits = np.quantile([row['density'] for row in chosen], [1 / 3, 2 / 3])
        for k, name in enumerate(('sparse', 'medium', 'dense')):
            part = [r for r in chosen if np.searchsorted(limits, r['density']) == k]
            yield f'hair, {name}', str(size), part


def masks(config: Any, rows: list[Row]) -> Table:
    """Recall, precision and IoU of the masks; hair in thirds by density."""
    names = ('recall', 'precision', 'iou')
    body = []
    for kind, size, chosen in _groups(rows, True):
        for method in MASKS:
            values = [row for row in chosen if row['method'] == method]
            density = float(np.mean([row['density'] for row in values])) if values else np.nan
            body.append(
                [kind, size, len(values), 100 * density, method.split(', Telea')[0]]
                + [mean([row[name] for row in values], config) for name in names]
            )
    header = ('artefact', 'size', 'n', 'covered, %', 'method', *names)
    return Table('Masks against the exact coverage', header, body)


def pictures(config: Any, rows: list[Row]) -> Table:
    """PSNR and SSIM of each method, and of doing nothing."""
    names = {
        'PSNR': 'psnr',
        'SSIM': 'ssim',
        'PSNR where touched': 'psnr_touched',
        'PSNR in the lesion where touched': 'psnr_lesion',
    }
    body = []
    for kind, size, chosen in _groups(rows, False):
        for method in ('', *METHODS):
            values = [row for row in chosen if row['method'] == method]
            body.append(
                [kind, size, method or 'nothing removed']
                + [mean([row[name] for row in values], config) for name in names.values()]
            )
    return Table(
        'Pictures against their twins without the artefact',
        ('artefact', 'size', 'method', *names),
        body,
    )


def clean(config: Any, rows: list[Row]) -> Table:
    """What the methods do to pictures without the artefact."""
    body = []
    if config.source == 'synthetic':  # whose twins are the same for every artefact
        rows = [row for row in rows if row['kind'] == config.kinds[0]]
    for kind, size, chosen in _groups(rows, False):
        for method in MASKS:
            values = [row for row in chosen if row['method'] == method]
            changed = [100 * row['clean_changed'] for row in values]
            ssim = [row['clean_ssim'] for row in values]
            tails = float(np.quantile(changed, 0.95)), float(np.quantile(ssim, 0.05))
            name = method.split(', Telea')[0]
            body.append([f'{kind} (twins without)', size, name, mean(changed, config), *tails])
    header = ('pictures', 'size', 'method', 'pixels changed, %', '95th percentile')
    return Table(
        'The twins without the artefact, edited', (*header, '5th percentile of SSIM'), body
    )
