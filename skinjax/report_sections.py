"""Sections that show what `metrics.evaluate_table`, probes and `measures.insertion` have found.

The blocks that they read are those of results.json (see report.py); each may be missing.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from skinjax import figures, generation_report
from skinjax.document import Figure, Section, Table
from skinjax.predictions import Predictions
from skinjax.tables import format_value

_GROUP_FIGURES = 8  # at most

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


def by_split(results: Mapping[str, Any], drawn: Sequence[Figure]) -> Iterator[Section]:
    """Figures of each split and, with several, of each class; and what `curves` has drawn."""
    splits = results.get('splits') or {}
    if not splits and not drawn:
        return
    text = 'Intervals in brackets are 95 %: Wilson for proportions, bootstrap over rows otherwise.'
    if results.get('step') is not None:
        seed = f', seed {results["seed"]}' if 'seed' in results else ''
        text = f'After {results["step"]} steps{seed}. {text}'
    threshold = results.get('threshold')
    if threshold:
        text += f'\n\nOperating threshold {format_value(threshold.get("value"))}'
        if 'rule' in threshold:
            text += f' (rule {threshold["rule"]}, chosen on {threshold.get("split")})'
        classes = (results.get('data') or {}).get('classes') or ()
        text += f', of {classes[1]!r}, the positive class.' if len(classes) == 2 else '.'
    shown = [_block_table('Figures by split', 'split', splits)] if splits else []
    shown += [*_specificities(splits), *_class_tables(splits)]
    yield Section('Results', text, shown, drawn)


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


def curves(
    tables: Mapping[str, Predictions], splits: Mapping[str, Any]
) -> Iterator[tuple[str, Figure]]:
    """By file name: ROC curves of all splits (with several classes: of those of each split), and
    calibration."""
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
            each = {
                names[k]: ((table.labels == k).astype(int), table.scores[:, k]) for k in range(c)
            }
            image = figures.roc_figure(each, title=name)
            alt = f'ROC curve of each class against the others in {name}'
            yield f'roc_{name}', Figure(image, alt, f'ROC, {name}, each class against the others')
    image = figures.reliability_figure({n: (t.labels, t.scores) for n, t in tables.items()})
    alt = 'Observed frequency against stated probability; the ECE is in the table'
    caption = 'Calibration: on the diagonal, probabilities are true'
    yield 'calibration', Figure(image, alt, caption)


def groups(results: Mapping[str, Any]) -> Iterator[Section]:
    """Figures of each value of each bias variable, and the worst cell."""
    found = [
        (split, variable, block)
        for split, figures_of in (results.get('splits') or {}).items()
        for variable, block in (figures_of.get('groups') or {}).items()
    ]
    if not found:
        return
    tables, drawn = [_value_table(*one) for one in found], []
    found = [one for one in found if 'cells' in one[2]]  # a classifier's
    if not found:
        yield Section('Groups', tables=tables)
        return
    for split, variable, block in found[:_GROUP_FIGURES]:
        caption = f'{split}: accuracy by class and {variable}'
        drawn.append(Figure(figures.group_figure(block), f'{caption}; {_worst(block)}', caption))
    header = ['split', 'variable', 'worst cell', 'accuracy', 'images', 'equalised-odds gap']
    rows = [[split, variable, *_worst_cells(block)] for split, variable, block in found]
    worst = Table('Worst group and gap', header, rows)
    text = (
        'A group is a class together with a value of the variable. Groups smaller than the least '
        'count are shown but are never the worst.'
    )
    yield Section('Groups', text, [worst, *tables], drawn)


def _worst_cells(block: Mapping[str, Any]) -> list[Any]:
    worst = block.get('worst') or {}
    name = f'{worst["class"]}, {worst["value"]}' if worst else 'none large enough'
    return [name, worst.get('accuracy'), worst.get('count'), block.get('equalised_odds_gap')]


def _worst(block: Mapping[str, Any]) -> str:
    name, accuracy, count, _ = _worst_cells(block)
    return f'worst: {name}, {format_value(accuracy)}, {format_value(count)} images'


def _value_table(split: str, variable: str, found: Mapping[str, Any]) -> Table:
    values = found.get('values') or {}
    blocks = {name: {'n': block.get('count'), **block} for name, block in values.items()}
    caption = f'{split}: values of {variable} ({found.get("unknown", 0)} images unknown)'
    return _block_table(caption, variable, blocks)


def probes(results: Mapping[str, Any]) -> Iterator[Section]:
    """What fresh probes read from the features."""
    rows = [
        [variable, found.get('split'), kind, {**p, 'value': p.get('auc')}, p.get('n'), remark(p)]
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


def remark(found: Mapping[str, Any]) -> str:
    """Why a probe has no AUC, or which values it left out."""
    dropped = found.get('dropped')
    return found.get('reason') or (f'too rare: values {format_value(dropped)}' if dropped else '')


def insertion(results: Mapping[str, Any]) -> Iterator[Section]:
    """How far the inserted artefacts of the data move predictions."""
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
