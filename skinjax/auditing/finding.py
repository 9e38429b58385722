"""A finding of an audit in plain words, and the figures that findings are made of."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from skinjax.auditing import probe
from skinjax.auditing.leakage import DIAGNOSIS
from skinjax.data import targeted
from skinjax.discovery.enrichment import SURE

SEVERITIES = ('warning', 'note', 'fine', 'unknown')
MANY = 0.05  # share of predictions that switch, and gap, from which a finding is a warning
MATTERS = 0.1  # share or AUC; what an interval lets be as large is not "looked at, nothing found"
LISTED = 3  # findings of one sort that are told
ARTEFACTS = frozenset(flag for flags in targeted.SHOWS.values() for flag in flags)  # as flags
_DETECTED = ' (detected)'

Block = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Finding:
    """One sentence or two.

    Attributes:
        severity: one of SEVERITIES: to act upon; to know; looked at and not found; not known.
        about: what was looked at: performance, groups, leaks, insertion, removal or clusters.
        text: in plain words.
        numbers: behind it.
    """

    severity: str
    about: str
    text: str
    numbers: Block = dataclasses.field(default_factory=dict)


def surely(block: Block) -> bool:
    """Whether a figure is above 0, by its interval; nobody knows without one."""
    return block['low'] is not None and block['low'] > 0


def small(block: Block) -> bool:
    """Whether its interval rules out that a figure reaches MATTERS."""
    return block['high'] is not None and block['high'] < MATTERS


def percent(block: Block) -> str:
    """`15 % (11 to 21 %)`, a share with its interval, or without where there is none."""
    value, low, high = (block[name] for name in ('value', 'low', 'high'))
    told = f'{100 * value:.0f} %'
    return told if None in (low, high) else f'{told} ({100 * low:.0f} to {100 * high:.0f} %)'


def number(block: Block) -> str:
    """`0.87 (0.81 to 0.92)`, or without an interval where there is none."""
    value, low, high = (block[name] for name in ('value', 'low', 'high'))
    told = f'{value:.2f}'
    return told if None in (low, high) else f'{told} ({low:.2f} to {high:.2f})'


def probes_of(leaks: Block) -> list[tuple[str, Block]]:
    """(flag, block of a probe) of every probe of every flag that could be asked, those first that
    surely know more than the diagnosis tells (`leaking`), of these those of people's flags."""
    asked = [
        (name, block[kind])
        for name, block in leaks['variables'].items()
        for kind in probe.KINDS
        if name != DIAGNOSIS and kind in block and block[kind]['more']
    ]
    detected = {name: block['detected'] for name, block in leaks['variables'].items()}

    def rank(one: tuple[str, Block]) -> tuple[bool, bool, float]:
        low = one[1]['more']['low']
        return not leaking(one[1]), detected[one[0]], float('inf') if low is None else -low

    return sorted(asked, key=rank)


def leaking(block: Block) -> bool:
    """Whether a probe surely knows more than the diagnosis tells, among all that were asked."""
    return block['q'] is not None and block['q'] <= SURE and surely(block['more'])


def switches_of(results: Block) -> list[Block]:
    """Rows of pairs of the data and of insertions; of each those with a direction first, then those
    that switch most."""
    parts = (results['pairs'], results['counterfactual'].get('switches') or [])
    return [row for rows in parts for row in sorted(rows, key=_strength)]


def _strength(row: Block) -> tuple[bool, bool, float]:
    return not surely(row['switched']), not directed(row), -row['switched']['value']


def directed(row: Block) -> bool:
    """Whether more calls turn one way than by chance: to one class, or from right to wrong.

    What only shakes a model near its threshold turns as many one way as the other.
    """
    return min(row['q'], row['q_calls']) <= SURE


def grave(row: Block) -> bool:
    """Whether an artefact, inserted, surely switches many predictions, and one way."""
    return surely(row['switched']) and directed(row) and row['switched']['value'] >= MANY


def artefact_of(row: Block) -> str:
    """What a row inserts, in words."""
    return name_of(row['artefact']) + (' as in the data' if row.get('of_data') else '')


def family(row: Block) -> str:
    """`hair` of `hair_dense`."""
    return row['artefact'].split('_')[0]


def name_of(artefact: str) -> str:
    """`hair_dense` as `hair dense`."""
    return artefact.replace('_', ' ')


def flag_of(name: str) -> str:
    """The name of a flag as those of `targeted.SHOWS` are written."""
    return name.removesuffix(_DETECTED).strip().casefold().replace(' ', '_')


def shows(row: Block, flag: str) -> bool:
    """Whether the artefact that a row inserts is what a flag says."""
    named = {row['artefact'], *targeted.SHOWS.get(row['artefact'], ())}
    return flag_of(flag).removesuffix('s') in {name.removesuffix('s') for name in named}
