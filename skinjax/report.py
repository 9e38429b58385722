"""`report.html`: one file that shows a run, made from the files of its work directory.

What `build_run_report` reads of `results.json`; every block may be missing:

    {"step": 1000, "seed": 0,
     "threshold": {"value": 0.31, "rule": "youden", "split": "val"},
     "splits": {SPLIT: evaluate_table(...)},
     "probes": {VARIABLE: {"split": SPLIT, "linear": probe(...), "mlp": probe(...)}},
     "insertion": {ARTEFACT: insertion(...)}, "hierarchy": {SPLIT: taxonomy.measure(...)},
     "remarks": [SENTENCE], "data": {NAME: value}, "versions": {NAME: value}}

Splits of segmentation and inpainting hold means of images, and their groups values without cells.
Those of generation hold measures of sets; see generation_report.py for its other blocks.
Blocks of other names are shown as they are.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skinjax import figures, generation_report, report_sections, taxonomy
from skinjax.document import Figure, Section, Table, write_report
from skinjax.engine.writer import read_json, read_metrics, write_atomic
from skinjax.pictures import class_examples, embed, folder_examples
from skinjax.predictions import Predictions

if TYPE_CHECKING:
    from skinjax.data.records import DataSet

# Bytes of embedded pictures.
BUDGET = 1_350_000
_KNOWN = (
    'step', 'seed', 'threshold', 'splits', 'probes', 'insertion', 'hierarchy', 'remarks', 'data',
    'versions',
)  # fmt: skip
_EXAMPLES = 6  # pictures of each class


def build_run_report(
    workdir: str | os.PathLike[str],
    data: 'DataSet | None' = None,
    beside: str | os.PathLike[str] = '',
    title: str = '',
) -> Path:
    """Writes `report.html` from what a work directory holds, and returns its path.

    Reads config.json, results.json, metrics.jsonl, predictions/*.csv and figures/*.png; what is
    absent is left out. Draws the ROC and calibration curves of the predictions into figures/, and
    shows those files. Pictures that would make the page too large are named instead.

    Args:
        workdir: of the run.
        data: shows some images of each class.
        beside: folder of pictures shown below them, to judge made images by real ones.
        title: instead of the name of the work directory.

    Raises:
        FileNotFoundError: there is no such directory.
        ValueError: one of the files is damaged; the line says which.
    """
    workdir = Path(workdir)
    if not workdir.is_dir():
        raise FileNotFoundError(f'{workdir}: no such work directory; run the config first')
    config = read_json(workdir / 'config.json')
    results = read_json(workdir / 'results.json')
    tables = {
        path.stem: Predictions.read_csv(path)
        for path in sorted((workdir / 'predictions').glob('*.csv'))
    }
    curves = dict(report_sections.curves(tables, results.get('splits') or {}))
    for stem, figure in curves.items():
        write_atomic(workdir / 'figures' / f'{stem}.png', figure.image)
    sections = [*report_sections.by_split(results, list(curves.values()))]
    sections += [*generation_report.sections(results), *report_sections.groups(results)]
    sections += [*report_sections.probes(results), *report_sections.insertion(results)]
    sections += [*taxonomy.sections(results)]
    sections += _remarks(results)
    sections += _training(workdir)
    sections += _examples(data, beside)
    used = sum(len(figure.image) for section in sections for figure in section.figures)
    drawn = sorted(p for p in (workdir / 'figures').glob('*.png') if p.stem not in curves)
    sections += _pictures(drawn, BUDGET - used)
    sections += [*_facts(results), *_rest(results), *_config(config)]
    path = workdir / 'report.html'
    name = workdir.resolve().name
    kind = f' ({config["kind"]})' if config.get('kind') else ''
    write_report(path, title or f'{name}{kind}', sections)
    return path


def _remarks(results: Mapping[str, Any]) -> Iterator[Section]:
    if remarks := results.get('remarks'):
        yield Section('Remarks', '\n\n'.join(remarks))


def _training(workdir: Path) -> Iterator[Section]:
    path = workdir / 'metrics.jsonl'
    records = read_metrics(path) if path.exists() else []
    if records:
        image = figures.training_figure(records)
        alt = f'Metrics by step, from {records[0]["step"]} to {records[-1]["step"]}'
        yield Section('Training', figures=[Figure(image, alt)])


def _examples(data: 'DataSet | None', beside: str | os.PathLike[str]) -> Iterator[Section]:
    shown: list[Figure] = []
    text = ''
    if data is not None:
        name = 'train' if 'train' in data.splits else next(iter(data.splits))
        images, titles = class_examples(data, name, _EXAMPLES)
        if images:
            alt = f'Some images of each class in {name}'
            shown.append(Figure(figures.image_grid(images, titles, _EXAMPLES), alt, alt))
    if beside:
        found = folder_examples(beside, 2 * _EXAMPLES)
        if found:
            alt = f'Images of {Path(beside).name}'
            shown.append(Figure(figures.image_grid(found, (), _EXAMPLES), alt, alt))
        else:
            text = f'No pictures were found in {beside}, which was to be shown here.'
    if shown or text:
        yield Section('Images', text, figures=shown)


def _pictures(paths: Sequence[Path], budget: int) -> Iterator[Section]:
    shown, named = [], []
    for path in paths:
        image = embed(path)
        if len(image) > budget:
            named.append(f'figures/{path.name}')
            continue
        budget -= len(image)
        title = path.stem.replace('_', ' ')
        shown.append(Figure(image, f'Figure {title}, drawn by this run', title))
    if shown or named:
        text = f'Not shown, to keep this file small: {", ".join(named)}.' if named else ''
        yield Section('Pictures', text, figures=shown)


def _facts(results: Mapping[str, Any]) -> Iterator[Section]:
    for name, heading in (('data', 'Data'), ('versions', 'Versions')):
        facts = results.get(name) or {}
        if facts:
            rows = [[key, value] for key, value in facts.items()]
            yield Section(heading, tables=[Table('', ['name', 'value'], rows)])


def _rest(results: Mapping[str, Any]) -> Iterator[Section]:
    for name, block in results.items():
        if name not in (*_KNOWN, *generation_report.KNOWN):
            heading = name.replace('_', ' ').capitalize()
            yield Section(heading, code=json.dumps(block, indent=2, ensure_ascii=False))


def _config(config: Mapping[str, Any]) -> Iterator[Section]:
    if config:
        yield Section('Configuration', code=json.dumps(config, indent=2, ensure_ascii=False))
