"""What is advised about artefacts that features know, and that move predictions."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from skinjax.audits.finding import LISTED, MANY, Finding
from skinjax.audits.strongest import (
    artefact_of,
    family,
    leaks_of,
    moves,
    name_of,
    number,
    percent,
    switches_of,
)
from skinjax.bootstrap import proportion
from skinjax.editors import overlays

Results = Mapping[str, Any]


def leaks(results: Results) -> Iterator[Finding]:
    """What the features know beyond the diagnosis."""
    found = results['leaks']
    if found['reason']:
        yield Finding('unknown', 'leaks', found['reason'])
        return
    ranked = leaks_of(found)
    if not ranked:
        text = 'No flag occurs often enough, with two values, to ask whether the features know it.'
        yield Finding('unknown', 'leaks', text)
        return
    told = [_known(entry) for entry in ranked if entry[0] > 0]
    numbers = {'flags': [name for excess, name, *_ in ranked if excess > 0]}
    if told:
        text = (
            'The features know more than the diagnosis tells: fresh probes read from them '
            f'{_listed(told)}. Whether predictions depend on it is shown by insertion; unlearning '
            '(`configs/clgr.py`) takes a flag out of the features.'
        )
        yield Finding('note', 'leaks', text, numbers)
    else:
        text = (
            'The features surely know no flag better than the diagnosis tells it; most is known of '
            f'{_known(ranked[0])}.'
        )
        yield Finding('fine', 'leaks', text, numbers)


def _known(entry: tuple[float, str, str, Mapping[str, Any]]) -> str:
    _, name, kind, block = entry
    probe = {**block[kind], 'value': block[kind]['auc']}
    level = block['by_diagnosis']
    alone = f', from the diagnosis alone {number(level)}' if level else ''
    return f'{name_of(name)} (AUC {number(probe)}{alone})'


def _listed(told: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    more = len(told) - LISTED
    return '; '.join(told[:LISTED]) + (f'; and {more} more' if more > 0 else '')


def insertions(results: Results) -> Iterator[Finding]:
    """What changes predictions when it is put in."""
    rows = switches_of(results)
    if results['constant']:
        return
    if not rows:
        text = 'No artefact was inserted, so nothing is said of what moves predictions.'
        yield Finding('unknown', 'insertion', text)
        return
    moved = [row for row in rows if moves(row)]
    # Of each family, such as frames, the strongest: the others say the same again.
    first: dict[str, Mapping[str, Any]] = {}
    for row in moved:
        first.setdefault(family(row), row)
    told = [*first.values()][:LISTED]
    for row in told:
        text = (
            f'With {artefact_of(row)} inserted, {row["switched_images"]:.0f} of '
            f'{row["n"]} predictions change, {percent(row["switched"])}{_direction(row)}. Train '
            f'with it inserted into both classes alike{_option(row["artefact"])}, or remove it '
            'from all images first (`configs/purify.py`), and audit again.'
        )
        severity = 'warning' if row['switched']['value'] >= MANY else 'note'
        yield Finding(severity, 'insertion', text, row)
    if others := [row for row in moved if row not in told]:
        listed = ', '.join(f'{artefact_of(row)} {percent(row["switched"])}' for row in others)
        text = f'Predictions change with other artefacts inserted, too: {listed}.'
        yield Finding('note', 'insertion', text, {'artefacts': [r['artefact'] for r in others]})
    if unknown := [row for row in rows if row['switched']['low'] is None]:
        names = ', '.join(artefact_of(row) for row in unknown)
        text = (
            f'How many predictions change with {names} inserted cannot be said of other images: '
            'there are no intervals, because all images are of one patient or lesion, or none were '
            'asked for (`bootstrap`).'
        )
        yield Finding('unknown', 'insertion', text)
    rest = [row for row in rows if row not in moved and row not in unknown]
    if rest:
        names = ', '.join(artefact_of(row) for row in rest)
        most = proportion(round(max(row['switched_images'] for row in rest)), rest[0]['n'])
        text = (
            f'Few or no predictions change with {names} inserted: {percent(most)} at most, of '
            f'{rest[0]["n"]} images.'
        )
        yield Finding('fine', 'insertion', text, {'most': most})


def _option(artefact: str) -> str:
    if artefact not in overlays.KINDS:
        return ''
    return f' (`--config.data.insert={artefact}`, see docs/bias.md)'


def _direction(row: Mapping[str, Any]) -> str:
    """How many of the switches leave which class."""
    left = {name: block['switched_from'] for name, block in row['by_class'].items()}
    told = [f'{count:.0f} that were called {name}' for name, count in left.items() if count >= 1]
    return f': {", ".join(told)}' if told else ''


def removals(results: Results) -> Iterator[Finding]:
    """What changes them when it is taken out."""
    block = (results.get('counterfactual') or {}).get('removal') or {}
    rows = block.get('rows') or []
    kept = [row for row in rows if row['images'] == 'with' and moves(row)]
    for row in sorted(kept, key=lambda row: -row['switched']['value'])[:LISTED]:
        other = [
            f', and {percent(one["switched"])} of those of {one["n"]} without'
            for one in rows
            if one['images'] == 'without' and one['artefact'] == row['artefact']
        ]
        beside = ''.join(other)
        text = (
            f'After the editor {row["artefact"]} has removed what it finds, '
            f'{percent(row["switched"])} of the predictions of {row["n"]} images with artefacts '
            f'change{beside}. Where both are alike it is the editing that moves the model.'
        )
        yield Finding('note', 'removal', text, row)
