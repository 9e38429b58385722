"""What an encoder does inside, seen from outside: its stage maps, and the windows between them.

`flax.linen.intercept_methods` shows every call of a module, so that no model is touched.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
from flax.linen.linear import canonicalize_padding
from jax import lax
from jaxtyping import Array, Float

from skinjax.engine.objective import Variables
from skinjax.models.pooling import AvgPool, MaxPool
from skinjax.relevance.subject import Subject

Size = tuple[int, ...]  # rows and columns


@dataclasses.dataclass(frozen=True)
class Window:
    """A layer that makes maps smaller.

    Attributes:
        before, after: of its input and output.
        size, strides: of the window.
        pads: zeros before and after the rows, and the columns.
    """

    before: Size
    after: Size
    size: Size
    strides: Size
    pads: tuple[Size, ...]


@dataclasses.dataclass
class Look:
    """An interceptor, and what it has seen in one run of an encoder.

    Attributes:
        outputs: what modules returned that return one array, in order.
        windows: of the layers that made maps smaller.
        place, change: number of an output to which something is added.
    """

    outputs: list[Any] = dataclasses.field(default_factory=list)
    windows: list[Window] = dataclasses.field(default_factory=list)
    place: int | None = None
    change: Array | None = None
    _stages: list[Any] = dataclasses.field(default_factory=list)

    def __call__(self, call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        out = call(*args, **kwargs)
        if context.method_name != '__call__':
            return out
        if isinstance(out, tuple) and len(out) == 2 and isinstance(out[1], list):
            self._stages = out[1]  # an encoder; see models/options.py
        elif isinstance(out, jax.Array):
            if self.change is not None and len(self.outputs) == self.place:
                out = out + self.change
            self.outputs.append(out)
            if isinstance(context.module, (nn.Conv, MaxPool, AvgPool)):
                self._note(context.module, args[0].shape[1:3], out.shape[1:3])
        return out

    def _note(self, module: Any, before: Size, after: Size) -> None:
        if before[0] <= after[0] and before[1] <= after[1]:
            return
        if isinstance(module, nn.Conv):
            taps, stretch = _pair(module.kernel_size), _pair(module.kernel_dilation)
            size = tuple((k - 1) * d + 1 for k, d in zip(taps, stretch, strict=True))
            strides, pads = _pair(module.strides), canonicalize_padding(module.padding, 2)
        else:
            size, strides = (module.window,) * 2, (module.stride,) * 2
            pads = [(module.padding,) * 2] * 2
        if isinstance(pads, str):
            pads = lax.padtype_to_pads(before, size, strides, pads)
        self.windows.append(Window(before, after, size, strides, tuple(map(tuple, pads))))

    def maps(self) -> list[Any]:
        """Output [b, h, w, c] of each stage, finest first.

        Raises:
            ValueError: the encoder has none.
        """
        if not self._stages:
            raise ValueError(
                'this encoder has no stage maps, which the explainer needs: take saliency, '
                'integrated_gradients or lrp'
            )
        return self._stages

    def place_of(self, stage: int) -> int:
        """Number of the output that is the map of a stage.

        Raises:
            ValueError: there is no such stage, or its map is no module's output.
        """
        maps = self.maps()
        if not -len(maps) <= stage < len(maps):
            raise ValueError(
                f'config.explainer.stage is {stage}, but the encoder has {len(maps)} stages: '
                f'choose from {-len(maps)} to {len(maps) - 1}'
            )
        found = [k for k, out in enumerate(self.outputs) if out is maps[stage]]
        if not found:
            raise ValueError(
                f'the map of stage {stage} is not what a module returned, or is computed again '
                'in the backward pass: set config.model.remat to False'
            )
        return found[0]


def look(subject: Subject, variables: Variables, images: Float[Array, 'b h w c']) -> Look:
    """What an encoder does with these images."""
    seen = Look()
    with nn.intercept_methods(seen):
        subject.encode(variables, images)
    return seen


def placed(
    subject: Subject, variables: Variables, images: Float[Array, 'b h w c'], stage: int
) -> tuple[int, jax.ShapeDtypeStruct]:
    """`Look.place_of` a stage, and the shape of its map; nothing is computed."""
    places = []

    def run(images):
        looked = look(subject, variables, images)
        places.append(looked.place_of(stage))
        return looked.outputs[places[0]]

    shape = jax.eval_shape(run, images)
    return places[0], shape


def path(windows: Sequence[Window], whole: Size, part: Size) -> list[Window]:
    """The windows by which maps of size `whole` became maps of size `part`.

    Of side by side ones, as in a residual block and its shortcut, the largest.

    Raises:
        ValueError: there are none.
    """
    way: list[Window] = []
    while part != whole:
        found = [window for window in windows if window.after == part]
        if not found:
            raise ValueError(
                f'no convolution or pooling makes maps of {part} of those of {whole}: this '
                'explainer cannot follow the network'
            )
        way.insert(0, max(found, key=lambda window: window.size[0] * window.size[1]))
        part = way[0].before
    return way


def _pair(value: Any) -> Size:
    """Windows, strides and dilations of nn.Conv: one number, none, or one for each axis."""
    if value is None or isinstance(value, int):
        return (value or 1,) * 2
    return tuple(value)
