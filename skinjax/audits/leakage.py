"""What the features of a classifier still know: fresh probes of flags, beside the diagnosis."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from skinjax import document, figures, report_sections
from skinjax.audits import probe
from skinjax.audits.flags import Flags
from skinjax.bootstrap import bootstrap_auc, bootstrap_mean_auc
from skinjax.data.records import UNKNOWN, Records
from skinjax.document import Section, Table

DIAGNOSIS = 'diagnosis'
NONE = (
    'The model gives no features, only probabilities: what else it knows cannot be asked. A '
    "function that returns {'probabilities': ..., 'features': ...} can be asked."
)


def leaked(
    features: Float[np.ndarray, 'n d'] | None,
    records: Records,
    flags: Flags,
    kinds: Sequence[str],
    folds: int,
) -> dict[str, Any]:
    """AUCs with which fresh probes read each flag, and the diagnosis, from frozen features.

    Args:
        features: of the images; None where the model gives none.
        records: the images.
        flags: what is known of them.
        kinds: of probes, see `probe.probe`.
        folds: of the same.

    Returns:
        reason: None, or why nothing was asked; variables: of the diagnosis and of each flag, the
        block of each kind of probe, `detected` (no person has flagged it), and `by_diagnosis`:
        the AUC of who knows the diagnosis alone (`by_label`).
    """
    if features is None:
        return {'reason': NONE, 'variables': {}}
    wanted = {DIAGNOSIS: records.labels, **flags.codes}
    found: dict[str, Any] = {}
    for name, values in wanted.items():
        blocks = {
            kind: probe.probe(features, values, records.groups, kind, folds) for kind in kinds
        }
        level = None if name == DIAGNOSIS else by_label(records.labels, values, records.groups)
        found[name] = {'detected': name in flags.detected, **blocks, 'by_diagnosis': level}
    return {'reason': None, 'variables': found}


def by_label(
    labels: Int[np.ndarray, ' n'], values: Int[np.ndarray, ' n'], groups: np.ndarray
) -> dict[str, float] | None:
    """AUC of the guess P(value | label), with its interval: the level of an association alone.

    None where less than two values or classes are known. With more than two values the mean of the
    one-vs-rest AUCs.
    """
    rows = values != UNKNOWN
    kept, target = np.unique(values[rows], return_inverse=True)
    classes, of = np.unique(labels[rows], return_inverse=True)
    if min(len(kept), len(classes)) < 2:
        return None
    table = np.zeros((len(classes), len(kept)))
    np.add.at(table, (of, target), 1)
    scores = (table / table.sum(axis=1, keepdims=True))[of]
    if len(kept) == 2:
        return bootstrap_auc(target, scores[:, 1], groups=groups[rows])
    return bootstrap_mean_auc(target, scores, groups=groups[rows])[0]


def sections(leaks: Mapping[str, Any], split: str, workdir: Path) -> list[Section]:
    """What was found, as a table and a picture.

    Args:
        leaks: what `leaked` returns.
        split: name of the images.
        workdir: where figures go.
    """
    heading = 'What leaks: what the features still know'
    if leaks['reason']:
        return [Section(heading, leaks['reason'])]
    rows, bars, counts = [], {}, {}
    for name, block in leaks['variables'].items():
        probes = {kind: block[kind] for kind in probe.KINDS if kind in block}
        shown = [{**one, 'value': one['auc']} for one in probes.values()]
        first = next(iter(probes.values()))
        source = '' if name == DIAGNOSIS else 'detector' if block['detected'] else 'data'
        rows.append([name, source, *shown, block['by_diagnosis'], first['n']])
        rows[-1].append(report_sections.remark(first))
        if first['auc'] is not None:
            bars[name], counts[name] = shown[0], first['n']
    names = {'linear': 'linear probe', 'mlp': 'MLP probe'}
    header = ['flag', 'flagged by', *(names[kind] for kind in probes), 'by the diagnosis alone']
    header += ['images', 'remark']
    text = (
        'Fresh classifiers, linear and with a hidden layer, learn to read each flag from the '
        f'frozen features of images of {split} and are judged on other images of it. AUC 0.5: the '
        'features do not tell the flag; 1: they tell it without error. 95 % intervals, bootstrap '
        'over patients or images.\n\n'
        '“By the diagnosis alone” is what a person reaches who knows the diagnosis and sees no '
        'image, since some flags go with it: features that know the diagnosis must reach that. '
        'What lies above it, the model has seen. To know an artefact is not yet to use it: that is '
        'the next question.'
    )
    drawn = []
    if bars:
        picture = figures.interval_bars(bars, counts, 'AUC of the probe')
        alt = 'AUC of the first probe of each flag; the numbers are in the table'
        drawn = [document.figure(workdir, 'leaks', picture, alt)]
    return [Section(heading, text, [Table('AUC of fresh probes', header, rows)], drawn)]
