"""Encoder + main head + named bias heads.

Parameters fall into groups by their top-level name: `encoder`, `head` and one `bias_<name>` per
bias head; objectives say which group learns from which loss.
"""

import dataclasses
from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp
from flax.core import FrozenDict
from jaxtyping import Array, Float, Key

from skinjax.models.layers import ReLU, dropout
from skinjax.models.norm import BatchNorm


@dataclasses.dataclass(frozen=True)
class BiasHead:
    """What one bias head predicts and how deep it is.

    Attributes:
        values: number K of values of the bias variable.
        hidden: width of a hidden layer (the published deep head has 128); 0 for a linear head.
        standardize: normalise the features by their batch statistics first (no scale or offset).
        classes: > 1 for one set of K logits per class (unlearning conditional on the class).
    """

    values: int
    hidden: int = 0
    standardize: bool = False
    classes: int = 1


class BiasHeadModule(nn.Module):
    """features [b, d] -> logits [b, classes, values]."""

    spec: BiasHead
    norm_groups: int = 1

    @nn.compact
    def __call__(self, features: Float[Array, 'b d'], train: bool) -> Float[Array, 'b c k']:
        x = features
        if self.spec.standardize:
            x = BatchNorm(affine=False, epsilon=1e-3, groups=self.norm_groups, name='norm')(
                x, train
            )
        if self.spec.hidden:
            x = ReLU(name='relu')(nn.Dense(self.spec.hidden, name='hidden')(x))
        logits = nn.Dense(self.spec.classes * self.spec.values, name='out')(x)
        return logits.reshape(-1, self.spec.classes, self.spec.values)


class Classifier(nn.Module):
    """The network that every classification objective trains.

    Attributes:
        encoder: (images, train, keys) -> (features [b, d], stage maps); see options.py.
        outputs: logits of the main head: 1 for two classes, else the number of classes.
        bias: name of a bias variable -> its head.
        dropout: rate before the main head.
    """

    encoder: nn.Module
    outputs: int
    bias: Mapping[str, BiasHead] = FrozenDict()
    dropout: float = 0.5
    norm_groups: int = 1

    def setup(self):
        self.head = nn.Dense(self.outputs)
        for name, spec in self.bias.items():
            setattr(self, f'bias_{name}', BiasHeadModule(spec, self.norm_groups))

    def __call__(self, images: Float[Array, 'b h w 3'], train: bool) -> dict[str, Array]:
        """Features, logits and bias logits; also initialises every parameter."""
        features = self.encode(images, train)
        out = {'features': features, 'logits': self.classify(features)}
        return out | {f'bias_{name}': self.detect(features, name, train) for name in self.bias}

    def encode(
        self, images: Float[Array, 'b h w 3'], train: bool, keys: Key[Array, ' b'] | None = None
    ) -> Float[Array, 'b d']:
        """Features in float32; what is random in the encoder is on where `keys` are given."""
        return self.encoder(images, train, keys)[0].astype(jnp.float32)

    def maps(self, images: Float[Array, 'b h w 3'], train: bool = False) -> list[Array]:
        """Output [b, h, w, c] of every stage, finest first, for explainers and style losses:

        `network.apply(variables, images, method='maps')`.
        """
        return self.encoder(images, train)[1]

    def classify(
        self, features: Float[Array, 'b d'], keys: Key[Array, ' b'] | None = None
    ) -> Float[Array, 'b o']:
        """Main logits; dropout is applied where `keys` ([b], one per example) are given."""
        return self.head(dropout(keys, features, self.dropout))

    def detect(
        self, features: Float[Array, 'b d'], name: str, train: bool
    ) -> Float[Array, 'b c k']:
        """Logits of the bias head `name`."""
        return getattr(self, f'bias_{name}')(features, train)
