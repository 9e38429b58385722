"""What is asked of the prediction tables of a classifier, and what follows from them."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from skinjax import editing, metrics
from skinjax.auditing import probe
from skinjax.data.records import DataSet, choices
from skinjax.editors import insert
from skinjax.editors.overlays import KINDS
from skinjax.measures import choose_threshold, insertion
from skinjax.predictions import Predictions
from skinjax.tables import console_table

TWIN = '_purified'  # end of the names of splits that have been edited


def with_artefact(split: str, kind: str) -> str:
    """The name of a split whose images have been given an artefact."""
    return f'{split}_with_{kind}'


def twins_of(config: Any, split: str) -> list[str]:
    """Names that the edited twins of a split have, if there are any."""
    return [f'{split}{TWIN}', *(with_artefact(split, kind) for kind in config.evaluate.insert)]


def with_twins(config: Any, data: DataSet) -> DataSet:
    """The data set with edited twins of the splits that are judged.

    With `evaluate.purify` one of each that an editor has changed; with `evaluate.insert` one for
    each kind of artefact, of `evaluate.insert_splits`, and the two are a pair. Ids, labels and bias
    variables stay those of the split.

    Raises:
        ValueError: as `_check_insertions`, or a name that the data have.
    """
    section = config.evaluate
    names = [name for name in judged_splits(config, data) if name in data.splits]
    _check_insertions(section, data, names)
    twins, pairs = {}, {}
    if section.purify:
        editor = editing.named(section.purify)
        twins |= {f'{name}{TWIN}': editing.edited(data.splits[name], editor) for name in names}
    for name in section.insert_splits or [name for name in names if name != 'val'] or names:
        for kind in section.insert:
            twin, options = with_artefact(name, kind), insert.options(kind=kind, seed=config.seed)
            twins[twin] = insert.inserted(data.splits[name], options)
            pairs[f'{kind}_in_{name}'] = (name, twin)
    if taken := sorted(set(twins) & set(data.splits)):
        raise ValueError(
            f'the data have a split {taken[0]!r}, which is what config.evaluate.purify and insert '
            'call theirs: give it another name'
        )
    return dataclasses.replace(data, splits={**data.splits, **twins}, pairs={**data.pairs, **pairs})


def _check_insertions(section: Any, data: DataSet, judged: Sequence[str]) -> None:
    """Raise ValueError for insertions that there are none of, or of whose shifts none is told."""
    if not section.insert:
        return
    for kind in section.insert:
        if kind not in KINDS:
            raise ValueError(f'config.evaluate.insert: no kind {kind!r}; {choices(kind, KINDS)}')
    if len(data.classes) != 2:
        raise ValueError(
            f'config.evaluate.insert is for two classes, and the data have {len(data.classes)}: '
            'insert into the images of the finished run with configs/audit_counterfactual.py'
        )
    if unknown := sorted(set(section.insert_splits) - set(judged)):
        raise ValueError(
            f'config.evaluate.insert_splits: {unknown[0]!r} is not judged; '
            f'{choices(unknown[0], judged)}'
        )


def inserted_last(config: Any) -> str:
    """A remark where artefacts were inserted behind the editor of the images, else ''."""
    if not (config.data.purify and config.evaluate.insert):
        return ''
    return (
        f'Artefacts ({", ".join(config.evaluate.insert)}) were inserted into images that '
        f'{config.data.purify!r} (config.data.purify) had changed before: what it would take away '
        'again, or do to them, is not in these figures.'
    )


def check_section(config: Any, data: DataSet, *, chosen: bool = False) -> None:
    """Raise ValueError for options of `config.evaluate` that the data cannot answer.

    Args:
        config: of the run.
        data: to be judged on.
        chosen: the operating threshold is known already.
    """
    section = config.evaluate
    least = {'batch_size': 1, 'bootstrap': 0, 'probe_folds': 2}
    for name, bound in least.items():
        if section[name] < bound:
            raise ValueError(
                f'config.evaluate.{name} is {section[name]}, expected at least {bound}'
            )
    if unknown := sorted(set(section.splits) - set(data.splits)):
        raise ValueError(f'config.evaluate.splits: no {unknown[0]!r}; {choices("", data.splits)}')
    if section.probe_split and section.probe_split not in judged_splits(config, data):
        raise ValueError(
            f'config.evaluate.probe_split is {section.probe_split!r}, which is not evaluated; '
            f'{choices(section.probe_split, judged_splits(config, data))}'
        )
    if unknown := sorted(set(section.probes) - {'linear', 'mlp'}):
        raise ValueError(f'config.evaluate.probes: no {unknown[0]!r}; choose linear, mlp')
    if unknown := sorted(set(section.mean_over) - set(data.classes)):
        raise ValueError(
            f'config.evaluate.mean_over: no class {unknown[0]!r}; {choices("", data.classes)}'
        )
    if len(data.classes) == 2 and not chosen:
        if 'val' not in data.splits:
            raise ValueError(
                f'config.evaluate.threshold is {section.threshold!r}, to be chosen on a split '
                f"'val'; {choices('val', data.splits)}"
            )
        labels = data.splits['val'].labels
        choose_threshold(labels, labels / 1.0, section.threshold)


def judged_splits(config: Any, data: DataSet) -> list[str]:
    """Names of the splits to predict, validation first where there is one."""
    names = config.evaluate.splits or [name for name in data.splits if name != 'train']
    names = [*(['val'] if 'val' in data.splits else []), *names]
    twins = [twin for name in names for twin in twins_of(config, name) if twin in data.splits]
    return list(dict.fromkeys([*names, *twins]))


def figures(
    config: Any, data: DataSet, tables: Mapping[str, Predictions], threshold: float
) -> dict[str, Any]:
    """The blocks of results.json that follow from prediction tables alone."""
    bias = {name: data.bias[name] for name in data.bias}
    options = {'resamples': config.evaluate.bootstrap, 'mean_over': config.evaluate.mean_over}
    blocks = {
        name: metrics.evaluate_table(table, data.classes, bias, threshold, **options)
        for name, table in tables.items()
    }
    if len(data.classes) == 2:
        for name in data.info.get('bayes_splits', ()):
            if name in blocks and blocks[name]['auc']['value'] is not None:
                value = blocks[name]['auc']['value']
                blocks[name]['share_of_bayes'] = value / data.info['bayes_auc']
    shifts = {
        artefact: insertion(
            tables[without].positive, tables[inserted].positive, tables[without].labels, threshold
        )
        for artefact, (without, inserted) in data.pairs.items()
        if without in tables and inserted in tables and len(data.classes) == 2
    }
    return {
        'splits': blocks,
        'insertion': shifts,
        'data': data.describe(),
    }


def leakage(config: Any, data: DataSet, features: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Fresh probes of the bias variables in `config.data.bias` on the features of one split."""
    name = config.evaluate.probe_split
    if not name:
        name = next((n for n in ('balanced', 'test') if n in features), '')
        twins = {twin for n in features for twin in twins_of(config, n)}
        name = name or [n for n in features if n not in twins][-1]
    records = data.splits[name]
    return {
        variable: {
            'split': name,
            **{
                kind: probe.probe(
                    features[name],
                    records.bias[variable],
                    records.groups,
                    kind=kind,
                    folds=config.evaluate.probe_folds,
                    seed=0,
                )
                for kind in config.evaluate.probes
            },
        }
        for variable in config.data.bias
    }


def summary(results: dict[str, Any], data: DataSet) -> str:
    """The table that ends a run."""
    binary = len(data.classes) == 2
    key = 'auc' if binary else 'mean_auc'
    header = ['split', 'n', 'AUC', '95 % interval', 'accuracy']
    header += ['sensitivity', 'specificity'] if binary else ['balanced accuracy']
    bayes = data.info.get('bayes_auc') if binary else None
    header += ['share of Bayes AUC'] if bayes else []
    rows = []
    for name, block in results['splits'].items():
        found = block[key]
        cells = [name, str(block['n']), _number(found['value'])]
        cells.append(f'{_number(found["low"])} to {_number(found["high"])}')
        rest = ('accuracy', 'sensitivity', 'specificity')
        rest = rest if binary else ('accuracy', 'balanced_accuracy')
        cells += [_number(block[r]['value']) for r in rest]
        rows.append(cells + ([_number(block.get('share_of_bayes'))] if bayes else []))
    lines = [console_table(header, rows)]
    if binary:
        lines.append(
            f'sensitivity: of {data.classes[1]!r}, called so from a probability of '
            f'{_number(results["threshold"]["value"])} on'
        )
    if bayes:
        lines.append(
            f'the lesions allow an AUC of {bayes:.2f} (Bayes); an artefact or camera that goes '
            'with the class adds to that: such splits have no share'
        )
    for artefact, block in results['insertion'].items():
        lines.append(
            f'inserting {artefact!r} moves a prediction by {block["mean_abs"]:.1f} percentage '
            f'points on average; {block["switched"]} of {block["n"]} calls switch'
        )
    for variable, block in results['probes'].items():
        kinds = [kind for kind in ('linear', 'mlp') if kind in block]
        found = [f'{kind} {_number(block[kind]["auc"])}' for kind in kinds]
        reason = next((block[kind].get('reason') for kind in kinds), None)  # both have the same
        lines.append(
            f'AUC of a fresh probe for {variable!r} on frozen features: {", ".join(found)}'
            + (f' ({reason})' if reason else '')
        )
    return '\n'.join([*lines, *results.get('remarks', ())])


def _number(value: float | None) -> str:
    return '-' if value is None or not np.isfinite(value) else f'{value:.3f}'
