"""Style transfer: pixels are optimised until their maps have the style of one image, the content
of another (Gatys, Ecker & Bethge 2016; Debiasing-Melanoma-Images).

    loss = content_weight L_content + style_weight L_style + variation TV

with the terms of styling/losses.py. All images of a batch are optimised at the same time, each by
itself, in chunks between which `say` hears of the losses. A chunk is one compiled loop; on CPUs,
where XLA's convolutions are slow inside loops, one compiled step after the other.

The published method is `PUBLISHED`. What it gets wrong, the defaults do otherwise: running
statistics of normalisation, losses of comparable size, a start at the content rather than at the
style, steps that get shorter, and Gram matrices of the skin alone where there is a mask.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key

from skinjax.engine import compiling
from skinjax.styling import losses as style_losses
from skinjax.styling.features import Features, Network
from skinjax.styling.options import DEFAULTS, PUBLISHED, Options

__all__ = ['DEFAULTS', 'PUBLISHED', 'Features', 'Options', 'transfer']

Images = Float[Array, 'b h w 3']
History = dict[str, Float[np.ndarray, 'b steps']]
Say = Callable[[int, History], Any]  # steps done, and the losses of the last of them


class Aims(NamedTuple):
    """What one image is compared with; lists run over layers."""

    grams: list[Array]  # [c, c] of the style
    skin: list[Array]  # [h, w] positions of the image whose Gram matrix counts
    content: list[Array]  # [h, w, c]
    weights: list[Array]  # [h, w]


def transfer(
    features: Features,
    content: Images,
    style: Float[Array, 's i j 3'],
    mask: Float[Array, 'b p q'] | None,
    options: Options,
    key: Key[Array, ''],
    start: Float[Array, '_ _ _ 3'] | None = None,
    style_mask: Float[Array, 's m n'] | None = None,
    say: Say | None = None,
) -> tuple[Images, History]:
    """Images with the content of `content` and the style of `style`, all from 0 to 1.

    Args:
        features: the network, whose weights stay as they are.
        content: images.
        style: one image for each, or one for all, of any size.
        mask: 1 on the lesions of `content`, which have no part in the Gram matrices; None: nowhere.
        options: see DEFAULTS.
        key: of the noise to start from.
        start: images to start from instead of `options.init`.
        style_mask: 1 on what is not skin in `style`.
        say: called after every chunk.

    Returns:
        The images, and the losses before each step: 'total', 'style' and 'content' (without their
        weights).

    Raises:
        ValueError: a shape does not fit, the network has no such layer, or as many weights of
            layers are asked for as there are not.
    """
    b = content.shape[0]
    _check(features.network, options, content, style, mask, start, style_mask)
    masks = [
        jnp.zeros(images.shape[:3]) if given is None else jnp.asarray(given, jnp.float32)
        for images, given in ((content, mask), (style, style_mask))
    ]
    loop = Loop(features.network, options)
    if start is None:
        noise = jax.random.uniform(key, content.shape)
        start = {'content': content, 'style': style, 'noise': noise}[options.init]
    start = jnp.broadcast_to(start, content.shape)
    targets = [jnp.broadcast_to(a, (b, *a.shape[1:])) for a in (style, masks[1])]
    aims = loop.aim(features.variables, content, masks[0], *targets)
    state, parts = loop.begin(start), []
    for done in range(0, options.steps, options.chunk):
        count = min(options.chunk, options.steps - done)
        state, history = loop.advance(features.variables, aims, state, count)
        parts.append({name: np.asarray(values)[:, :count] for name, values in history.items()})
        if say:
            say(done + count, parts[-1])
    whole = {name: np.concatenate([part[name] for part in parts], 1) for name in parts[0]}
    return options.pixels(state[0]), whole


def _check(network: Network, options: Options, content, style, mask, start, style_mask) -> None:
    """Raise ValueError for what does not fit together."""
    if style.shape[0] not in (1, content.shape[0]):
        raise ValueError(
            f'{style.shape[0]} style images for {content.shape[0]} images: expected one for each, '
            'or one'
        )
    if options.init == 'style' and start is None and style.shape[1:] != content.shape[1:]:
        raise ValueError(
            f"init 'style' needs a style of {list(content.shape[1:3])} pixels as the content has, "
            f'found {list(style.shape[1:3])}'
        )
    for name, one, images in (('mask', mask, content), ('style_mask', style_mask, style)):
        if one is not None and one.shape != images.shape[:3]:
            raise ValueError(
                f'{name} is {list(one.shape)}, its images are {list(images.shape[:3])}'
            )
    if start is not None and start.shape != content.shape:
        raise ValueError(f'start is {list(start.shape)}, content {list(content.shape)}')
    if options.layer_weights and len(options.layer_weights) != len(network.style):
        raise ValueError(
            f'transfer.layer_weights are {len(options.layer_weights)} for {len(network.style)} '
            f'layers of style: {", ".join(network.style)}'
        )


@dataclasses.dataclass(frozen=True)
class Loop:
    """The compiled parts of the optimisation; all arguments but variables have an axis of images.

    Equal ones share their programs.
    """

    network: Network
    options: Options

    def aim(self, variables, content, lesion, style, other) -> Aims:
        """The aims; `lesion` and `other` are the masks of `content` and `style`."""
        return _programs(self)[0](variables, content, lesion, style, other)

    def begin(self, images: Images) -> Any:
        """What is optimised, and the state of the optimizer."""
        return _programs(self)[1](images)

    def advance(self, variables, aims: Aims, state, count: int) -> tuple[Any, Any]:
        """`count` steps later (at most `options.chunk`): the state, and the losses before each.

        `state` is given up; [b, at least count] losses.
        """
        advance = _programs(self)[2]
        if jax.default_backend() != 'cpu':
            return advance(variables, aims, state, jnp.asarray(count, jnp.int32))
        # XLA's convolutions take several times as long on CPUs inside a loop.
        parts = []
        for _ in range(count):
            state, terms = advance(variables, aims, state)
            parts.append(terms)
        whole = {k: np.stack([np.asarray(part[k]) for part in parts], 1) for k in parts[0]}
        return state, whole


@functools.lru_cache(maxsize=8)
def _programs(loop: Loop) -> tuple[Callable, Callable, Callable]:
    network, options = loop.network, loop.options
    tx = options.transformation()

    def aim(variables, *images):
        return jax.vmap(functools.partial(_aims, network, options, variables))(*images)

    def begin(image):
        value = options.value(image)
        return value, tx.init(value)

    def step(variables, aims, state):
        return jax.vmap(functools.partial(_step, network, options, tx, variables))(aims, state)

    def steps(variables, aims, state, count):
        def one(i, carry):
            state, terms = step(variables, aims, carry[0])
            return state, {k: carry[1][k].at[:, i].set(v) for k, v in terms.items()}

        # A loop whose length is no constant: one program for all of them.
        shape = (len(aims.content[0]), options.chunk)
        empty = {name: jnp.zeros(shape) for name in ('total', 'style', 'content')}
        return jax.lax.fori_loop(0, count, one, (state, empty))

    faster: Any = {'compiler_options': compiling.options()}
    return (
        jax.jit(aim, **faster),
        jax.jit(jax.vmap(begin)),
        jax.jit(step if jax.default_backend() == 'cpu' else steps, donate_argnums=2, **faster),
    )


def _aims(network: Network, options: Options, variables, content, lesion, style, other) -> Aims:
    """The aims of one image."""
    of_style = network(variables, style[None])[0]
    mine, of_content = network(variables, content[None])

    def seen(mask, x):
        return style_losses.skin(mask, x.shape[1], x.shape[2])

    def emphasis(x):
        return style_losses.emphasis(lesion, x.shape[1], x.shape[2], options.lesion_weight)

    return Aims(
        [style_losses.gram(x[0], seen(other, x)) for x in of_style],
        [seen(lesion, x) for x in mine],
        [x[0] for x in of_content],
        [emphasis(x) for x in of_content],
    )


def losses(
    network: Network, options: Options, variables, aims: Aims, image: Float[Array, 'h w 3']
) -> tuple[Float[Array, ''], dict[str, Float[Array, '']]]:
    """The loss of one image, and its terms."""
    of_style, of_content = ([x[0] for x in maps] for maps in network(variables, image[None]))
    weights = options.layer_weights or (1.0,) * len(of_style)
    style = style_losses.style(of_style, aims.grams, aims.skin, weights, options.norm)
    content = style_losses.content(of_content, aims.content, aims.weights, options.norm)
    total = options.content_weight * content + options.style_weight * style
    if options.variation:
        total = total + options.variation * style_losses.variation(image)
    return total, {'total': total, 'style': style, 'content': content}


def _step(network: Network, options: Options, tx, variables, aims: Aims, state):
    """One step of the optimizer for one image, and the losses before it."""
    value, memory = state

    def loss(value):
        return losses(network, options, variables, aims, options.pixels(value))

    (total, terms), gradient = jax.value_and_grad(loss, has_aux=True)(value)
    more: Any = {}
    if options.optimizer == 'lbfgs':
        more = {'value': total, 'grad': gradient, 'value_fn': lambda value: loss(value)[0]}
    with jax.numpy_dtype_promotion('standard'):  # optax relies on it
        updates, memory = tx.update(gradient, memory, value, **more)
    value: Any = optax.apply_updates(value, updates)
    if options.param == 'clip':
        value = jnp.clip(value, 0, 1)
    return (value, memory), terms
