"""What style transfer can be told.

A config has `FIELDS`: a preset, and fields that replace its values. `resolved` says what they are.
"""

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
    'style_layers': (),  # empty: those of LAYERS in styling/features.py
    'content_layers': (),
    'style_pool': 'own',  # as the network has it; or avg, max
    'content_pool': 'own',
    'bn': 'running',  # or batch: moments of the image at hand, as the published code has it
    # The loss.
    'norm': 'relative',  # or mean, gatys, report: see styling/losses.py
    'content_weight': 1.0,  # in a config this one and the next are those of the norm: see WEIGHTS
    'style_weight': 1.0,
    'layer_weights': (),  # of the layers of style; empty: all 1
    'variation': 0.05,
    'lesion_weight': 4.0,  # of the content within the lesion, relative to that outside
    # The optimisation.
    'init': 'content',  # or style, noise
    'param': 'sigmoid',  # logits of pixels; or clip: pixels, clipped after every step
    'optimizer': 'adam',  # or lbfgs, with a line search
    'learning_rate': 0.02,  # of Adam, as the schedule: the line search finds its own
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
PRESETS: dict[str, dict[str, Any]] = {'default': DEFAULTS, 'published': {**DEFAULTS, **PUBLISHED}}
# Of content and style, for each norm. Gatys et al. 2016, figure 3: from 1 : 200 to 1 : 2000.
WEIGHTS: dict[str, tuple[float, float]] = {
    'relative': (1.0, 1.0), 'mean': (1.0, 1e3), 'gatys': (1.0, 1e3), 'report': (10.0, 1e8),
}  # fmt: skip
UNSET: dict[type, Any] = {str: '', tuple: (), int: -1, float: -1.0}
# What a config has. A field with the value UNSET has that of the preset, and one with any other
# stands, even where it is that of another preset.
FIELDS: dict[str, Any] = {
    'preset': '',  # default, published; empty: that of the method
    **{name: UNSET[type(value)] for name, value in DEFAULTS.items()},
}
FIELD = 'style.transfer'  # where the options stand, for messages
EDGE = 1 / 512  # of pixels with logits: half a grey level from black and white


def resolved(fields: Any, preset: str) -> dict[str, Any]:
    """The values of DEFAULTS' fields that a section with FIELDS means, and its preset.

    Args:
        fields: as FIELDS.
        preset: of PRESETS, where `fields` name none.

    Raises:
        ValueError: an unknown preset or norm, or a field that does nothing beside the others.
    """
    preset = one_of(f'{FIELD}.preset', fields['preset'] or preset, PRESETS)
    own = {name: fields[name] for name in DEFAULTS if fields[name] != FIELDS[name]}
    values = {**PRESETS[preset], **own}
    one_of(f'{FIELD}.norm', values['norm'], style_losses.NORMS)
    weights = zip(('content_weight', 'style_weight'), WEIGHTS[values['norm']], strict=True)
    values |= {name: weight for name, weight in weights if name not in own}
    unused = {'learning_rate', 'schedule'} & set(own) if values['optimizer'] == 'lbfgs' else ()
    for name in sorted(unused):
        raise ValueError(
            f"{FIELD}.{name} does nothing beside {FIELD}.optimizer 'lbfgs', whose line search "
            'finds the length of each step: leave it out'
        )
    return {'preset': preset, **values}


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
        one_of(f'{FIELD}.norm', found.norm, style_losses.NORMS)
        one_of(f'{FIELD}.init', found.init, ('content', 'style', 'noise'))
        one_of(f'{FIELD}.param', found.param, ('sigmoid', 'clip'))
        one_of(f'{FIELD}.optimizer', found.optimizer, ('adam', 'lbfgs'))
        one_of(f'{FIELD}.schedule', found.schedule, ('cosine', 'constant'))
        if found.optimizer == 'lbfgs' and found.param == 'clip':
            raise ValueError(
                f"{FIELD}.optimizer 'lbfgs' needs {FIELD}.param 'sigmoid': clipping would move the "
                'pixels away from where the line search left them'
            )
        weights = ('content_weight', 'style_weight', 'variation', 'lesion_weight')
        for name in weights:
            if values[name] < 0:
                raise ValueError(f'{FIELD}.{name} must be at least 0, found {values[name]}')
        if found.steps < 1 or found.chunk < 1 or found.learning_rate <= 0:
            raise ValueError(
                f'{FIELD}.steps, chunk and learning_rate must be positive, found '
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
