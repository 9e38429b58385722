"""A self-contained HTML page out of sections: text, tables, figures.

The page carries its own style and figures, loads nothing, prints, and follows the light or dark
setting of the reader. Its Content-Security-Policy lets no script run but those of its parts.
"""

import base64
import dataclasses
import hashlib
import html
import os
from collections.abc import Sequence
from pathlib import Path

from skinjax.engine.writer import write_atomic
from skinjax.tables import Rows, html_table

_STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #ffffff; --line: #c8c8c8;
  --soft: #f3f4f6; --link: #0b57a4; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --paper: #16181c;
  --line: #4a4d55; --soft: #23262c; --link: #8ec1ff; } }
body { color: var(--ink); background: var(--paper); margin: 2rem auto; max-width: 62rem;
  padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif; }
a { color: var(--link); }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: 0.3rem 0; font-weight: 600; }
th, td { padding: 0.25rem 0.6rem; border-bottom: 1px solid var(--line); text-align: left;
  white-space: nowrap; }
thead th { background: var(--soft); white-space: normal; vertical-align: bottom; }
.long { white-space: normal; min-width: 14rem; }
tbody th { font-weight: 500; }
.n { text-align: right; }
figure { display: inline-block; vertical-align: top; margin: 0.5rem 1rem 0.5rem 0;
  max-width: 100%; }
figure img { background: #ffffff; max-width: 100%; height: auto; }
figcaption { font-size: 0.9rem; max-width: 34rem; }
pre { background: var(--soft); padding: 0.8rem; overflow-x: auto; font-size: 0.85rem; }
@media print { :root { color-scheme: light; } nav { display: none; }
  body { margin: 0; max-width: none; font-size: 10pt; }
  figure, tr { break-inside: avoid; } h2 { break-after: avoid; }
  .wide, pre { overflow: visible; } th, td, pre { white-space: pre-wrap; } }
"""


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows under a header; cells are formatted by `format_value`."""

    caption: str
    header: Sequence[str]
    rows: Rows


@dataclasses.dataclass(frozen=True)
class Figure:
    """A PNG or JPEG file; `alt` says in words what a reader who cannot see it should know."""

    image: bytes
    alt: str
    caption: str = ''


def figure(workdir: Path, name: str, picture: bytes, alt: str) -> Figure:
    """Writes figures/NAME.png, and gives it to the report."""
    write_atomic(workdir / 'figures' / f'{name}.png', picture)
    return Figure(picture, alt, alt)


@dataclasses.dataclass(frozen=True)
class Html:
    """Markup that is put on the page as it is: whoever made it has escaped what users wrote.

    Attributes:
        body: the markup.
        style: CSS that it needs; a page carries the same text once.
        script: JavaScript that it needs, likewise; it runs when the page is complete.
    """

    body: str
    style: str = ''
    script: str = ''


@dataclasses.dataclass(frozen=True)
class Section:
    """A heading with, in this order, paragraphs (divided by empty lines), tables, figures, parts
    with markup of their own, code."""

    heading: str
    text: str = ''
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    code: str = ''
    parts: Sequence[Html] = ()


def write_report(path: str | os.PathLike[str], title: str, sections: Sequence[Section]) -> None:
    """Writes one self-contained HTML file, whole or not at all."""
    body = '\n'.join(_section(k, section) for k, section in enumerate(sections))
    links = ''.join(
        f'<li><a href="#s{k}">{html.escape(section.heading)}</a></li>'
        for k, section in enumerate(sections)
    )
    contents = f'<nav aria-label="Contents"><ul>{links}</ul></nav>' if len(sections) > 2 else ''
    name = html.escape(title)
    parts = [part for section in sections for part in section.parts]
    style = '\n'.join([_STYLE, *dict.fromkeys(part.style for part in parts if part.style)])
    script = '\n'.join(dict.fromkeys(part.script for part in parts if part.script))
    write_atomic(
        path,
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(style, script)}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{name}</title>\n<style>{style}</style>\n</head>\n<body>\n'
        f'<header><h1>{name}</h1>{contents}</header>\n<main>\n{body}\n</main>\n'
        + (f'<script>{script}</script>\n' if script else '')
        + '</body>\n</html>\n',
    )


def _policy(style: str, script: str) -> str:
    """Nothing is loaded, and nothing applies or runs but the page's own style and script."""
    rules = ["default-src 'none'", "base-uri 'none'", "form-action 'none'", 'img-src data:']
    for kind, text in {'style': style, 'script': script}.items():
        if text:
            digest = base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest())
            rules.append(f"{kind}-src 'sha256-{digest.decode('ascii')}'")
    return '; '.join(rules)


def _section(k: int, section: Section) -> str:
    paragraphs = [p.strip() for p in section.text.split('\n\n') if p.strip()]
    parts = [f'<h2>{html.escape(section.heading)}</h2>']
    parts += [f'<p>{html.escape(paragraph)}</p>' for paragraph in paragraphs]
    for table in section.tables:
        # Scrollable parts must be reachable with the keyboard.
        label = html.escape(table.caption or section.heading, quote=True)
        inner = html_table(table.header, table.rows, table.caption)
        region = f'<div class="wide" role="region" aria-label="{label}" tabindex="0">'
        parts.append(f'{region}{inner}</div>')
    parts += [_figure(figure) for figure in section.figures]
    parts += [part.body for part in section.parts]
    if section.code:
        parts.append(
            f'<details><summary>Show</summary><pre>{html.escape(section.code)}</pre></details>'
        )
    return f'<section id="s{k}">\n' + '\n'.join(parts) + '\n</section>'


def _figure(figure: Figure) -> str:
    kind = 'jpeg' if figure.image[:2] == b'\xff\xd8' else 'png'
    data = base64.b64encode(figure.image).decode('ascii')
    caption = f'<figcaption>{html.escape(figure.caption)}</figcaption>' if figure.caption else ''
    alt = html.escape(figure.alt, quote=True)
    return f'<figure><img alt="{alt}" src="data:image/{kind};base64,{data}">{caption}</figure>'
