"""The optimisation of style transfer: what an image is compared with, its loss, and its steps.

All images of a batch go at the same time, each by itself, in one of two forms: `loop`, a chunk of
steps as one compiled program, or `steps`, one compiled step after the other, which is what CPUs
want: there XLA's convolutions take several times as long inside a loop.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from skinjax.engine import compiling
from skinjax.models.options import one_of
from skinjax.styling import losses as style_losses
from skinjax.styling.features import Network
from skinjax.styling.options import Options

FORMS = ('loop', 'steps')


class Aims(NamedTuple):
    """What one image is compared with; lists run over layers."""

    grams: list[Array]  # [c, c] of the style
    skin: list[Array]  # [h, w] positions of the image whose Gram matrix counts
    content: list[Array]  # [h, w, c]
    weights: list[Array]  # [h, w]


@dataclasses.dataclass(frozen=True)
class Loop:
    """The compiled parts of the optimisation; all arguments but variables have an axis of images.

    Equal ones share their programs. `form` is one of FORMS; '' is 'steps' on CPUs, else 'loop'.
    """

    network: Network
    options: Options
    form: str = ''

    def __post_init__(self):
        form = self.form or ('steps' if jax.default_backend() == 'cpu' else 'loop')
        object.__setattr__(self, 'form', one_of('form', form, FORMS))

    def aim(self, variables, content, lesion, style, other, unseen=None) -> Aims:
        """The aims.

        Args:
            variables: weights of the network.
            content, style: images.
            lesion: where the content counts more, in `content`.
            other: 1 on what has no part in the Gram matrices of `style`.
            unseen: the same of `content`; None: the lesion.
        """
        unseen = lesion if unseen is None else unseen
        return _programs(self)[0](variables, content, lesion, style, other, unseen)

    def begin(self, images: Float[Array, 'b h w 3']) -> Any:
        """What is optimised, and the state of the optimizer."""
        return _programs(self)[1](images)

    def advance(self, variables, aims: Aims, state, count: int) -> tuple[Any, Any]:
        """`count` steps later: the state, and the losses [b, count] before each step.

        `state` is given up.
        """
        advance = _programs(self)[2]
        most = self.options.chunk if self.form == 'loop' else 1
        parts = []
        for done in range(0, count, most):
            now = min(most, count - done)
            state, terms = advance(variables, aims, state, jnp.asarray(now, jnp.int32))
            parts.append({name: values[:, :now] for name, values in terms.items()})
        return state, {k: np.concatenate([part[k] for part in parts], 1) for k in parts[0]}


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

    def one_step(variables, aims, state, _count):
        state, terms = step(variables, aims, state)
        return state, {name: value[:, None] for name, value in terms.items()}

    def steps(variables, aims, state, count):
        def one(i, carry):
            state, terms = step(variables, aims, carry[0])
            return state, {k: carry[1][k].at[:, i].set(v) for k, v in terms.items()}

        # A loop whose length is no constant: one program for all of them.
        shape = (len(aims.content[0]), options.chunk)
        empty = {name: jnp.zeros(shape) for name in ('total', 'style', 'content')}
        return jax.lax.fori_loop(0, count, one, (state, empty))

    faster: Any = {'compiler_options': compiling.options()}
    advance = steps if loop.form == 'loop' else one_step
    return (
        jax.jit(aim, **faster),
        jax.jit(jax.vmap(begin)),
        jax.jit(advance, donate_argnums=2, **faster),
    )


def _aims(
    network: Network, options: Options, variables, content, lesion, style, other, unseen
) -> Aims:
    """The aims of one image."""
    of_style = network(variables, style[None])[0]
    mine, of_content = network(variables, content[None])

    def seen(mask, x):
        return style_losses.skin(mask, x.shape[1], x.shape[2])

    def emphasis(x):
        return style_losses.emphasis(lesion, x.shape[1], x.shape[2], options.lesion_weight)

    return Aims(
        [style_losses.gram(x[0], seen(other, x)) for x in of_style],
        [seen(unseen, x) for x in mine],
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
