"""Style transfer (`styling/transfer.py`) as an editor's step: images of one shape at a time."""

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt8

from skinjax import skin
from skinjax.styling import features as style_features
from skinjax.styling import options as style_options
from skinjax.styling import recolour
from skinjax.styling import transfer as style_transfer
from skinjax.styling.photos import Photo

PRESETS = {'transfer': 'default', 'original': 'published'}
REACH = 4  # pixels that the first layers see beyond their cells: relu2_1 of VGG-16
SPECK = 1 / 2000  # of the picture: smaller parts that do not look like skin are noise of skin
PATIENCE = 60.0  # seconds between two lines about a long optimisation

Image = UInt8[np.ndarray, 'h w 3']
Region = UInt8[np.ndarray, 'h w']  # 0 and 255
Losses = dict[str, list[float]]  # total, style and content before each step
Run = Callable[[Sequence[Image], Sequence[Region], Sequence[Photo]], list[tuple[Image, Losses]]]


def resolved(config: Any) -> dict[str, Any]:
    """What `config.transfer` means: the values of all its options; none where nothing uses them.

    The preset of the method 'original' is the published one; it knows no lesions.

    Args:
        config: options of the editor 'style'.

    Raises:
        ValueError: as `options.resolved`.
    """
    if config.method not in PRESETS:
        return {}
    found = style_options.resolved(config.transfer, PRESETS[config.method])
    return {**found, 'lesion_weight': 1.0} if config.method == 'original' else found


def transferred(config: Any) -> Run:
    """The default: from colour-matched images, with the Gram matrices of bare skin alone.

    What is no skin (`skin.skin_mask`: the lesion, hair, rims, rulers) has no part in them, nor what
    the first layers see it from. The lesions keep the pixels of the images, behind a seam of
    `config.feather`.

    Args:
        config: options of the editor 'style'.

    Raises:
        FileNotFoundError, ValueError: the weights cannot be had, or an option is out of range.
    """
    optimised = _optimised(config)

    def run(
        images: Sequence[Image], masks: Sequence[Region], photos: Sequence[Photo]
    ) -> list[tuple[Image, Losses]]:
        styles, others = _resized(photos, images[0].shape[1::-1])
        made = optimised(
            images,
            styles,
            mask=_floats(masks),
            unseen=_floats([not_skin(*pair) for pair in zip(images, masks, strict=True)]),
            style_unseen=_floats([not_skin(*pair) for pair in zip(styles, others, strict=True)]),
        )
        return [
            (recolour.composite(image, result, recolour.feathered(mask, config.feather)), losses)
            for image, (result, losses), mask in zip(images, made, masks, strict=True)
        ]

    return run


def original(config: Any) -> Run:
    """The published loop: whole images, no masks, from the style image.

    The report's network is a run of configs/lesion_cnn.py.

    Raises:
        FileNotFoundError, ValueError: as `transferred`.
    """
    optimised = _optimised(config)

    def run(
        images: Sequence[Image], masks: Sequence[Region], photos: Sequence[Photo]
    ) -> list[tuple[Image, Losses]]:
        return optimised(images, _resized(photos, images[0].shape[1::-1])[0])

    return run


METHODS: dict[str, Callable[[Any], Run]] = {'transfer': transferred, 'original': original}


def not_skin(image: Image, mask: Region) -> Region:
    """What is no bare skin, grown by REACH; the lesion where the picture has no skin besides."""
    other = (~skin.skin_mask(image, mask)).astype(np.uint8)
    _, parts, facts, _ = cv2.connectedComponentsWithStats(other)
    speck = np.asarray(facts)[:, cv2.CC_STAT_AREA] < SPECK * other.size
    other[speck[np.asarray(parts, np.intp)]] = 0
    for found in (other, (mask > 0).astype(np.uint8)):
        grown = cv2.dilate(found, np.ones((2 * REACH + 1,) * 2, np.uint8))
        if not grown.all():
            return 255 * grown
    return mask


def _optimised(config: Any) -> Callable[..., list[tuple[Image, Losses]]]:
    """`transfer` of lists of images, with the regions that it takes."""
    values = resolved(config)
    options = style_options.Options.read(values)
    features = style_features.load(values)

    def run(images: Sequence[Image], styles: Sequence[Image], **regions: Any):
        made, history = style_transfer.transfer(
            features,
            _floats(images),
            _floats(styles),
            regions.pop('mask', None),
            options,
            _keys(config.seed, images),
            say=_told(options.steps),
            **regions,
        )
        pixels = np.rint(255 * np.clip(np.asarray(made), 0, 1)).astype(np.uint8)
        return [
            (image, {name: [float(f'{v:.6g}') for v in x[row]] for name, x in history.items()})
            for row, image in enumerate(pixels)
        ]

    return run


def _told(steps: int) -> style_transfer.Say:
    """Says now and then how far a long optimisation is."""
    last = time.monotonic()

    def say(done: int, history: style_transfer.History) -> None:
        nonlocal last
        if time.monotonic() - last > PATIENCE:
            last = time.monotonic()
            loss = float(history['total'][:, -1].mean())
            print(f'style transfer: {done} of {steps} steps, mean loss {loss:.4g}', flush=True)

    return say


def _resized(photos: Sequence[Photo], size: tuple[int, int]) -> tuple[list[Image], list[Region]]:
    """Pictures and masks at the size (width, height) of the images.

    At another, maps of the same skin would have other statistics.
    """
    images, masks = [], []
    for photo in photos:
        images.append(cv2.resize(photo.image, size, interpolation=cv2.INTER_AREA))
        mask = np.zeros(photo.image.shape[:2], np.uint8) if photo.mask is None else photo.mask
        mask = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
        masks.append(np.where(mask > 0, 255, 0).astype(np.uint8))
    return images, masks


def _keys(seed: int, images: Sequence[Image]) -> Key[Array, ' b']:
    """A key of its own for each image, by its pixels."""
    digests = [hashlib.blake2b(image.tobytes(), digest_size=4).digest() for image in images]
    numbers = jnp.asarray(np.array([int.from_bytes(d, 'little') for d in digests], np.uint32))
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), numbers)


def _floats(arrays: Sequence[np.ndarray]) -> Float[Array, 'b ...']:
    """Arrays of 0 to 255 as one of 0 to 1."""
    return jnp.asarray(np.stack(arrays).astype(np.float32) / np.float32(255))
