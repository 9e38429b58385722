"""Random streams and drawing tools of the synthetic pictures.

Everything random is drawn on grids of a fixed size and then scaled, and all lengths are fractions
of the picture's side, so that a picture is the same picture at every resolution.
"""

import functools
import math

import cv2
import numpy as np
from jaxtyping import Float, UInt8

STREAMS = {
    name: i
    for i, name in enumerate(('order', 'table', 'latents', 'tone', 'skin', 'detail', 'camera'))
}
_SUB = 4  # fixed-point bits of OpenCV coordinates


def generator(seed: int, index: int, stream: int) -> np.random.Generator:
    """The random numbers of one aspect of one picture.

    Counter-based (Philox; Salmon et al., SC 2011) with the key (seed, index, stream): pictures can
    be made in any order, and drawing more numbers for one aspect changes no other.
    """
    return np.random.Generator(np.random.Philox(key=(seed << 64) | (index << 8) | stream))


@functools.lru_cache(maxsize=8)
def grid(size: int) -> tuple[Float[np.ndarray, 's s'], Float[np.ndarray, 's s']]:
    """Pixel centres x (to the right) and y (down), from -1/2 to 1/2."""
    line = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    x, y = np.meshgrid(line, line)
    x.flags.writeable = y.flags.writeable = False
    return x, y


def noise(rng: np.random.Generator, cells: int, size: int) -> Float[np.ndarray, 's s']:
    """Smooth noise: `cells` x `cells` standard normal numbers, scaled up with a cubic kernel."""
    field = rng.standard_normal((cells, cells), dtype=np.float32)
    return cv2.resize(field, (size, size), interpolation=cv2.INTER_CUBIC)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), for any finite x."""
    return 0.5 + 0.5 * np.tanh(0.5 * x)


def ramp(x: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1 and 3x^2 - 2x^3 between: a soft edge that ends."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)


def blend(
    image: Float[np.ndarray, 's s 3'],
    alpha: Float[np.ndarray, 's s'],
    colour: Float[np.ndarray, '...'],
) -> Float[np.ndarray, 's s 3']:
    """(1 - alpha) image + alpha colour, exactly the one at alpha = 0 and the other at 1."""
    alpha = alpha[..., None]
    return (1 - alpha) * image + alpha * np.asarray(colour, np.float32)


class Layer:
    """One-channel drawing, finer than the picture: at least 256 pixels wide and twice its size.

    Widths are given in 256ths of the picture's side (a quarter of a pixel at 64 pixels) and
    points as fractions of the side, from 0 to 1.
    """

    def __init__(self, size: int):
        self.size = size
        self._side = size * max(2, -(-256 // size))
        self._canvas = np.zeros((self._side, self._side), np.uint8)

    def _fixed(self, points: np.ndarray) -> np.ndarray:
        # Clipped, because extreme coordinates overflow OpenCV's fixed-point numbers.
        points = np.clip(np.asarray(points, float), -4.0, 5.0)
        return np.round((points * self._side - 0.5) * (1 << _SUB)).astype(np.int32)

    def _stroke(self, width: float) -> tuple[int, float]:
        """OpenCV's thickness for a line of `width`, and the share of it that is inked.

        OpenCV draws smooth lines 1.4 pixels wider than asked (measured), and odd thicknesses above
        1 like the next even one. A line is drawn as the next wider one that exists, fainter.
        """
        wanted = width * self._side / 256
        steps = max(0, math.ceil((wanted - 1.4) / 2))
        return max(1, 2 * steps), min(1.0, wanted / (1.4 + 2 * steps))

    def line(self, points: np.ndarray, width: float, value: float = 1.0) -> None:
        """An open polygon through `points` [n, 2]."""
        thickness, share = self._stroke(width)
        cv2.polylines(
            self._canvas,
            [self._fixed(points)],
            False,
            255 * value * share,
            thickness,
            cv2.LINE_AA,
            _SUB,
        )

    def polygon(self, points: np.ndarray, value: float = 1.0) -> None:
        """A filled polygon with the corners `points` [n, 2]."""
        cv2.fillPoly(self._canvas, [self._fixed(points)], 255 * value, cv2.LINE_AA, _SUB)

    def circle(
        self, centre: np.ndarray, radius: float, width: float = 0.0, value: float = 1.0
    ) -> None:
        """A circle of the given line width, or a disc where that is 0."""
        thickness, share = self._stroke(width) if width else (cv2.FILLED, 1.0)
        x, y = (int(c) for c in self._fixed(centre))
        radius = max(1, round(radius * self._side * (1 << _SUB)))
        cv2.circle(self._canvas, (x, y), radius, 255 * value * share, thickness, cv2.LINE_AA, _SUB)

    def coverage(self) -> Float[np.ndarray, 's s']:
        """What share of each pixel is drawn over, 0 to 1."""
        canvas: UInt8[np.ndarray, 'h h'] = self._canvas
        small = cv2.resize(canvas, (self.size, self.size), interpolation=cv2.INTER_AREA)
        return small.astype(np.float32) / 255.0
