"""What the features of a classifier still know: fresh probes of flags, beside the diagnosis."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.stats import false_discovery_control

from skinjax import document, figures, report_sections
from skinjax.auditing import probe
from skinjax.auditing.seen import Flags
from skinjax.data.records import Records
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
        the AUC of the guess P(flag | diagnosis), which sees no image (None where there is none).
        The block of a flag says in `more` by how much the probe is better than this guess, on the
        same rows and folds; q is its p after Benjamini and Hochberg, over all flags and kinds.
    """
    if features is None:
        return {'reason': NONE, 'variables': {}}
    labels, groups = records.labels, records.groups
    found: dict[str, Any] = {}
    for name, values in {DIAGNOSIS: labels, **flags.codes}.items():
        beside = None if name == DIAGNOSIS else labels
        blocks = {
            kind: probe.probe(features, values, groups, kind, folds, beside=beside)
            for kind in kinds
        }
        level = next(iter(blocks.values())).get('level')  # the same of every kind
        for block in blocks.values():
            block.pop('level', None)
        found[name] = {'detected': name in flags.detected, **blocks, 'by_diagnosis': level}
    asked = [block[kind] for name, block in found.items() if name != DIAGNOSIS for kind in kinds]
    known = [block for block in asked if block['p'] is not None]
    adjusted = false_discovery_control([block['p'] for block in known]) if known else ()
    for block in asked:
        block['q'] = None
    for block, q in zip(known, adjusted, strict=True):
        block['q'] = float(q)
    return {'reason': None, 'variables': found}


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
        more = [cell for one in probes.values() for cell in (one.get('more'), one.get('q'))]
        first = next(iter(probes.values()))
        source = '' if name == DIAGNOSIS else 'detector' if block['detected'] else 'data'
        rows.append([name, source, *shown, block['by_diagnosis'], *more, first['n']])
        rows[-1].append(report_sections.remark(first))
        if first['auc'] is not None:
            bars[name], counts[name] = shown[0], first['n']
    names = {'linear': 'linear probe', 'mlp': 'MLP probe'}
    header = ['flag', 'flagged by', *(names[kind] for kind in probes), 'by the diagnosis alone']
    header += [cell for kind in probes for cell in (f'{kind} beyond it', f'q, {kind}')]
    header += ['images', 'remark']
    text = (
        'Fresh classifiers, linear and with a hidden layer, learn to read each flag from the '
        f'frozen features of images of {split} and are judged on other images of it. AUC 0.5: the '
        'features do not tell the flag; 1: they tell it without error. 95 % intervals, bootstrap '
        'over patients or images.\n\n'
        '“By the diagnosis alone” is what a person reaches who knows the diagnosis and sees no '
        'image, since some flags go with it, judged on the same images and folds: features that '
        'know the diagnosis can reach that. “Beyond it” is how much better the probe is, or how '
        'much better than 0.5 where the guess is worse; paired, q after Benjamini and Hochberg. '
        'What lies above it, the model has seen. To know an artefact is not yet to use it: that is '
        'the next question.'
    )
    drawn = []
    if bars:
        picture = figures.interval_bars(bars, counts, 'AUC of the probe')
        alt = 'AUC of the first probe of each flag; the numbers are in the table'
        drawn = [document.figure(workdir, 'leaks', picture, alt)]
    return [Section(heading, text, [Table('AUC of fresh probes', header, rows)], drawn)]
