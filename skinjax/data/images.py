"""Image files to arrays, and random changes of arrays on the host and on the device.

Host changes (OpenCV, one example at a time) are named in `config.augment_host`; device changes
(JAX, a whole batch inside the compiled step) in `augment_batch`. Both draw everything from the
generator or keys that they are given.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, Num, UInt8

from skinjax.data.records import choices

GEOMETRIES = ('squash', 'crop', 'pad')
FORMATS = ('BMP', 'JPEG', 'PNG', 'TIFF', 'WEBP')
MAX_PIXELS = 80_000_000

# Bounds of the random changes: each is drawn uniformly.
ROTATION = 30.0  # degrees, either way
SCALE = 0.1  # 1 - SCALE ... 1 + SCALE
SHIFT = 0.1  # of the side, either way
BRIGHTNESS = 0.1  # of the full range, either way
CONTRAST = 0.2  # 1 - CONTRAST ... 1 + CONTRAST, about the mean
SATURATION = 0.2
GREY = (0.299, 0.587, 0.114)  # luma of RGB, ITU-R BT.601


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


Example = dict[str, np.ndarray]


def _host_flip(example: Example, rng: np.random.Generator) -> Example:
    """Upside down and left to right, p = 1/2 each."""
    bits = int(rng.integers(4))
    down, across = 1 - 2 * (bits & 1), 1 - (bits & 2)
    return {name: array[::down, ::across] for name, array in example.items()}


def _host_d4(example: Example, rng: np.random.Generator) -> Example:
    """One of the eight symmetries of the square: transposed with p = 1/2, then flipped."""
    if rng.integers(2):
        example = {name: array.swapaxes(0, 1) for name, array in example.items()}
    return _host_flip(example, rng)


def _host_affine(example: Example, rng: np.random.Generator) -> Example:
    """Turned, scaled and shifted about the centre; the image is mirrored beyond its edges."""
    import cv2

    height, width = example['image'].shape[:2]
    angle, scale, across, down = rng.uniform(-1, 1, 4)
    centre = ((width - 1) / 2, (height - 1) / 2)
    matrix = cv2.getRotationMatrix2D(centre, angle * ROTATION, 1 + scale * SCALE)
    matrix[:, 2] += across * SHIFT * width, down * SHIFT * height
    how = {'image': cv2.INTER_LINEAR, 'mask': cv2.INTER_NEAREST}
    return {
        name: cv2.warpAffine(
            array, matrix, (width, height), flags=how[name], borderMode=cv2.BORDER_REFLECT_101
        )
        for name, array in example.items()
    }


def _host_colour(example: Example, rng: np.random.Generator) -> Example:
    """Saturation, contrast about the mean and brightness, as one affine map of RGB."""
    import cv2

    saturation, contrast, brightness = rng.uniform(-1, 1, 3)
    grey = np.broadcast_to(GREY, (3, 3))
    matrix = (1 + saturation * SATURATION) * np.eye(3) - saturation * SATURATION * grey
    contrast = 1 + contrast * CONTRAST
    mean = float(np.dot(GREY, cv2.mean(example['image'])[:3]))
    offset = (1 - contrast) * mean + 255 * brightness * BRIGHTNESS
    matrix = np.column_stack([contrast * matrix, np.full(3, offset)])
    return {**example, 'image': cv2.transform(example['image'], matrix)}


HOST: dict[str, Callable[[Example, np.random.Generator], Example]] = {
    'flip': _host_flip,
    'd4': _host_d4,
    'affine': _host_affine,
    'colour': _host_colour,
}


def augment(names: Sequence[str]) -> Callable[[Example, np.random.Generator], Example]:
    """The host changes `names`, one after the other, of {'image': ..., 'mask': ...}.

    'flip', 'd4' (flips and transpose), 'affine' (rotation, scale, shift) and 'colour' (saturation,
    contrast, brightness). Masks move with their image and keep their colours.

    Raises:
        ValueError: for an unknown name.
    """
    for name in names:
        if name not in HOST:
            raise ValueError(f'augmentation {name!r} is unknown; {choices(name, HOST)}')
    changes = [HOST[name] for name in names]

    def change(example: Example, rng: np.random.Generator) -> Example:
        for one in changes:
            example = one(example, rng)
        return example

    return change


def d4(
    images: Num[Array, 'b h w c'], i: int | Int[Array, ' b'] | Int[Array, '']
) -> Num[Array, 'b h w c']:
    """Symmetry `i` = 0 ... 7 of the square: transposed if i >= 4, then flipped.

    i mod 4: 0 nothing, 1 upside down, 2 left to right, 3 both. [[1, 2], [3, 4]] becomes, row by
    row, 1234, 3412, 2143, 4321, 1324, 2413, 3142, 4231.

    Args:
        images: square ones, unless `i` is a number below 4.
        i: one number for the batch, or one for each image; an array is made of selects, no gathers.

    Raises:
        ValueError: for images that would have to be square.
    """
    images = jnp.asarray(images)
    one = isinstance(i, int)
    if images.shape[1] != images.shape[2] and not (one and i % 8 < 4):
        raise ValueError(f'square images expected, found {images.shape[1]} x {images.shape[2]}')
    if one:
        images = images.swapaxes(1, 2) if i & 4 else images
        return images[:, :: -1 if i & 1 else 1, :: -1 if i & 2 else 1]
    bits = jnp.reshape(i, (-1, 1, 1, 1))
    images = jnp.where((bits & 4) > 0, images.swapaxes(1, 2), images)
    images = jnp.where((bits & 1) > 0, images[:, ::-1], images)
    return jnp.where((bits & 2) > 0, images[:, :, ::-1], images)


def _device_d4(keys: Key[Array, ' b'], images: Num[Array, 'b h w c']) -> Num[Array, 'b h w c']:
    return d4(images, jax.vmap(lambda key: jax.random.randint(key, (), 0, 8))(keys))


def _device_flip(keys: Key[Array, ' b'], images: Num[Array, 'b h w c']) -> Num[Array, 'b h w c']:
    bits = jax.vmap(lambda key: jax.random.randint(key, (), 0, 4))(keys)[:, None, None, None]
    images = jnp.where((bits & 1) > 0, images[:, ::-1], images)
    return jnp.where((bits & 2) > 0, images[:, :, ::-1], images)


def _device_colour(keys: Key[Array, ' b'], images: Num[Array, 'b h w c']) -> Num[Array, 'b h w c']:
    draws = jax.vmap(lambda key: jax.random.uniform(key, (2,), minval=-1.0))(keys)
    contrast, brightness = draws[:, :1, None, None], draws[:, 1:, None, None]
    whole = jnp.issubdtype(images.dtype, jnp.integer)
    top = 255.0 if whole else 1.0
    floats = images.astype(jnp.float32)
    mean = jnp.mean(floats, axis=(1, 2, 3), keepdims=True)
    floats = mean + (1 + CONTRAST * contrast) * (floats - mean) + top * BRIGHTNESS * brightness
    if whole:
        floats = jnp.clip(jnp.round(floats), 0, 255)
    return floats.astype(images.dtype)


DEVICE: Mapping[str, tuple[int, Callable]] = {
    'd4': (0, _device_d4),
    'flip': (1, _device_flip),
    'colour': (2, _device_colour),
}


def augment_batch(
    keys: Key[Array, ' b'], images: Num[Array, 'b h w c'], names: Sequence[str]
) -> Num[Array, 'b h w c']:
    """The device changes `names`, one after the other; one key for each image.

    'd4' (all eight symmetries of a square image alike), 'flip' (both ways), 'colour' (contrast
    about the image's mean, then brightness: uint8 images are rounded and clipped, float images are
    taken to span 0 ... 1 and not clipped). A name's draws depend on the key alone, so masks move
    with their images: call it on masks [b, h, w, 1] with the same keys and the geometric names.

    Raises:
        ValueError: for an unknown name, or 'd4' of images that are not square.
    """
    for name in names:
        if name not in DEVICE:
            raise ValueError(f'augmentation {name!r} is unknown; {choices(name, DEVICE)}')
        stream, change = DEVICE[name]
        images = change(jax.vmap(jax.random.fold_in, (0, None))(keys, stream), images)
    return images


def normalize(
    images: UInt8[Array, 'b h w c'],
    mean: Sequence[float],
    std: Sequence[float],
    dtype: jnp.dtype = jnp.float32,  # pyright: ignore[reportArgumentType]
) -> Float[Array, 'b h w c']:
    """(images / 255 - mean) / std, with `mean` and `std` of each channel."""
    scale = 1 / (255 * np.asarray(std, np.float64))
    shift = -np.asarray(mean, np.float64) / np.asarray(std, np.float64)
    floats = jnp.asarray(images).astype(jnp.float32)
    scaled = floats * jnp.asarray(scale, jnp.float32)[None, None, None]
    return (scaled + jnp.asarray(shift, jnp.float32)[None, None, None]).astype(dtype)
