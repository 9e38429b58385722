"""The seven channels that the segmentation network sees, from RGB, inside a compiled step (JAX)."""

import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

COUNT = 7  # red, green, blue, hue, saturation, value, luminance
_LUMINANCE = (0.212671, 0.715160, 0.072169)  # Y of linear sRGB, white point D65
_KNEE = (6 / 29) ** 3  # of the curve from Y to L*


def channels(images: UInt8[Array, 'b h w 3'], *, compat: bool = False) -> Float[Array, 'b h w 7']:
    """RGB, HSV and the luminance L*, each brought to -1 ... 1 by (x - 0.5) / 0.5.

    RGB and HSV are divided by 255, HSV on Pillow's scale (hue, too, spans 0 ... 255). L* is that
    of CIE Lab, 0 ... 100, divided by 100.

    Bisla et al. 2019, section 4.1. With `compat` L* is as in the authors' code: its whole part,
    divided by 255, so that the channel spans -1 ... -0.216 only.
    """
    rgb = jnp.asarray(images).astype(jnp.float32)
    light = luminance(images)
    light = jnp.floor(light) / 255 if compat else light / 100
    unit = jnp.concatenate([rgb / 255, hsv(images) / 255, light[..., None]], -1)
    return (unit - 0.5) / 0.5


def hsv(images: UInt8[Array, 'b h w 3']) -> Float[Array, 'b h w 3']:
    """Hue, saturation, value, whole numbers 0 ... 255, cut off as Pillow's `convert('HSV')` does.

    Grey has hue 0. Hue is an angle: 255 stands beside 0.
    """
    rgb = jnp.asarray(images).astype(jnp.float32)
    r, g, b = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    top = rgb.max(-1)
    spread = top - rgb.min(-1)
    size = jnp.maximum(spread, 1.0)
    sector = jnp.where(
        r == top, (g - b) / size, jnp.where(g == top, 2 + (b - r) / size, 4 + (r - g) / size)
    )
    turn = jnp.where(sector < 0, sector / 6 + 1, sector / 6)
    whole = jnp.floor(jnp.stack([turn, spread / jnp.maximum(top, 1.0)], -1) * 255)
    return jnp.concatenate([whole, top[..., None]], -1)


def luminance(images: UInt8[Array, 'b h w 3']) -> Float[Array, 'b h w']:
    """L* of CIE Lab, 0 ... 100: 116 Y^(1/3) - 16, and (29 / 3)^3 Y below Y = (6 / 29)^3.

    Y is the luminance of the image taken as sRGB under D65, 1 for white.
    """
    rgb = jnp.asarray(images).astype(jnp.float32) / 255
    linear = jnp.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    y = (linear * jnp.asarray(_LUMINANCE, jnp.float32)[None, None, None]).sum(-1)
    return jnp.where(y > _KNEE, 116 * jnp.cbrt(y) - 16, (29 / 3) ** 3 * y)
