"""What kind 'compare' shows: table.md, a picture and report.html."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skinjax import figures, tables
from skinjax.document import Figure, Section, Table, write_report
from skinjax.engine.writer import write_atomic


def publish(config: Any, summary: dict[str, Any], values: Mapping[str, Any], workdir: Path) -> str:
    """Write table.md, figures/comparison.png and report.html; return the table as text."""
    order = [*config.order, *(n for n in sorted(config.runs) if n not in config.order)]
    found = _tables(config, summary, order)
    columns = [column for column, _ in config.columns]
    drawn = {n: {c: values[n][c] for c in columns if c in config.drawn} for n in order}
    aucs = all('auc' in path for column, path in config.columns if column in config.drawn)
    picture = figures.comparison_figure(drawn, 'AUC' if aucs else '')
    (workdir / 'figures').mkdir(exist_ok=True)
    write_atomic(workdir / 'figures' / 'comparison.png', picture)
    text = '\n'.join(f'{t.caption}\n\n{tables.markdown_table(t.header, t.rows)}' for t in found)
    write_atomic(workdir / 'table.md', text)
    alt = 'A dot for every run and the mean with its interval, for each method and test set'
    sections = [Section('Comparison', config.note, found, [Figure(picture, alt)])]
    write_report(workdir / 'report.html', f'{workdir.name}: {len(order)} methods', sections)
    return '\n\n'.join(f'{t.caption}\n{tables.console_table(t.header, t.rows)}' for t in found)


def _tables(config: Any, summary: Mapping[str, Any], order: Sequence[str]) -> list[Table]:
    """Means; differences to the reference and shares of its gap to the ceiling; folds."""
    methods, columns = summary['methods'], [column for column, _ in config.columns]
    header = ['method', *(f'{c}{_support(summary["support"].get(c))}' for c in columns)]
    rows = [[name, *(methods[name][c] for c in columns)] for name in order]
    found = [Table(f'Mean ± sd over {len(config.seeds)} seeds', header, rows)]
    if config.reference:
        others = [name for name in order if name != config.reference]
        found.append(
            Table(
                f'Difference to {config.reference}, paired by seed, with 95 % t interval',
                header,
                [[n, *(_signed(methods[n][c]['difference']) for c in columns)] for n in others],
            )
        )
        others = [name for name in others if name != config.ceiling]
        if config.ceiling:
            shares = [
                [n, *(_percent(methods[n][c]['share_of_gap']) for c in columns)] for n in others
            ]
            found.append(
                Table(
                    f'Share of the gap from {config.reference} to {config.ceiling}', header, shares
                )
            )
    if 'folds' in summary:
        kinds = ('pooled', 'ranked', 'mean')
        cross = [[n, *(summary['folds'][n][kind] for kind in kinds)] for n in order]
        found.append(Table('AUC over the held-out folds', ['method', *kinds], cross))
    return found


def _support(bounds: tuple[int, int] | None) -> str:
    """What a heading says about the number of rows behind it: ' (n = 23)', or ' (n = 22–23)'."""
    if not bounds:
        return ''
    low, high = bounds
    return f' (n = {low})' if low == high else f' (n = {low}–{high})'


def _percent(share: float) -> str:
    return f'{100 * share:.0f} %' if np.isfinite(share) else tables.NONE


def _signed(block: Mapping[str, float]) -> str:
    if not np.isfinite(block['mean']):
        return tables.NONE
    if not np.isfinite(block['low']):  # one seed has no interval
        return f'{block["mean"]:+.3f}'
    return f'{block["mean"]:+.3f} ({block["low"]:+.3f} to {block["high"]:+.3f})'
