"""Skin of another tone: the colours of a photograph changed, its structures kept.

Nothing here is learned. The default, 'tone', treats melanin as an absorber in front of the skin: in
light (linear RGB) every pixel is multiplied by one gain for each channel, so that the median colour
of the skin becomes the asked one, and ratios of light (contrasts of lesion, texture and shading)
stay what they were. 'reinhard' and 'histogram' give the skin around the lesion the statistics of a
photograph in CIE Lab as well: means and deviations (Reinhard et al., "Color Transfer between
Images", 2001, who used another space), or ranks.
"""

import dataclasses

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from skinjax import skin
from skinjax.editors import elongated

MATCHES = ('tone', 'reinhard', 'histogram')
LESIONS = ('density', 'shift', 'keep')
LEVELS = 257  # quantiles of a histogram
STEPS = 8192  # of the table by which histograms are matched
# Redness a and yellowness b of skin by ITA in degrees; L follows from ITA and b. Chosen by eye
# between the tones 6 to 8 of Monk's scale (`skin.MONK`) at the dark end and medians of the skin of
# ISIC 2017 at the light end, which dermatoscopes show redder.
LINE_ITA = (-55.0, -20.0, 0.0, 14.0, 24.0, 35.0, 48.0, 60.0, 75.0)
LINE_A = (11.5, 12.3, 12.5, 12.5, 12.0, 11.5, 10.5, 9.0, 7.0)
LINE_B = (15.0, 19.5, 20.0, 19.5, 19.0, 17.5, 15.0, 12.5, 8.5)
OWN, MOST = 0.25, 3.0  # share of a picture's own deviation in a and b that stays, and its limit
GLARE = 0.6  # part of the way from skin to white from which light is reflected by the surface
OVEREXPOSED = (180, 215)  # middle channel of skin from which glare fades, and is not looked for
ROUNDS = 3  # corrections of the gains by what was measured
SAMPLE = 2048  # pixels of skin that these look at, at least
FLAT = 1e-3  # spread of a channel, below which there is none
RATIO = 2.0  # by which 'reinhard' changes a spread at most

Image = UInt8[np.ndarray, 'h w 3']
Lesion = UInt8[np.ndarray, 'h w']
Values = Float[np.ndarray, 'h w 3']
Colour = Float[np.ndarray, '3']
Quantiles = Float[np.ndarray, 'q 3']


@dataclasses.dataclass(frozen=True)
class Statistics:
    """Skin in CIE Lab.

    Attributes:
        median: (L, a, b).
        mean, std: likewise.
        quantiles: of each channel, at 257 evenly spaced shares from 0 to 1.
    """

    median: Colour
    mean: Colour
    std: Colour
    quantiles: Quantiles

    @property
    def ita(self) -> float:
        """Of the median, in degrees."""
        return skin.ita(float(self.median[0]), float(self.median[2]))


class NoSkinError(ValueError):
    """A picture in which no bare skin was found."""


def statistics(image: Image, mask: Lesion | None = None) -> Statistics:
    """Of the skin of a photograph.

    Raises:
        NoSkinError: there is none.
    """
    return statistics_of(skin.lab(_skin(image, mask))[:, 0])


def statistics_of(values: Float[np.ndarray, 'n 3']) -> Statistics:
    """Of colours in CIE Lab."""
    ordered = quantiles_of(values)
    return Statistics(ordered[LEVELS // 2], values.mean(axis=0), values.std(axis=0), ordered)


def _skin(image: Image, mask: Lesion | None) -> UInt8[np.ndarray, 'n 1 3']:
    pixels = skin.skin_pixels(image, mask)
    if not len(pixels):
        raise NoSkinError('no bare skin found (less than 1 % of the picture, or a grey picture)')
    return pixels


def on_the_line(ita: float) -> Colour:
    """The colour (L, a, b) of typical skin with an ITA in degrees: L = 50 + b tan(ITA)."""
    return _with_ita(*_line(ita), ita)


def _line(ita: float) -> tuple[float, float]:
    return float(np.interp(ita, LINE_ITA, LINE_A)), float(np.interp(ita, LINE_ITA, LINE_B))


def _with_ita(a: float, b: float, ita: float) -> Colour:
    return np.array([50 + b * np.tan(np.radians(ita)), a, b], np.float32)


def toned(colour: Colour, ita: float) -> Colour:
    """The colour that skin of the median `colour` gets for an ITA: on the line, or close to it.

    A quarter of what the picture's own a and b differ from the line stays (3 at most): pictures
    differ, but no cast of a camera becomes the colour of a skin.
    """
    before = skin.ita(float(colour[0]), float(colour[2]))
    own = np.clip(OWN * (colour[1:] - np.array(_line(before))), -MOST, MOST)
    a, b = np.array(_line(ita)) + own
    return _with_ita(float(a), float(b), ita)


def gains(before: Colour, after: Colour) -> Colour:
    """Factors of the light of R, G and B that turn one colour (L, a, b) into the other."""
    colours = np.stack([before, after]).astype(np.float32)[None]
    light = np.maximum(cv2.cvtColor(colours, cv2.COLOR_Lab2LRGB)[0], 1e-4)
    return light[1] / light[0]


def multiply(image: Image, factors: Colour) -> Image:
    """The picture with the light of each channel multiplied, by a table of 256 values."""
    return cv2.LUT(image, _table(factors))


def _table(factors: Colour) -> UInt8[np.ndarray, '256 1 3']:
    levels = np.arange(256, dtype=np.uint8)
    light = skin.linear(np.repeat(levels[:, None, None], 3, axis=2)) * factors
    gamma = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(255 * np.clip(gamma, 0, 1)).astype(np.uint8)


def keep_glare(image: Image, result: Image, colour: Colour) -> Image:
    """`result` with what the surface reflects as it was: white stays white on any skin.

    A pixel keeps the share min over channels of (x - h) / (1 - h), 0 at least, of its own value,
    where h lies 60 % of the way from the skin's `colour` (R, G, B; 0 to 255) to white. Less, or
    nothing, in pictures whose skin is so bright itself that glare cannot be told from it.
    """
    low, high = OVEREXPOSED
    strength = np.clip((high - np.median(colour)) / (high - low), 0, 1)
    start = colour + GLARE * (255 - colour)
    levels = np.arange(256, dtype=np.float32)[:, None]
    share = np.clip((levels - start) / np.maximum(255 - start, 1), 0, 1)
    table = np.rint(255 * strength * share).astype(np.uint8)[:, None]
    red, green, blue = cv2.split(cv2.LUT(image, table))
    weight = cv2.min(cv2.min(red, green), blue)
    return composite(image, result, weight) if weight.any() else result


def composite(top: Image, bottom: Image, weight: UInt8[np.ndarray, 'h w']) -> Image:
    """weight / 255 of `top` and the rest of `bottom`, rounded; at 0 and 255 bit for bit."""
    share = weight.astype(np.float32) / 255
    return cv2.blendLinear(top, bottom, share, 1 - share)


def feathered(mask: Lesion, feather: float) -> UInt8[np.ndarray, 'h w']:
    """255 inside the mask, falling to 0 within `feather` (256ths of the side) around it."""
    reach = round(feather * elongated.side(mask.shape) / 256 / 2)
    if reach < 1:
        return mask
    square = (2 * reach + 1,) * 2
    wide = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, square))
    return cv2.max(mask, cv2.blur(wide, square))


def reinhard(values: Values, source: Statistics, target: Statistics) -> Values:
    """Lab values x -> (x - mean) / std · target.std + target.mean; mean and std of `source`.

    A channel without any spread only moves.
    """
    spread = source.std > FLAT
    scale = np.where(spread, target.std / np.where(spread, source.std, 1), 1)
    return cv2.transform(values, np.c_[np.diag(scale), target.mean - source.mean * scale])


def histogram(values: Values, source: Statistics, target: Statistics) -> Values:
    """Lab values at a rank of `source` -> the values at that rank of `target`, by channel.

    Values beyond the first and last move with them. A channel without any spread has no ranks: it
    moves by what lies between the medians.
    """
    result = np.empty_like(values)
    for k in range(3):
        result[..., k] = _moved(values[..., k], source.quantiles[:, k], target.quantiles[:, k])
    return result


def quantiles_of(values: Float[np.ndarray, 'n 3'], levels: int = LEVELS) -> Quantiles:
    """The values at evenly spaced shares from 0 to 1 of each channel, between neighbours linear."""
    place = np.linspace(0, len(values) - 1, levels)
    below = np.minimum(place.astype(int), max(len(values) - 2, 0))
    part = (place - below).astype(np.float32)[:, None]
    ordered = np.stack([np.sort(np.ascontiguousarray(channel)) for channel in values.T], axis=1)
    return (1 - part) * ordered[below] + part * ordered[np.minimum(below + 1, len(values) - 1)]


def _moved(channel, source, target):
    """`channel` by the line through the points (source, target), looked up in STEPS of its range.

    `np.interp` for every pixel takes thirty times as long.
    """
    first, last = float(source[0]), float(source[-1])
    if last - first < FLAT:
        return channel + (target[LEVELS // 2] - source[LEVELS // 2])
    table = np.interp(np.linspace(first, last, STEPS), source, target).astype(np.float32)
    inside = np.clip(channel, first, last)
    place = (inside - np.float32(first)) * np.float32((STEPS - 1) / (last - first))
    return table[(place + np.float32(0.5)).astype(np.int32)] + (channel - inside)


def recolour(
    image: Image,
    mask: Lesion | None,
    target: float | Statistics,
    match: str = 'tone',
    lesion: str = 'density',
    feather: float = 8.0,
) -> Image:
    """The picture with skin of another tone.

    Args:
        image: RGB.
        mask: of the lesion, 0 and 255; None: wherever it is, it is treated as skin is.
        target: ITA in degrees, or the skin of a photograph.
        match: 'tone' multiplies light; 'reinhard' and 'histogram' also give the skin around the
            lesion the spread, or the histograms, of the photograph.
        lesion: 'density' multiplies its light as that of the skin; 'shift' adds to its L, a and b
            what is added to the skin's medians; 'keep' leaves its pixels as they are.
        feather: width of the seam around the lesion, in 256ths of the side. 'tone' with 'density'
            has none, since lesion and skin have the same gains.

    Raises:
        NoSkinError: no bare skin was found.
        ValueError: 'reinhard' or 'histogram' without a photograph.
    """
    pixels = _skin(image, mask)
    sample = pixels[:: max(1, len(pixels) // SAMPLE)]
    before = np.median(skin.lab(sample)[:, 0], axis=0)
    after = target.median if isinstance(target, Statistics) else toned(before, target)
    result = multiply(image, fitted_gains(sample, before, after))
    if match != 'tone':
        if not isinstance(target, Statistics):
            raise ValueError(f"match={match!r} needs a photograph; match='tone' takes an ITA")
        result = _matched(image, result, sample, mask, target, match, feather)
    result = keep_glare(image, result, np.median(sample[:, 0], axis=0))
    if mask is None or lesion == 'density':
        return result
    top = image if lesion == 'keep' else skin.rgb(skin.lab(image) + (after - before))
    return composite(top, result, feathered(mask, feather))


def fitted_gains(pixels: UInt8[np.ndarray, 'n 1 3'], before: Colour, after: Colour) -> Colour:
    """Gains after which the median colour of `pixels`, `before`, is `after` (rounding aside)."""
    factors = gains(before, after)
    for _ in range(ROUNDS):
        found = np.median(skin.lab(multiply(pixels, factors))[:, 0], axis=0)
        factors = factors * gains(found, after)
    return factors


def _matched(image, result, sample, mask, target, match, feather):
    """The skin around the lesion by statistics; `result` on the lesion and the black rim."""
    source, values = statistics_of(skin.lab(sample)[:, 0]), skin.lab(image)
    if match == 'reinhard':
        std = np.clip(target.std, source.std / RATIO, source.std * RATIO)
        values = reinhard(values, source, dataclasses.replace(target, std=std))
    else:
        values = histogram(values, source, target)
    kept = np.where(elongated.frame(image), np.uint8(255), np.uint8(0))
    if mask is not None:
        kept = cv2.max(kept, feathered(mask, feather))
    return composite(result, skin.rgb(values), kept)
