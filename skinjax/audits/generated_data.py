"""What a generative model does to artefacts, and what training on its images does to classifiers.

Two parts, each where its folders are given (Mikołajczyk, Majchrowska and Carrasco Limeros, "The
(de)biasing effect of GAN-based augmentation methods on skin lesion images", 2022):

generated   how often the detectors find each artefact in real and in generated images, by class
runs        how many predictions of classifiers trained on real, mixed or generated images switch
            when an artefact is inserted into every test image, and what F1 that costs
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skinjax import config as configs
from skinjax.audits import classifiers, generated_images, pages, switch_tables, switches
from skinjax.data import mixing
from skinjax.data.records import COMMON, Records, choices
from skinjax.document import Figure, Section
from skinjax.editors import insert, overlays
from skinjax.engine.writer import Progress
from skinjax.figures import image_grid, interval_bars


def real_data(source: str = '') -> dict[str, Any]:
    """The section of real data of a source; '' is 'synthetic'."""
    return {**COMMON, **configs.plugin('data', source or 'synthetic')}


DEFAULTS: dict[str, Any] = {
    'data': real_data(),  # real images; give its root
    'generated': '',  # folders of kind 'generate', NAME=FOLDER or FOLDER, joined by commas
    'runs': '',  # of classifiers, NAME=DIRECTORY likewise; the others are compared with the first
    'split': 'train',  # of the real data, with which generated images are compared
    'test': '',  # of the real data, on which the runs are judged; '': 'test', or else 'plain'
    'n': 1000,  # images of each class and folder that are looked at, at most; 0: all
    'image_size': 0,  # at which all are looked at; 0: of the smallest generated images
    'kinds': tuple(kind for kind in overlays.KINDS if kind != 'identity'),  # inserted artefacts
    'masks': 5,  # insertions of each kind
    'tta': 'run',  # average the eight flips and transposes: on | off | run: as the run did
    'seed': 0,  # of the data, the choice of images and the insertions
    'bootstrap': 1000,
    'examples': 3,  # images with the highest score of each detector
}
Audit = Callable[[Path], tuple[dict[str, Any], list[Section]]]


def build(config: Any) -> Audit:
    """The audit.

    Raises:
        ValueError: neither folders nor runs, two of one name, or an option out of range. Later: a
            folder of other classes or of images that are not generated, a run of another task or
            of other classes, or a split that does not exist.
        FileNotFoundError: a folder or a run does not exist.
    """
    _check(config)
    folders = named_folders(config.generated, 'generated')
    runs = named_folders(config.runs, 'runs')
    if not folders and not runs:
        raise ValueError(
            'there is nothing to audit: give folders of generated images '
            '(--config.audit.generated=NAME=FOLDER,...) or classifiers '
            '(--config.audit.runs=NAME=DIRECTORY,...)'
        )

    def audit(workdir: Path) -> tuple[dict[str, Any], list[Section]]:
        results: dict[str, Any] = {'seed': config.seed}
        sections: list[Section] = []
        if folders:
            found, section = generated_images.compared(config, folders, workdir)
            results, sections = results | found, [section]
        if runs:
            found, section = _switches(config, runs, folders, workdir)
            results, sections = results | found, [*sections, section]
        return results, sections

    return audit


def _check(config: Any) -> None:
    least = {'n': 0, 'image_size': 0, 'masks': 1, 'bootstrap': 0, 'examples': 1}
    for field, bound in least.items():
        if config[field] < bound:
            raise ValueError(f'config.audit.{field} is {config[field]}, expected at least {bound}')
    if config.tta not in (known := ('on', 'off', 'run')):
        raise ValueError(f'config.audit.tta is {config.tta!r}; {choices(config.tta, known)}')
    if unknown := [kind for kind in config.kinds if kind not in overlays.KINDS]:
        raise ValueError(
            f'config.audit.kinds: no {unknown[0]!r}; {choices(unknown[0], overlays.KINDS)}'
        )
    if config.runs and not config.kinds:
        raise ValueError('config.audit.kinds is empty: name the artefacts to insert')


def named_folders(text: str, field: str) -> dict[str, Path]:
    """Name -> folder of 'real=runs/a,runs/b'; without a name it is that of the folder.

    Raises:
        ValueError: two have one name, or a name that is no file name.
        FileNotFoundError: one does not exist.
    """
    found: dict[str, Path] = {}
    for part in filter(None, (piece.strip() for piece in text.split(','))):
        before, sign, after = part.partition('=')
        path = Path((after if sign else before).strip())
        name = before.strip() if sign else path.resolve().name
        if not re.fullmatch(r'[\w.-]+', name) or name in found:
            raise ValueError(
                f'config.audit.{field}: {name!r} cannot be the name of {path}: expected another '
                'one for each, of letters, digits, _ . and -: NAME=FOLDER'
            )
        if not path.is_dir():
            raise FileNotFoundError(f'config.audit.{field}: {path}: no such folder')
        found[name] = path
    return found


def _switches(
    config: Any, runs: dict[str, Path], folders: dict[str, Path], workdir: Path
) -> tuple[dict[str, Any], Section]:
    """What insertions do to each classifier."""
    restored = [classifiers.restore(name, path, config) for name, path in runs.items()]
    classifiers.same_rows(restored)
    first = restored[0]
    for path in folders.values():
        mixing.check_unseen(str(path), first.data)
    kinds = tuple(config.kinds)
    total = len(restored) * (1 + len(kinds) * config.masks)
    with Progress(total, unit='split') as progress:
        called = classifiers.call(restored, kinds, config.masks, config.seed, progress.update)
    classifiers.write(called, workdir / 'predictions')
    classes = first.data.classes
    rows = switches.mask_rows(called, classes)
    pages.write(workdir / 'switches.csv', rows)
    found = switches.summary(
        called, rows, first.records.groups, classes, config.bootstrap, config.seed
    )
    tables = switch_tables.tables(found)
    pages.say(tables)
    results = {
        'thresholds': {one.name: one.threshold for one in restored},
        'insertion_masks': config.masks,
        'switches': found,
    }
    text = (
        f'Every artefact was inserted {config.masks} times into each of {len(first.records)} test '
        'images, by the editor `insert`; figures are means over the insertions, sd is between '
        'them. Intervals: 95 %, bootstrap over images (groups undivided), paired. p: McNemar, over '
        'the insertions; q: after Benjamini and Hochberg. Shifts are sizes of the change of a '
        'probability in percentage points. F1 is that of the positive class, or the mean over more '
        'than two.'
    )
    drawn = _switch_figures(found, first.records, kinds, config.seed, workdir)
    return results, Section('Predictions that switch', text, tables, drawn)


def _switch_figures(
    found: list[dict[str, Any]], records: Records, kinds: Sequence[str], seed: int, workdir: Path
) -> list[Figure]:
    shares = {
        f'{row["artefact"]}, {row["classifier"]}': row['switched']
        for kind in kinds
        for row in found
        if row['artefact'] == kind
    }
    bars = interval_bars(shares, None, 'share of predictions that switch')
    pictures, titles = [], []
    for row in np.unique(np.linspace(0, len(records) - 1, 2).astype(int)).tolist():
        for kind in ('identity', *kinds):
            options = insert.options(kind=kind, seed=seed, spread=classifiers.SPREAD)
            pictures.append(insert.inserted(records, options).read(row)['image'])
            titles.append(kind if kind != 'identity' else str(records.ids[row]))
    grid = image_grid(pictures, titles, 1 + len(kinds))
    alt = 'Share of predictions that switch with each artefact, for each classifier'
    return [
        pages.figure(workdir, 'switched', bars, alt),
        pages.figure(workdir, 'insertions', grid, 'Two images with each of the artefacts'),
    ]
