"""A network run with layers of `layers.py` in place of its own: no model is touched.

`flax.linen.intercept_methods` hands every call of a module to a `Rewriter`, which computes what the
module would, in float32.

    linear layers         the rule of the composite
    batch normalisation   merged into the linear layer whose output it normalises; elsewhere, as
                          after a concatenation or a ReLU, it passes relevance on, or takes epsilon
    sums and means        the share in the sum
    maximum               to the winner (equal ones share, or the first has it), or as in a mean
    activations           passed on
    gates                 are constants: passed on to what they scale
    concatenation         each part its own
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from skinjax.models import layers, pooling
from skinjax.models.norm import BatchNorm
from skinjax.relevance.lrp import layers as twins
from skinjax.relevance.lrp.composites import Composite
from skinjax.relevance.lrp.rules import Rule

RECTIFIERS = (layers.ReLU, layers.ReLU6, layers.Sigmoid)  # whose output is never negative
MEANS = (pooling.AvgPool, pooling.AdaptiveMeanPool, pooling.GlobalMeanPool)
Probes = Mapping[str, Mapping[str, Float[Array, ' b']]]


@dataclasses.dataclass(frozen=True)
class Linear:
    """A linear layer that has run; what follows can still be merged into it.

    Attributes:
        name: of the layer.
        apply: (x, kernel) -> y without bias.
        rule: of its relevance.
        x, kernel, bias, y: of the layer; bias broadcasts against y without new axes.
        nonnegative: x is known to be so.
    """

    name: str
    apply: Any
    rule: Rule
    x: Array
    kernel: Array
    bias: Array
    nonnegative: bool
    y: Array | None = None


class Rewriter:
    """An interceptor for one run of a network.

    Attributes:
        composite: the rules.
        bounds: a black and a white pixel.
        probes: layer -> probes of its relevance: `in` of its inputs, `out` of its output.
        names: of the layers that ran, in their order.

    Raises:
        ValueError: a module without submodules and without a rule, or one in training mode.
    """

    def __init__(
        self,
        composite: Composite,
        bounds: tuple[np.ndarray, np.ndarray],
        probes: Probes | None = None,
    ):
        self.composite, self.bounds, self.probes = composite, bounds, probes
        self.names: list[str] = []
        self._calls, self._computing = 0, False  # a twin calls the module that it replaces
        self._first: Any = None
        self._last: Linear | None = None
        self._known: dict[int, Array] = {}  # never negative; kept, or another array gets the id

    def __call__(self, call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        module, before = context.module, self._calls + 1
        if self._computing or context.method_name != '__call__':
            return call(*args, **kwargs)
        self._calls += 1
        for kinds, twin in _TWINS:
            if isinstance(module, kinds):
                return twin(self, module, *args, **kwargs)
        out = call(*args, **kwargs)
        if self._calls == before:
            raise ValueError(
                f'LRP has no rule for {type(module).__name__} {"/".join(module.path)!r}: build the '
                'network from nn.Conv, nn.Dense and the modules of skinjax.models'
            )
        return out

    def turned(self, logits: Float[Array, 'b 1'], sign: Float[Array, 'b 1']) -> Array:
        """sign * logits, as if the weights of the last layer were multiplied by it.

        Raises:
            ValueError: the logits are not what a dense layer returned, or that is the first layer
                and has rule z_box, whose bounds are not those of inputs with the other sign.
        """
        last = self._last
        if last is None or last.y is not logits or last.x.ndim != 2:
            raise ValueError(
                'LRP explains class 0 of a network with one logit by the last layer with the other '
                'sign, but this logit is not what a dense layer returned: take gradient_x_input, '
                'or train with a head that ends in nn.Dense'
            )
        if self.composite.bounded and last.rule is self.composite.first:
            raise ValueError(
                f'{last.name} is the first layer and the last one: choose another rule for the '
                'first layer than z_box, such as config.explainer.first=w_square'
            )
        x = twins.passed(jnp.multiply)(last.x, sign)
        self.names.remove(last.name)
        return self._run(dataclasses.replace(last, x=x, bias=last.bias * sign, nonnegative=False))

    def _named(self, module: nn.Module) -> str:
        name, used = '/'.join(module.path), len(self.names)
        return f'{name}#{used}' if name in self.names else name

    def _apply(self, name: str, function: twins.Function, *arrays: Array, inputs: int = 1) -> Array:
        """`function(*arrays)`, the relevance of output and of the first `inputs` arrays noted."""
        self.names.append(name)
        probes = (self.probes or {}).get(name)  # none for what will be merged
        if probes is not None:
            arrays = (*(twins.noted(x, probes['in']) for x in arrays[:inputs]), *arrays[inputs:])
        self._computing = True
        y = function(*arrays)
        self._computing = False
        return y if probes is None else twins.noted(y, probes['out'])

    def _mark(self, y: Array, *parts: Array) -> Array:
        """y, which is known to be nonnegative if all parts are."""
        if all(id(part) in self._known for part in parts):
            self._known[id(y)] = y
        return y

    def _linear(self, module: Any, x: Array) -> Array:
        x, params = x.astype(jnp.float32), module.variables['params']
        plain = module.clone(parent=None, name=None, use_bias=False, dtype=None)
        own = self.composite.conv if isinstance(module, nn.Conv) else self.composite.dense
        if self._first is None:
            self._first = module.path
        first = self.composite.first if self._first == module.path else None
        bias = params['bias'] if 'bias' in params else jnp.zeros(params['kernel'].shape[-1])
        return self._run(
            Linear(
                self._named(module),
                lambda x, kernel: plain.apply({'params': {'kernel': kernel}}, x),
                first or own,
                x,
                params['kernel'],
                _channels(bias, x.ndim),
                id(x) in self._known,
            )
        )

    def _run(self, layer: Linear) -> Array:
        """Its output, to which what follows can be merged."""
        zero_bias = self.composite.zero_bias
        run = twins.linear(layer.apply, layer.rule, layer.nonnegative, zero_bias, self.bounds)
        y = self._apply(layer.name, run, layer.x, layer.kernel, layer.bias)
        self._last = dataclasses.replace(layer, y=y)
        return y

    def _norm(self, module: BatchNorm, x: Array, train: bool) -> Array:
        name, params = self._named(module), module.variables.get('params', {})
        if train and not module.frozen:
            raise ValueError(f'{name} would normalise by the batch: explain with train=False')
        stats, last = module.variables['batch_stats'], self._last
        factor = lax.rsqrt(stats['var'] + module.epsilon) * params.get('scale', 1.0)
        offset = _channels(params.get('bias', 0.0) - stats['mean'] * factor, x.ndim)
        if last is not None and x is last.y:
            self.names.remove(last.name)  # relevance passes both in one step
            kernel = last.kernel * _channels(factor, last.kernel.ndim)
            bias = last.bias * _channels(factor, x.ndim) + offset
            return self._run(dataclasses.replace(last, name=name, kernel=kernel, bias=bias))
        run = twins.diagonal(self.composite.stabilizer, self.composite.zero_bias)
        if self.composite.diagonal == 'pass':
            run = twins.passed(lambda x, factor, offset: x * factor + offset)
        return self._apply(name, run, x.astype(jnp.float32), _channels(factor, x.ndim), offset)

    def _activation(self, module: nn.Module, x: Array) -> Array:
        y = self._apply(self._named(module), twins.passed(_plain(module)), x)
        return self._mark(y) if isinstance(module, RECTIFIERS) else y

    def _add(self, module: nn.Module, x: Array, y: Array) -> Array:
        run = twins.share(jnp.add, self.composite.stabilizer)
        return self._mark(self._apply(self._named(module), run, x, y, inputs=2), x, y)

    def _concat(self, module: nn.Module, parts: list[Array]) -> Array:
        def run(*parts):
            return jnp.concatenate(parts, -1)

        return self._mark(self._apply(self._named(module), run, *parts, inputs=len(parts)), *parts)

    def _scale(self, module: nn.Module, x: Array, gate: Array) -> Array:
        run, gate = twins.passed(jnp.multiply), lax.stop_gradient(gate)
        return self._apply(self._named(module), run, x, gate)

    def _mean(self, module: nn.Module, x: Array) -> Array:
        run = twins.share(_plain(module), self.composite.stabilizer)
        return self._mark(self._apply(self._named(module), run, x), x)

    def _flatten(self, module: layers.Flatten, x: Array) -> Array:
        return self._mark(self._apply(self._named(module), _plain(module), x), x)

    def _maximum(self, module: pooling.MaxPool, x: Array) -> Array:
        size = module.window, module.stride, module.padding
        run = _plain(module)
        if self.composite.max_pool == 'winner':
            run = twins.winner(run, *size)
        if self.composite.max_pool == 'average':
            mean = _plain(pooling.AvgPool(*size, parent=None))
            run = twins.instead(run, mean, self.composite.stabilizer)
        return self._mark(self._apply(self._named(module), run, x), x)


_TWINS: tuple[tuple[Any, Any], ...] = (
    ((nn.Conv, nn.Dense), Rewriter._linear),
    (BatchNorm, Rewriter._norm),
    ((*RECTIFIERS, layers.SiLU), Rewriter._activation),
    (layers.Flatten, Rewriter._flatten),
    (layers.Add, Rewriter._add),
    (layers.Concat, Rewriter._concat),
    (layers.Scale, Rewriter._scale),
    (MEANS, Rewriter._mean),
    (pooling.MaxPool, Rewriter._maximum),
)


def _plain(module: nn.Module) -> Any:
    """What a module without parameters computes, as a function."""
    free = module.clone(parent=None, name=None)
    return lambda x: free.apply({}, x)


def _channels(values: Array, ndim: int) -> Array:
    """[c] as the last of `ndim` axes."""
    return values.reshape((1,) * (ndim - 1) + (-1,))
