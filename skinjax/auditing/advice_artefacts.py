"""What is advised about artefacts that features know, and that move predictions."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from skinjax.auditing.finding import (
    LISTED,
    SURE,
    Finding,
    artefact_of,
    directed,
    family,
    grave,
    leaking,
    name_of,
    number,
    percent,
    probes_of,
    small,
    surely,
    switches_of,
)
from skinjax.editors import overlays

Results = Mapping[str, Any]
Row = Mapping[str, Any]


def leaks(results: Results) -> Iterator[Finding]:
    """What the features know beyond the diagnosis."""
    found = results['leaks']
    if found['reason']:
        yield Finding('unknown', 'leaks', found['reason'])
        return
    ranked = probes_of(found)
    if not ranked:
        text = 'No flag occurs often enough, with two values, to ask whether the features know it.'
        yield Finding('unknown', 'leaks', text)
        return
    levels = {name: block['by_diagnosis'] for name, block in found['variables'].items()}
    best: dict[str, Row] = {}  # of each flag the first
    for name, one in ranked:
        if leaking(one):
            best.setdefault(name, one)
    told = [_known(name, one, levels[name]) for name, one in best.items()]
    numbers = {'flags': [*best]}
    if told:
        text = (
            'The features know more than the diagnosis tells: fresh probes read from them '
            f'{_listed(told)}. Whether predictions depend on it is shown by insertion. In skinjax, '
            'unlearning (`configs/clgr.py`) takes a flag out of the features.'
        )
        yield Finding('note', 'leaks', text, numbers)
        return
    text = 'No flag is surely known better than the diagnosis tells it'
    bounded = [(name, one) for name, one in ranked if one['more']['high'] is not None]
    if not bounded:
        yield Finding('unknown', 'leaks', f'{text}; no interval can be given.', numbers)
        return
    name, most = max(bounded, key=lambda one: one[1]['more']['high'])
    known = _known(name, most, levels[name])
    if all(small(one['more']) for _, one in ranked):
        yield Finding('fine', 'leaks', f'{text}; most may be known of {known}.', numbers)
    else:
        text = f'{text}, but there are too few images to rule it out, as of {known}.'
        yield Finding('unknown', 'leaks', text, numbers)


def _known(name: str, one: Row, level: Row | None) -> str:
    """A flag, the AUC of a probe of it, and how much that is above the diagnosis alone."""
    alone = f', from the diagnosis alone {number(level)}' if level else ''
    known = number({**one, 'value': one['auc']})
    return f'{name_of(name)} (AUC {known}{alone}; above this and chance by {number(one["more"])})'


def _listed(told: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    more = len(told) - LISTED
    return '; '.join(told[:LISTED]) + (f'; and {more} more' if more > 0 else '')


def _names(rows: Sequence[Row]) -> str:
    return ', '.join(artefact_of(row) for row in rows)


def insertions(results: Results) -> Iterator[Finding]:
    """What changes predictions when it is put in."""
    rows = switches_of(results)
    if not rows:
        text = 'No artefact was inserted, so nothing is said of what moves predictions.'
        yield Finding('unknown', 'insertion', text)
        return
    moved = [row for row in rows if surely(row['switched'])]
    # Of each family, such as frames, the first: the others say the same again.
    first: dict[str, Row] = {}
    for row in sorted(moved, key=lambda row: not directed(row)):
        first.setdefault(family(row), row)
    told = [*first.values()][:LISTED]
    yield from (_moving(row) for row in told)
    if others := [row for row in moved if row not in told]:
        listed = ', '.join(f'{artefact_of(row)} {percent(row["switched"])}' for row in others)
        text = f'Predictions change with other artefacts inserted, too: {listed}.'
        yield Finding('note', 'insertion', text, {'artefacts': [r['artefact'] for r in others]})
    yield from _unmoved([row for row in rows if not surely(row['switched'])])


def _moving(row: Row) -> Finding:
    left = {name: block['switched_from'] for name, block in row['by_class'].items()}
    listed = ', '.join(f'{n:.0f} that were called {name}' for name, n in left.items() if n >= 0.5)
    text = (
        f'With {artefact_of(row)} inserted, {row["switched_images"]:.0f} of {row["n"]} predictions '
        f'change, {percent(row["switched"])}{f": {listed}" if listed else ""}. '
    )
    if directed(row):
        one_way = row['q_calls'] <= SURE
        text += (
            f'{"They turn mainly one way" if one_way else "More turn wrong than right"} '
            f'(q = {row["q_calls" if one_way else "q"]:.2g}). Train with it inserted into both '
            f'classes alike{_option(row)}, or remove it from all images first (in skinjax: '
            '`configs/purify.py`), and audit again.'
        )
    else:
        text += (
            'That more turn one way than the other is not shown: the model may only be unsteady '
            'near its threshold.'
        )
    return Finding('warning' if grave(row) else 'note', 'insertion', text, row)


def _option(row: Row) -> str:
    """How skinjax inserts it in training; an artefact of the data may look otherwise."""
    if row.get('of_data') or row['artefact'] not in overlays.KINDS:
        return ''
    return f' (in skinjax: `--config.data.insert={row["artefact"]}`, see docs/bias.md)'


def _unmoved(rows: Sequence[Row]) -> Iterator[Finding]:
    """What is not seen to change predictions, and whether that means anything."""
    if unknown := [row for row in rows if row['switched']['low'] is None]:
        text = (
            f'How many predictions change with {_names(unknown)} inserted cannot be said of other '
            'images: no interval can be given, because all images are of one patient or lesion.'
        )
        yield Finding('unknown', 'insertion', text)
    rows = [row for row in rows if row not in unknown]
    if fixed := [row for row in rows if _one_call(row)]:
        most = max(fixed, key=lambda row: row['mean_abs']['value'])
        text = (
            f'All {most["n"]} images are called {_one_call(most)}, so that few or no predictions '
            f'change with {_names(fixed)} inserted says nothing. The probability moves by '
            f'{_points(most["mean_abs"])} percentage points on average with {artefact_of(most)}.'
        )
        yield Finding('unknown', 'insertion', text, most)
    rows = [row for row in rows if row not in fixed]
    if wide := [row for row in rows if not small(row['switched'])]:
        most = max(wide, key=lambda row: row['switched']['high'])
        text = (
            f'There are too few images to say whether predictions change with {_names(wide)} '
            f'inserted: with {artefact_of(most)} {percent(most["switched"])} of {most["n"]} do.'
        )
        yield Finding('unknown', 'insertion', text, most)
    if rest := [row for row in rows if row not in wide]:
        most = max(rest, key=lambda row: row['switched']['high'])
        text = (
            f'Few or no predictions change with {_names(rest)} inserted: at most, with '
            f'{artefact_of(most)}, {percent(most["switched"])}, of {most["n"]} images.'
        )
        yield Finding('fine', 'insertion', text, {'most': most['switched']})


def _one_call(row: Row) -> str:
    """The class that all images are called without the artefact; '' where there are several."""
    called = [name for name, block in row['by_class'].items() if block['called']]
    return called[0] if len(called) == 1 else ''


def _points(block: Row) -> str:
    """Percentage points with one decimal."""
    value, low, high = (block[name] for name in ('value', 'low', 'high'))
    return f'{value:.1f}' + ('' if None in (low, high) else f' ({low:.1f} to {high:.1f})')


def removals(results: Results) -> Iterator[Finding]:
    """What changes them when it is taken out."""
    rows = (results['counterfactual'].get('removal') or {}).get('rows') or []
    edited = [row for row in rows if row['images'] == 'with']
    kept = [row for row in edited if surely(row['switched'])]
    for row in sorted(kept, key=lambda row: -row['switched']['value'])[:LISTED]:
        other = [
            f', and {percent(one["switched"])} of those of {one["n"]} without'
            for one in rows
            if one['images'] == 'without' and one['artefact'] == row['artefact']
        ]
        text = (
            f'After the editor {row["artefact"]} has removed what it finds, '
            f'{percent(row["switched"])} of the predictions of {row["n"]} images with artefacts '
            f'change{"".join(other)}. Where both are alike it is the editing that moves the model.'
        )
        yield Finding('note', 'removal', text, row)
    if unknown := [row for row in edited if row['switched']['low'] is None]:
        text = (
            f'How many predictions change after {_names(unknown)} has removed what it finds cannot '
            'be said of other images: no interval can be given, because all images are of one '
            'patient or lesion.'
        )
        yield Finding('unknown', 'removal', text)
