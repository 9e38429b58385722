"""What style transfer can be told."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from skinjax.models.options import one_of
from skinjax.styling import losses as style_losses

DEFAULTS: dict[str, Any] = {
    # The network: a file of weights of this family, or the directory of a run, which names its own.
    'network': 'mobilenet',
    'weights': '',
    'style_layers': (),  # empty: those of style_features.LAYERS
    'content_layers': (),
    'style_pool': '',  # avg or max in place of the network's pooling
    'content_pool': '',
    'bn': 'running',  # or batch: moments of the image at hand, as the published code has it
    # The loss.
    'norm': 'relative',  # or mean, gatys, report: see styling/losses.py
    'content_weight': 1.0,
    'style_weight': 1.0,
    'layer_weights': (),  # of the layers of style; empty: all 1
    'variation': 0.05,
    'lesion_weight': 4.0,  # of the content within the lesion, relative to that outside
    # The optimisation.
    'init': 'content',  # or style, noise
    'param': 'sigmoid',  # logits of pixels; or clip: pixels, clipped after every step
    'optimizer': 'adam',  # or lbfgs, with a line search
    'learning_rate': 0.02,  # of Adam
    'schedule': 'cosine',  # or constant
    'steps': 300,
    'chunk': 100,  # steps between two reports
}
# Of the report (alpha : beta = 10 : 1e8, 5000 steps), with the weights of configs/lesion_cnn.py.
PUBLISHED: dict[str, Any] = {
    'network': 'lesion_cnn', 'style_pool': 'avg', 'content_pool': 'max', 'bn': 'batch',
    'norm': 'report', 'content_weight': 10.0, 'style_weight': 1e8, 'variation': 0.0,
    'lesion_weight': 1.0, 'init': 'style', 'param': 'clip', 'optimizer': 'adam',
    'learning_rate': 0.01, 'schedule': 'constant', 'steps': 5000,
}  # fmt: skip
EDGE = 1 / 512  # of pixels with logits: half a grey level from black and white


@dataclasses.dataclass(frozen=True)
class Options:
    """The fields of DEFAULTS that say how to optimise; hashable, as `Network` is."""

    norm: str
    content_weight: float
    style_weight: float
    layer_weights: tuple[float, ...]
    variation: float
    lesion_weight: float
    init: str
    param: str
    optimizer: str
    learning_rate: float
    schedule: str
    steps: int
    chunk: int

    @classmethod
    def read(cls, config: Any) -> 'Options':
        """Those of a config with the fields of DEFAULTS.

        Raises:
            ValueError: an option is out of range.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        values = {name: config[name] for name in names}
        found = cls(**{**values, 'layer_weights': tuple(values['layer_weights'])})
        one_of('transfer.norm', found.norm, style_losses.NORMS)
        one_of('transfer.init', found.init, ('content', 'style', 'noise'))
        one_of('transfer.param', found.param, ('sigmoid', 'clip'))
        one_of('transfer.optimizer', found.optimizer, ('adam', 'lbfgs'))
        one_of('transfer.schedule', found.schedule, ('cosine', 'constant'))
        if found.optimizer == 'lbfgs' and found.param == 'clip':
            raise ValueError(
                "transfer.optimizer 'lbfgs' needs transfer.param 'sigmoid': clipping would move "
                'the pixels away from where the line search left them'
            )
        if found.steps < 1 or found.chunk < 1 or found.learning_rate <= 0:
            raise ValueError(
                'transfer.steps, chunk and learning_rate must be positive, found '
                f'{found.steps}, {found.chunk} and {found.learning_rate}'
            )
        return found

    def transformation(self) -> optax.GradientTransformationExtraArgs:
        """The optimizer of one image."""
        if self.optimizer == 'lbfgs':
            return optax.lbfgs()
        rate: Any = self.learning_rate
        if self.schedule == 'cosine':
            rate = optax.cosine_decay_schedule(self.learning_rate, self.steps)
        return optax.with_extra_args_support(optax.adam(rate))

    def pixels(self, value: Float[Array, '... 3']) -> Float[Array, '... 3']:
        """The image that is meant by what is optimised."""
        return jax.nn.sigmoid(value) if self.param == 'sigmoid' else value

    def value(self, image: Float[Array, '... 3']) -> Float[Array, '... 3']:
        """What is optimised, for an image."""
        if self.param == 'clip':
            return jnp.clip(image, 0, 1)
        return jax.scipy.special.logit(jnp.clip(image, EDGE, 1 - EDGE))
