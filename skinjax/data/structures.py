"""Dermoscopic structures of the synthetic lesions: network, globules, veil and rarer ones.

Each takes how much of it there is (0 to 1), random numbers and the lesion's shape, and returns
optical densities or the changed image.
"""

import dataclasses
import math

import numpy as np
from jaxtyping import Float

from skinjax.data.canvas import Layer, blend, noise, sigmoid

_VEIL = np.array([0.40, 0.46, 0.58], np.float32)
_SCAR = np.array([0.90, 0.84, 0.82], np.float32)
_CYST = np.array([0.97, 0.93, 0.80], np.float32)


@dataclasses.dataclass(frozen=True)
class Shape:
    """Where a lesion is.

    Attributes:
        x, y: coordinates from its centre, as fractions of the side.
        centre: as fractions of the side, 0 to 1.
        radius: its mean radius, as a fraction of the side.
        axis: the direction of its asymmetry, radians.
        mask: how much of each pixel is lesion, 0 to 1.
        inner: 0 outside and at the border, 1 at the centre.
    """

    x: Float[np.ndarray, 's s']
    y: Float[np.ndarray, 's s']
    centre: tuple[float, float]
    radius: float
    axis: float
    mask: Float[np.ndarray, 's s']
    inner: Float[np.ndarray, 's s']

    @property
    def size(self) -> int:
        return len(self.mask)

    def around(self, angle: float, radius: float) -> np.ndarray:
        """The point at an angle and a fraction of the radius, from 0 to 1 over the picture."""
        r = radius * self.radius
        return np.array(
            [self.centre[0] + r * math.cos(angle), self.centre[1] + r * math.sin(angle)]
        )


def network(atypia: float, rng: np.random.Generator, shape: Shape) -> Float[np.ndarray, 's s']:
    """Melanin of dark lines around light holes: a honeycomb, bent and patchy where atypical."""
    frequency = 2 * math.pi / rng.uniform(0.065, 0.095)
    bend = 0.004 + 0.035 * atypia
    x = shape.x + bend * noise(rng, 6, shape.size)
    y = shape.y + bend * noise(rng, 6, shape.size)
    turn = rng.uniform(0, math.pi)
    waves = np.zeros_like(shape.mask)
    for k in range(3):
        a = turn + k * math.pi / 3
        waves += np.cos(frequency * math.cos(a) * x + frequency * math.sin(a) * y)
    lines = np.clip(0.5 - waves / 3, 0, 1) - 0.35
    patches = np.clip(1 + 1.3 * atypia * noise(rng, 5, shape.size), 0, 3)
    rim = np.clip(1.5 - 1.2 * shape.inner, 0, 1)
    return (0.18 + 0.48 * atypia) * rng.uniform(0.7, 1.1) * lines * patches * rim


def globules(amount: float, rng: np.random.Generator, shape: Shape) -> Float[np.ndarray, 's s']:
    """Melanin of up to 16 dark dots along the border."""
    layer, start, count = Layer(shape.size), rng.uniform(0, 2 * math.pi), round(16 * amount)
    angles, radii = rng.normal(0, 0.12, 16), rng.uniform(0.72, 0.98, 16)
    widths = rng.uniform(0.012, 0.022, 16)
    for i in range(count):
        angle = start + 2 * math.pi * i / count + angles[i]
        layer.circle(shape.around(angle, radii[i]), widths[i])
    return 0.75 * layer.coverage()


def veil(
    image: Float[np.ndarray, 's s 3'],
    amount: float,
    rng: np.random.Generator,
    shape: Shape,
    mottle: Float[np.ndarray, 's s'],
    melanin: Float[np.ndarray, 's s'],
    brightness: float,
) -> Float[np.ndarray, 's s 3']:
    """A blue-white haze over a part of the lesion."""
    turn, shade, width = rng.normal(size=2), rng.uniform(0.7, 1.15), rng.uniform(0.45, 0.75)
    opacity = min(max(1.35 * amount - 0.38, 0.0), 0.85)
    if not opacity:
        return image
    x = shape.x - 0.45 * shape.radius * math.cos(shape.axis + turn[0])
    y = shape.y - 0.45 * shape.radius * math.sin(shape.axis + turn[1])
    distance = np.sqrt(x * x + y * y) / (shape.radius * width)
    alpha = opacity * sigmoid(6 * (1 - distance + 0.35 * mottle)) * shape.mask
    shade *= 0.55 + 0.65 * brightness
    return blend(image, alpha, _VEIL * shade * np.exp(-0.25 * melanin)[..., None])


def lacunae(amount: float, rng: np.random.Generator, shape: Shape) -> Float[np.ndarray, 's s']:
    """Haemoglobin of round lagoons of blood, as in haemangiomas."""
    layer = Layer(shape.size)
    for centre, width in _scatter(rng, 14, 0.75, (0.12, 0.28), shape)[: round(14 * amount)]:
        layer.circle(centre, shape.radius * width)
    return 2.2 * amount * layer.coverage() * shape.mask


def _scatter(rng, count, reach, widths, shape) -> list[tuple[np.ndarray, float]]:
    """Points spread evenly over the inner part of the lesion, each with a width."""
    angles, radii = rng.uniform(0, 2 * math.pi, count), reach * np.sqrt(rng.random(count))
    widths = rng.uniform(*widths, count)
    return [(shape.around(a, r), w) for a, r, w in zip(angles, radii, widths, strict=True)]


def vessels(amount: float, rng: np.random.Generator, shape: Shape) -> Float[np.ndarray, 's s']:
    """Haemoglobin of branching vessels, as on basal cell carcinomas."""
    layer, pieces = Layer(shape.size), (5.0, 4.0, 4.0, 3.0)
    turns = rng.normal(0, 0.6, (9, len(pieces)))
    lengths = shape.radius * rng.uniform(0.25, 0.45, (9, len(pieces)))
    starts = _scatter(rng, 9, 0.9, (0, 2 * math.pi), shape)[: round(9 * amount)]
    for (point, angle), turn, length in zip(starts, turns, lengths, strict=False):
        for i, width in enumerate(pieces):
            end = point + length[i] * _unit(angle)
            layer.line(np.stack([point, end]), width)
            layer.line(np.stack([end, end + 0.3 * shape.radius * _unit(angle + 0.9)]), 3.0)
            point, angle = end, angle + turn[i]
    return 2.4 * layer.coverage() * shape.mask


def _unit(angle: float) -> np.ndarray:
    return np.array([math.cos(angle), math.sin(angle)])


def scar(
    image: Float[np.ndarray, 's s 3'], amount: float, rng: np.random.Generator, shape: Shape
) -> Float[np.ndarray, 's s 3']:
    """A pale centre, as of dermatofibromas."""
    edge = rng.uniform(0.4, 0.55) + 0.12 * noise(rng, 7, shape.size)
    return blend(image, 0.8 * amount * sigmoid(12 * (shape.inner - edge)), _SCAR)


def cysts(
    image: Float[np.ndarray, 's s 3'], amount: float, rng: np.random.Generator, shape: Shape
) -> Float[np.ndarray, 's s 3']:
    """Milia-like cysts: bright dots, as on seborrhoeic keratoses."""
    layer, opacity = Layer(shape.size), rng.uniform(0.5, 1, 24)
    dots = _scatter(rng, 24, 0.85, (0.008, 0.02), shape)[: round(24 * amount)]
    for (centre, width), value in zip(dots, opacity, strict=False):
        layer.circle(centre, width, value=value)
    return blend(image, 0.75 * layer.coverage() * shape.mask, _CYST)
