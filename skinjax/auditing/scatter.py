"""A scatter of images for a page: choose a point to see its image, its map and what is known of it.

Colour and shape follow a column, each column filters, the keyboard does all that a pointer does, a
table says it in words, and a page without scripts shows that table. The script is `scatter.js`, the
style `scatter.css`; nothing else is needed or loaded.
"""

import base64
import html
import importlib.resources
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from skinjax.data import choosing
from skinjax.data import images as pictures
from skinjax.document import Html
from skinjax.relevance import heatmaps
from skinjax.tables import html_table

SIDE = 96  # pixels of a picture
PICTURED = 1000  # images that are on the page; of more, so many spread over them
BUDGET = 10_000_000  # bytes of JPEG; a page of base64 is a third larger
QUALITIES = (80, 60, 40, 20)  # of JPEG, tried until all pictures are within the budget
LISTED = 50  # rows of the table
MOST = 40  # values of a column that can be coloured and filtered by; others are only told

_HELP = (
    'Click a point, or go to the picture with the Tab key: arrow keys lead to the nearest point '
    'in their direction, Page Down and Page Up to the next and previous, Home and End to the '
    'first and last; Enter leads to what is known of the image, Escape back.'
)
# Of maps with both signs, and of others; see heatmaps.coloured.
_CAPTIONS = {
    True: 'Map over it: red speaks for the explained class, blue against',
    False: 'Map over it: the brighter, the stronger',
}
_NO_SCRIPT = 'The picture and its filters need JavaScript, which is switched off here.'

Image = UInt8[np.ndarray, 'h w 3']
Picture = UInt8[np.ndarray, 's s 3']
Map = Float[np.ndarray, 'y x']


def view(
    points: Float[np.ndarray, 'n 2'],
    images: Callable[[int], Image],
    maps: Callable[[int], Map],
    columns: Mapping[str, Sequence[str]],
    titles: Sequence[str],
    signed: bool,
    *,
    budget: int = BUDGET,
) -> Html:
    """The scatter of n images, as a part of a section.

    Args:
        points: where images are; both axes are scaled to fill the picture.
        images: place -> its image.
        maps: place -> its relevance map, of any size and scale.
        columns: name -> value of each image, '' where it is unknown. The first is what colours and
            shapes show until the reader chooses another. Columns of more than MOST values, and
            others than the first of mostly different ones, are only shown with the image and in
            the table.
        titles: name of each image.
        signed: whether maps have both signs; see `heatmaps.coloured`.
        budget: bytes of the pictures; their quality is lowered to keep it.

    Raises:
        ValueError: no points, some that are not finite, columns or titles of other lengths, or a
            map with values that are not finite.
    """
    _check(points, columns, titles)
    n = len(points)
    spread = np.ptp(points, axis=0)
    # Where all points share a coordinate they stand in the middle.
    place = np.where(spread > 0, (points - points.min(0)) / np.where(spread > 0, spread, 1), 0.5)
    listed = [
        _column(name, list(map(str, values)), first=not k)
        for k, (name, values) in enumerate(columns.items())
    ]
    data = {
        'points': place.round(4).tolist(),
        'titles': list(map(str, titles)),
        'columns': listed,
        'caption': _CAPTIONS[signed],
        'pictures': _pictures(n, images, maps, titles, signed, budget),
    }
    # '<' is the only character by which text could end the element that holds it.
    text = json.dumps(data, separators=(',', ':')).replace('<', '\\u003c')
    folder = importlib.resources.files('skinjax.auditing')
    body = (
        f'<div class="scatter">\n<script type="application/json">{text}</script>\n'
        f'<noscript><p>{_NO_SCRIPT}</p></noscript>\n{_live(listed, n)}\n{_table(data)}\n</div>'
    )
    style, script = (folder.joinpath(f'scatter.{end}').read_text('utf-8') for end in ('css', 'js'))
    return Html(body, style, script)


def _check(points: np.ndarray, columns: Mapping[str, Sequence[str]], titles: Sequence[str]) -> None:
    if not len(points):
        raise ValueError('a scatter needs at least one point')
    if not np.isfinite(points).all():
        bad = int(np.flatnonzero(~np.isfinite(points).all(axis=1))[0])
        raise ValueError(f'point {bad} of a scatter is {points[bad].tolist()}, expected numbers')
    lengths = {'titles': len(titles), **{name: len(v) for name, v in columns.items()}}
    wrong = {name: length for name, length in lengths.items() if length != len(points)}
    if wrong:
        raise ValueError(f'a scatter of {len(points)} points needs as many of each: {wrong}')


def _column(name: str, values: list[str], *, first: bool) -> dict[str, Any]:
    """Distinct values in order, the code of each image, and whether readers can filter by it."""
    known = sorted(set(values), key=_order)
    codes = {value: code for code, value in enumerate(known)}
    few = len(known) <= (MOST if first else min(MOST, max(2, len(values) // 2)))
    return {'name': name, 'values': known, 'codes': [codes[v] for v in values], 'few': few}


def _order(value: str) -> tuple[int, float, str]:
    """Numbers by size, then words, then what is unknown."""
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if math.isnan(number):
        return (1 if value else 2, 0.0, value)
    return (0, number, value)


def _pictures(
    n: int,
    images: Callable[[int], Image],
    maps: Callable[[int], Map],
    titles: Sequence[str],
    signed: bool,
    budget: int,
) -> list[list[str] | None]:
    """The image and the map over it of each, as JPEG in base64; None where they are left out."""
    rows = choosing.evenly(np.arange(n), PICTURED).tolist()
    pairs = [_pair(images(row), maps(row), str(titles[row]), signed) for row in rows]
    made: list[list[bytes]] = []
    for quality in QUALITIES:
        made = [[_jpeg(one, quality) for one in pair] for pair in pairs]
        if sum(len(one) for pair in made for one in pair) <= budget:
            break
    found: list[list[str] | None] = [None] * n
    for row, pair in zip(rows, made, strict=True):
        found[row] = [base64.b64encode(one).decode('ascii') for one in pair]
    return found


def _pair(image: Image, heat: Map, title: str, signed: bool) -> tuple[Picture, Picture]:
    """A small image, and the map over it."""
    if not np.isfinite(heat).all():
        raise ValueError(f'the map of {title} has values that are not finite')
    side = min(SIDE, max(image.shape[:2]))
    small = pictures.fit(image, side)
    smaller = side < min(heat.shape)
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    heat = cv2.resize(heat.astype(np.float32), (side, side), interpolation=how)
    return small, heatmaps.overlay(small, heat, signed=signed)


def _jpeg(image: Picture, quality: int) -> bytes:
    bgr = np.ascontiguousarray(image[..., ::-1])
    return cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def _live(columns: Sequence[Mapping[str, Any]], n: int) -> str:
    """What the script fills, hidden until it runs."""
    few = [(k, column) for k, column in enumerate(columns) if column['few']]
    by = ''.join(_option(k, column['name']) for k, column in few)
    controls = [f'<label>Colour and shape <select class="by">{by}</select></label>'] * bool(few)
    for k, column in few:
        values = ''.join(_option(code, v or 'unknown') for code, v in enumerate(column['values']))
        controls.append(
            f'<label>{html.escape(column["name"])} <select class="filter" data-column="{k}">'
            f'<option value="">all</option>{values}</select></label>'
        )
    if few:
        controls.append('<button type="button" class="all">Show all</button>')
    return (
        '<div class="live" hidden>\n'
        f'<div class="controls" role="group" aria-label="Images shown">{"".join(controls)}</div>\n'
        '<p role="status"></p>\n<div class="view">\n<div class="plot">\n'
        f'<svg viewBox="0 0 480 360" role="application" tabindex="0" aria-label="Scatter of {n} '
        'images; arrow keys choose one, Enter leads to what is known of it"></svg>\n'
        f'<ul class="legend" aria-label="Legend"></ul>\n<p class="help">{_HELP}</p>\n</div>\n'
        '<div class="chosen" role="region" aria-label="Chosen image" aria-live="polite" '
        'tabindex="-1"></div>\n</div>\n</div>'
    )


def _option(value: int, text: str) -> str:
    return f'<option value="{value}">{html.escape(text)}</option>'


def _table(data: Mapping[str, Any]) -> str:
    """The first images in words; the script keeps to those that are shown."""
    columns = data['columns']
    rows = [
        [title, *(column['values'][column['codes'][i]] or 'unknown' for column in columns)]
        for i, title in enumerate(data['titles'][:LISTED])
    ]
    caption = f'Images shown, at most the first {LISTED}'
    inner = html_table(['image', *(column['name'] for column in columns)], rows, caption)
    return (
        '<details open><summary>As a table</summary>\n<div class="wide" role="region" '
        f'aria-label="{caption}" tabindex="0">{inner}</div></details>'
    )
