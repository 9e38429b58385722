"""Relevance maps as pictures: in colours, and over the image in grey."""

import cv2
import numpy as np
from jaxtyping import Float, Num, UInt8

from skinjax.data import images as pictures

# Blue - white - red, which every kind of colour vision tells apart; and black - yellow.
SIGNED, UNSIGNED = 'RdBu_r', 'inferno'
SHARE = 0.995  # of the pixels that are within the colour scale: one pixel alone should not set it
SIDE = 160


def strength(heat: Num[np.ndarray, 'h w']) -> Float[np.ndarray, 'h w']:
    """The map between -1 and 1: divided by its SHARE quantile of absolute values, then clipped."""
    heat = heat.astype(np.float32)
    sizes = np.abs(heat)
    # Where nearly all pixels are 0 the quantile is, too.
    limit = np.quantile(sizes, SHARE) or sizes.max()
    return np.clip(heat / limit, -1, 1) if limit > 0 else heat


def coloured(heat: Num[np.ndarray, 'h w'], *, signed: bool) -> UInt8[np.ndarray, 'h w 3']:
    """A map in colours: red speaks for the target, blue against it; without signs, by size."""
    from matplotlib import colormaps

    found = strength(heat)
    place = (found + 1) / 2 if signed else found
    colours = colormaps[SIGNED if signed else UNSIGNED](place)
    return (255 * colours[..., :3]).round().astype(np.uint8)


def overlay(
    image: UInt8[np.ndarray, 'h w 3'], heat: Num[np.ndarray, 'h w'], *, signed: bool
) -> UInt8[np.ndarray, 'h w 3']:
    """The colours over the image in grey, the more opaque the stronger."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    opacity = 0.85 * np.sqrt(np.abs(strength(heat)))[..., None]
    mixed = (1 - opacity) * grey + opacity * coloured(heat, signed=signed)
    return mixed.round().astype(np.uint8)


def panel(
    image: UInt8[np.ndarray, 'h w 3'], heat: Num[np.ndarray, 'h w'], *, signed: bool
) -> list[UInt8[np.ndarray, 'a b 3']]:
    """Image, map and both, of SIDE pixels."""
    three = [image, coloured(heat, signed=signed), overlay(image, heat, signed=signed)]
    return [pictures.fit(one, SIDE) for one in three]
