"""How well hair, rulers and ink are found and removed, and what that does to clean pictures.

synthetic   lesions drawn with and without each artefact: masks, PSNR and SSIM are exact
templates   photographs of which an artefact was retouched by hand
isic2017    photographs with human flags: is more found where people saw hair, and how much is
            changed where they saw nothing?
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from skinjax import quality
from skinjax.auditing import removal_cases, removal_flags, removal_tables
from skinjax.auditing.removal_cases import COVERED, TOUCHED, Case
from skinjax.auditing.removal_tables import MAIN_METHOD, METHODS, Row, write_rows
from skinjax.data.records import choices
from skinjax.document import Figure, Section
from skinjax.editors import Editor, hair
from skinjax.engine.writer import Progress, write_atomic
from skinjax.figures import image_grid
from skinjax.tables import console_table

SOURCES = ('synthetic', 'templates', 'isic2017')
DEFAULTS: dict[str, Any] = {
    'source': 'synthetic',
    'root': '',  # folder of the templates, or of the prepared ISIC 2017
    'kinds': removal_cases.KINDS,  # of 'synthetic'
    'sizes': (128, 256),  # of 'synthetic'; 'isic2017' uses the last
    'n': 200,  # pictures of each artefact and size; of 'isic2017' at most, 0 for all
    'seed': 7,
    'bootstrap': 1000,
    'panels': 6,  # pictures in each figure, from the best to the worst
}
Audit = Callable[[Path], tuple[dict[str, Any], list[Section]]]


def build(config: Any) -> Audit:
    """The audit.

    Raises:
        ValueError: an unknown source, or one without its folder, or too few pictures.
    """
    if config.source not in SOURCES:
        raise ValueError(f'source {config.source!r}: {choices(config.source, SOURCES)}')
    if config.source != 'synthetic' and not config.root:
        raise ValueError(f'source {config.source!r} needs a folder: --config.root=FOLDER')
    least = 0 if config.source == 'isic2017' else 1
    if config.n < least:
        raise ValueError(f'config.audit.n is {config.n}, expected at least {least}')
    if config.source == 'isic2017':
        return removal_flags.flagged(config, editors())

    def audit(workdir: Path) -> tuple[dict[str, Any], list[Section]]:
        total, cases = _cases(config)
        rows, shown = measure(cases, total, editors(), config.panels)
        write_rows(workdir / 'per_image' / f'{config.source}.csv', rows)
        return _report(config, rows, shown, workdir)

    return audit


def editors() -> dict[str, Editor]:
    """Method -> the editor 'hair' with its options."""
    from ml_collections import ConfigDict

    return {
        name: hair.build(ConfigDict({**hair.DEFAULTS, **fields}))
        for name, fields in METHODS.items()
    }


def _cases(config: Any) -> tuple[int, Iterable[Case]]:
    """How many cases there are, and these."""
    if config.source == 'templates':
        cases = list(removal_cases.templates(Path(config.root)))
        return len(cases), cases
    drawn = (
        case
        for size in config.sizes
        for case in removal_cases.synthetic(config.kinds, config.n, size, config.seed)
    )
    return len(config.sizes) * len(config.kinds) * config.n, drawn


def measure(
    cases: Iterable[Case], total: int, methods: Mapping[str, Editor], panels: int
) -> tuple[list[Row], dict[str, list[tuple[float, str, list[np.ndarray]]]]]:
    """One row for each case and method (and '' for nothing done), and pictures by kind."""
    rows: list[Row] = []
    shown: dict[str, list[tuple[float, str, list[np.ndarray]]]] = {}
    with Progress(total, unit='picture') as progress:
        for count, case in enumerate(cases, 1):
            common = {
                'name': case.name,
                'kind': case.kind,
                'size': len(case.image),
                'density': float((case.coverage >= COVERED)[case.measured].mean()),
            }
            before = compared(case, case.image)
            rows.append({**common, 'method': '', **before})
            example = {'image': case.image, 'mask': np.where(case.lesion, 255, 0).astype(np.uint8)}
            for name, edit in methods.items():
                (found,) = edit([example])
                row = {**common, 'method': name, **compared(case, found['image'])}
                row |= overlap(case, found['artefact'] > 0)
                (untouched,) = edit([{**example, 'image': case.clean}])
                row |= _harm(case, untouched)
                rows.append(row)
                if name == MAIN_METHOD:
                    gain = row['psnr'] - before['psnr']
                    pictures = [case.image, _painted(case.image, found['artefact'] > 0)]
                    pictures += [found['image'], case.clean]
                    shown.setdefault(f'{case.kind} {len(case.image)}', []).append(
                        (gain, f'{case.name}: {gain:+.1f} dB', pictures)
                    )
            progress.update(count)
    return rows, {name: _spread(found, panels) for name, found in shown.items()}


def compared(case: Case, image: np.ndarray) -> Row:
    """PSNR and SSIM to the clean twin, of all pixels, of touched ones, of those in the lesion."""
    touched = (case.coverage >= TOUCHED) & case.measured
    return {
        'psnr': quality.psnr(image, case.clean, case.measured),
        'ssim': quality.ssim(image, case.clean, case.measured),
        'psnr_touched': quality.psnr(image, case.clean, touched),
        'psnr_lesion': quality.psnr(image, case.clean, touched & case.lesion),
    }


def overlap(case: Case, found: np.ndarray) -> Row:
    """Recall of covered pixels, precision (found ones that are touched), IoU with touched ones."""
    found = found & case.measured
    covered = (case.coverage >= COVERED) & case.measured
    touched = (case.coverage >= TOUCHED) & case.measured
    return {
        'recall': _share(found, covered),
        'precision': _share(touched, found),
        'iou': _share(found & touched, found | touched),
    }


def _share(part: np.ndarray, whole: np.ndarray) -> float:
    return float((part & whole).sum() / whole.sum()) if whole.any() else float('nan')


def _harm(case: Case, edited: Mapping[str, np.ndarray]) -> Row:
    """What the method does to the twin without the artefact."""
    differs = (edited['image'] != case.clean).any(axis=2)
    return {
        'clean_changed': float(differs.mean()),
        'clean_ssim': quality.ssim(edited['image'], case.clean),
    }


def _painted(image: np.ndarray, found: np.ndarray) -> np.ndarray:
    return np.where(found[..., None], np.array([0, 255, 0], np.uint8), image)


def _spread(found: list[Any], count: int) -> list[Any]:
    """`count` entries from the best to the worst."""
    ranked = sorted(found, key=lambda one: -one[0])
    return [ranked[k] for k in np.unique(np.linspace(0, len(ranked) - 1, count).astype(int))]


def _report(
    config: Any, rows: list[Row], shown: Mapping[str, list[Any]], workdir: Path
) -> tuple[dict[str, Any], list[Section]]:
    tables = [
        make(config, rows)
        for make in (removal_tables.masks, removal_tables.pictures, removal_tables.clean)
    ]
    for table in tables:
        print(f'{table.caption}\n{console_table(table.header, table.rows)}', flush=True)
    figures = []
    for name, panel in shown.items():
        pictures = [picture for _, _, row in panel for picture in row]
        titles = [t for _, title, _ in panel for t in (title, 'found', 'removed', 'without')]
        image = image_grid(pictures, titles, 4)
        write_atomic(workdir / 'figures' / f'{name.replace(" ", "_")}.png', image)
        figures.append(Figure(image, f'{name}: pictures before and after', name))
    results = {
        'source': config.source,
        'seed': config.seed,
        'n': len(rows) // (len(METHODS) + 1),
        'tables': {
            table.caption: [dict(zip(table.header, row, strict=True)) for row in table.rows]
            for table in tables
        },
    }
    text = (
        f'Recall: share of the pixels that the artefact covers by {COVERED:g} or more that were '
        f'found. Precision: share of what was found that it covers by {TOUCHED:g} or more; IoU '
        'with these. Intervals: 95 %, bootstrap over pictures.'
    )
    return results, [Section('Measures', text, tables), Section('Pictures', figures=figures)]
