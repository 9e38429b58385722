"""What lies between camera and skin: hair, rulers, ink, frames, bubbles and stickers.

Each drawing varies in contrast and geometry: a constant one would shift a classifier's logit by a
constant, which no AUC can see. Each returns how opaque it is at each pixel and its colour there;
a pixel that it leaves at 0 keeps its exact value.
"""

import math
from collections.abc import Callable, Mapping

import cv2
import numpy as np
from jaxtyping import Bool, Float

from skinjax.data.canvas import Layer, blend, generator, grid, noise, ramp
from skinjax.data.lesions import Scene

_FIRST_STREAM = 16
_FAINTEST = 1 / 255
_STICKERS = np.array(
    [
        [0.93, 0.55, 0.12],
        [0.10, 0.50, 0.78],
        [0.95, 0.85, 0.25],
        [0.15, 0.55, 0.30],
        [0.28, 0.78, 0.74],
    ]
)

Drawing = Callable[[np.random.Generator, Scene], list[tuple[np.ndarray, np.ndarray]]]


def add(
    scene: Scene, names: tuple[str, ...], seed: int, index: int
) -> tuple[Float[np.ndarray, 's s 3'], dict[str, Bool[np.ndarray, 's s']]]:
    """The picture with the named artefacts, and for each the pixels that it changes.

    They are drawn in the order of `ARTEFACTS`, each from its own random stream, so that adding
    one changes nothing else. Where a later one is opaque, an earlier one changes nothing.

    Raises:
        ValueError: for a name that is not in `ARTEFACTS`.
    """
    image, coverage = cover(scene, names, seed, index)
    return image, {name: share > 0 for name, share in coverage.items()}


def cover(
    scene: Scene, names: tuple[str, ...], seed: int, index: int
) -> tuple[Float[np.ndarray, 's s 3'], dict[str, Float[np.ndarray, 's s']]]:
    """As `add`, with the share of each pixel, 0 to 1, that the artefact covers and leaves visible.

    Raises:
        ValueError: for a name that is not in `ARTEFACTS`.
    """
    unknown = set(names) - set(ARTEFACTS)
    if unknown:
        raise ValueError(f'unknown artefacts {sorted(unknown)}; there are {", ".join(ARTEFACTS)}')
    image, coverage = scene.image, {}
    for stream, (name, drawing) in enumerate(ARTEFACTS.items(), _FIRST_STREAM):
        if name not in names:
            continue
        clear = np.ones(image.shape[:2], np.float32)
        for alpha, colour in drawing(generator(seed, index, stream), scene):
            alpha = np.where(alpha < _FAINTEST, 0, alpha).astype(np.float32)
            image = blend(image, alpha, colour)
            clear = clear * (1 - alpha)
            coverage = {earlier: share * (1 - alpha) for earlier, share in coverage.items()}
        coverage[name] = 1 - clear
    return image, coverage


def _bubbles(rng, scene):
    """Air in the immersion fluid: bright rings with a glint."""
    rings, glints = Layer(len(scene.image)), Layer(len(scene.image))
    for _ in range(rng.integers(2, 7)):
        centre, radius = rng.uniform(0.05, 0.95, 2), rng.uniform(0.015, 0.06)
        rings.circle(centre, radius, width=rng.uniform(3, 6), value=rng.uniform(0.2, 0.7))
        glints.circle(centre - 0.4 * radius, rng.uniform(0.005, 0.01))
    return [(rings.coverage(), np.full(3, 0.95)), (glints.coverage(), np.full(3, 0.97))]


def _marking(rng, scene):
    """Gentian violet around the lesion: dashes, an arc, or the hatching of a worn pen.

    The ink's hue, saturation and value are those of the usual colour test for it (OpenCV HSV:
    125 <= H <= 145, S >= 100, V >= 60), though skin and camera change them.
    """
    size = len(scene.image)
    layer, ring = Layer(size), _clip(scene.radius * rng.uniform(1.35, 1.9), 0.24, 0.44)
    width, kind = rng.uniform(6, 16), rng.random()
    drawing = _dashes if kind < 0.4 else _arc if kind < 0.75 else _hatching
    drawing(layer, rng, np.array(scene.centre), ring, width)
    wear = np.clip(0.95 + 0.3 * noise(rng, 24, size), 0, 1)
    hsv = [rng.uniform(257, 269), rng.uniform(0.75, 0.95), rng.uniform(0.38, 0.62)]
    colour = cv2.cvtColor(np.array([[hsv]], np.float32), cv2.COLOR_HSV2RGB)[0, 0]
    return [(layer.coverage() * wear * rng.uniform(0.8, 1), colour)]


def _dashes(layer, rng, centre, ring, width):
    for _ in range(rng.integers(3, 9)):
        start = _inside(centre + ring * _unit(rng.uniform(0, 2 * math.pi)))
        for _ in range(rng.integers(1, 4)):
            layer.line(np.stack([start, start + rng.normal(0, 0.05, 2)]), width)


def _arc(layer, rng, centre, ring, width):
    t = rng.uniform(0, 2 * math.pi) + np.linspace(0, rng.uniform(1.2, 5.5), 24)
    r = ring * (1 + 0.06 * np.cos(3 * t + rng.uniform(0, 6)) + 0.03 * rng.standard_normal(24))
    layer.line(centre + r[:, None] * np.stack([np.cos(t), np.sin(t)], 1), width)


def _hatching(layer, rng, centre, ring, width):
    for _ in range(rng.integers(1, 4)):
        direction, lean = rng.uniform(0, 2 * math.pi), rng.uniform(0, math.pi)
        start = _inside(centre + 1.15 * ring * _unit(direction))
        along, count = rng.uniform(0.01, 0.02) * _unit(lean + 1.3), rng.integers(6, 14)
        for i in range(count):
            middle = start + (i - count / 2) * along
            half = rng.uniform(0.02, 0.06) * _unit(lean + rng.normal(0, 0.2))
            layer.line(np.stack([middle - half, middle + half]), 0.6 * width)


def _hair(rng, scene):
    """Curved hairs around one main direction, from finer than a pixel to thick."""
    layer, main = Layer(len(scene.image)), rng.uniform(0, 2 * math.pi)
    t = np.linspace(0, 1, 16)[:, None]
    spread, curl = rng.uniform(0.15, 0.8), rng.uniform(0.2, 0.8)
    thickness = 2.8 * math.exp(rng.normal(0, 0.4))
    for _ in range(4 + round(8 * float(rng.exponential()))):
        middle, a = rng.uniform(0, 1, 2), main + rng.normal(0, spread)
        half = 0.5 * rng.uniform(0.3, 1.2) * _unit(a)
        bend = np.array([-half[1], half[0]]) * rng.normal(0, curl)
        arc = middle + (1 - t) ** 2 * -half + 2 * t * (1 - t) * bend + t**2 * half
        layer.line(arc, thickness * math.exp(rng.normal(0, 0.3)), rng.uniform(0.5, 1))
    colour = np.array([0.15, 0.10, 0.07]) * rng.uniform(0.2, 1.9)
    return [(layer.coverage() * rng.uniform(0.6, 1), colour)]


def _sticker(rng, scene):
    """A coloured patch that reaches in from the edge."""
    layer, a = Layer(len(scene.image)), rng.uniform(0, 2 * math.pi)
    centre = 0.5 + rng.uniform(0.46, 0.60) * _unit(a)
    axes, turn = rng.uniform([0.14, 0.16], [0.26, 0.32]), rng.uniform(0, math.pi / 2)
    t = np.linspace(0, 2 * math.pi, 48, endpoint=False)
    layer.polygon(centre + (axes * np.stack([np.cos(t), np.sin(t)], 1)) @ _rotation(turn))
    colour = _STICKERS[rng.integers(len(_STICKERS))] * rng.uniform(0.8, 1.05)
    return [(layer.coverage(), colour)]


def _ruler(rng, scene):
    """A floating scale bar, or a ruler along one edge, sometimes on a white strip."""
    size = len(scene.image)
    ink, strip = Layer(size), Layer(size)
    floating, contrast = rng.random() < 0.55, rng.uniform(0.5, 0.98)
    tilt = rng.normal(0, 0.12 if rng.random() < 0.7 else 0.35)
    spin = _rotation(rng.integers(4) * math.pi / 2 + tilt)
    if floating:
        offset, half = rng.uniform(0.30, 0.45), rng.uniform(0.18, 0.36)
        step, tick = half * 2 / rng.integers(9, 16), rng.uniform(0.015, 0.028)
        ticks, below = rng.normal(0, 0.05) + np.arange(-half, half + 1e-6, step), 0.0
        baseline, on_strip = True, False
    else:
        offset, tick = rng.uniform(0.42, 0.48), rng.uniform(0.035, 0.06)
        step = rng.uniform(0.045, 0.075)
        ticks, below = rng.uniform(0, step) + np.arange(-0.7, 0.7, step), 0.08
        baseline, on_strip = rng.random() < 0.4, rng.random() < 0.35
    if on_strip:
        top = offset - 0.9 * tick
        strip.polygon(0.5 + np.array([[-1, top], [1, top], [1, 1], [-1, 1]]) @ spin)
    width = rng.uniform(4, 6)
    for i, x in enumerate(ticks):
        top = offset - tick * (1.9 if i % 5 == 0 else 1.0)
        ink.line(0.5 + np.array([[x, offset + below], [x, top]]) @ spin, width)
    if baseline:
        ink.line(0.5 + np.array([[ticks[0], offset], [ticks[-1], offset]]) @ spin, width)
    white, black = np.array([0.88, 0.9, 0.9]), np.array([0.08, 0.08, 0.10])
    return [(0.85 * strip.coverage(), white), (contrast * ink.coverage(), black)]


def _frame(rng, scene):
    """The black rim of a round field of view."""
    x, y = grid(len(scene.image))
    shift_x, shift_y = rng.normal(0, 0.02), rng.normal(0, 0.02)
    radius, stretch = rng.uniform(0.43, 0.62), rng.uniform(0.9, 1.1)
    distance = np.sqrt((x - shift_x) ** 2 + ((y - shift_y) * stretch) ** 2)
    opacity = ramp((distance - radius) / rng.uniform(0.02, 0.1) + 0.5)
    return [(opacity, np.array([0.02, 0.02, 0.03]))]


def _unit(angle: float) -> np.ndarray:
    return np.array([math.cos(angle), math.sin(angle)])


def _inside(point: np.ndarray) -> np.ndarray:
    return np.clip(point, 0.07, 0.93)


def _rotation(angle: float) -> np.ndarray:
    """For row vectors: points @ rotation."""
    return np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])


def _clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


ARTEFACTS: Mapping[str, Drawing] = {
    'bubbles': _bubbles,
    'marking': _marking,
    'hair': _hair,
    'sticker': _sticker,
    'ruler': _ruler,
    'frame': _frame,
}
