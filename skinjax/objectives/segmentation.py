"""Lesion masks: one phase, the binary cross-entropy of every pixel.

Bisla et al. 2019, section 4.1: seven channels (`data/channels.py`) of images of 400 x 400 from
which 10 pixels a side are cut (`crop`). A soft Dice term may be added. Rows without a mask are not
learned from.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Key, UInt8

from skinjax import config as configs
from skinjax.data.channels import COUNT, channels
from skinjax.data.records import DataSet
from skinjax.engine import optimizers
from skinjax.engine.objective import Batch, Loss, Objective, Optimizer, Output, Phase, Variables

TASK = 'segmentation'
GROUP = 'segmenter'
DEFAULTS: dict[str, Any] = {
    'dice': 0.0,  # weight of the soft Dice loss beside the cross-entropy
    'crop': 0,  # pixels cut from every side of image and mask; published: 10 of 400
    'compat': False,  # the luminance channel of the published code, see data/channels.py
}
_SMOOTH = 1.0  # pixels; keeps the Dice loss of an empty mask finite


@dataclasses.dataclass(frozen=True)
class Segmenter:
    """A network for masks, bound to its config."""

    model: nn.Module
    options: Any  # fields of DEFAULTS

    def cropped(self, arrays: Array) -> Array:
        """Images [b, h, w, c] or masks [b, h, w] as the network sees them."""
        cut, (height, width) = self.options.crop, arrays.shape[1:3]
        return arrays[:, cut : height - cut, cut : width - cut]

    def logits(
        self,
        variables: Variables,
        images: UInt8[Array, 'b h w 3'],
        train: bool,
        keys: Key[Array, ' b'] | None = None,
    ) -> Float[Array, 'b y x']:
        """Of each pixel of the cropped images to belong to the lesion."""
        inputs = channels(self.cropped(images), compat=self.options.compat)
        found: Any = self.model.apply({'params': variables['params'][GROUP]}, inputs, train, keys)
        return found

    def truth(self, batch: Batch) -> Bool[Array, 'b y x']:
        """The cropped masks."""
        return self.cropped(jnp.asarray(batch['mask'])) > 0

    def terms(self, logits: Float[Array, 'b y x'], batch: Batch) -> dict[str, Loss]:
        """The losses of each example; rows without a mask, and padding, have weight 0.

        `bce` is the mean over the pixels; `dice`, where it is asked for, 1 - (2 sum(p t) + 1) /
        (sum(p) + sum(t) + 1) of probabilities p and mask t.
        """
        target = self.truth(batch).astype(logits.dtype)
        weights = (batch['valid'] & batch['has_mask']).astype(logits.dtype)
        values = optax.sigmoid_binary_cross_entropy(logits, target).mean((1, 2))
        terms = {'bce': Loss(values, weights)}
        if self.options.dice:
            terms['dice'] = Loss(soft_dice(logits, target), weights, self.options.dice)
        return terms

    def objective(self, opts: dict[str, Optimizer], phases: tuple[Phase, ...]) -> Objective:
        """An Objective over this network; `predict` returns 'probability' of cropped images."""

        def init(key, batch):
            cut = self.cropped(batch['image'])
            inputs = jnp.zeros((1, *cut.shape[1:3], COUNT))
            return {'params': {GROUP: self.model.init(key, inputs, False)['params']}}

        def predict(variables, images):
            return {'probability': jax.nn.sigmoid(self.logits(variables, images, False))}

        return Objective(init, opts, phases, predict)


def soft_dice(logits: Float[Array, 'b y x'], target: Float[Array, 'b y x']) -> Float[Array, ' b']:
    """1 - Dice, with probabilities in place of the predicted mask."""
    p = jax.nn.sigmoid(logits)
    both, sizes = (p * target).sum((1, 2)), (p + target).sum((1, 2))
    return 1 - (2 * both + _SMOOTH) / (sizes + _SMOOTH)


def create(config: Any) -> Segmenter:
    """The network of `config.model`.

    Raises:
        ValueError: nothing is left of the images after the crop, or a negative one.
    """
    cut, size = config.objective.crop, config.data.image_size
    if not 0 <= 2 * cut < size:
        raise ValueError(
            f'config.objective.crop is {cut}: of images of {size} pixels between 0 and '
            f'{(size - 1) // 2} can be cut from each side'
        )
    return Segmenter(
        configs.find('models', config.model.name).build(config.model), config.objective
    )


def build(config: Any, data: DataSet, steps: int) -> Objective:
    """Cross-entropy of all pixels, and `dice` times the soft Dice loss.

    Raises:
        ValueError: batches without masks (`config.data.with_mask`), or as `create`.
    """
    if not config.data.with_mask:
        raise ValueError(
            f'a segmentation of {data.name} needs its masks: set config.data.with_mask to True'
        )
    net = create(config)

    def loss(variables, batch, moment):
        logits = net.logits(variables, batch['image'], True, moment.keys)
        return Output(net.terms(logits, batch))

    opt = optimizers.build(config.optimizer, (GROUP,), steps)
    return net.objective({'main': opt}, (Phase('main', loss, {'main': (GROUP,)}),))
