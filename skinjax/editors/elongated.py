"""What is long, thin and darker (or lighter) than its surroundings: hair, and strokes of rulers.

A pixel counts as a line where three things meet: a bank of oriented ridge filters stands out of its
own local noise (skin is rough, and a fixed threshold would find its furrows), the grey closing with
a disk that fills what is thinner than the disk is above the lowest of the closings with straight
lines, which keep what is as long as they are (so globules and the meshes of a pigment network fall
away), and a long enough connected stretch holds some clear pixels (hysteresis).

Lengths are in 256ths of the picture's side, the square root of its area.
"""

import functools
import math

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

Channel = UInt8[np.ndarray, 'h w']
Map = Float[np.ndarray, 'h w']
Mask = Bool[np.ndarray, 'h w']

DIRECTIONS = 12  # of the ridge filters
SIGMA, LENGTH = 0.9, 6.0  # standard deviations of a ridge filter across and along
NOISE = 25.0  # side of the window in which, twice, the noise of the filters is averaged
QUIET = 1.0  # grey levels that are added to that noise
STRAIGHT, TURNS = 13.0, 8  # length and directions of the closings with lines
RADIUS = 3.0  # of the disk
DARK = 70  # grey level below which a rim is black


def side(shape: tuple[int, ...]) -> float:
    """The square root of the area, in pixels."""
    return math.sqrt(shape[0] * shape[1])


def disk(radius: int) -> UInt8[np.ndarray, 'd d']:
    """x² + y² ≤ r²: 29 pixels for a radius of 3."""
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return (x * x + y * y <= radius * radius).astype(np.uint8)


@functools.cache
def lines(length: int, count: int) -> tuple[UInt8[np.ndarray, 'd d'], ...]:
    """Straight structuring elements, one pixel wide, in evenly spaced directions."""
    half, elements = length // 2, []
    for angle in np.pi * np.arange(count) / count:
        element = np.zeros((2 * half + 1,) * 2, np.uint8)
        x, y = round(half * math.cos(angle)), round(half * math.sin(angle))
        cv2.line(element, (half - x, half - y), (half + x, half + y), (1,), 1)
        elements.append(element)
    return tuple(elements)


def contrast(channel: Channel, unit: float) -> Channel:
    """How much darker a long thin structure is than what lies around it, in grey levels.

    closing(disk) - min over directions of closing(line), at least 0. The border is continued, so
    that what touches it counts as wide, and hair that crosses it as long.
    """
    length, radius = max(5, round(STRAIGHT * unit)), max(2, round(RADIUS * unit))
    pad = length + radius
    wide = cv2.copyMakeBorder(channel, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
    filled = cv2.morphologyEx(wide, cv2.MORPH_CLOSE, disk(radius))
    kept = filled
    for element in lines(length, TURNS):
        kept = cv2.min(kept, cv2.morphologyEx(wide, cv2.MORPH_CLOSE, element))
    return np.ascontiguousarray(cv2.subtract(filled, kept)[pad:-pad, pad:-pad])


@functools.lru_cache(maxsize=8)
def _spectra(height: int, width: int, unit: float) -> tuple[Map, ...]:
    """Spectra of the ridge filters, as `cv2.dft` packs them.

    Each filter has mean 0, and the part that a dark line falls on adds up to -1.
    """
    sigma, length = max(0.7, SIGMA * unit), max(2.0, LENGTH * unit)
    half = math.ceil(3 * length)
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    spectra = []
    for angle in np.pi * np.arange(DIRECTIONS) / DIRECTIONS:
        along = x * math.cos(angle) + y * math.sin(angle)
        across = y * math.cos(angle) - x * math.sin(angle)
        ridge = (across**2 / sigma**2 - 1) * np.exp(-(across**2) / (2 * sigma**2))
        ridge *= np.exp(-(along**2) / (2 * length**2))
        ridge -= ridge.mean()
        centred = np.zeros((height, width), np.float32)
        centred[: 2 * half + 1, : 2 * half + 1] = ridge / np.abs(ridge[ridge < 0]).sum()
        spectra.append(cv2.dft(np.roll(centred, (-half, -half), (0, 1))))
    return tuple(spectra)


def ridges(channel: Channel, unit: float) -> Map:
    """The strongest of the oriented second derivatives, in units of its local noise.

    r = max_θ <f_θ, channel>, and r / (1 + blur(√|r|)²): the square of the mean root instead of the
    mean, because hair itself should not count as noise.
    """
    height, width = channel.shape
    pad = math.ceil(2 * max(2.0, LENGTH * unit))
    # At least as large as the filters, and a size that is fast to transform.
    least = 2 * math.ceil(3 * max(2.0, LENGTH * unit)) + 1
    rows, columns = (cv2.getOptimalDFTSize(max(n + 2 * pad, least)) for n in channel.shape)
    wide = cv2.copyMakeBorder(
        channel, pad, rows - height - pad, pad, columns - width - pad, cv2.BORDER_REPLICATE
    )
    spectrum, ridge = cv2.dft(wide.astype(np.float32)), None
    for filter_ in _spectra(rows, columns, unit):
        product = cv2.mulSpectrums(spectrum, filter_, 0, conjB=True)
        found = cv2.idft(product, flags=cv2.DFT_SCALE | cv2.DFT_REAL_OUTPUT)
        ridge = found if ridge is None else cv2.max(ridge, found)
    assert ridge is not None
    ridge = ridge[pad : pad + height, pad : pad + width]
    window = (round(NOISE * unit) | 1,) * 2
    noise = cv2.blur(cv2.blur(cv2.sqrt(np.abs(ridge)), window), window)
    return ridge / (noise * noise + QUIET)


def connected(weak: Mask, strong: Mask, length: float, seeds: int) -> Mask:
    """Components of `weak` that hold `seeds` pixels of `strong`, in a box of diagonal `length`."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(weak.astype(np.uint8))
    kept = np.bincount(labels[strong & weak], minlength=count) >= seeds
    kept &= np.hypot(stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT]) >= length
    kept[0] = False
    return kept[np.asarray(labels, np.int32)]


def strokes(channel: Channel, within: Mask, unit: float) -> Mask:
    """Short and very dark: ticks, digits and stubble, which are too short for `contrast`.

    Regions that a closing with the disk raises by 25 grey levels, with 3 pixels raised by 60, at
    least 6 long, that fill at most a quarter of the square over the diagonal of their box. Where
    the closing is above the local mean by 40, it is the surroundings that are bright: glare.
    """
    closed = cv2.morphologyEx(channel, cv2.MORPH_CLOSE, disk(max(2, round(RADIUS * unit))))
    dark, window = cv2.subtract(closed, channel), (round(NOISE * unit) | 1,) * 2
    clear = within & (dark > 60) & (cv2.subtract(closed, cv2.blur(channel, window)) < 40)
    if not clear.any():
        return clear
    weak = within & (dark > 25)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(weak.astype(np.uint8))
    length = np.hypot(stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT])
    kept = np.bincount(labels[clear], minlength=count) >= 3
    kept &= (length >= 6 * unit) & (stats[:, cv2.CC_STAT_AREA] <= 0.25 * length**2)
    kept[0] = False
    return off_the_border(kept[np.asarray(labels, np.int32)])


def brightest(image: UInt8[np.ndarray, 'h w 3']) -> Channel:
    """The largest of the three channels (much faster than a maximum over a short axis)."""
    red, green, blue = cv2.split(image)
    return cv2.max(cv2.max(red, green), blue)


def frame(image: UInt8[np.ndarray, 'h w 3']) -> Mask:
    """The black rim of a round field of view, and what is next to it.

    Pixels below 70 in all channels, in regions at least 7 wide that touch the border, widened by 4.
    """
    unit = side(image.shape) / 256
    size, grow = round(7 * unit) | 1, round(4 * unit)
    pad = size + grow
    dark = (brightest(image) < DARK).astype(np.uint8)
    if not (dark[[0, -1]].any() or dark[:, [0, -1]].any()):
        return np.zeros(dark.shape, bool)
    dark = cv2.copyMakeBorder(dark, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
    count, labels = cv2.connectedComponents(
        cv2.morphologyEx(dark, cv2.MORPH_OPEN, np.ones((size, size), np.uint8))
    )
    touching = np.zeros(count, np.uint8)
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        touching[np.asarray(edge, np.int32)] = 1
    touching[0] = 0
    wide = cv2.dilate(
        touching[np.asarray(labels, np.int32)], np.ones((2 * grow + 1,) * 2, np.uint8)
    )
    return wide[pad:-pad, pad:-pad] > 0


def off_the_border(mask: Mask) -> Mask:
    """`mask` without the components that lie mostly within 4 of the border: edges of scans."""
    margin = max(1, round(4 * side(mask.shape) / 256))
    count, labels = cv2.connectedComponents(mask.astype(np.uint8))
    inner = labels[margin:-margin, margin:-margin]
    total = np.bincount(labels.ravel(), minlength=count)
    kept = 2 * np.bincount(inner.ravel(), minlength=count) >= total
    kept[0] = False
    return kept[np.asarray(labels, np.int32)]
