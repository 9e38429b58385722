"""The first section of an audit report: the figures that matter most, and what to do."""

import functools
import html
import re
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from skinjax.auditing import finding
from skinjax.auditing.finding import Finding
from skinjax.document import Html, Section, Table
from skinjax.tables import format_value

LABELS = {
    'warning': 'Act on this',
    'note': 'Know this',
    'fine': 'Looked at, nothing found',
    'unknown': 'Not known',
}
_STYLE = """
.findings { list-style: none; padding: 0; }
.findings li { margin: 0.6rem 0; padding: 0.4rem 0.9rem; border-left: 0.35rem solid var(--line);
  background: var(--soft); break-inside: avoid; }
.findings .warning { border-color: #d55e00; }
.findings .note { border-color: #0072b2; }
.findings .fine { border-color: #009e73; }
.findings .unknown { border-left-style: dashed; }
"""
_TEXT = (
    'This page says of one classifier how well it does, and whether it may have learned something '
    'else than the disease: rulers, frames, hair, ink, a camera. It cannot say that a model is '
    'safe: what nobody flagged, inserted or looked for is not seen here. In brackets are 95 % '
    'intervals. A research tool, not a medical device.'
)


def section(results: Mapping[str, Any], findings: Sequence[Finding]) -> Section:
    """The summary.

    Args:
        results: see `skinjax.audits.report`.
        findings: of `advice.advise`.
    """
    items = '\n'.join(
        f'<li class="{one.severity}"><strong>{LABELS[one.severity]}.</strong> '
        f'{_code(html.escape(one.text))}</li>'
        for one in findings
    )
    part = Html(f'<ul class="findings">\n{items}\n</ul>', style=_STYLE)
    # Long answers last: what does not fit on a screen is scrolled to.
    told = [[question, figure, answer] for question, answer, figure in rows(results)]
    table = Table('In short', ['question', 'figure', 'answer'], told)
    return Section('Summary', _TEXT, [table], parts=[part])


def text(results: Mapping[str, Any], findings: Sequence[Finding]) -> str:
    """The same as plain text, as wide as the terminal: figures with their questions, findings."""
    width = min(shutil.get_terminal_size((100, 24)).columns, 140)
    told = [(format_value(figure), f'{ask} {answer}') for ask, answer, figure in rows(results)]
    indent = 2 + max(len(figure) for figure, _ in told)
    wide = max(width, indent + 30)
    short = [_fill(said, wide, figure.ljust(indent), ' ' * indent) for figure, said in told]
    said = [_fill(f'{LABELS[one.severity]}: {one.text}', width, '', '  ') for one in findings]
    return '\n'.join(['In short', *short, '', *said])


def _fill(text: str, width: int, first: str, others: str) -> str:
    """Lines with these indents; numbers stay with their %, and what can be copied stays whole."""
    fill = functools.partial(textwrap.fill, break_long_words=False, break_on_hyphens=False)
    kept = text.replace(' %', '\xa0%')
    return fill(kept, width, initial_indent=first, subsequent_indent=others).replace('\xa0', ' ')


def _code(text: str) -> str:
    """What stands between backticks as code."""
    return re.sub('`([^`]*)`', r'<code>\1</code>', text)


def rows(results: Mapping[str, Any]) -> list[list[Any]]:
    """Question, answer, figure: AUC, recognition, gap, leak, switch, clusters."""
    name = results['flag_split']
    block = results['splits'][name]
    auc = block['auc' if 'auc' in block else 'mean_auc']
    told = [[f'How well are diagnoses told apart? (split “{name}”)', 'AUC', auc]]
    told += [_recognised(results), _gap(results), _leak(results)]
    return [*told, _switch(results), _cluster(results)]


def _recognised(results: Mapping[str, Any]) -> list[Any]:
    """That of the positive class of two, of more the lowest."""
    shares = results['recognised']
    seen = [name for name in shares if shares[name]['n']]
    name = min(seen, key=lambda name: shares[name]['value'])
    question = 'Of which diagnosis is least recognised?'
    if len(shares) == 2:
        name = [*shares][-1]
        at = results['threshold']['value']
        question = f'How many {name} are recognised at the threshold {at:.2g}?'
    one = shares[name]
    return [question, f'{name}, of {one["n"]} images', one if one['n'] else None]


def _gap(results: Mapping[str, Any]) -> list[Any]:
    question = 'Where does recognition of one diagnosis differ most surely?'
    if not results['gaps']:
        return [question, 'not known', None]
    row = min(results['gaps'], key=lambda row: (row['q'], -row['gap']['value']))
    worst, best = row['worst']['value'], row['best']['value']
    return [
        question,
        f'{row["class"]} by {row["flag"]}: {worst} and {best} (q = {row["q"]:.2g})',
        row['gap'],
    ]


def _leak(results: Mapping[str, Any]) -> list[Any]:
    question = 'What do the features know beyond the diagnosis?'
    ranked = finding.probes_of(results['leaks'])
    if not ranked:
        return [question, 'not known', None]
    name, one = ranked[0]
    if not finding.leaking(one):
        return [question, 'nothing surely', None]
    level = results['leaks']['variables'][name]['by_diagnosis']['value']
    above = f'above {max(level, 0.5):.2f}, of the diagnosis alone or chance'
    told = f'{finding.name_of(name)} (AUC of a probe {above})'
    return [question, told, one['more']]


def _switch(results: Mapping[str, Any]) -> list[Any]:
    question = 'What changes most predictions when it is inserted?'
    ranked = finding.switches_of(results)
    if not ranked:
        return [question, 'not known', None]
    row = max(ranked, key=lambda row: (finding.surely(row['switched']), row['switched']['value']))
    return [question, f'{finding.artefact_of(row)} (share of predictions)', row['switched']]


def _cluster(results: Mapping[str, Any]) -> list[Any]:
    question = 'Into how many clusters fall the maps of what it looks at?'
    found = results['clusters'].get('classes') or {}
    told = ', '.join(f'{len(block["clusters"])} of {name}' for name, block in found.items())
    return [question, told or 'not known', None]
