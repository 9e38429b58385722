"""Artefacts and skin tone from pixels, for images that nobody has labelled.

Each detector is a function of one image: RGB, any size, brought to 256 x 256 first. A score is no
label. How well each agrees with the human flags of ISIC 2017 is in docs/data.md, and ranges from
nearly perfect (dark corners) to weak (hair, ink): look at what `table` flags before training on it.
Sizes and limits were chosen on every other image of ISIC 2017.
"""

import functools
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from skinjax.data.records import Records

Image = UInt8[np.ndarray, 'h w 3']
SIDE = 256
# Limits of the individual typology angle: above the first is type 1, and so on.
ITA_LIMITS = (55, 41, 28, 19, 10)
# Upper left pixels of the patches of 20 x 20: near the middles of the sides, then the corners.
ITA_PATCHES = (
    (5, 115),
    (115, 5),
    (115, 230),
    (230, 115),
    (20, 20),
    (20, 216),
    (216, 20),
    (216, 216),
)


def _sized(image: Image) -> UInt8[np.ndarray, '256 256 3']:
    from skinjax.data import images

    return np.ascontiguousarray(images.fit(image, SIDE))


def _grey(image: Image) -> UInt8[np.ndarray, 'h w']:
    import cv2

    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


@functools.cache
def _radius() -> Float[np.ndarray, '256 256']:
    """Distance from the centre: 1 at the middle of a side, √2 in a corner."""
    offset = (np.arange(SIDE) - (SIDE - 1) / 2) / (SIDE / 2)
    radius = np.hypot(offset[:, None], offset[None, :])
    radius.setflags(write=False)
    return radius


def dark_corner(image: Image) -> float:
    """1 - (brightness of the darkest corner) / (that of the ring around the lesion): 0 to 1.

    Corners are the parts beyond 1.36 of the half side, the tips that a round field of view cuts
    off; the ring lies between 0.75 and 1 and counts by its median. An own measure.
    """
    grey, radius = _grey(_sized(image)).astype(np.float64), _radius()
    half, tip = SIDE // 2, radius > 1.36
    corners = [
        grey[rows, columns][tip[rows, columns]].mean()
        for rows in (slice(None, half), slice(half, None))
        for columns in (slice(None, half), slice(half, None))
    ]
    ring = np.median(grey[(radius > 0.75) & (radius < 1)])
    return float(1 - min(corners) / max(ring, 1.0))


def gentian_violet(image: Image) -> float:
    """Share of the pixels that have the violet of surgical markers: 0 to 1.

    In OpenCV's HSV, H 125 to 145 (of 180), S from 100, V from 60: the pre-screen of Bevan and
    Atapour-Abarghouei (ICML 2022), who then looked at every image with any such pixel.
    """
    return _share_of_colour(image, (125, 100, 60), (145, 255, 255))


def ink(image: Image) -> float:
    """As `gentian_violet`, but paler and in more hues: H 110 to 160, S and V from 40."""
    return _share_of_colour(image, (110, 40, 40), (160, 255, 255))


def _share_of_colour(image: Image, low: tuple[int, ...], high: tuple[int, ...]) -> float:
    import cv2

    hsv = cv2.cvtColor(_sized(image), cv2.COLOR_RGB2HSV)
    return float((cv2.inRange(hsv, np.array(low), np.array(high)) > 0).mean())


def hair(image: Image) -> float:
    """Share of pixels around the lesion that are darker than a closing by more than 10 of 255.

    Black-hat with a disk of 5 pixels, between 0.55 and 1.1 of the half side. An own measure; it
    cannot tell hair from the pigment network.
    """
    radius = _radius()
    around = (radius > 0.55) & (radius < 1.1)
    return float((_black_hat(_sized(image), 5)[around] > 10).mean())


def _black_hat(image: Image, size: int) -> UInt8[np.ndarray, 'h w']:
    import cv2

    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return cv2.morphologyEx(_grey(image), cv2.MORPH_BLACKHAT, disk)


def patches(image: Image) -> float:
    """Share of the image that coloured stickers take at its border: 0 to 1.

    Pixels beyond 0.6 of the half side, not dark (L > 35), whose a, b (CIE Lab) lie 30 or more from
    the median of the skin between 0.75 and 1, after an opening with 9 x 9 pixels. An own measure.
    """
    import cv2

    lab, radius = _lab(_sized(image)), _radius()
    skin = np.median(lab[(radius > 0.75) & (radius < 1)], axis=0)
    distance = np.hypot(lab[..., 1] - skin[1], lab[..., 2] - skin[2])
    found = (distance >= 30) & (lab[..., 0] > 35) & (radius > 0.6)
    return float(cv2.morphologyEx(found.astype(np.uint8), cv2.MORPH_OPEN, np.ones((9, 9))).mean())


def _lab(image: Image) -> Float[np.ndarray, 'h w 3']:
    import cv2

    return cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)


def ruler(image: Image) -> float:
    """The strongest regular repetition of dark marks along a side: 0 (none) to 1.

    Black-hat with a disk of 7 pixels, in bands of 8 pixels within 48 of each side, summed across
    the band; the highest peak of the autocorrelation at 5 to 39 pixels. An own measure: it sees
    ticks that run along a side, and neither slanted rulers nor plain lines.
    """
    dark = _black_hat(_sized(image), 7).astype(np.float32)
    strips = (dark[:48], dark[-48:], dark[:, :48].T, dark[:, -48:].T)
    bands = [strip[k : k + 8].sum(axis=0) for strip in strips for k in range(0, 41, 4)]
    profiles = np.stack(bands)
    profiles -= profiles.mean(axis=1, keepdims=True)
    power = np.abs(np.fft.rfft(profiles, 2 * SIDE, axis=1)) ** 2
    found = np.fft.irfft(power, axis=1)[:, :41]
    found /= np.maximum(found[:, :1], 1e-6)
    lag = found[:, 5:40]
    peak = (lag > found[:, 4:39]) & (lag > found[:, 6:41])
    return float((lag * peak).max())


def hair_mask(image: Image) -> Bool[np.ndarray, 'h w']:
    """Pixels that a black-hat with a cross of 17 x 17 finds darker by more than 10 of 255."""
    import cv2

    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (17, 17))
    return cv2.morphologyEx(_grey(image), cv2.MORPH_BLACKHAT, cross) > 10


def without_hair(image: Image) -> Image:
    """The image with the pixels of `hair_mask` inpainted (Telea, radius 1)."""
    import cv2

    return cv2.inpaint(image, hair_mask(image).astype(np.uint8), 1, cv2.INPAINT_TELEA)


def ita(image: Image, compat: str = '') -> float:
    """Individual typology angle of the lightest of eight border patches, in degrees.

    ITA = atan2(L - 50, b) · 180/π of the mean L and b (CIE Lab) of patches of 20 x 20, free of
    hair; the largest of the eight. As Bevan and Atapour-Abarghouei, "Detecting Melanoma Fairly"
    (2022), except for what Kalb et al., "Revisiting Skin Tone Fairness in Dermatological Lesion
    Classification" (2023) corrected: atan((L - 50)/b) turns light skin of a bluish picture (b < 0)
    into the darkest type. An angle depends on illumination and camera more than on skin: see
    docs/data.md before calling it a skin type.

    Args:
        image: of one lesion.
        compat: 'sdu' uses atan.

    Raises:
        ValueError: another `compat`.
    """
    if compat not in ('', 'sdu'):
        raise ValueError(f"compat={compat!r}; expected '' or 'sdu'")
    means = _patch_means(image)
    return float(angle(means[:, 0], means[:, 2], compat).max())


def lightness(image: Image) -> float:
    """The highest mean L (CIE Lab, 0 to 100) of the patches that `ita` looks at."""
    return float(_patch_means(image)[:, 0].max())


def _patch_means(image: Image) -> Float[np.ndarray, '8 3']:
    lab = _lab(without_hair(_sized(image)))
    return np.array([lab[r : r + 20, c : c + 20].mean(axis=(0, 1)) for r, c in ITA_PATCHES])


def angle(
    L: Float[np.ndarray, ' n'], b: Float[np.ndarray, ' n'], compat: str = ''
) -> Float[np.ndarray, ' n']:
    """ITA in degrees of lightness L and yellowness b: see `ita`."""
    if not compat:
        return np.degrees(np.arctan2(L - 50, b))
    return np.degrees(np.arctan((L - 50) / np.where(b == 0, 1e-9, b)))


def skin_type(degrees: Float[np.ndarray, ' n']) -> Int[np.ndarray, ' n']:
    """Fitzpatrick type 1 to 6 by ITA: > 55, > 41, > 28, > 19, > 10, else 6."""
    return 1 + (np.asarray(degrees)[:, None] <= np.array(ITA_LIMITS)).sum(axis=1)


# Score of each artefact, and the limit from which `table` calls it present: where sensitivity plus
# specificity is highest on every other image of ISIC 2017.
ARTEFACTS: dict[str, tuple[Callable[[Image], float], float]] = {
    'dark_corner': (dark_corner, 0.53),
    'hair': (hair, 0.029),
    'ruler': (ruler, 0.59),
    'ink': (ink, 0.00014),
    'patches': (patches, 0.0076),
}


def table(records: Records) -> dict[str, np.ndarray]:
    """What the detectors say about every image of `records`, as columns.

    `id`; for each of ARTEFACTS a score (`hair_score`) and 0 or 1 (`hair`), for the source 'folder'
    to take as a bias variable once somebody has looked at the images; `gentian_violet` (a share)
    and `violet` (1 where any pixel has that colour: the ones to look at); `ita` in degrees and
    `skin_type`, 1 to 6.
    """
    found: dict[str, list[float]] = {name: [] for name in (*ARTEFACTS, 'gentian_violet', 'ita')}
    for row in range(len(records)):
        image = _sized(records.read(row)['image'])
        for name, (score, _) in ARTEFACTS.items():
            found[name].append(score(image))
        found['gentian_violet'].append(gentian_violet(image))
        found['ita'].append(ita(image))
    columns = {name: np.array(values, np.float64) for name, values in found.items()}
    result = {'id': records.ids}
    for name, (_, limit) in ARTEFACTS.items():
        result[f'{name}_score'] = columns[name]
        result[name] = (columns[name] >= limit).astype(np.int32)
    result['gentian_violet'] = columns['gentian_violet']
    result['violet'] = (columns['gentian_violet'] > 0).astype(np.int32)
    result['ita'] = columns['ita']
    result['skin_type'] = skin_type(columns['ita']).astype(np.int32)
    return result
