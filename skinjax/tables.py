"""Tables for people: Markdown, HTML and aligned text from the same header and rows."""

import html
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

NONE = '–'
LONG = 30  # characters, above which text is broken into lines on a page
# A number, an interval, a mean with its spread, or nothing.
_NUMERIC = re.compile(r'|–|-|[-+]?\d[-+\d.,e%±–() ]*( to [-+\d.,e]+)?')

Rows = Sequence[Sequence[Any]]


def format_value(value: Any) -> str:
    """A cell as text: three decimals below 10, one above, – for what is unknown.

    A mapping {value, low, high} becomes `0.912 (0.880–0.940)`, one {mean, sd} `0.912 ± 0.013`.
    """
    if isinstance(value, Mapping):
        return _format_interval(value)
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return NONE
    if isinstance(value, bool):
        return 'yes' if value else 'no'
    if isinstance(value, float):
        return _format_float(value)
    if isinstance(value, (list, tuple)):
        return ', '.join(format_value(item) for item in value)
    return str(value)


def _format_float(value: float) -> str:
    size = abs(value)
    if 0 < size < 5e-4:
        return f'{value:.1e}'
    return f'{value:.1f}' if size >= 10 else f'{value:.3f}'


def _format_interval(block: Mapping[str, Any]) -> str:
    if 'mean' in block:
        mean, spread = format_value(block['mean']), format_value(block.get('sd'))
        return mean if spread == NONE else f'{mean} ± {spread}'
    if 'value' not in block:
        return '; '.join(f'{key}: {format_value(value)}' for key, value in block.items())
    value, low, high = (format_value(block.get(name)) for name in ('value', 'low', 'high'))
    return value if NONE in (low, high) else f'{value} ({low}–{high})'


def _cells(header: Sequence[str], rows: Rows) -> list[list[str]]:
    cells = [[format_value(value) for value in row] for row in rows]
    for row in cells:
        if len(row) != len(header):
            raise ValueError(f'a row of {len(row)} cells under {len(header)} headings: {row}')
    return cells


def _right(cells: Sequence[Sequence[str]]) -> list[bool]:
    """Which columns hold numbers (and intervals of them), which read best aligned to the right."""
    columns = zip(*cells, strict=True)
    return [all(_NUMERIC.fullmatch(cell) for cell in column) for column in columns]


def markdown_table(header: Sequence[str], rows: Rows) -> str:
    """A Markdown table.

    Raises:
        ValueError: a row is longer or shorter than the header.
    """
    cells = _cells(header, rows)
    marks = ['---:' if right else '---' for right in _right(cells)] or ['---'] * len(header)
    lines = [list(header), marks, *cells]
    escaped = ([cell.replace('|', r'\|').replace('\n', ' ') for cell in line] for line in lines)
    return ''.join(f'| {" | ".join(line)} |\n' for line in escaped)


def console_table(header: Sequence[str], rows: Rows) -> str:
    """The same in aligned plain text.

    Raises:
        ValueError: a row is longer or shorter than the header.
    """
    cells = _cells(header, rows)
    right = _right(cells) or [False] * len(header)
    widths = [max(len(row[k]) for row in [header, *cells]) for k in range(len(header))]
    lines = (
        '  '.join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in [header, ['-' * width for width in widths], *cells]
    )
    return '\n'.join(lines) + '\n'


def html_table(header: Sequence[str], rows: Rows, caption: str = '') -> str:
    """The same as HTML: headings with a scope, the first cell of a row being its heading.

    Raises:
        ValueError: a row is longer or shorter than the header.
    """
    cells = _cells(header, rows)
    right = _right(cells) or [False] * len(header)
    mark = [' class="n"' if numbers else '' for numbers in right]
    head = ''.join(
        f'<th scope="col"{mark[k]}>{html.escape(name)}</th>' for k, name in enumerate(header)
    )
    body = []
    for row in cells:
        marks = [
            ' class="long"' if not to_right and len(cell) > LONG else text
            for cell, to_right, text in zip(row, right, mark, strict=True)
        ]
        first, *rest = (html.escape(cell) for cell in row)
        parts = [f'<th scope="row"{marks[0]}>{first}</th>']
        parts += [f'<td{marks[k]}>{cell}</td>' for k, cell in enumerate(rest, 1)]
        body.append(f'<tr>{"".join(parts)}</tr>')
    title = f'<caption>{html.escape(caption)}</caption>' if caption else ''
    lines = '\n'.join(body)
    return f'<table>{title}\n<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}\n</tbody></table>'
