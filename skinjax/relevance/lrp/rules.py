"""Rules of layer-wise relevance propagation: how a linear layer hands its relevance down.

A layer z_j = sum_i a_i w_ij + b_j got the relevance R_j of its outputs. Every rule is a choice of
contributions c_ij, and

    R_i = sum_j c_ij R_j / (sum_i c_ij + b_j)

in which the denominator is kept away from 0. The sums over j are the gradient of the same layer
with other weights, so that a rule fits convolutions and dense layers alike. What stands in b_j is
lost: relevance adds up only where biases are 0 or ignored.

Bach et al. 2015 (zero, epsilon, alpha-beta), Montavon et al. 2017 (z+, z-box, w^2), Montavon et
al. 2019 and Andeol et al. 2021 (gamma), Lapuschkin et al. 2019 (flat). Numbers agree with zennit.
"""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Pair = tuple[Array, Array]


@dataclasses.dataclass(frozen=True)
class Layer:
    """A linear layer at work.

    Attributes:
        apply: (input, kernel) -> output without bias; linear in both.
        x: input.
        z: output.
        kernel: weights; the last axis is that of the features.
        bias: broadcasts against z without new axes.
        nonnegative: x is known to be so, whatever the image; saves half of the work.
        low, high: bounds of the input by channel, for the first layer.
    """

    apply: Callable[[Array, Array], Array]
    x: Float[Array, 'b ...']
    z: Float[Array, 'b ...']
    kernel: Float[Array, '... f']
    bias: Float[Array, '...']
    nonnegative: bool = False
    low: Float[np.ndarray, ' c'] | None = None
    high: Float[np.ndarray, ' c'] | None = None

    def back(self, kernel: Array, s: Array) -> Array:
        """sum_j w_ij s_j for weights w."""
        (found,) = jax.vjp(lambda x: self.apply(x, kernel), self.x)[1](s)
        return found

    def signed(self, of_positive: Array, of_negative: Array) -> list[Pair]:
        """Positive inputs with one kernel, negative ones with another."""
        if self.nonnegative:
            return [(self.x, of_positive)]
        return [(up(self.x), of_positive), (down(self.x), of_negative)]

    def total(self, pairs: Sequence[Pair]) -> Array:
        """The sum of the contributions of each output, without bias."""
        parts = [self.apply(x, kernel) for x, kernel in pairs]
        return sum(parts[1:], start=parts[0])

    def share(self, pairs: Sequence[Pair], s: Array) -> Array:
        """The sum over the outputs of contributions times s."""
        parts = [x * self.back(kernel, s) for x, kernel in pairs]
        return sum(parts[1:], start=parts[0])


Rule = Callable[[Layer, Array], Array]  # (layer, R of its output) -> R of its input


def up(x: Array) -> Array:
    """Its positive part."""
    return jnp.maximum(x, 0)


def down(x: Array) -> Array:
    """Its negative part."""
    return jnp.minimum(x, 0)


def quotient(relevance: Array, z: Array, epsilon: float | Array) -> Array:
    """R / (z + epsilon sign z), with sign 0 = 1; 0 where that denominator is 0."""
    z = z + jnp.where(z >= 0, epsilon, -epsilon)
    return jnp.where(z == 0, 0, relevance / jnp.where(z == 0, 1, z))


def zero() -> Rule:
    """LRP-0: c_ij = a_i w_ij."""
    return epsilon(0.0)


def epsilon(epsilon: float, relative: float = 0.0) -> Rule:
    """LRP-epsilon: c_ij = a_i w_ij, and epsilon with the sign of z_j in the denominator.

    Args:
        epsilon: absorbs the relevance of weak or contradictory evidence.
        relative: is added to it times the root mean square of z in each example.
    """

    def rule(layer: Layer, relevance: Array) -> Array:
        amount: float | Array = epsilon
        if relative:
            axes = tuple(range(1, layer.z.ndim))
            square = jnp.square(layer.z).mean(axes, keepdims=True)
            amount = jnp.broadcast_to(epsilon + relative * jnp.sqrt(square), layer.z.shape)
        return layer.x * layer.back(layer.kernel, quotient(relevance, layer.z, amount))

    return rule


def gamma(gamma: float, stabilizer: float) -> Rule:
    """LRP-gamma for inputs of both signs: c_ij = a+ (w + gamma w+) + a- (w + gamma w-) where
    z_j > 0, a+ (w + gamma w-) + a- (w + gamma w+) where z_j < 0; the bias grows like the weights.
    """

    def rule(layer: Layer, relevance: Array) -> Array:
        kernel, bias = layer.kernel, layer.bias
        more, less = kernel + gamma * up(kernel), kernel + gamma * down(kernel)
        found = []
        for pairs, bias, chosen in (  # noqa: B020
            (layer.signed(more, less), bias + gamma * up(bias), layer.z > 0),
            (layer.signed(less, more), bias + gamma * down(bias), layer.z < 0),
        ):
            s = quotient(relevance, layer.total(pairs) + bias, stabilizer)
            found.append(layer.share(pairs, jnp.where(chosen, s, 0)))
        return found[0] + found[1]

    return rule


def alpha_beta(alpha: float, stabilizer: float) -> Rule:
    """alpha of the positive contributions' shares less beta = alpha - 1 of the negative ones'.

    Relevance adds up only where an output has contributions of both signs.

    Raises:
        ValueError: alpha < 1.
    """
    if alpha < 1:
        raise ValueError(f'alpha is {alpha}: expected 1 or more, since beta is alpha - 1')

    def part(layer: Layer, pairs: list[Pair], bias: Array, relevance: Array) -> Array:
        s = quotient(relevance, layer.total(pairs) + bias, stabilizer)
        return layer.share(pairs, s)

    def rule(layer: Layer, relevance: Array) -> Array:
        plus, minus = up(layer.kernel), down(layer.kernel)
        found = alpha * part(layer, layer.signed(plus, minus), up(layer.bias), relevance)
        if alpha == 1:
            return found
        negative = part(layer, layer.signed(minus, plus), down(layer.bias), relevance)
        return found - (alpha - 1) * negative

    return rule


def z_plus(stabilizer: float) -> Rule:
    """z+ (alpha 1, beta 0): positive contributions alone."""
    return alpha_beta(1.0, stabilizer)


def z_box(stabilizer: float) -> Rule:
    """z^B for inputs in [l, h]: c_ij = a_i w_ij - l_i w+_ij - h_i w-_ij, without bias."""

    def rule(layer: Layer, relevance: Array) -> Array:
        x, kernel = layer.x, layer.kernel
        low, high = _bounds(layer)
        terms = [(x, kernel), (-low, up(kernel)), (-high, down(kernel))]
        return layer.share(terms, quotient(relevance, layer.total(terms), stabilizer))

    return rule


def _bounds(layer: Layer) -> tuple[Array, Array]:
    """Both bounds in the shape of the input; ValueError if they are not of its channels."""
    if layer.low is None or layer.high is None or len(layer.low) != layer.x.shape[-1]:
        raise ValueError(
            f'rule z_box needs the bounds of {layer.x.shape[-1]} input channels, found '
            f'{None if layer.low is None else len(layer.low)}: it is for a first layer that sees '
            'pixels; choose w_square or flat for others'
        )
    low, high = (jnp.asarray(bound, layer.x.dtype) for bound in (layer.low, layer.high))
    shape = (1,) * (layer.x.ndim - 1) + (-1,)
    return (
        jnp.broadcast_to(low.reshape(shape), layer.x.shape),
        jnp.broadcast_to(high.reshape(shape), layer.x.shape),
    )


def w_square(stabilizer: float) -> Rule:
    """w^2: c_ij = w_ij^2 (and b_j^2), for inputs without bounds."""

    def rule(layer: Layer, relevance: Array) -> Array:
        return _blind(
            layer, jnp.square(layer.kernel), jnp.square(layer.bias), relevance, stabilizer
        )

    return rule


def flat(stabilizer: float) -> Rule:
    """Flat: c_ij = 1, equal shares for all inputs of an output."""

    def rule(layer: Layer, relevance: Array) -> Array:
        ones = jnp.ones_like(layer.kernel)
        return _blind(layer, ones, jnp.zeros_like(layer.bias), relevance, stabilizer)

    return rule


def _blind(layer: Layer, kernel: Array, bias: Array, relevance: Array, stabilizer: float) -> Array:
    """Contributions are weights, whatever the input is."""
    z = layer.apply(jnp.ones_like(layer.x), kernel) + bias
    return layer.back(kernel, quotient(relevance, z, stabilizer))
