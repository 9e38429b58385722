"""What people put beside a lesion: scale bars with ticks and label, and ink of a surgical marker.

Lengths are in 256ths of the picture's side, the square root of its area.
"""

import dataclasses

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from skinjax.editors.elongated import Channel, Mask, brightest, connected, side

BAR = 75.0  # least length of a scale bar
# Straightness is what tells a scale bar from a hair: the standard deviation of the darkest point
# across the line, smoothed along it, is below 0.16 for 9 of 10 bars of ISIC 2017, above 0.25 for
# 9 of 10 of the straightest hairs.
BENT = 0.2
COVERED, GAP = 0.9, 8.0  # share of its length that is dark, and longest gap
BAND, ENDS = 11.0, 16.0  # half width around a bar, and reach beyond its ends, for ticks and label
VEIL = 0.08  # log by which the green around ink may be darker than skin
WIDE, NARROW = 24.0, 12.0  # radius of disks that no ink, and that no round region of ink holds
DETAIL = 6  # grey levels by which ticks and label are darker
_CANDIDATES = 6
_LOG = np.log(np.arange(256, dtype=np.float32) + 10)

Point = Float[np.ndarray, '2']


@dataclasses.dataclass(frozen=True)
class Bar:
    """A straight line from `start` to `end` (x, y), in pixels."""

    start: Point
    end: Point

    @property
    def length(self) -> float:
        """In pixels."""
        return float(np.hypot(*(self.end - self.start)))

    def along_and_across(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates of points along the bar from its start, and across it."""
        u, v = (self.end - self.start) / self.length
        x, y = x - self.start[0], y - self.start[1]
        return x * u + y * v, y * u - x * v


def bars(lines: Mask, contrast: Channel) -> list[Bar]:
    """Perfectly straight lines without gaps among `lines`: scale bars.

    Candidates are the longest lines of a probabilistic Hough transform, fitted again to the pixels
    around them, weighted by contrast.
    """
    unit, votes = side(lines.shape) / 256, lines.astype(np.uint8)
    cv2.setRNGSeed(0)
    found = cv2.HoughLinesP(
        votes, 1, np.pi / 360, max(8, round(40 * unit)), None, 45 * unit, GAP * unit
    )
    if found is None:
        return []
    ends = found.reshape(-1, 2, 2).astype(np.float64)
    order = np.argsort(-np.hypot(*(ends[:, 1] - ends[:, 0]).T), kind='stable')
    y, x = np.nonzero(lines)
    fitted = (_fitted(Bar(*ends[k]), x, y, contrast, unit) for k in order[:_CANDIDATES])
    return [bar for bar in fitted if bar.length >= BAR * unit and _is_straight(bar, contrast, unit)]


def _fitted(bar: Bar, x: np.ndarray, y: np.ndarray, contrast: Channel, unit: float) -> Bar:
    for _ in range(2):
        along, across = bar.along_and_across(x, y)
        near = (np.abs(across) < 3 * unit) & (np.abs(along - bar.length / 2) < bar.length / 2 + 8)
        if near.sum() < 10:
            break
        weights = 1.0 + contrast[y[near], x[near]]
        slope, offset = np.polyfit(along[near], across[near], 1, w=weights)
        u, v = (bar.end - bar.start) / bar.length
        first, last = along[near].min(), along[near].max()
        ends = [
            bar.start + t * np.array([u, v]) + (slope * t + offset) * np.array([-v, u])
            for t in (first, last)
        ]
        bar = Bar(*ends)
    return bar


def _is_straight(bar: Bar, contrast: Channel, unit: float) -> bool:
    along = np.arange(0, bar.length, 0.5 * unit)
    across = np.arange(-3, 3.01, 0.5) * unit
    u, v = (bar.end - bar.start) / bar.length
    x = (bar.start[0] + along * u - across[:, None] * v).astype(np.float32)
    y = (bar.start[1] + along * v + across[:, None] * u).astype(np.float32)
    profile = cv2.remap(contrast, x, y, cv2.INTER_LINEAR).astype(np.float64)
    covered = profile[4:9].max(axis=0) > 4
    if covered.mean() < COVERED:
        return False
    centre = (profile * across[:, None]).sum(axis=0) / (profile.sum(axis=0) + 1e-3) / unit
    return bool(cv2.blur(centre[None], (21, 1)).std() < BENT)


def ruler(channel: Channel, thin: Mask, lines: Mask, contrast: Channel) -> Mask:
    """Scale bars with all dark detail around them: ticks and label.

    Args:
        channel: in which bars are dark.
        thin: lines among which bars are looked for.
        lines: dark lines of any width.
        contrast: of the thin ones, see `elongated.contrast`.
    """
    unit = side(lines.shape) / 256
    band = np.zeros(lines.shape, bool)
    y, x = np.mgrid[: lines.shape[0], : lines.shape[1]]
    for bar in bars(thin, contrast):
        along, across = bar.along_and_across(x, y)
        beyond = np.abs(along - bar.length / 2) - bar.length / 2
        band |= (np.abs(across) < BAND * unit) & (beyond < ENDS * unit)
    if not band.any():
        return band
    square = np.ones((2 * max(2, round(3 * unit)) + 1,) * 2, np.uint8)
    darker = cv2.morphologyEx(channel, cv2.MORPH_BLACKHAT, square)
    limit = max(DETAIL, 3 * float(np.median(darker[band])))  # the skin's own texture
    return band & ((darker > limit) | lines)


def ink(image: UInt8[np.ndarray, 'h w 3'], without: Mask) -> Mask:
    """Strokes of a violet or blue-violet pen outside `without` (frame, lesion).

    In log(colour + 10) of a slightly blurred picture, relative to the median: bluer against green,
    no less red against green, and darker. Regions grow from pixels that are clearly violet
    (log B/G above that of skin by 0.25, log R/B at most 0.35, some channel from 80), to what is
    a little. Blue veils are less red than skin, stickers too, or much redder than blue. Regions in
    dark surroundings and compact regions are left alone: those are lesions.
    """
    kept = ~without
    if not kept.any():
        return np.zeros(without.shape, bool)
    unit = side(image.shape) / 256
    blurred = cv2.GaussianBlur(image, (0, 0), max(0.5, 0.8 * unit))
    red, green, blue = (_LOG[np.asarray(channel, np.uint8)] for channel in cv2.split(blurred))
    bluer, redder, lighter = blue - green, red - green, green
    sample = kept[::3, ::3] if kept[::3, ::3].any() else kept
    step = 3 if sample is not kept else 1
    base = [np.median(c[::step, ::step][sample]) for c in (bluer, redder, lighter)]
    bluer, redder, darker = bluer - base[0], redder - base[1], base[2] - lighter
    weak = kept & (bluer > 0.12) & (redder > -0.05) & (darker > 0.06)
    strong = weak & (bluer > 0.25) & (redder > 0) & (darker > 0.12) & (red - blue < 0.35)
    strong &= brightest(image) >= 80
    if not strong.any():
        return strong
    found = connected(weak, strong, 6 * unit, max(3, round(12 * unit * unit)))
    return _on_skin(found, np.where(kept, darker, np.nan), unit)


def _on_skin(found: Mask, darker: Float[np.ndarray, 'h w'], unit: float) -> Mask:
    """`found` without regions in dark surroundings (blue veils) and compact ones (blue naevi)."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(found.astype(np.uint8))
    inner, outer = (np.ones((2 * round(n * unit) + 1,) * 2, np.uint8) for n in (4, 10))
    result = found.copy()
    for k in range(1, count):
        left, top, width, height = (int(v) for v in stats[k, :4])
        reach = len(outer)
        part = (
            slice(max(0, top - reach), top + height + reach),
            slice(max(0, left - reach), left + width + reach),
        )
        region = (np.asarray(labels, np.int32)[part] == k).astype(np.uint8)
        ring = (cv2.dilate(region, outer) > 0) & (cv2.dilate(region, inner) == 0)
        around = darker[part][ring & ~found[part] & ~np.isnan(darker[part])]
        inside = cv2.distanceTransform(np.pad(region, 1), cv2.DIST_L2, 3).max() / unit
        compact = inside > WIDE or (
            inside > NARROW and region.sum() < 1.5 * np.pi * (inside * unit) ** 2
        )
        if compact or (around.size and np.median(around) > VEIL):
            result[part][region > 0] = False
    return result
