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

from skinjax import figures, generation_report, taxonomy
from skinjax.document import Figure, Section, Table, write_report
from skinjax.engine.writer import read_json, read_metrics, write_atomic
from skinjax.pictures import class_examples, embed, folder_examples
from skinjax.predictions import Predictions
from skinjax.tables import format_value

if TYPE_CHECKING:
    from skinjax.data.records import DataSet

# Bytes of embedded pictures.
BUDGET = 1_350_000
_GROUP_FIGURES = 8
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
    curves = dict(_curves(tables, results.get('splits') or {}))
    for stem, figure in curves.items():
        write_atomic(workdir / 'figures' / f'{stem}.png', figure.image)
    sections = [*_results(results, list(curves.values())), *generation_report.sections(results)]
    sections += _groups(results)
    sections += [*_probes(results), *_insertion(results), *taxonomy.sections(results)]
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


_COLUMNS = {
    'n': 'images',
    'positives': 'positive',
    'auc': 'AUC',
    'share_of_bayes': 'share of Bayes AUC',
    'mean_auc': 'mean AUC',
    'accuracy': 'accuracy',
    'balanced_accuracy': 'balanced accuracy',
    'sensitivity': 'sensitivity',
    'specificity': 'specificity',
    'mean_precision': 'mean precision',
    'f1': 'F1',
    'mean_f1': 'mean F1',
    'ece': 'ECE',
    'brier': 'Brier',
    'jaccard': 'Jaccard',
    'threshold_jaccard': 'threshold Jaccard',
    'dice': 'Dice',
    'pixel_sensitivity': 'pixel sensitivity',
    'pixel_specificity': 'pixel specificity',
    'boundary_f': 'boundary F',
    'rowwise_jaccard': 'row-wise Jaccard',
    'psnr_hole': 'PSNR in holes',
    'telea_psnr_hole': 'Telea',
    'ns_psnr_hole': 'Navier-Stokes',
    'ssim_hole': 'SSIM in holes',
    'telea_ssim_hole': 'Telea, SSIM',
    'ns_ssim_hole': 'Navier-Stokes, SSIM',
}


def _block_table(caption: str, first: str, blocks: Mapping[str, Mapping[str, Any]]) -> Table:
    """One row a block, with those of the known columns that any block has."""
    made = any('kid' in block for block in blocks.values())
    columns = generation_report.COLUMNS if made else _COLUMNS
    names = [name for name in columns if any(name in block for block in blocks.values())]
    rows = [[key, *(block.get(name) for name in names)] for key, block in blocks.items()]
    return Table(caption, [first, *(columns[name] for name in names)], rows)


def _results(results: Mapping[str, Any], curves: Sequence[Figure]) -> Iterator[Section]:
    splits = results.get('splits') or {}
    if not splits and not curves:
        return
    text = 'Intervals in brackets are 95 %: Wilson for proportions, bootstrap over rows otherwise.'
    if results.get('step') is not None:
        seed = f', seed {results["seed"]}' if 'seed' in results else ''
        text = f'After {results["step"]} steps{seed}. {text}'
    threshold = results.get('threshold')
    if threshold:
        text += f'\n\nOperating threshold {format_value(threshold.get("value"))}'
        text += f' (rule {threshold.get("rule")}, chosen on {threshold.get("split")}).'
    shown = [_block_table('Figures by split', 'split', splits)] if splits else []
    shown += [*_specificities(splits), *_class_tables(splits)]
    yield Section('Results', text, shown, curves)


def _specificities(splits: Mapping[str, Any]) -> Iterator[Table]:
    blocks = {name: b['specificity_at'] for name, b in splits.items() if b.get('specificity_at')}
    wanted = list(dict.fromkeys(s for block in blocks.values() for s in block))
    if wanted:
        rows = [[name, *(block.get(s) for s in wanted)] for name, block in blocks.items()]
        header = ['split', *(f'at {100 * float(s):.0f} %' for s in wanted)]
        yield Table('Specificity at a sensitivity', header, rows)


def _class_tables(splits: Mapping[str, Any]) -> Iterator[Table]:
    for split, block in splits.items():
        classes = block.get('classes') or {}
        if classes:
            keys = ('n', 'auc', 'precision', 'recall', 'f1')
            rows = [[name, *(each.get(key) for key in keys)] for name, each in classes.items()]
            header = ['class', 'images', 'AUC', 'precision', 'recall', 'F1']
            yield Table(f'Classes of {split}', header, rows)
        if classes and block.get('confusion'):
            rows = [[name, *row] for name, row in zip(classes, block['confusion'], strict=True)]
            yield Table(f'Confusion in {split}', ['true \\ called', *classes], rows)


def _curves(
    tables: Mapping[str, Predictions], splits: Mapping[str, Any]
) -> Iterator[tuple[str, Figure]]:
    """By file name: ROC curves of all splits (with several classes: of those of each split)."""
    tables = {name: table for name, table in tables.items() if len(table)}
    if not tables:
        return
    binary = {name: (t.labels, t.positive) for name, t in tables.items() if t.binary}
    if binary:
        image = figures.roc_figure(binary)
        alt = f'ROC curves of {", ".join(binary)}; the AUCs are in the table'
        yield 'roc', Figure(image, alt, 'ROC')
    for name, table in tables.items():
        if not table.binary:
            c = table.scores.shape[1]
            known = list(splits.get(name, {}).get('classes') or {})
            names = known if len(known) == c else [f'class {k}' for k in range(c)]
            curves = {
                names[k]: ((table.labels == k).astype(int), table.scores[:, k]) for k in range(c)
            }
            image = figures.roc_figure(curves, title=name)
            alt = f'ROC curve of each class against the others in {name}'
            yield f'roc_{name}', Figure(image, alt, f'ROC, {name}, each class against the others')
    image = figures.reliability_figure({n: (t.labels, t.scores) for n, t in tables.items()})
    alt = 'Observed frequency against stated probability; the ECE is in the table'
    caption = 'Calibration: on the diagonal, probabilities are true'
    yield 'calibration', Figure(image, alt, caption)


def _groups(results: Mapping[str, Any]) -> Iterator[Section]:
    found = [
        (split, variable, groups)
        for split, block in (results.get('splits') or {}).items()
        for variable, groups in (block.get('groups') or {}).items()
    ]
    if not found:
        return
    tables, drawn = [_value_table(*one) for one in found], []
    found = [one for one in found if 'cells' in one[2]]  # a classifier's
    if not found:
        yield Section('Groups', tables=tables)
        return
    for split, variable, groups in found:
        if len(drawn) < _GROUP_FIGURES:
            caption = f'{split}: accuracy by class and {variable}'
            drawn.append(
                Figure(figures.group_figure(groups), f'{caption}; {_worst(groups)}', caption)
            )
    header = ['split', 'variable', 'worst cell', 'accuracy', 'images', 'equalised-odds gap']
    rows = [[split, variable, *_worst_cells(groups)] for split, variable, groups in found]
    worst = Table('Worst group and gap', header, rows)
    text = (
        'A group is a class together with a value of the variable. Groups smaller than the least '
        'count are shown but are never the worst.'
    )
    yield Section('Groups', text, [worst, *tables], drawn)


def _worst_cells(groups: Mapping[str, Any]) -> list[Any]:
    worst = groups.get('worst') or {}
    name = f'{worst["class"]}, {worst["value"]}' if worst else 'none large enough'
    return [name, worst.get('accuracy'), worst.get('count'), groups.get('equalised_odds_gap')]


def _worst(groups: Mapping[str, Any]) -> str:
    name, accuracy, count, _ = _worst_cells(groups)
    return f'worst: {name}, {format_value(accuracy)}, {format_value(count)} images'


def _value_table(split: str, variable: str, groups: Mapping[str, Any]) -> Table:
    values = groups.get('values') or {}
    blocks = {name: {'n': block.get('count'), **block} for name, block in values.items()}
    caption = f'{split}: values of {variable} ({groups.get("unknown", 0)} images unknown)'
    return _block_table(caption, variable, blocks)


def _probes(results: Mapping[str, Any]) -> Iterator[Section]:
    rows = [
        [variable, found.get('split'), kind, {**p, 'value': p.get('auc')}, p.get('n'), _remark(p)]
        for variable, found in (results.get('probes') or {}).items()
        for kind, p in found.items()
        if isinstance(p, Mapping)
    ]
    if rows:
        text = (
            'How well a fresh classifier reads each variable from the frozen features. Compare '
            'with a model trained on data without the skew, not with 0.5: features that know the '
            'diagnosis know something of whatever goes with it.'
        )
        header = ['variable', 'split', 'probe', 'AUC', 'images', 'remark']
        yield Section('Bias left in the features', text, [Table('Probe AUC', header, rows)])


def _remark(found: Mapping[str, Any]) -> str:
    dropped = found.get('dropped')
    return found.get('reason') or (f'too rare: values {format_value(dropped)}' if dropped else '')


def _insertion(results: Mapping[str, Any]) -> Iterator[Section]:
    keys = ('n', 'mean_abs', 'max_abs', 'mean', 'median', 'switched', 'to_positive', 'to_negative')
    header = ['artefact', 'true class', 'images', 'mean size', 'largest', 'mean', 'median']
    header += ['switched', 'to positive', 'to negative']
    rows = []
    for artefact, block in (results.get('insertion') or {}).items():
        rows.append([artefact, 'all', *(block.get(key) for key in keys)])
        for name, part in (block.get('by_class') or {}).items():
            rows.append([artefact, name, *(part.get(key) for key in keys)])
    if rows:
        text = (
            'Shift of the predicted probability, in percentage points, when the artefact is put '
            'into the same images: the effect of the artefact alone.'
        )
        yield Section('Inserted artefacts', text, [Table('Prediction shift', header, rows)])


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
