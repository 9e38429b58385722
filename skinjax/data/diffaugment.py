"""Changes of what a discriminator sees, through which gradients flow (DiffAugment).

Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training": real and generated
images are changed alike, each by draws of its own, in the updates of both networks, so that the
generator does not learn the changes. Images span -1 ... 1; nothing is clipped.

    color        + U(-0.5, 0.5); saturation times U(0, 2) about the grey of each pixel; contrast
                 times U(0.5, 1.5) about the mean of the image
    translation  by whole pixels, up to 1/8 of each side; 0 (grey) comes in
    cutout       a box of half the sides set to 0, its centre anywhere

The numbers are those of the published code. `augment_device.py` is for what a network should learn
to be indifferent to; this is for what it should not.
"""

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Key

from skinjax.data.records import choices

Image = Float[Array, 'h w c']
TRANSLATION, CUTOUT = 1 / 8, 1 / 2  # of the sides


def diffaugment(
    keys: Key[Array, ' b'], images: Float[Array, 'b h w c'], names: Sequence[str]
) -> Float[Array, 'b h w c']:
    """The images after the changes `names`, in that order; an image depends on its key alone.

    Raises:
        ValueError: as `check`.
    """
    check(names)
    for name in names:
        stream = list(CHANGES).index(name)
        own = jax.vmap(lambda key, k=stream: jax.random.fold_in(key, k))(keys)
        images = jax.vmap(CHANGES[name])(own, images)
    return images


def check(names: Sequence[str]) -> None:
    """Raise ValueError for a change that is unknown; the known ones are named."""
    for name in names:
        if name not in CHANGES:
            raise ValueError(f'differentiable change {name!r} is unknown; {choices(name, CHANGES)}')


def color(key: Key[Array, ''], image: Image) -> Image:
    """Other brightness, saturation and contrast, by three draws from 0 ... 1."""
    brightness, saturation, contrast = jax.random.uniform(key, (3,))
    return colored(image, brightness - 0.5, 2 * saturation, contrast + 0.5)


def colored(
    image: Image,
    brightness: Float[Array, ''],
    saturation: Float[Array, ''],
    contrast: Float[Array, ''],
) -> Image:
    """`brightness` is added; the factors 1 leave colour and contrast as they are."""
    image = image + brightness
    grey = image.mean(-1, keepdims=True)
    image = grey + saturation * (image - grey)
    mean = image.mean()
    return mean + contrast * (image - mean)


def translation(key: Key[Array, ''], image: Image) -> Image:
    """Moved by up to an eighth of each side."""
    height, width, _ = image.shape
    most = _share(height, TRANSLATION), _share(width, TRANSLATION)
    draws = [jax.random.randint(k, (), -m, m + 1) for k, m in zip(_two(key), most, strict=True)]
    return translated(image, jnp.stack(draws), most)


def translated(image: Image, shift: Int[Array, ' 2'], most: tuple[int, int]) -> Image:
    """Output (y, x) shows input (y, x) + `shift`, which is at most `most`; 0 beyond its edges."""
    padded = jnp.pad(image, ((most[0], most[0]), (most[1], most[1]), (0, 0)))
    return lax.dynamic_slice(padded, (most[0] + shift[0], most[1] + shift[1], 0), image.shape)


def cutout(key: Key[Array, ''], image: Image) -> Image:
    """A box of half the sides, as far as it lies within the image, set to 0."""
    height, width, _ = image.shape
    sizes = _share(height, CUTOUT), _share(width, CUTOUT)
    centres = [
        jax.random.randint(k, (), 0, side + (1 - size % 2))
        for k, side, size in zip(_two(key), (height, width), sizes, strict=True)
    ]
    return cut(image, jnp.stack(centres), sizes)


def cut(image: Image, centre: Int[Array, ' 2'], sizes: tuple[int, int]) -> Image:
    """The box of `sizes` that begins at centre - sizes // 2, set to 0."""
    inside = []
    for axis, size in enumerate(sizes):
        place = jnp.arange(image.shape[axis]) - centre[axis] + size // 2
        inside.append((place >= 0) & (place < size))
    return jnp.where((inside[0][:, None] & inside[1][None])[..., None], 0.0, image)


def _share(side: int, share: float) -> int:
    return int(side * share + 0.5)


def _two(key: Key[Array, '']) -> tuple[Array, Array]:
    first, second = jax.random.split(key)
    return first, second


CHANGES: Mapping[str, Callable[[Key[Array, ''], Image], Image]] = {
    'color': color,
    'translation': translation,
    'cutout': cutout,
}
