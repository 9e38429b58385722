"""Style transfer: pixels are optimised until their maps have the style of one image, the content
of another (Gatys, Ecker & Bethge 2016; Debiasing-Melanoma-Images).

    loss = content_weight L_content + style_weight L_style + variation TV

with the terms of styling/losses.py, in chunks of steps (styling/loop.py) between which `say` hears
of the losses.

The published method is `PUBLISHED`. What it gets wrong, the defaults do otherwise: running
statistics of normalisation, losses of comparable size, a start at the content rather than at the
style, steps that get shorter, and Gram matrices of the skin alone where there is a mask.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from skinjax.styling.features import Features, Network
from skinjax.styling.loop import Aims, Loop, losses
from skinjax.styling.options import DEFAULTS, PUBLISHED, Options

__all__ = [
    'DEFAULTS',
    'PUBLISHED',
    'Aims',
    'Features',
    'Loop',
    'Options',
    'losses',
    'transfer',
]

Images = Float[Array, 'b h w 3']
History = dict[str, Float[np.ndarray, 'b steps']]
Say = Callable[[int, History], Any]  # steps done, and the losses of the last of them


def transfer(
    features: Features,
    content: Images,
    style: Float[Array, 's i j 3'],
    mask: Float[Array, 'b p q'] | None,
    options: Options,
    keys: Key[Array, '_'],
    *,
    start: Float[Array, '_ _ _ 3'] | None = None,
    unseen: Float[Array, 'b m n'] | None = None,
    style_unseen: Float[Array, 's k l'] | None = None,
    say: Say | None = None,
    form: str = '',
) -> tuple[Images, History]:
    """Images with the content of `content` and the style of `style`, all from 0 to 1.

    Args:
        features: the network, whose weights stay as they are.
        content: images.
        style: one image for each, or one for all, of any size.
        mask: 1 on the lesions of `content`, whose content counts more; None: nowhere.
        options: see DEFAULTS.
        keys: of the noise that each image starts from, whatever its place in the batch.
        start: images to start from instead of `options.init`.
        unseen: 1 on what has no part in the Gram matrices of `content`; None: as `mask`.
        style_unseen: the same of `style`; None: nowhere.
        say: called after every chunk.
        form: of the loop, see styling/loop.py.

    Returns:
        The images, and the losses before each step: 'total', 'style' and 'content' (without their
        weights).

    Raises:
        ValueError: a shape does not fit, the network has no such layer, or as many weights of
            layers are asked for as there are not.
    """
    b = content.shape[0]
    unseen = mask if unseen is None else unseen
    _check(features.network, options, content, style, keys, start)
    lesion = _region('mask', mask, content)
    here = _region('unseen', unseen, content)
    there = _region('style_unseen', style_unseen, style)
    loop = Loop(features.network, options, form)
    if start is None:
        if options.init == 'noise':
            start = jax.vmap(lambda key: jax.random.uniform(key, content.shape[1:]))(keys)
        else:
            start = style if options.init == 'style' else content
    start = jnp.broadcast_to(start, content.shape)
    style, there = (jnp.broadcast_to(a, (b, *a.shape[1:])) for a in (style, there))
    aims = loop.aim(features.variables, content, lesion, style, there, here)
    state, parts = loop.begin(start), []
    for done in range(0, options.steps, options.chunk):
        count = min(options.chunk, options.steps - done)
        state, history = loop.advance(features.variables, aims, state, count)
        parts.append({name: np.asarray(values) for name, values in history.items()})
        if say:
            say(done + count, parts[-1])
    whole = {name: np.concatenate([part[name] for part in parts], 1) for name in parts[0]}
    return options.pixels(state[0]), whole


def _region(name: str, region: Array | None, images: Array) -> Array:
    """A region of images, or the empty one."""
    if region is None:
        return jnp.zeros(images.shape[:3])
    if region.shape != images.shape[:3]:
        raise ValueError(f'{name} is {list(region.shape)}, its images are {list(images.shape[:3])}')
    return jnp.asarray(region, jnp.float32)


def _check(network: Network, options: Options, content, style, keys, start) -> None:
    """Raise ValueError for what does not fit together."""
    if style.shape[0] not in (1, content.shape[0]):
        raise ValueError(
            f'{style.shape[0]} style images for {content.shape[0]} images: expected one for each, '
            'or one'
        )
    if keys.shape != content.shape[:1]:
        raise ValueError(f'keys are {list(keys.shape)} for {content.shape[0]} images')
    if options.init == 'style' and start is None and style.shape[1:] != content.shape[1:]:
        raise ValueError(
            f"init 'style' needs a style of {list(content.shape[1:3])} pixels as the content has, "
            f'found {list(style.shape[1:3])}'
        )
    if start is not None and start.shape != content.shape:
        raise ValueError(f'start is {list(start.shape)}, content {list(content.shape)}')
    if options.layer_weights and len(options.layer_weights) != len(network.style):
        raise ValueError(
            f'style.transfer.layer_weights are {len(options.layer_weights)} for '
            f'{len(network.style)} layers of style: {", ".join(network.style)}'
        )
