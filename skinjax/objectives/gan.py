"""Generative adversarial networks (Goodfellow et al. 2014), trained as DCGANs are.

For every batch of images x and latents z ~ N(0, 1), in this order:

    discriminator  - log D(x) - log(1 - D(G(z)))     x and G(z) go through D one after the other
    generator      - log D(G(z))                     the same images G(z), and D as it is now
    extra          - log D(G(z'))                    new latents, n times, in some epochs alone

As in the PyTorch programs, both networks normalise by the batch, D's running statistics follow
each of its passes, and G's each batch of latents once. The rest of DEFAULTS, all off, is to make
training stable. `train.ema` averages the weights that are saved and judged.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from skinjax.data.diffaugment import check as check_changes
from skinjax.data.diffaugment import diffaugment
from skinjax.data.records import DataSet
from skinjax.engine import optimizers
from skinjax.engine.objective import Batch, Loss, Moment, Objective, Output, Phase, Variables
from skinjax.models.options import one_of
from skinjax.objectives import gan_losses as terms
from skinjax.objectives.adversaries import DISCRIMINATOR, GENERATOR, Adversaries, create

TASK = 'generation'
DEFAULTS: dict[str, Any] = {
    'label_smoothing': 0.0,  # D learns that real images are real to 1 minus this
    'feature_matching': 0.0,  # weight of the distance of D's mean features in G's loss
    'instance_noise': 0.0,  # deviation of noise on all that D sees; falls to 0 over the run
    'r1': 0.0,  # gamma of the penalty gamma / 2 |grad D(x)|^2 at real images
    'augment': (),  # differentiable changes of all that D sees: see data/diffaugment.py
    # Further steps of G after each batch of every tenth epoch ('step': after every tenth batch).
    'extra_generator': {'every': 10, 'n': 2, 'unit': 'epoch'},
}
LATENT, REAL, FAKE, NOISE = range(4)  # uses of the keys of a phase


@dataclasses.dataclass(frozen=True)
class Game:
    """The losses of both networks, for a run of `steps` batches.

    Attributes:
        options: fields of DEFAULTS.
        groups: slices of the batch with their own statistics.
    """

    net: Adversaries
    options: Any
    groups: int
    steps: int

    def shown(
        self, images: Float[Array, 'b h w 3'], moment: Moment, use: int
    ) -> Float[Array, 'b h w 3']:
        """What D sees of images: after `augment`, with `instance_noise` (Sønderby et al. 2017)."""
        images = diffaugment(folded(moment.keys, use), images, tuple(self.options.augment))
        if not self.options.instance_noise:
            return images
        left = jnp.maximum(0.0, 1 - moment.step.astype(jnp.float32) / self.steps)
        keys = folded(folded(moment.keys, NOISE), use)
        noise = jax.vmap(lambda key: jax.random.normal(key, images.shape[1:]))(keys)
        return images + self.options.instance_noise * left * noise

    def discriminator(self, variables: Variables, batch: Batch, moment: Moment) -> Output:
        """Real images first, then fakes; the latents are kept for the generator."""
        labels, weights = batch['label'], batch['valid'].astype(jnp.float32)

        def verdict(images):
            seen = self.shown(images, moment, REAL)
            (logits, _), after = self.net.discriminate(variables, seen, labels)
            return (weights * logits).sum(), (logits, after)

        images, penalty = self.net.images(batch['image']), {}
        if self.options.r1:
            gradients, (real, after) = jax.grad(verdict, has_aux=True)(images)
            penalty = {'r1': Loss(terms.squared_norm(gradients), weights, self.options.r1 / 2)}
        else:
            _, (real, after) = verdict(images)
        latents = self.net.latents(folded(moment.keys, LATENT))
        made, _ = self.net.generate(variables, latents, labels)
        (fake, _), after = self.net.discriminate(after, self.shown(made, moment, FAKE), labels)
        losses = {
            'real': Loss(terms.real(real, self.options.label_smoothing), weights),
            'fake': Loss(terms.fake(fake), weights),
            **penalty,
            'p_real': Loss(probability(real), weights, 0.0),
            'p_fake': Loss(probability(fake), weights, 0.0),
        }
        return Output(losses, {'batch_stats': after['batch_stats']}, {'latent': latents})

    def generator(
        self, variables: Variables, batch: Batch, moment: Moment, fresh: bool = False
    ) -> Output:
        """The images of the discriminator's phase once more, or `fresh` ones."""
        labels, weights = batch['label'], batch['valid'].astype(jnp.float32)
        latents = self.net.latents(folded(moment.keys, LATENT)) if fresh else batch['latent']
        made, after = self.net.generate(variables, latents, labels)
        seen = self.shown(made, moment, FAKE)
        (logits, features), after = self.net.discriminate(after, seen, labels)
        images = self.net.images(batch['image'])
        losses = {
            'fake': Loss(terms.real(logits), weights),
            'p_fake': Loss(probability(logits), weights, 0.0),
            'diversity': Loss(terms.diversity(made, images, self.groups), weights, 0.0),
        }
        if scale := self.options.feature_matching:
            # Of this pass no statistics are kept: the program without it has none.
            (_, true), _ = self.net.discriminate(
                variables, self.shown(images, moment, REAL), labels
            )
            apart = terms.feature_distance(true, features, self.groups)
            losses['features'] = Loss(apart, weights, scale)
        return Output(losses, {'batch_stats': after['batch_stats']})


def folded(keys: Key[Array, ' b'], use: int) -> Key[Array, ' b']:
    """Other keys, for one of several uses."""
    return jax.vmap(lambda key: jax.random.fold_in(key, use))(keys)


def probability(logits: Float[Array, ' b']) -> Float[Array, ' b']:
    """For the eye alone: no gradient."""
    return jax.nn.sigmoid(jax.lax.stop_gradient(logits))


def build(config: Any, data: DataSet, steps: int) -> Objective:
    """Phases 'discriminator', 'generator' and 'extra', of two optimizers with the same options.

    Metrics are the terms; `p_real` and `p_fake`, what D makes of real and generated images; and
    `diversity`.

    Raises:
        ValueError: as `check`, `check_classes` and `create`.
    """
    check(config)
    net = create(config, len(data.classes))
    if net.balanced:
        check_classes(config, data)
    game = Game(net, config.objective, config.model.get('norm_groups', 1), max(steps, 1))
    phases = [
        Phase(DISCRIMINATOR, game.discriminator, {DISCRIMINATOR: (DISCRIMINATOR,)}),
        Phase(GENERATOR, game.generator, {GENERATOR: (GENERATOR,)}),
    ]
    if (extra := config.objective.extra_generator).n:
        rows = len(data.splits['train'])
        period = 1 if extra.unit == 'step' else max(1, rows // config.data.batch_size)
        phases.append(
            Phase(
                'extra',
                functools.partial(game.generator, fresh=True),
                {GENERATOR: (GENERATOR,)},
                extra.n,
                when=lambda step: (step // period + 1) % extra.every == 0,
            )
        )
    opts = {
        name: optimizers.build(config.optimizer, (name,), steps)
        for name in (DISCRIMINATOR, GENERATOR)
    }
    predict: Any = net.predict
    return Objective(net.init, opts, tuple(phases), predict)


def check(config: Any) -> None:
    """Raise ValueError for options that are impossible, whatever the data."""
    options = config.objective
    if any(tuple(config.data[name]) != (0.5,) * 3 for name in ('mean', 'std')):
        raise ValueError(
            'the networks make images from -1 to 1: set config.data.mean and config.data.std to '
            f'(0.5, 0.5, 0.5), found {tuple(config.data.mean)} and {tuple(config.data.std)}'
        )
    if not 0 <= options.label_smoothing < 1:
        raise ValueError(
            f'config.objective.label_smoothing is {options.label_smoothing}, expected 0 to below 1'
        )
    for name in ('feature_matching', 'instance_noise', 'r1'):
        if options[name] < 0:
            raise ValueError(f'config.objective.{name} is {options[name]}, expected at least 0')
    check_changes(options.augment)
    extra = options.extra_generator
    one_of('config.objective.extra_generator.unit', extra.unit, ('epoch', 'step'))
    if extra.every < 1 or extra.n < 0:
        raise ValueError(
            'config.objective.extra_generator.every must be at least 1 and n at least 0, found '
            f'{extra.every} and {extra.n}'
        )


def check_classes(config: Any, data: DataSet) -> None:
    """Raise ValueError unless all batches have equally many rows of every class."""
    labels, count, size = data.splits['train'].labels, len(data.classes), config.data.batch_size
    for label, name in enumerate(data.classes):
        if not (labels == label).any():
            raise ValueError(
                f'class {name!r} has no training rows, and {config.model.name} has a branch for '
                "each class: leave it out of the data, or use model 'dcgan'"
            )
    if config.data.sampling != 'class':
        raise ValueError(
            f'{config.model.name} needs equally many rows of every class in a batch: set '
            f"config.data.sampling to 'class', found {config.data.sampling!r}"
        )
    if size % count:
        raise ValueError(
            f'config.data.batch_size is {size}: {config.model.name} needs a multiple of the '
            f'{count} classes, such as {size - size % count or count}'
        )
