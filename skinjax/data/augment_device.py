"""Random changes of whole batches inside a compiled step (JAX), named in `config.train.augment`.

The changes of `augment.py`, by the same parameters: everything is drawn from the keys that are
given, one for each image, and nothing depends on the rest of the batch. From the same parameters
the host makes the same pixels but for rounding; `tests/data/test_augment_device.py` states how
close. Integer images span 0 ... 255 and are rounded and clipped; float images are taken to span
0 ... 1 and are not clipped.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, Num, UInt8

from skinjax.data import augment as host
from skinjax.data.records import choices

Images = Num[Array, 'b h w c']


def d4(images: Images, i: int | Int[Array, ' b'] | Int[Array, '']) -> Images:
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
    return flip(jnp.where((bits & 4) > 0, images.swapaxes(1, 2), images), i)


def flip(images: Images, i: Int[Array, ' b'] | Int[Array, '']) -> Images:
    """Upside down where i & 1, left to right where i & 2."""
    bits = jnp.reshape(i, (-1, 1, 1, 1))
    images = jnp.where((bits & 1) > 0, images[:, ::-1], images)
    return jnp.where((bits & 2) > 0, images[:, :, ::-1], images)


def crop(images: Images, draws: Float[Array, 'b 4'], *, nearest: bool = False) -> Images:
    """draws: area, aspect, place across, place down."""
    _, height, width, _ = images.shape
    area = host.CROP + (1 - host.CROP) * (draws[:, 0] + 1) / 2
    aspect = jnp.exp(jnp.log(host.ASPECT) * draws[:, 1])

    def line(side: int, share: Float[Array, ' b'], place: Float[Array, ' b']):
        share = jnp.minimum(1.0, jnp.sqrt(share))[:, None]
        start = (1 - share) * (place[:, None] + 1) / 2 * side
        return start + share * (jnp.arange(side, dtype=jnp.float32)[None] + 0.5) - 0.5

    x = line(width, area * aspect, draws[:, 2])[:, None]
    y = line(height, area / aspect, draws[:, 3])[:, :, None]
    shape = (len(draws), height, width)
    return sample(images, jnp.broadcast_to(y, shape), jnp.broadcast_to(x, shape), nearest)


def affine(images: Images, draws: Float[Array, 'b 4'], *, nearest: bool = False) -> Images:
    """draws: angle, scale, shift across, shift down.

    Output x shows input c + R(angle) (x - c - shift) / scale, c the centre.
    """
    _, height, width, _ = images.shape
    angle, scale, across, down = draws.T[:, :, None, None]
    angle, scale = jnp.deg2rad(host.ROTATION) * angle, 1 + host.SCALE * scale
    cosine, sine = jnp.cos(angle) / scale, jnp.sin(angle) / scale
    column, row = ((side - 1) / 2 for side in (width, height))
    x = jnp.arange(width, dtype=jnp.float32)[None, None] - column - across * host.SHIFT * width
    y = jnp.arange(height, dtype=jnp.float32)[None, :, None] - row - down * host.SHIFT * height
    return sample(images, row + sine * x + cosine * y, column + cosine * x - sine * y, nearest)


def sample(
    images: Images, y: Float[Array, 'b h w'], x: Float[Array, 'b h w'], nearest: bool = False
) -> Images:
    """Each image at (y, x), bilinear or the nearest pixel, mirrored (101) beyond its edges."""
    count, height, width, channels = images.shape
    pixels = images.reshape(count, height * width, channels)

    def at(rows: Float[Array, 'b h w'], columns: Float[Array, 'b h w']) -> Images:
        index = _mirror(rows, height) * width + _mirror(columns, width)
        found = jax.vmap(lambda one, i: one.at[i].get(mode='promise_in_bounds'))(
            pixels, index.reshape(count, -1)
        )
        return found.reshape(images.shape)

    if nearest:
        return at(jnp.floor(y + 0.5), jnp.floor(x + 0.5))
    top, left = jnp.floor(y), jnp.floor(x)
    down, across = (y - top)[..., None], (x - left)[..., None]
    upper = _mix(at(top, left), at(top, left + 1), across)
    lower = _mix(at(top + 1, left), at(top + 1, left + 1), across)
    return _like(images, _mix(upper, lower, down))


def _mix(first: Images, second: Images, share: Float[Array, 'b h w 1']) -> Float[Array, 'b h w c']:
    return (1 - share) * first.astype(jnp.float32) + share * second.astype(jnp.float32)


def _mirror(places: Float[Array, '*n'], side: int) -> Int[Array, '*n']:
    period = max(2 * side - 2, 1)
    places = jnp.mod(places.astype(jnp.int32), period)
    return jnp.minimum(places, period - places) if side > 1 else jnp.zeros_like(places)


def colour(images: Images, draws: Float[Array, 'b 3']) -> Images:
    """draws: saturation, contrast, brightness. An image of one channel has no saturation."""
    saturation, contrast, brightness = draws.T[:, :, None, None, None]
    top = 255.0 if jnp.issubdtype(images.dtype, jnp.integer) else 1.0
    channels = images.shape[-1]
    weights = host.GREY if channels == 3 else (1 / channels,) * channels
    floats = images.astype(jnp.float32)
    grey = sum(w * floats[..., k : k + 1] for k, w in enumerate(weights))
    mean = jnp.mean(grey, axis=(1, 2), keepdims=True)
    floats = floats + host.SATURATION * saturation * (floats - grey)
    floats = mean + (1 + host.CONTRAST * contrast) * (floats - mean)
    return _like(images, floats + top * host.BRIGHTNESS * brightness)


def blur(images: Images, draws: Float[Array, 'b 1']) -> Images:
    """draws: sigma."""
    _, height, width, _ = images.shape
    radius = host.blur_radius(height, width)
    sigma = jnp.maximum(host.BLUR * max(height, width) * (draws + 1) / 2, 0.05)
    taps = jnp.arange(-radius, radius + 1, dtype=jnp.float32)[None]
    taps = jnp.exp(-0.5 * (taps / sigma) ** 2)
    taps = taps / jnp.sum(taps, 1, keepdims=True)
    floats = images.astype(jnp.float32)
    for axis in (1, 2):
        margins = [(0, 0), (0, 0), (0, 0), (0, 0)]
        margins[axis] = (radius, radius)
        wide = jnp.pad(floats, margins, 'reflect')
        floats = sum(
            taps[:, k, None, None, None]
            * jax.lax.slice_in_dim(wide, k, k + images.shape[axis], axis=axis)
            for k in range(2 * radius + 1)
        )
    return _like(images, jnp.asarray(floats))


def cutout(images: Images, draws: Float[Array, 'b 3']) -> Images:
    """draws: size, place across, place down."""
    _, height, width, _ = images.shape
    share = host.CUTOUT * (draws[:, :1] + 1) / 2

    def inside(side: int, place: Float[Array, 'b 1']):
        length = jnp.round(share * side)
        start = jnp.floor((side - length) * (place + 1) / 2)
        pixels = jnp.arange(side, dtype=jnp.float32)[None]
        return (pixels >= start) & (pixels < start + length)

    rows, columns = inside(height, draws[:, 2:]), inside(width, draws[:, 1:2])
    mean = jnp.mean(images.astype(jnp.float32), axis=(1, 2), keepdims=True)
    box = rows[:, :, None, None] & columns[:, None, :, None]
    return jnp.where(box, _like(images, mean), images)


def _like(images: Images, floats: Float[Array, 'b #h #w c']) -> Num[Array, 'b #h #w c']:
    """Numbers in the type of `images`."""
    if jnp.issubdtype(images.dtype, jnp.integer):
        floats = jnp.clip(jnp.round(floats), 0, 255)
    return floats.astype(images.dtype)


def _whole(top: int) -> Callable[[Key[Array, '']], Int[Array, '']]:
    return lambda key: jax.random.randint(key, (), 0, top)


def _draw(count: int) -> Callable[[Key[Array, '']], Float[Array, ' n']]:
    return lambda key: jax.random.uniform(key, (count,), minval=-1.0)


def _draw_colour(key: Key[Array, '']) -> Float[Array, ' 3']:
    # Saturation came later: the other two keep the numbers that they had.
    return jnp.concatenate([_draw(1)(jax.random.fold_in(key, 0)), _draw(2)(key)])


class Change(NamedTuple):
    """A stream of keys, how parameters are drawn from one key, and what is done with them."""

    stream: int
    draw: Callable[[Key[Array, '']], Num[Array, '...']]
    apply: Callable[..., Images]


DEVICE: Mapping[str, Change] = {
    'd4': Change(0, _whole(8), d4),
    'flip': Change(1, _whole(4), flip),
    'colour': Change(2, _draw_colour, colour),
    'affine': Change(3, _draw(4), affine),
    'crop': Change(4, _draw(4), crop),
    'blur': Change(5, _draw(1), blur),
    'cutout': Change(6, _draw(3), cutout),
    'vflip': Change(7, _whole(2), flip),
}


def augment(
    keys: Key[Array, ' b'], batch: Mapping[str, Any], names: Sequence[str]
) -> dict[str, Any]:
    """The device changes `names`, one after the other, of a batch; one key for each image.

    As on the host, geometric changes move every array [b, h, w, c], and every mask [b, h, w], of
    the height and width of `batch['image']`; the others change 'image' alone.

    Raises:
        ValueError: for an unknown name, or 'd4' of images that are not square.
    """
    batch = dict(batch)
    shape = batch['image'].shape[:3]
    for name in names:
        if name not in DEVICE:
            raise ValueError(f'augmentation {name!r} is unknown; {choices(name, DEVICE)}')
        stream, draw, _ = DEVICE[name]
        draws = jax.vmap(lambda key, s=stream, d=draw: d(jax.random.fold_in(key, s)))(keys)
        for other, array in batch.items():
            if other == 'image' or (name in host.GEOMETRIC and array.shape[:3] == shape):
                batch[other] = apply(name, array, draws)
    return batch


def apply(name: str, array: Num[Array, 'b h w *c'], draws: Num[Array, 'b *n']) -> Array:
    """The change `name`, by these parameters, of images [b, h, w, c] or masks [b, h, w]."""
    change, mask = DEVICE[name].apply, array.ndim == 3
    if mask and change in (crop, affine):
        change = functools.partial(change, nearest=True)
    moved = change(array[..., None] if mask else array, draws)
    return moved[..., 0] if mask else moved


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
