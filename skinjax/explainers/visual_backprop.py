"""VisualBackProp (Bojarski et al. 2018): what the stages of the encoder agree on, without gradient.

With A_i the mean over channels of the rectified output of stage i, R = A_n and for i = n-1 ... 1

    R <- A_i up(R)

where `up` is the transposed convolution, of ones, of the window that made stage i + 1 smaller. In
the end R is enlarged to the image in the same way and brought to 0 ... 1. The targets do not
matter.

Departures: stages are those of the encoder (of a ResNet the pooled stem and the output of each
stage), not single convolutions; layers that keep the size are left out of `up`. Outputs that no
ReLU has seen are rectified first.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from skinjax.explainers import Explain
from skinjax.relevance import stages
from skinjax.relevance.gradients import unit

DEFAULTS: dict[str, Any] = {}


def build(config: Any) -> Explain:
    """The explainer; it has no options.

    Raises:
        ValueError: when it runs, as `stages.Look.maps` and `stages.path`.
    """
    del config

    def part(subject, variables, images, *_):
        seen = stages.look(subject, variables, images)
        maps = seen.maps()
        means = [jax.nn.relu(m.astype(jnp.float32)).mean(-1) for m in maps]
        sizes = [images.shape[1:3], *(m.shape[1:3] for m in maps)]
        ways = [stages.path(seen.windows, *pair) for pair in itertools.pairwise(sizes)]
        return unit(backproject(means, ways)[..., None])

    return Explain(part)


def backproject(
    means: Sequence[Float[Array, 'b _ _']], ways: Sequence[Sequence[stages.Window]]
) -> Float[Array, 'b h w']:
    """The product of the stages, finest first, at the size of the image.

    Args:
        means: A_i.
        ways: the windows from the image to the first stage, from that to the next, and so on.
    """
    found = means[-1]
    for mean, way in zip((*reversed(means[:-1]), None), reversed(ways), strict=True):
        for window in reversed(way):
            found = spread(found, window)
        if mean is not None:
            found = found * mean
    return found


def spread(maps: Float[Array, 'b i j'], window: stages.Window) -> Float[Array, 'b h w']:
    """Transposed convolution of ones: every value is added to all pixels that its window saw."""

    def gather(x):
        pads: Any = ((0, 0), *window.pads)
        size, strides = (1, *window.size), (1, *window.strides)
        return lax.reduce_window(x, np.zeros((), x.dtype), lax.add, size, strides, pads)

    before = jax.ShapeDtypeStruct((len(maps), *window.before), maps.dtype)
    return jax.linear_transpose(gather, before)(maps)[0]
