"""Reports and tables as the output of a notebook's cell (launch/colab)."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from skinjax.data.records import choices
from skinjax.tables import console_table, html_table

_STYLE = 'width: 100%; border: 1px solid #c8c8c8; background: #ffffff;'


class Shown:
    """What a notebook shows where this is the last value of a cell.

    Attributes:
        markup: HTML.
        text: the same in words, where no HTML is shown.
    """

    def __init__(self, markup: str, text: str):
        self.markup, self.text = markup, text

    def _repr_html_(self) -> str:
        return self.markup

    def __repr__(self) -> str:
        return self.text


def report(workdir: str | Path, height: int = 600) -> Shown:
    """report.html of a work directory, in a frame of `height` pixels.

    The page becomes part of the notebook, since Colab serves no files. It is kept apart from the
    rest: its scripts see nothing but the report.

    Raises:
        FileNotFoundError: there is no report.
        ValueError: the page has no <head>.
    """
    path = Path(workdir) / 'report.html'
    page = path.read_text(encoding='utf-8')
    before, head, after = page.partition('<head>')
    if not head:
        raise ValueError(f'{path} is no report: it has no <head>')
    # Links within a page that has no address of its own would else lead to the notebook. The base
    # comes first, since it holds for what follows it alone.
    page = f'{before}{head}\n<base href="about:srcdoc">{after}'
    markup = (
        f'<iframe sandbox="allow-scripts" title="{html.escape(str(path))}" height="{height}" '
        f'style="{_STYLE}" srcdoc="{html.escape(page)}"></iframe>'
    )
    return Shown(markup, f'report: {path}')


def table(
    blocks: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    fields: Sequence[str] | Mapping[str, str],
) -> Shown:
    """A row for each block of results, formatted as in reports: numbers with their intervals.

        table(results['splits'], ['n', 'auc'])
        table({'CLGR': clgr, 'TABE': tabe}, {'plain': 'splits.plain.auc'})

    Args:
        blocks: parts of results.json; their names, where they have some, begin the rows.
        fields: dotted paths within a block, which head the columns unless they have a heading.

    Raises:
        ValueError: a block has no such field; what it has is listed.
    """
    paths = fields if isinstance(fields, Mapping) else {path: path for path in fields}
    if isinstance(blocks, Mapping):
        header = ['', *paths]
        rows = [[name, *(_at(block, p) for p in paths.values())] for name, block in blocks.items()]
    else:
        header = [*paths]
        rows = [[_at(block, path) for path in paths.values()] for block in blocks]
    return Shown(html_table(header, rows), console_table(header, rows))


def _at(block: Any, path: str) -> Any:
    for part in path.split('.'):
        if not isinstance(block, Mapping) or part not in block:
            known = block if isinstance(block, Mapping) else ()
            raise ValueError(f'no {part!r} of {path!r} there; {choices(part, known)}')
        block = block[part]
    return block
