"""What every encoder can be told, whatever its family.

An encoder is a module `(images [b, h, w, 3], train, keys=None) -> (features [b, d], maps)`: the
maps of its stages, finest first, and features whose size does not depend on the images. `keys`
([b], one per example) switch on whatever is random inside it (dropout, stochastic depth); without
them nothing is. `train` chooses the statistics of batch normalisation.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float

from skinjax.models.conv import Conv, Dtype
from skinjax.models.norm import BatchNorm

COMMON: dict[str, Any] = {
    # Before the main head, and between dense layers of an encoder; a model file can have its own.
    'dropout': 0.5,
    'norm_groups': 1,  # slices of the global batch with their own statistics
    'norm_momentum': 0.9,
    'frozen_norm': False,  # normalise by the running statistics in training too
    'dtype': 'float32',  # of the computation; parameters and statistics stay float32
    'attention': '',  # after the last map: cbam, see attention.py
    'remat': False,  # compute the inside of blocks again in the backward pass, to save memory
    'pretrained': '',  # file or checkpoint to take weights from
    'leave_out': (),  # parameter groups that it does not fill, such as 'head'
}

Encoded = tuple[Float[Array, 'b d'], list[Array]]


@dataclasses.dataclass(frozen=True)
class Options:
    """The fields of COMMON that encoders act on; `dtype` None computes in that of the images."""

    dtype: Dtype = None
    norm_groups: int = 1
    norm_momentum: float = 0.9
    frozen_norm: bool = False
    dropout: float = 0.5
    remat: bool = False

    @classmethod
    def read(cls, config: Any) -> 'Options':
        """The options in the `model` section of a config; missing ones as in COMMON.

        Raises:
            ValueError: unknown dtype.
        """
        values = {**COMMON, **config}
        one_of('model.dtype', values['dtype'], ('float32', 'bfloat16'))
        fields = {field.name: values[field.name] for field in dataclasses.fields(cls)}
        return cls(**{**fields, 'dtype': None if values['dtype'] == 'float32' else 'bfloat16'})

    def norm(self, **fields: Any) -> BatchNorm:
        """A batch normalisation with these options and `fields`."""
        return BatchNorm(
            momentum=self.norm_momentum,
            groups=self.norm_groups,
            frozen=self.frozen_norm,
            dtype=self.dtype,
            **fields,
        )

    def conv(self, features: int, kernel: int | tuple[int, int], **fields: Any) -> Conv:
        """A convolution with these options and `fields`."""
        return Conv(features, kernel, dtype=self.dtype, **fields)

    def block(self, module: type[nn.Module]) -> Any:
        """`module`, which is called as (x, train, ...), made to recompute under `remat`."""
        return nn.remat(module, static_argnums=(2,)) if self.remat else module


def one_of(what: str, value: str, known: Iterable[str]) -> str:
    """`value` if it is known.

    Raises:
        ValueError: it is not; the known ones are listed.
    """
    if value not in known:
        raise ValueError(f'{what} is {value!r}: choose one of {", ".join(known)}')
    return value
