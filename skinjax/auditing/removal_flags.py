"""The editor 'hair' on ISIC 2017, where people have flagged hair, rulers and ink.

Most of its limits were chosen on every other training image of `labels.csv`; these are left out,
and so is whatever has a near duplicate.
"""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from skinjax import bootstrap, quality
from skinjax.auditing.removal_tables import MAIN_METHOD, MASKS, Row, write_rows
from skinjax.data import detectors, images
from skinjax.document import Figure, Section, Table
from skinjax.editors import Editor, hair
from skinjax.engine.writer import Progress, write_atomic
from skinjax.figures import image_grid
from skinjax.tables import console_table

FLAGS = ('hair', 'ruler', 'ink')
HARMLESS = 0.001  # share of the frame below which nothing counts as found


def flagged(config: Any, methods: Mapping[str, Editor]):
    """The audit of the prepared ISIC 2017 in `config.root`.

    Raises:
        FileNotFoundError: there is no labels.csv.
    """
    root = Path(config.root)
    if not (root / 'labels.csv').is_file():
        raise FileNotFoundError(f'{root / "labels.csv"}: no such file; expected prepared ISIC 2017')

    def audit(workdir: Path) -> tuple[dict[str, Any], list[Section]]:
        table = measured_rows(root)[: config.n or None]
        rows = []
        with Progress(len(table), unit='image') as progress:
            for count, entry in enumerate(table, 1):
                rows.append(_row(entry, *_read(root, entry, config.sizes[-1]), methods))
                progress.update(count)
        write_rows(workdir / 'per_image' / 'isic2017.csv', rows)
        tables = [_detection(config, rows), _shares(rows), _harm(rows)]
        for one in tables:
            print(f'{one.caption}\n{console_table(one.header, one.rows)}', flush=True)
        figures = _figures(config, root, table, rows, methods[MAIN_METHOD], workdir)
        results = {
            'source': 'isic2017',
            'n': len(rows),
            'tables': {
                one.caption: [dict(zip(one.header, row, strict=True)) for row in one.rows]
                for one in tables
            },
        }
        text = 'Flags are those of people. Intervals: 95 %, bootstrap or Wilson.'
        return results, [Section('Measures', text, tables), Section('Pictures', figures=figures)]

    return audit


def measured_rows(root: Path) -> list[dict[str, str]]:
    """Flagged rows that no limit was chosen on: odd ones of the training split, and all others."""
    with (root / 'labels.csv').open(encoding='utf-8', newline='') as file:
        rows = list(csv.DictReader(file))
    training = [row['image_id'] for row in rows if row['split'] == 'train']
    chosen_on = set(training[::2])
    return [
        row
        for row in rows
        if row['hair'] and not row['near_dup_group'] and row['image_id'] not in chosen_on
    ]


def _read(root: Path, row: Mapping[str, str], size: int) -> tuple[np.ndarray, np.ndarray]:
    image = images.decode(root / row['image'], size)
    if not row['mask']:
        return image, np.zeros(image.shape[:2], np.uint8)
    return image, images.decode_mask(root / row['mask'], size)


def _row(
    entry: Mapping[str, str], image: np.ndarray, lesion: np.ndarray, methods: Mapping[str, Editor]
) -> Row:
    row: Row = {'id': entry['image_id'], **{name: int(float(entry[name])) for name in FLAGS}}
    found = hair.find(image, np.zeros(lesion.shape, bool), _options())
    row |= {f'found_{name}': float(mask.mean()) for name, mask in found.items()}
    row |= {
        'detector_hair': detectors.hair(image),
        'detector_ruler': detectors.ruler(image),
        'detector_ink': detectors.ink(image),
    }
    for name in MASKS:
        # Without the lesion's mask: nothing else protects the lesion.
        (edited,) = methods[name]([{'image': image}])
        differs = (edited['image'] != image).any(axis=2)
        row |= {
            f'{name}: found': float((edited['artefact'] > 0).mean()),
            f'{name}: changed': float(differs.mean()),
            f'{name}: lesion changed': float(differs[lesion > 0].mean()) if lesion.any() else None,
            f'{name}: SSIM': quality.ssim(edited['image'], image),
            f'{name}: PSNR': quality.psnr(edited['image'], image),
        }
    return row


def _options() -> Any:
    from ml_collections import ConfigDict

    return ConfigDict(hair.DEFAULTS)


def _detection(config: Any, rows: list[Row]) -> Table:
    """AUC of several scores as detectors of the flags."""
    scores = {
        'hair': ('found_hair', 'detector_hair', *(f'{name}: found' for name in MASKS)),
        'ruler': ('found_ruler', 'detector_ruler'),
        'ink': ('found_ink', 'detector_ink'),
    }
    body = []
    for flag, columns in scores.items():
        for column in columns:
            cells = []
            for chosen in (rows, [row for row in rows if flag == 'ruler' or not row['ruler']]):
                labels = np.array([row[flag] for row in chosen])
                values = np.array([row[column] for row in chosen], np.float64)
                cells.append(bootstrap.bootstrap_auc(labels, values, config.bootstrap, config.seed))
            body.append([flag, column.replace('_', ': ', 1), *cells])
    header = ('flag', 'score: share of the frame, or detector', 'AUC', 'AUC without rulers')
    return Table('Flagged against unflagged images', header, body)


def _shares(rows: list[Row]) -> Table:
    """In how many images of each flag something was found."""
    body = []
    for flag in FLAGS:
        for value in (1, 0):
            chosen = [row for row in rows if row[flag] == value]
            n, hits = len(chosen), sum(row[f'found_{flag}'] > HARMLESS for row in chosen)
            share = float(np.mean([row[f'found_{flag}'] for row in chosen])) if chosen else np.nan
            body.append([f'{flag}={value}', n, bootstrap.proportion(hits, n), 100 * share])
    header = ('images', 'n', f'more than {HARMLESS:.1%} of the frame found', 'mean share, %')
    return Table('What is found of each kind', header, body)


def _harm(rows: list[Row]) -> Table:
    """Changes to images without hair, without rulers, and without any flag of the three."""
    groups = {
        'hair=0': [row for row in rows if not row['hair']],
        'hair=0, ruler=0': [row for row in rows if not row['hair'] and not row['ruler']],
        'hair=0, ruler=0, ink=0': [row for row in rows if not any(row[name] for name in FLAGS)],
    }
    body = []
    for group, chosen in groups.items():
        for name in MASKS if chosen else ():
            changed = np.array([row[f'{name}: changed'] for row in chosen])
            inside = np.array([row[f'{name}: lesion changed'] for row in chosen], np.float64)
            ssim = np.array([row[f'{name}: SSIM'] for row in chosen])
            psnr = np.array([row[f'{name}: PSNR'] for row in chosen])
            body.append(
                [
                    *(group, len(chosen), name.split(', Telea')[0]),
                    bootstrap.proportion(int((changed == 0).sum()), len(changed)),
                    *(100 * float(np.mean(changed)), 100 * float(np.quantile(changed, 0.95))),
                    100 * float(np.nanmean(inside)) if not np.isnan(inside).all() else np.nan,
                    *(float(np.mean(ssim)), float(np.quantile(ssim, 0.05))),
                    float(np.quantile(psnr, 0.05, method='lower')),
                ]
            )
    header = (
        'images', 'n', 'method', 'unchanged', 'pixels changed, %', '95th percentile',
        'of the lesion, %', 'SSIM', '5th percentile', 'PSNR, 5th percentile',
    )  # fmt: skip
    return Table('Images in which people saw nothing to remove', header, body)


def _figures(
    config: Any,
    root: Path,
    table: list[dict[str, str]],
    rows: list[Row],
    edit: Editor,
    workdir: Path,
) -> list[Figure]:
    """Flagged images from the most to the least found, and the unflagged ones changed most."""
    share = np.array([row['found_hair'] for row in rows])
    with_hair = np.array([row['hair'] for row in rows]) == 1
    clean = ~with_hair & (np.array([row['ruler'] for row in rows]) == 0)
    ssim = np.array([row[f'{MAIN_METHOD}: SSIM'] for row in rows])
    order = np.argsort(-share, kind='stable')
    ranked = order[with_hair[order]]
    spread = ranked[np.unique(np.linspace(0, len(ranked) - 1, config.panels).astype(int))]
    worst = np.argsort(ssim, kind='stable')
    chosen = {
        'hair=1, from the most to the least found': spread,
        'hair=0 and ruler=0, the most changed': worst[clean[worst]][: config.panels],
    }
    figures = []
    for k, (title, some) in enumerate(chosen.items()):
        pictures, titles = [], []
        for row in some.tolist():
            image, _ = _read(root, table[row], config.sizes[-1])
            (edited,) = edit([{'image': image}])
            found = edited['artefact'][..., None] > 0
            painted = np.where(found, np.array([0, 255, 0], np.uint8), image)
            pictures += [image, painted, edited['image']]
            titles += [table[row]['image_id'], f'found {found.mean():.1%}', 'removed']
        if pictures:
            figures.append(Figure(image_grid(pictures, titles, 3), title, title))
            write_atomic(workdir / 'figures' / f'isic2017_{k}.png', figures[-1].image)
    return figures
