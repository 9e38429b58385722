"""Style transfer (`styling/transfer.py`) as an editor's step: images of one shape at a time."""

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from skinjax.styling import features as style_features
from skinjax.styling import options as style_options
from skinjax.styling import recolour
from skinjax.styling import transfer as style_transfer
from skinjax.styling.photos import Photo

Image = UInt8[np.ndarray, 'h w 3']
Lesion = UInt8[np.ndarray, 'h w']
Run = Callable[[Sequence[Image], Sequence[Lesion], Sequence[Photo]], list[Image]]


def transferred(config: Any) -> Run:
    """The default: from colour-matched images, with the Gram matrices of bare skin alone.

    The lesions keep the pixels of those images, behind a seam of `config.feather`.

    Args:
        config: options of the editor 'style'.

    Raises:
        FileNotFoundError, ValueError: the weights cannot be had, or an option is out of range.
    """
    features = style_features.load(config.transfer)
    options = style_options.Options.read(config.transfer)

    def run(
        images: Sequence[Image], masks: Sequence[Lesion], photos: Sequence[Photo]
    ) -> list[Image]:
        nothing = np.zeros(photos[0].image.shape[:2], np.uint8)
        others = [nothing if photo.mask is None else photo.mask for photo in photos]
        made, _ = style_transfer.transfer(
            features,
            _floats(images),
            _floats([photo.image for photo in photos]),
            _floats(masks),
            options,
            jax.random.key(config.seed),
            style_mask=_floats(others),
        )
        return [
            recolour.composite(image, result, recolour.feathered(mask, config.feather))
            for image, result, mask in zip(images, _pixels(made), masks, strict=True)
        ]

    return run


def original(config: Any) -> Run:
    """The published loop: whole images, no masks, from the style image.

    Options of `config.transfer` that are not the defaults stand, and the network; the others are
    PUBLISHED. The report's network is a run of configs/lesion_cnn.py.

    Raises:
        FileNotFoundError, ValueError: as `transferred`.
    """
    own = {
        name: config.transfer[name]
        for name, value in style_options.DEFAULTS.items()
        if name == 'network' or config.transfer[name] != value
    }
    values = {**style_options.DEFAULTS, **style_options.PUBLISHED, **own}
    features, options = style_features.load(values), style_options.Options.read(values)

    def run(
        images: Sequence[Image], masks: Sequence[Lesion], photos: Sequence[Photo]
    ) -> list[Image]:
        size = images[0].shape[1::-1]  # style and content are of one size where init is 'style'
        styles = [cv2.resize(one.image, size, interpolation=cv2.INTER_AREA) for one in photos]
        key = jax.random.key(config.seed)
        made, _ = style_transfer.transfer(
            features, _floats(images), _floats(styles), None, options, key
        )
        return _pixels(made)

    return run


METHODS: dict[str, Callable[[Any], Run]] = {'transfer': transferred, 'original': original}


def _floats(arrays: Sequence[np.ndarray]) -> Float[Array, 'b ...']:
    """Arrays of 0 to 255 as one of 0 to 1."""
    return jnp.asarray(np.stack(arrays).astype(np.float32) / np.float32(255))


def _pixels(images: Float[Array, 'b h w 3']) -> list[Image]:
    values = np.rint(255 * np.clip(np.asarray(images), 0, 1)).astype(np.uint8)
    return list(values)
