"""The classifier as objectives see it: forward passes that return new statistics, main loss."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import flax.linen as nn
from flax.core import FrozenDict
from jaxtyping import Array, Float

from skinjax.data.augment_device import normalize
from skinjax.data.records import DataSet
from skinjax.engine import optimizers
from skinjax.engine.objective import (
    Batch,
    Findings,
    Loss,
    Moment,
    Objective,
    Optimizer,
    Phase,
    Variables,
)
from skinjax.models import attention
from skinjax.models.classifier import BiasHead, Classifier
from skinjax.models.layers import fold
from skinjax.objectives import losses

MAIN_GROUPS = ('encoder', 'head')
ENCODER = 1  # keeps the randomness inside the encoder apart from that of the heads


@dataclasses.dataclass(frozen=True)
class Bound:
    """A model bound to its config.

    Attributes:
        model: called as (images, train); its method `encode` is called as (images, train, keys).
        config: of the run.
    """

    model: nn.Module
    config: Any
    layered: ClassVar[bool] = True  # `scores` is made of layers that an explainer can find

    def images(self, images: Array) -> Float[Array, 'b h w 3']:
        """uint8 images -> normalised float32."""
        data = self.config.data
        return normalize(images, data.mean, data.std)

    def apply(self, variables: Variables, *arguments: Any, **options: Any) -> Any:
        """The model, or a method of it, in evaluation mode."""
        known = {k: v for k, v in variables.items() if k in ('params', 'batch_stats')}
        return self.model.apply(known, *arguments, **options)

    def encode(
        self, variables: Variables, images: Array, moment: Moment
    ) -> tuple[Float[Array, 'b *d'], Variables]:
        """What `model.encode` finds in training, and the state with its batch statistics added."""
        found, new = self.model.apply(
            variables,
            self.images(images),
            True,
            fold(moment.keys, ENCODER),
            method='encode',
            mutable=['batch_stats'],
        )
        return found, {**_state(variables), **new}

    def predict(self, variables: Variables, images: Array) -> dict[str, Array]:
        """`logits` and `features` of uint8 images."""
        return self.apply(variables, self.images(images), False)

    def scores(self, variables: Variables, encoded: Array) -> Float[Array, 'b o']:
        """Logits of the classes, as they are explained, of what `model.encode` returns."""
        return self.apply(variables, encoded, method='classify')

    def main_optimizer(self, steps: int) -> Optimizer:
        """The optimizer of encoder and head, from `config.optimizer`."""
        return optimizers.build(self.config.optimizer, MAIN_GROUPS, steps)

    def objective(
        self,
        opts: Mapping[str, Optimizer],
        phases: tuple[Phase, ...],
        extra: Variables | None = None,
        conclude: Callable[[Variables, Mapping[str, Any], Any], Findings] | None = None,
    ) -> Objective:
        """An Objective over this network; `extra` are further state collections."""

        def init(key, batch):
            variables: Any = self.model.init(key, self.images(batch['image']), True)
            return {**variables, **(extra or {})}

        return Objective(init, opts, phases, self.predict, conclude)


@dataclasses.dataclass(frozen=True)
class Network(Bound):
    """A classifier bound to its config."""

    model: Classifier

    def classify(
        self, variables: Variables, features: Float[Array, 'b d'], moment: Moment
    ) -> Float[Array, 'b o']:
        """Main logits with dropout."""
        logits: Any = self.model.apply(variables, features, moment.keys, method='classify')
        return logits

    def detect(
        self, variables: Variables, features: Float[Array, 'b d'], name: str
    ) -> tuple[Float[Array, 'b c k'], Variables]:
        """Training-mode logits of bias head `name`, and the state with its statistics added."""
        logits, new = self.model.apply(
            variables, features, name, True, method='detect', mutable=['batch_stats']
        )
        return logits, {**_state(variables), **new}

    def main_loss(self, variables, features, batch: Batch, moment: Moment) -> Loss:
        """Cross-entropy of the main head over the valid rows."""
        logits = self.classify(variables, features, moment)
        smoothing = self.config.objective.get('label_smoothing', 0.0)
        values = losses.classification(logits, batch['label'], smoothing)
        return Loss(values, batch['valid'].astype(values.dtype))


def _state(variables: Variables) -> Variables:
    return {name: value for name, value in variables.items() if name != 'params'}


def create(config: Any, data: DataSet, heads: Mapping[str, BiasHead] | None = None) -> Network:
    """The network of `config.model` for the classes of `data`, with bias heads `heads`."""
    classes = len(data.classes)
    model = Classifier(
        attention.encoder(config.model),
        1 if classes == 2 else classes,
        FrozenDict(heads or {}),
        config.model.dropout,
        config.model.norm_groups,
    )
    return Network(model, config)


def unknown_bias(name: str, data: DataSet) -> ValueError:
    """The error for a bias variable that the data set does not have."""
    return ValueError(
        f'bias variable {name!r} is not in data set {data.name!r}: it has '
        f'{", ".join(sorted(data.bias)) or "none"}'
    )
