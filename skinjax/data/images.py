"""Image files to arrays."""

import io
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from skinjax.data.records import choices

GEOMETRIES = ('squash', 'crop', 'pad')
FORMATS = ('BMP', 'JPEG', 'PNG', 'TIFF', 'WEBP')
MAX_PIXELS = 80_000_000


def decode(
    path: str | Path, size: int, *, geometry: str = 'squash', max_pixels: int = MAX_PIXELS
) -> UInt8[np.ndarray, 'size size 3']:
    """An image file as RGB, upright (EXIF), `size` x `size`.

    The size in the file's header is checked before anything is decoded. Shrinking averages areas
    (no aliasing), enlarging is cubic.

    Args:
        path: of a BMP, JPEG, PNG, TIFF or WebP file.
        size: in pixels.
        geometry: 'squash' brings both sides to `size`; 'crop' takes the central square first;
            'pad' keeps the aspect and mirrors the image into the margins (a plain bar would show a
            model the original aspect, and with it the camera).
        max_pixels: of the file; more is refused.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: empty, truncated, no image, too large, or an unknown geometry.
    """
    import cv2

    return cv2.cvtColor(_read(path, size, geometry, max_pixels, grey=False), cv2.COLOR_BGR2RGB)


def decode_mask(
    path: str | Path, size: int, *, geometry: str = 'squash', max_pixels: int = MAX_PIXELS
) -> UInt8[np.ndarray, 'size size']:
    """A mask file in the geometry of `decode`: 255 where most of the pixel's area is set, or 0.

    Files of 0 and 255 and of 0 and 1 are both understood. Raises as `decode`.
    """
    return np.where(_read(path, size, geometry, max_pixels, grey=True) > 127, 255, 0).astype('u1')


def _read(
    path: str | Path, size: int, geometry: str, max_pixels: int, *, grey: bool
) -> UInt8[np.ndarray, 'size size *c']:
    import cv2

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such image')
    data = path.read_bytes()
    kind, width, height = header(path, max_pixels, data)
    flags = cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR
    if kind == 'JPEG' and not grey:
        # A JPEG can be decoded at 1/2, 1/4 or 1/8; twice the wanted size is left to average over.
        for factor in (8, 4, 2):
            if min(width, height) >= 2 * factor * size:
                flags = getattr(cv2, f'IMREAD_REDUCED_COLOR_{factor}')
                break
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if image is None:
        raise ValueError(f'{path}: the {kind} data are damaged or cut off ({len(data)} bytes)')
    if grey and image.max() <= 1:
        image = image * np.uint8(255)
    return fit(image, size, geometry)


def header(
    path: str | Path, max_pixels: int = MAX_PIXELS, data: bytes | None = None
) -> tuple[str, int, int]:
    """Format, width and height of an image file, without decoding it.

    Args:
        path: of the file.
        max_pixels: more is refused.
        data: the bytes of the file, where they have been read already.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: empty, no image, or more than `max_pixels`.
    """
    from PIL import Image

    path = Path(path)
    if data is None and not path.is_file():
        raise FileNotFoundError(f'{path}: no such image')
    size = path.stat().st_size if data is None else len(data)
    if not size:
        raise ValueError(f'{path}: the file is empty')
    try:
        with Image.open(path if data is None else io.BytesIO(data), formats=FORMATS) as image:
            kind, width, height = str(image.format), *image.size
    except Image.DecompressionBombError as error:
        raise ValueError(f'{path}: too many pixels ({error})') from None
    except (OSError, SyntaxError, ValueError):
        raise ValueError(
            f'{path}: not a readable image ({size} bytes); expected {", ".join(FORMATS)}'
        ) from None
    if width * height > max_pixels:
        raise ValueError(
            f'{path}: {width} x {height} pixels are more than the limit of {max_pixels}'
        )
    return ('JPEG' if kind == 'MPO' else kind), width, height


def fit(
    image: UInt8[np.ndarray, 'h w *c'], size: int, geometry: str = 'squash'
) -> UInt8[np.ndarray, 'size size *c']:
    """`image` brought to `size` x `size` in the geometry of `decode`."""
    import cv2

    if geometry not in GEOMETRIES:
        raise ValueError(f'geometry {geometry!r} is unknown; {choices(geometry, GEOMETRIES)}')
    height, width = image.shape[:2]
    if geometry == 'crop':
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        return _resize(image[top : top + side, left : left + side], size, size)
    if geometry == 'squash' or height == width:
        return _resize(image, size, size)
    scale = size / max(height, width)
    image = _resize(image, max(1, round(width * scale)), max(1, round(height * scale)))
    down, right = size - image.shape[0], size - image.shape[1]
    return cv2.copyMakeBorder(
        image, down // 2, down - down // 2, right // 2, right - right // 2, cv2.BORDER_REFLECT
    )


def _resize(image: np.ndarray, width: int, height: int) -> np.ndarray:
    import cv2

    # Area averaging where a side shrinks, then cubic where one grows: OpenCV's INTER_AREA would
    # silently be bilinear for both sides as soon as one of them grows.
    smaller = (min(width, image.shape[1]), min(height, image.shape[0]))
    if smaller != (image.shape[1], image.shape[0]):
        image = cv2.resize(image, smaller, interpolation=cv2.INTER_AREA)
    if smaller != (width, height):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
    return image
