"""What is laid over a picture on purpose: frames, ruler, red circle, hair, ink, bubbles, patches.

Places and lengths are in pixels of the 224 x 224 at which the insertion test was published ("units"
below) and grow with the picture: places with its width and height, lengths with the square root of
its area. What departs from the published drawings, which are image files nobody may redistribute,
is said at each.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float

from skinjax.data import artefacts
from skinjax.data.canvas import Layer, ramp
from skinjax.data.lesions import Scene
from skinjax.editors.elongated import side

GRID = 224.0
MILLIMETRE, LENGTH, HEIGHT = 10.0, 18, 20.0  # of the ruler: units, millimetres, units of its strip
TICKS = {1: 6.0, 5: 9.0, 10: 13.0}  # units, of each, each fifth and each tenth millimetre
RULER_X, RULER_Y, ANGLES = (-30, 60), (140, 220), (-30, 60)  # first and behind the last
CIRCLE_X, CIRCLE_Y = (0, 140), (0, 180)
LETTER = (13.3, 31.0)  # of the middle of an 'o' in Arial 48 from the text's upper left corner
OUTER, STROKE = 12.0, 4.4  # its radius and line
# Number of hairs, their lengths and widths, each from and to.
HAIR = {
    'short': ((60, 120), (8.0, 24.0), (0.8, 1.4)),
    'medium': ((10, 25), (60.0, 180.0), (1.0, 2.0)),
    'dense': ((60, 110), (60.0, 240.0), (1.2, 2.6)),
}
# Kinds that are drawn as in the synthetic lesions. 'ruler_varied' is a ruler along an edge or a
# floating scale bar, faint or dark, at any side; 'patches' are coloured stickers.
SYNTHETIC = {
    'ruler_varied': 'ruler',
    'ink': 'marking',
    'gel_bubbles': 'bubbles',
    'patches': 'sticker',
}
_BLACK, _RED = np.zeros(3), np.array([1.0, 0.0, 0.0])
_SOFT = {'round': 0.02, 'rectangular': 0.01}  # width of a frame's edge, as a share of the side

Shape = tuple[int, int]
# How opaque each pixel is, for all channels or for each, and the colour, of all pixels or of each.
Layered = tuple[Float[np.ndarray, 'h w *c'], np.ndarray]
Drawing = Callable[[np.random.Generator, Shape, Any], Layered]


class _Paper:
    """Drawing in pixels of a picture of any shape, on the square layer over its longer side."""

    def __init__(self, shape: Shape):
        self.shape, self.unit = shape, side(shape) / GRID
        self._layer, self._side = Layer(max(shape)), max(shape)

    def place(self, x: float, y: float) -> Float[np.ndarray, '2']:
        """Pixels of a place in units."""
        return np.array([x * self.shape[1], y * self.shape[0]]) / GRID

    def line(self, points: np.ndarray, width: float, value: float = 1.0) -> None:
        """A line through `points`, in pixels, `width` units wide."""
        self._layer.line(points / self._side, width * self.unit * 256 / self._side, value)

    def ring(self, centre: np.ndarray, radius: float, width: float) -> None:
        """A ring around `centre`, in pixels, of the middle of whose line `radius` units is true."""
        share = self.unit / self._side
        self._layer.circle(centre / self._side, radius * share, width * share * 256)

    def coverage(self) -> Float[np.ndarray, 'h w']:
        return self._layer.coverage()[: self.shape[0], : self.shape[1]]


def _identity(rng: np.random.Generator, shape: Shape, options: Any) -> Layered:
    """Nothing, to test what measures insertions."""
    return np.zeros(shape, np.float32), _BLACK


def _frame(rng: np.random.Generator, shape: Shape, options: Any) -> Layered:
    """Black outside of an ellipse, which is a circle in square pictures."""
    x, y = _centred(shape)
    distance = np.hypot(x, y)
    return _edge(distance - options.radius * _spread(rng, options), 'round'), _BLACK


def _frame_rectangular(rng: np.random.Generator, shape: Shape, options: Any) -> Layered:
    """A black bar along each side."""
    x, y = _centred(shape)
    distance = np.maximum(np.abs(x), np.abs(y)) - 0.5
    return _edge(distance + options.margin * _spread(rng, options), 'rectangular'), _BLACK


def _spread(rng: np.random.Generator, options: Any) -> float:
    return 1 + options.spread * rng.uniform(-1, 1)


def _centred(shape: Shape) -> tuple[Float[np.ndarray, 'h w'], Float[np.ndarray, 'h w']]:
    """Pixel centres, from -1/2 to 1/2 of the width and of the height."""
    height, width = shape
    x, y = (np.arange(width) + 0.5) / width - 0.5, (np.arange(height) + 0.5) / height - 0.5
    columns, rows = np.meshgrid(x, y)
    return columns, rows


def _edge(outside: Float[np.ndarray, 'h w'], form: str) -> Float[np.ndarray, 'h w']:
    return ramp(outside / _SOFT[form] + 0.5).astype(np.float32)


def _ruler(rng: np.random.Generator, shape: Shape, options: Any) -> Layered:
    """18 mm of a ruler, with a tick each millimetre, longer ones at 5 and 10.

    Turned by whole degrees of [-30, 59], the upper left corner of its (unturned) strip at x of
    [-30, 59] and y of [140, 219]. Published rulers may lie wholly outside of the picture: here a
    place is drawn until half of the baseline is inside, and turning cuts nothing off.
    """
    paper, length = _Paper(shape), LENGTH * MILLIMETRE
    along = np.linspace(-length / 2, length / 2, LENGTH + 1)
    while True:
        angle = math.radians(int(rng.integers(*ANGLES)))
        x, y = int(rng.integers(*RULER_X)), int(rng.integers(*RULER_Y))
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        start = np.stack([along, np.full_like(along, -HEIGHT / 2)], 1) @ turn
        marks = start + np.array([x + length / 2, y + HEIGHT / 2])
        if ((marks > 0) & (marks < GRID)).all(axis=1).mean() >= 0.5:
            break
    start = start * paper.unit + paper.place(x + length / 2, y + HEIGHT / 2)
    paper.line(start[[0, -1]], 1.6)
    for mark, point in enumerate(start):
        tick = next(TICKS[step] for step in (10, 5, 1) if mark % step == 0)
        paper.line(np.stack([point, point + np.array([0, tick]) @ turn * paper.unit]), 1.6)
    return 0.9 * paper.coverage(), _BLACK


def _red_circle(rng: np.random.Generator, shape: Shape, options: Any) -> Layered:
    """A ring of 24 units where the letter 'o' (Arial 48) stands whose text begins at x of [0, 139]
    and y of [0, 179]: always within the picture.
    """
    paper = _Paper(shape)
    x, y = int(rng.integers(*CIRCLE_X)), int(rng.integers(*CIRCLE_Y))
    paper.ring(paper.place(x + LETTER[0], y + LETTER[1]), OUTER - STROKE / 2, STROKE)
    return paper.coverage(), _RED


def _hair(kind: str) -> Drawing:
    counts, lengths, widths = HAIR[kind]

    def draw(rng: np.random.Generator, shape: Shape, options: Any) -> Layered:
        """Curved hairs around one main direction; published ones are copied from photographs."""
        paper, main = _Paper(shape), rng.uniform(0, 2 * math.pi)
        spread, curl = rng.uniform(0.2, 0.7), rng.uniform(0.1, 0.5)
        t = np.linspace(0, 1, 16)[:, None]
        for _ in range(int(rng.integers(*counts))):
            middle, turn = paper.place(*rng.uniform(0, GRID, 2)), main + rng.normal(0, spread)
            half = np.array([math.cos(turn), math.sin(turn)]) * rng.uniform(*lengths) / 2
            bend = np.array([-half[1], half[0]]) * rng.normal(0, curl)
            # A quadratic Bézier curve.
            arc = (t**2 - (1 - t) ** 2) * half + 2 * t * (1 - t) * bend
            paper.line(middle + arc * paper.unit, rng.uniform(*widths), rng.uniform(0.6, 1))
        colour = np.array([0.15, 0.10, 0.07]) * rng.uniform(0.2, 1.6)
        return rng.uniform(0.75, 1) * paper.coverage(), colour

    return draw


def _synthetic(name: str) -> Drawing:
    """An artefact of the synthetic lesions, as it lies around one in the middle of the picture.

    It is drawn on a square and, where the picture is none, stretched with it.
    """

    def draw(rng: np.random.Generator, shape: Shape, options: Any) -> Layered:
        centre = np.clip(rng.normal(0.5, 0.045, 2), 0.35, 0.65)
        size = max(shape)
        empty = np.zeros((size, size, 3), np.float32)
        scene = Scene(empty, empty[..., 0], (centre[0], centre[1]), rng.uniform(0.14, 0.26))
        share, light = empty[..., 0], empty
        for alpha, colour in artefacts.ARTEFACTS[name](rng, scene):
            share = 1 - (1 - share) * (1 - alpha)
            light = light * (1 - alpha[..., None]) + alpha[..., None] * colour.astype(np.float32)
        share, light = (_stretched(layer, shape) for layer in (share, light))
        return share, light / np.maximum(share, 1e-6)[..., None]

    return draw


def _stretched(layer: Float[np.ndarray, 's s *c'], shape: Shape) -> Float[np.ndarray, 'h w *c']:
    small = cv2.resize(layer, shape[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


KINDS: Mapping[str, Drawing] = {
    'identity': _identity,
    'frame': _frame,
    'frame_rectangular': _frame_rectangular,
    'ruler': _ruler,
    'red_circle': _red_circle,
    **{f'hair_{kind}': _hair(kind) for kind in HAIR},
    **{kind: _synthetic(name) for kind, name in SYNTHETIC.items()},
}
# Those of the insertion test and of the audits that followed it.
PUBLISHED = tuple(kind for kind in KINDS if kind not in ('identity', *SYNTHETIC))
SAME = ('identity', 'frame', 'frame_rectangular')  # alike in all pictures of a seed
