"""Skin with a lesion, as a dermatoscope would see it before any artefact and camera.

Colours are optical densities (Beer-Lambert): the skin's colour times exp(-density of melanin -
density of haemoglobin), both larger at short wavelengths. The latents of `skinjax.data.latents`
decide what matters for the diagnosis; everything else is chance.
"""

import dataclasses
import math

import cv2
import numpy as np
from jaxtyping import Float
from scipy.special import ndtr

from skinjax.data import structures
from skinjax.data.canvas import grid, noise, sigmoid
from skinjax.data.latents import NAMES
from skinjax.data.structures import Shape

MELANIN = np.array([0.34, 0.72, 1.05], np.float32)
HAEMOGLOBIN = np.array([0.06, 0.62, 0.50], np.float32)
ITA_RANGE = (-60.0, 72.0)
_LIGHTNESS = (25.0, 88.0)


@dataclasses.dataclass(frozen=True)
class Scene:
    """A lesion on skin.

    Attributes:
        image: colours, about 0 to 1.
        mask: how much of each pixel is lesion, 0 to 1.
        centre: of the lesion (x, y), as fractions of the side, 0 to 1.
        radius: of the lesion, as a fraction of the side.
    """

    image: Float[np.ndarray, 's s 3']
    mask: Float[np.ndarray, 's s']
    centre: tuple[float, float]
    radius: float


def sample_ita(rng: np.random.Generator, mean: float, sd: float) -> float:
    """An individual typology angle in degrees, normal and clipped to -30 to 72."""
    return min(max(float(rng.normal(mean, sd)), -30.0), 72.0)


def skin_colour(rng: np.random.Generator, ita: float) -> Float[np.ndarray, '3']:
    """An RGB colour with the given individual typology angle, clipped to `ITA_RANGE`.

    ITA = atan((L - 50) / b) 180 / pi in CIE Lab (Chardon et al., International Journal of
    Cosmetic Science 1991). The yellowness b and the redness a are chance, spread as on the bare
    skin of dermoscopic pictures, with b small enough to keep L between 25 and 88.
    """
    b = min(max(14.0 * math.exp(rng.normal(0, 0.28)), 6.0), 26.0)
    a = min(max(0.55 * b + rng.normal(1.5, 4.0), 0.0), 26.0)
    slope = math.tan(math.radians(min(max(ita, ITA_RANGE[0]), ITA_RANGE[1])))
    room = _LIGHTNESS[1] - 50 if slope > 0 else 50 - _LIGHTNESS[0]
    b = min(b, room / max(abs(slope), 1e-6))
    lab = np.array([[[50.0 + b * slope, a, b]]], np.float32)
    return np.clip(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB)[0, 0], 0.03, 0.98)


def draw(
    z: Float[np.ndarray, ' l'],
    rng: np.random.Generator,
    skin: Float[np.ndarray, '3'],
    size: int,
) -> Scene:
    """The lesion with latents `z`; `rng` supplies what does not depend on the class.

    z is squashed to 0..1 by Phi(z / 1.15), so that extreme latents make ordinary pictures. How
    many numbers are drawn does not depend on z: changing one latent changes one aspect.
    """
    names = next(names for names in NAMES.values() if len(names) == len(z))
    u = {name: float(v) for name, v in zip(names, ndtr(np.asarray(z, float) / 1.15), strict=True)}
    texture, blood = _skin_texture(rng, size)
    shape = _outline(u, rng, size)
    melanin, red, mottle = _pigment(u, rng, shape)
    tint = MELANIN * np.exp(rng.normal(0, [0.13, 0.05, 0.08])).astype(np.float32)
    blood += 0.12 * shape.mask + red
    if 'redness' in u:
        melanin, blood = _rare_densities(u, rng, shape, melanin, blood)
    density = melanin[..., None] * tint + texture[..., None] * MELANIN
    image = skin * np.exp(-density - blood[..., None] * HAEMOGLOBIN)
    image = structures.veil(image, u['veil'], rng, shape, mottle, melanin, float(skin.mean()))
    if 'redness' in u:
        image = structures.scar(image, _onset(u['scar']), rng, shape)
        image = structures.cysts(image, _onset(u['cysts']), rng, shape)
    return Scene(image.astype(np.float32), shape.mask, shape.centre, shape.radius)


def _skin_texture(rng, size):
    """Densities of the bare skin: of melanin (mottling, furrows) and of haemoglobin (flush)."""
    x, y = grid(size)
    coarse, middle, fine = noise(rng, 5, size), noise(rng, 14, size), noise(rng, 40, size)
    flush = 0.05 * np.abs(noise(rng, 4, size)) - 0.03
    turn, pitch = rng.uniform(0, math.pi), rng.uniform(50, 90)
    phase = pitch * math.cos(turn) * x + pitch * math.sin(turn) * y + 1.5 * noise(rng, 6, size)
    return 0.05 * coarse + 0.035 * middle + 0.03 * fine + 0.012 * np.cos(phase), flush


def _outline(u, rng, size):
    """A radius for each direction: ellipse, asymmetry, then ever finer irregularity.

    The size latent acts on a radius that magnification, which is chance, multiplies.
    """
    x, y = grid(size)
    cx, cy = rng.normal(0, 0.045), rng.normal(0, 0.045)
    radius = 0.135 * 2.75 ** u['size'] * math.exp(rng.normal(0, 0.13))
    radius = min(max(radius, 0.07), 0.5)
    axis = rng.uniform(0, 2 * math.pi)
    x, y = x - cx, y - cy
    r, angle = np.sqrt(x * x + y * y) + 1e-6, np.arctan2(y, x)
    t = np.linspace(-math.pi, math.pi, 257, dtype=np.float32)
    profile = 1 + rng.uniform(0.02, 0.14) * np.cos(2 * (t - axis))
    profile += 0.15 * u['asymmetry'] * np.cos(t - axis - rng.uniform(-0.6, 0.6))
    profile += 0.168 * u['asymmetry'] * np.cos(3 * t + rng.uniform(0, 6.3))
    for k in (4, 5, 6, 8, 10, 13):
        height = (0.012 + 0.18 * u['border']) * rng.normal(0, 0.45) * 4 / k
        profile += height * np.cos(k * t + rng.uniform(0, 6.3))
    profile = radius * np.clip(profile, 0.3, 2.0)
    edge = profile[((angle + math.pi) * (256 / (2 * math.pi)) + 0.5).astype(np.int32)]
    rough = 0.02 + 0.09 * u['border']
    edge = edge * (1 + rough * (noise(rng, 7, size) + noise(rng, 15, size)))
    softness = rng.uniform(0.02, 0.06) * (0.6 + radius * 2)
    mask = sigmoid(2.2 / softness * (edge - r))
    inner = np.clip((edge - r) / np.maximum(edge, 1e-3), 0, 1)
    return Shape(x, y, (cx + 0.5, cy + 0.5), radius, axis, mask, inner)


def _pigment(u, rng, shape):
    """Melanin, red patches, and the mottle that the veil's border shares."""
    size = shape.size
    base = max(0.45 + 0.95 * u['darkness'] + rng.normal(0, 0.15), 0.1)
    slope = 0.42 * u['asymmetry'] * base / shape.radius
    coarse, mottle = noise(rng, 4, size), noise(rng, 8, size)
    melanin = base * (0.75 + 0.45 * np.sqrt(shape.inner))
    melanin += slope * (math.cos(shape.axis) * shape.x + math.sin(shape.axis) * shape.y)
    melanin += (0.08 + 0.85 * u['variegation']) * (0.55 * coarse + 0.35 * mottle)
    blotches = sigmoid(7 * (noise(rng, 5, size) - 1.25 + 0.55 * u['variegation']))
    melanin += 1.3 * u['variegation'] * blotches
    red = sigmoid(6 * (noise(rng, 4, size) - 1.1 + 0.5 * u['variegation']))
    melanin += base * structures.network(u['atypia'], rng, shape)
    melanin = np.clip(melanin, 0.03, 3.2) * shape.mask
    melanin += base * structures.globules(u['globules'], rng, shape) * shape.mask
    return melanin, 0.9 * u['variegation'] * red * shape.mask, mottle


def _rare_densities(u, rng, shape, melanin, blood):
    """Red lesions have less melanin and more blood, in lagoons or vessels."""
    redness = _onset(u['redness'])
    blood = blood + 0.9 * redness * shape.mask
    blood = blood + structures.lacunae(_onset(u['lacunae']), rng, shape)
    blood = blood + structures.vessels(_onset(u['vessels']), rng, shape)
    return melanin * (1 - 0.75 * redness), blood


def _onset(u: float) -> float:
    """0 up to one half, then linear to 1: most lesions show none of a rare structure."""
    return max(0.0, 2 * u - 1)
