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
    path: str | Path,
    size: int,
    *,
    geometry: str = 'squash',
    max_pixels: int = MAX_PIXELS,
    data: bytes | None = None,
) -> UInt8[np.ndarray, 'size size 3']:
    """An image file as RGB, upright (EXIF), `size` x `size`.

    The size in the file's header is checked before anything is decoded. Shrinking averages areas
    (no aliasing), enlarging is cubic. Grey, palette and CMYK become RGB; 16 bits become the upper
    8; what is transparent becomes white, as people see it. Colour profiles are not applied.

    Args:
        path: of a BMP, JPEG, PNG, TIFF or WebP file.
        size: in pixels.
        geometry: 'squash' brings both sides to `size`; 'crop' takes the central square first;
            'pad' keeps the aspect and mirrors the image into the margins (a plain bar would show a
            model the original aspect, and with it the camera).
        max_pixels: of the file; more is refused.
        data: the bytes of the file, where they have been read already; `path` then only names them.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: empty, truncated, no image, too large, of 32-bit samples, or an unknown
            geometry.
    """
    import cv2

    data = _bytes(path) if data is None else data
    kind, width, height, mode = _header(path, max_pixels, data)
    if mode.endswith('transparent'):
        return fit(_on_white(path, kind, data), size, geometry)
    flags = cv2.IMREAD_COLOR
    if kind == 'JPEG':
        # A JPEG can be decoded at 1/2, 1/4 or 1/8; half as much again as wanted is left to average
        # over. From 1024 x 768 to 224 that takes 2/3 of the time and changes 0.2 grey levels.
        for factor in (8, 4, 2):
            if 2 * min(width, height) >= 3 * factor * size:
                flags = getattr(cv2, f'IMREAD_REDUCED_COLOR_{factor}')
                break
    return cv2.cvtColor(fit(_pixels(path, kind, data, flags), size, geometry), cv2.COLOR_BGR2RGB)


def decode_mask(
    path: str | Path,
    size: int,
    *,
    geometry: str = 'squash',
    max_pixels: int = MAX_PIXELS,
    data: bytes | None = None,
) -> UInt8[np.ndarray, 'size size']:
    """A mask file in the geometry of `decode`: 255 where most of the pixel's area is set, or 0.

    Files of 0 and 255 and of 0 and 1 are understood, also with 16 bits, where 65535 is set, too. In
    a palette of two colours the first, if it is black, is not set. Raises as `decode`.
    """
    import cv2

    data = _bytes(path) if data is None else data
    kind, _, _, mode = _header(path, max_pixels, data)
    mask = _pixels(path, kind, data, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH)
    top = int(mask.max())
    if mask.dtype == np.uint16:
        mask = (mask if top <= 255 else mask >> 8).astype(np.uint8)
    if top <= 1 or (mode == 'P' and len(np.unique(mask)) == 2 and not mask.min()):
        mask = np.where(mask, 255, 0).astype(np.uint8)
    return np.where(fit(mask, size, geometry) > 127, 255, 0).astype(np.uint8)


def _bytes(path: str | Path) -> bytes:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such image')
    return path.read_bytes()


def _pixels(path: str | Path, kind: str, data: bytes, flags: int) -> np.ndarray:
    import cv2

    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        image = None
    if image is None:
        raise _damaged(path, kind, data)
    return image


def _on_white(path: str | Path, kind: str, data: bytes) -> UInt8[np.ndarray, 'h w 3']:
    """A file with an alpha channel, or a palette or colour that is transparent, in full."""
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            pixels = np.array(ImageOps.exif_transpose(image).convert('RGBA'), np.uint32)
    except (OSError, SyntaxError, ValueError):
        raise _damaged(path, kind, data) from None
    colour, alpha = pixels[..., :3], pixels[..., 3:]
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _damaged(path: str | Path, kind: str, data: bytes) -> ValueError:
    return ValueError(f'{path}: the {kind} data are damaged or cut off ({len(data)} bytes)')


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
        ValueError: empty, no image, of 32-bit samples, or more than `max_pixels`.
    """
    return _header(path, max_pixels, data)[:3]


def _header(path: str | Path, max_pixels: int, data: bytes | None) -> tuple[str, int, int, str]:
    """As `header`, and Pillow's mode, followed by 'transparent' where some pixels can be."""
    from PIL import Image

    path = Path(path)
    if data is None and not path.is_file():
        raise FileNotFoundError(f'{path}: no such image')
    size = path.stat().st_size if data is None else len(data)
    if not size:
        raise ValueError(f'{path}: the file is empty')
    try:
        with Image.open(path if data is None else io.BytesIO(data), formats=FORMATS) as image:
            kind, width, height, mode = str(image.format), *image.size, image.mode
            if mode in ('LA', 'PA', 'RGBA') or 'transparency' in image.info:
                mode += ', transparent'
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
    if mode in ('F', 'I'):
        raise ValueError(f'{path}: {kind} with 32 bits a sample; expected 8 or 16')
    return ('JPEG' if kind == 'MPO' else kind), width, height, mode


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
