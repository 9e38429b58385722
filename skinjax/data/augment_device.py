"""Random changes of whole batches inside a compiled step (JAX), named in `config.train.augment`.

Everything is drawn from the keys that are given, one for each image.
"""

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, Num, UInt8

from skinjax.data.augment import BRIGHTNESS, CONTRAST
from skinjax.data.records import choices


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
