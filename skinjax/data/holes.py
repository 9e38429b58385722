"""Random holes, drawn on the device: what a network that fills holes is trained with.

Each image gets hair-like strokes (quadratic Bezier curves), some blobs (rotated rectangles and
ellipses) and now and then the scale of a ruler, all of them in proportion to its side. The holes of
an image are a function of its key alone.
"""

import itertools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

STROKES, SEGMENTS = 12, 8  # the most strokes of an image, and straight pieces of one
STROKE_RADIUS = (0.75, 0.016)  # pixels, and the largest share of the side on top of it
BLOBS, BLOB_RADIUS = 3, (0.02, 0.1)  # the most of an image; half an axis, as a share of the side
RULERS = 0.2  # share of the images with a ruler

Plane = Float[Array, 'h w']


def random_holes(keys: Key[Array, ' b'], height: int, width: int) -> Bool[Array, 'b h w']:
    """True where a hole is; every image has one.

    Args:
        keys: one for each image.
        height, width: of the images, in pixels.
    """
    return jax.vmap(lambda key: _holes(key, height, width))(keys)


def _holes(key: Key[Array, ''], height: int, width: int) -> Bool[Array, 'h w']:
    side = float(min(height, width))
    y = jnp.arange(height, dtype=jnp.float32)[:, None] + jnp.zeros((1, width))
    x = jnp.arange(width, dtype=jnp.float32)[None] + jnp.zeros((height, 1))
    area = jnp.asarray([height - 1, width - 1], jnp.float32)
    keys = jax.random.split(key, 3)
    found = _strokes(keys[0], y, x, area, side) | _blobs(keys[1], y, x, area, side)
    return found | _ruler(keys[2], y, x, area, side)


def _strokes(key, y: Plane, x: Plane, area: Float[Array, ' 2'], side: float) -> Bool[Array, 'h w']:
    """One to STROKES curves between two points of the image, bent by a third."""
    count, rest = jax.random.split(key)
    count = jax.random.randint(count, (), 1, STROKES + 1)

    def draw(found, number):
        places, thick, bend = jax.random.split(jax.random.fold_in(rest, number), 3)
        a, c = jax.random.uniform(places, (2, 2)) * area[None]
        middle = (a + c) / 2 + 0.25 * side * jax.random.normal(bend, (2,))
        radius = STROKE_RADIUS[0] + STROKE_RADIUS[1] * side * jax.random.uniform(thick) ** 2
        near = _near_curve(y, x, (a, middle, c), radius)
        return found | (near & (number < count)), None

    return jax.lax.scan(draw, jnp.zeros(y.shape, bool), jnp.arange(STROKES))[0]


def _near_curve(y: Plane, x: Plane, points, radius) -> Bool[Array, 'h w']:
    """Pixels within `radius` of the Bezier curve of three points, taken as a polygon."""
    t = jnp.linspace(0.0, 1.0, SEGMENTS + 1)[:, None]
    a, b, c = (point[None] for point in points)
    curve = (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c
    nearest = jnp.full(y.shape, jnp.inf)
    for (ay, ax), (by, bx) in itertools.pairwise(curve):
        dy, dx = by - ay, bx - ax
        length = jnp.maximum(dy**2 + dx**2, 1e-6)
        s = jnp.clip(((y - ay) * dy + (x - ax) * dx) / length, 0, 1)
        nearest = jnp.minimum(nearest, (y - ay - s * dy) ** 2 + (x - ax - s * dx) ** 2)
    return nearest <= radius**2


def _blobs(key, y: Plane, x: Plane, area: Float[Array, ' 2'], side: float) -> Bool[Array, 'h w']:
    """Up to BLOBS rectangles or ellipses at any angle."""
    draws = jax.random.uniform(key, (BLOBS + 1, 7))
    count = jnp.floor(draws[0, 0] * (BLOBS + 1))
    found = jnp.zeros(y.shape, bool)
    low, high = BLOB_RADIUS
    for number in range(BLOBS):
        draw = draws[number + 1]
        v, u = _turned(y, x, draw[:2] * area, draw[2])
        radii = (low + (high - low) * draw[3:5]) * side
        u, v = jnp.abs(u / radii[0]), jnp.abs(v / radii[1])
        inside = jnp.where(draw[5] < 0.5, jnp.maximum(u, v), u**2 + v**2) <= 1
        found |= inside & (number < count)
    return found


def _ruler(key, y: Plane, x: Plane, area: Float[Array, ' 2'], side: float) -> Bool[Array, 'h w']:
    """A line with ticks at even distances on one of its sides."""
    draw = jax.random.uniform(key, (7,))
    v, u = _turned(y, x, draw[:2] * area, draw[2])
    spacing, tick = side * (0.05 + 0.05 * draw[3]), side * (0.05 + 0.08 * draw[4])
    half = 0.75 + 0.006 * side * draw[5]
    line = jnp.abs(v) <= half
    ticks = (jnp.abs(jnp.mod(u, spacing) - spacing / 2) <= half) & (v >= 0) & (v <= tick)
    return (line | ticks) & (draw[6] < RULERS)


def _turned(y: Plane, x: Plane, centre: Float[Array, ' 2'], turn: Float[Array, '']):
    """Coordinates (across, along) of axes through `centre`, turned by `turn` times 180 degrees."""
    angle = jnp.pi * turn
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    dy, dx = y - centre[0], x - centre[1]
    return cosine * dy - sine * dx, sine * dy + cosine * dx
