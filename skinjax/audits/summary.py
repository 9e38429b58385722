"""The first section of an audit report: the figures that matter most, and what to do."""

import html
import re
from collections.abc import Mapping, Sequence
from typing import Any

from skinjax.audits import strongest
from skinjax.audits.finding import Finding
from skinjax.document import Html, Section, Table

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
    table = Table('In short', ['question', 'answer', 'figure'], rows(results))
    return Section('Summary', _TEXT, [table], parts=[part])


def _code(text: str) -> str:
    """What stands between backticks as code."""
    return re.sub('`([^`]*)`', r'<code>\1</code>', text)


def rows(results: Mapping[str, Any]) -> list[list[Any]]:
    """Question, answer, figure: AUC, widest gap, strongest leak, strongest switch, clusters."""
    block = results['splits'][results['flag_split']]
    auc = block['auc' if 'auc' in block else 'mean_auc']
    told = [[f'How well are diagnoses told apart? (split “{results["flag_split"]}”)', 'AUC', auc]]
    told += [_gap(results), _leak(results), _switch(results), _cluster(results)]
    return told


def _gap(results: Mapping[str, Any]) -> list[Any]:
    question = 'Where does recognition of one diagnosis differ most?'
    if not results['gaps']:
        return [question, 'not known', None]
    row = max(results['gaps'], key=lambda row: row['gap']['value'])
    worst, best = row['worst']['value'], row['best']['value']
    return [question, f'{row["class"]} by {row["flag"]}: {worst} and {best}', row['gap']]


def _leak(results: Mapping[str, Any]) -> list[Any]:
    question = 'What do the features know best, beside the diagnosis?'
    ranked = strongest.leaks_of(results['leaks'])
    if not ranked:
        return [question, 'not known', None]
    _, name, kind, block = ranked[0]
    return [
        question,
        f'{strongest.name_of(name)} (AUC of a probe)',
        {**block[kind], 'value': block[kind]['auc']},
    ]


def _switch(results: Mapping[str, Any]) -> list[Any]:
    question = 'What changes most predictions when it is inserted?'
    ranked = strongest.switches_of(results)
    if not ranked:
        return [question, 'not known', None]
    row = max(ranked, key=lambda row: row['switched']['value'])
    return [
        question,
        f'{strongest.artefact_of(row)} (share of predictions)',
        row['switched'],
    ]


def _cluster(results: Mapping[str, Any]) -> list[Any]:
    question = 'Into how many clusters fall the maps of what it looks at?'
    found = results['clusters'].get('classes') or {}
    told = ', '.join(f'{len(block["clusters"])} of {name}' for name, block in found.items())
    return [question, told or 'not known', None]
