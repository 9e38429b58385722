"""Which leaks and switches of an audit are strongest, and figures with intervals in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from skinjax.audits import probe
from skinjax.audits.leakage import DIAGNOSIS


def leaks_of(leaks: Mapping[str, Any]) -> list[tuple[float, str, str, Mapping[str, Any]]]:
    """(excess, flag, kind of probe, block) of every flag with a figure.

    The excess is that of the lower bound of the best probe over the upper bound of what the
    diagnosis alone tells. Those with one come first; of these the flags of people, the strongest
    first, then those of detectors.
    """
    found = []
    for name, block in leaks['variables'].items():
        if name != DIAGNOSIS and (most := _beyond(block, probe.KINDS)) is not None:
            found.append((*most, name, block))
    found = [(excess, name, kind, block) for excess, kind, name, block in found]
    return sorted(found, key=lambda e: (e[0] <= 0, e[3]['detected'], -e[0]))


def switches_of(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Rows of pairs of the data and of insertions, of each that which switches most first."""
    parts = (results['pairs'], (results.get('counterfactual') or {}).get('switches') or [])
    return [
        row for rows in parts for row in sorted(rows, key=lambda row: -row['switched']['value'])
    ]


def _beyond(block: Mapping[str, Any], kinds: Sequence[str]) -> tuple[float, str] | None:
    """The excess of one flag, and the kind of probe; None where there is no figure."""
    known = [kind for kind in kinds if kind in block and block[kind]['low'] is not None]
    if not known:
        return None
    best = max(known, key=lambda kind: block[kind]['low'])
    level = block['by_diagnosis']['high'] if block['by_diagnosis'] else 0.5
    return block[best]['low'] - level, best


def moves(row: Mapping[str, Any]) -> bool:
    """Whether surely some predictions switch; nobody knows without an interval."""
    low = row['switched']['low']
    return low is not None and low > 0


def percent(block: Mapping[str, float | None]) -> str:
    """`15 % (11 to 21 %)`, a share with its interval, or without where there is none."""
    value, low, high = (block[name] for name in ('value', 'low', 'high'))
    told = f'{100 * (value or 0):.0f} %'
    return (
        told if low is None or high is None else f'{told} ({100 * low:.0f} to {100 * high:.0f} %)'
    )


def number(block: Mapping[str, float]) -> str:
    """`0.87 (0.81 to 0.92)`."""
    return f'{block["value"]:.2f} ({block["low"]:.2f} to {block["high"]:.2f})'


def artefact_of(row: Mapping[str, Any]) -> str:
    """What a row inserts, in words."""
    return name_of(row['artefact']) + (' as in the data' if row.get('of_data') else '')


def family(row: Mapping[str, Any]) -> str:
    """`hair` of `hair_dense`."""
    return row['artefact'].split('_')[0]


def name_of(artefact: str) -> str:
    """`hair_dense` as `hair dense`."""
    return artefact.replace('_', ' ')
