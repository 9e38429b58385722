"""Artefacts in generated images and in the real ones that they are to stand for."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skinjax import config as configs
from skinjax import document
from skinjax.auditing import classifiers, pages, prevalence
from skinjax.auditing.prevalence import REAL, Looked
from skinjax.data import generated, groups, mixing
from skinjax.data.records import DataSet, Records, concatenate
from skinjax.data.writing import write_csv
from skinjax.document import Figure, Section
from skinjax.engine.writer import Progress
from skinjax.figures import interval_bars


def compared(
    config: Any, folders: Mapping[str, Path], workdir: Path
) -> tuple[dict[str, Any], Section]:
    """Artefacts in real images and in those of each folder: for results.json, and the report.

    Args:
        config: of the audit 'generated_data'.
        folders: name -> folder of kind 'generate'.
        workdir: where tables and figures go.

    Raises:
        ValueError: a folder is called 'real' or does not fit the real data, or these have no split
            `config.split`.
        FileNotFoundError: a folder has no table, or a file that it names does not exist.
    """
    if REAL in folders:
        raise ValueError(f'config.audit.generated: {REAL!r} is the name of the real images')
    size = config.image_size or min(generated.side(path) for path in folders.values())
    data = _real(config, size)
    looked = _looked(_chosen(config, data, folders, size), config.data.threads)
    limits = prevalence.limits(looked[0])
    real, *others = (prevalence.with_subtypes(one, limits) for one in looked)
    for one in (real, *others):
        _write_detected(workdir / 'per_image' / f'{one.name}.csv', one, data.classes)
    found = prevalence.rows(real, others, data.classes)
    agreed = prevalence.agreement(real, data, config.bootstrap, config.seed)
    pages.write(workdir / 'prevalence.csv', found)
    tables = prevalence.tables(found)
    tables += [prevalence.agreement_table(agreed)] if agreed else []
    pages.say(tables)
    remarks = _remarks(config, folders, size)
    remarks += [weak] if (weak := prevalence.remark(agreed)) else []
    for remark in remarks:
        print(remark, flush=True)
    results = {'image_size': size, 'limits': limits, 'prevalence': found, 'detectors': agreed}
    results |= {'remarks': remarks} if remarks else {}
    drawn = _prevalence_figures([real, *others], data.classes, config.examples, workdir)
    text = (
        f'All images are looked at in {size} x {size} pixels, the real ones too. Intervals: 95 %; '
        "Wilson for shares, Katz for ratios. p: Fisher's exact test, q: after Benjamini and "
        'Hochberg. The detectors are no annotators: what they find in generated images can be '
        'something else that looks like it.'
    )
    text = '\n\n'.join((text, *_told(limits), *remarks))
    return results, Section('Artefacts in real and generated images', text, tables, drawn)


def _remarks(config: Any, folders: Mapping[str, Path], size: int) -> list[str]:
    """What tells the images of each folder from the real ones."""
    data = configs.override(config.data, {'image_size': size})
    return [f'{text}.' for path in folders.values() for text in generated.differences(path, data)]


def _told(limits: Mapping[str, float]) -> list[str]:
    """A sentence about the sub-types, where there are some."""
    if not limits:
        return []
    listed = ', '.join(f'{name!r} from {limit:.3g}' for name, limit in limits.items())
    return [
        f'Sub-types are images whose score is high: {listed}. No such limit is published; each is '
        f'the {100 * prevalence.STRONG:g}th percentile of the scores of the real images in which '
        'the detector finds the artefact.'
    ]


def _real(config: Any, size: int) -> DataSet:
    """The real data at this image size."""
    section = configs.override(config.data, {'image_size': size, 'cache': False})
    source = configs.find('data', section.name)
    return groups.load(source.build, section, config.seed, training=False)


def _chosen(
    config: Any, data: DataSet, folders: Mapping[str, Path], size: int
) -> dict[str, tuple[Records, np.ndarray]]:
    """Name -> the images that are looked at, and their labels; real ones first."""
    records = classifiers.split_of(data, config.split, 'split')
    parts = {REAL: (records, records.labels)}
    parts |= {name: made(path, size, data.classes) for name, path in folders.items()}
    rows = {
        name: prevalence.sample(labels, config.n, config.seed)
        for name, (_, labels) in parts.items()
    }
    return {
        name: (part.select(rows[name]), labels[rows[name]])
        for name, (part, labels) in parts.items()
    }


def made(folder: Path, size: int, classes: Sequence[str]) -> tuple[Records, np.ndarray]:
    """The images of a folder of kind 'generate', and their labels as `classes` number them.

    Raises:
        ValueError: an image that is not generated, or a class that is not among `classes`.
        FileNotFoundError: there is no table, or a file that it names does not exist.
    """
    data = generated.read(folder, image_size=size, cache=False)
    rows = concatenate([*data.splits.values()])
    real = ~rows.flagged(mixing.SYNTHETIC)
    if real.any():
        raise ValueError(
            f'config.audit.generated: {int(real.sum())} of the {len(rows)} images of {folder} are '
            f'not generated (column {mixing.SYNTHETIC!r}), such as {str(rows.ids[real][0])!r}'
        )
    where = f'config.audit.generated: {folder}'
    return rows, generated.coded(where, 'class', data.classes, classes, rows.labels)


def _looked(parts: dict[str, tuple[Records, np.ndarray]], threads: int) -> list[Looked]:
    """The detectors on all parts."""
    found, before = [], 0
    with Progress(sum(len(part) for part, _ in parts.values()), unit='image') as progress:
        for name, (part, labels) in parts.items():
            start = before
            found.append(
                prevalence.look(
                    name, part, labels, threads, lambda n, start=start: progress.update(start + n)
                )
            )
            before += len(part)
    return found


def _write_detected(path: Path, looked: Looked, classes: Sequence[str]) -> None:
    """Writes the columns of the detectors, with the class."""
    columns = {'id': looked.table['id'], 'label': np.array(classes)[looked.labels]}
    columns |= {name: column for name, column in looked.table.items() if name != 'id'}
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    write_csv(path, [dict(zip(columns, row, strict=True)) for row in rows])


def _prevalence_figures(
    sets: Sequence[Looked], classes: Sequence[str], count: int, workdir: Path
) -> list[Figure]:
    figures = []
    for label, name in enumerate(classes):
        shares, counts = prevalence.shares(sets, label)
        if len(shares) > len(sets[0].names):  # otherwise there are real images alone
            picture = interval_bars(shares, counts, 'share of images', name)
            alt = f'Share of images of class {name} with each artefact, for each set of images'
            figures.append(document.figure(workdir, f'prevalence_{label}', picture, alt))
    alt = 'The images of each set with the highest score of each detector'
    picture = prevalence.examples(sets, count)
    return [*figures, document.figure(workdir, 'examples', picture, alt)]
