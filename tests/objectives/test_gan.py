"""Adversarial training: images, and the order of the updates."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from skinjax.engine.step import example_keys
from skinjax.objectives import gan
from tests.objectives.adversarial import (
    RATE,
    SIDE,
    advance,
    build,
    make_batch,
    make_net,
    only,
    start,
    variables,
)
from tests.objectives.made import KEY, assert_same, compiled, differ

PLAIN = build()


@pytest.fixture(scope='module')
def plain():
    """(state before, state after, metrics) of a step without options."""
    return advance(PLAIN)


class TestImages:
    def test_pixels_come_back(self):
        """A generator that has learned one image by heart: all 256 values of a channel."""
        every = jnp.tile(jnp.arange(256, dtype=jnp.uint8).reshape(1, 16, 16, 1), (1, 1, 1, 3))
        images = make_net().images(every)
        assert float(images.min()) == -1 and float(images.max()) == 1
        objective = build(size=16)
        known = variables(start(objective, make_batch(size=16)))
        last = known['params']['generator']['last']
        last |= {'kernel': 0 * last['kernel'], 'bias': jnp.arctanh(images).ravel()}
        predict: Any = objective.predict
        found = compiled(predict)(known, jnp.ones((1, 3)), jnp.zeros(1, jnp.int32))
        np.testing.assert_array_equal(found['image'], every)

    def test_an_image_depends_on_its_latents_alone_unless_the_batch_normalises(self, plain):
        known = plain[0].variables()
        predict: Any = jax.jit(PLAIN.predict, static_argnums=3)
        latents, labels = jax.random.normal(KEY, (6, 3)), jnp.zeros(6, jnp.int32)
        found = predict(known, latents, labels)['image']
        assert found.dtype == jnp.uint8 and found.shape == (6, SIDE, SIDE, 3)
        assert len({np.asarray(one).tobytes() for one in found}) == 6
        half = predict(known, latents[3:], labels[3:])['image']
        np.testing.assert_array_equal(half, found[3:])
        batch = predict(known, latents, labels, True)['image']
        other = predict(known, latents[3:], labels[3:], True)['image']
        assert bool((batch != found).any() & (batch[3:] != other).any())

    def test_images_alone_are_enough_to_begin(self):
        found = jax.eval_shape(PLAIN.init, KEY, {'image': make_batch()['image']})
        assert set(found['params']) == set(found['batch_stats']) == {'generator', 'discriminator'}


class Program:
    """What a PyTorch program does, with plain gradient descent; `now` is where it begins."""

    def __init__(self, now):
        self.net = make_net()
        self.params, self.stats = dict(now.params), dict(now.model['batch_stats'])

    def run(self, name, params, stats, inputs):
        module = getattr(self.net, name)
        known = {'params': params, 'batch_stats': stats}
        out, new = module.apply(known, inputs, None, True, mutable=['batch_stats'])
        return out, new['batch_stats']

    def descend(self, name, loss):
        slope, new = jax.grad(loss, has_aux=True)(self.params[name])
        self.params[name] = jax.tree.map(lambda p, g: p - RATE * g, self.params[name], slope)
        self.stats |= new

    def discriminator(self, images, latents):
        def loss(params):
            made, _ = self.run(
                'generator', self.params['generator'], self.stats['generator'], latents
            )
            (real, _), after = self.run(
                'discriminator', params, self.stats['discriminator'], images
            )
            (fake, _), after = self.run('discriminator', params, after, made)
            return bce(real, 1.0) + bce(fake, 0.0), {'discriminator': after}

        self.descend('discriminator', loss)

    def generator(self, latents):
        def loss(params):
            made, new = self.run('generator', params, self.stats['generator'], latents)
            (logits, _), after = self.run(
                'discriminator',
                self.params['discriminator'],
                self.stats['discriminator'],
                made,
            )
            return bce(logits, 1.0), {'generator': new, 'discriminator': after}

        self.descend('generator', loss)


def bce(logits, target):
    return optax.sigmoid_binary_cross_entropy(logits, jnp.full_like(logits, target)).mean()


@compiled
def two_batches(now, batches, latents, more):
    """(parameters, statistics) after two batches, with `more` latents after the second."""
    program = Program(now)
    for batch, z in zip(batches, latents, strict=True):
        program.discriminator(program.net.images(batch['image']), z)
        program.generator(z)
    for z in more:
        program.generator(z)
    return program.params, program.stats


def drawn(step, stream) -> jax.Array:
    """The latents of a phase, which is the `stream`-th of its step."""
    keys = example_keys(jax.random.fold_in(KEY, step), stream, make_batch(), None)
    return make_net().latents(gan.folded(keys, gan.LATENT))


class TestOrder:
    @pytest.mark.parametrize('n', [0, 2])
    def test_the_updates_are_those_of_the_plain_program(self, n, plain):
        objective = build(extra_generator={'every': 2, 'n': n, 'unit': 'step'})
        batches = [make_batch(0), make_batch(1)]
        first = now = plain[0]
        for batch in batches:
            _, now, _ = advance(objective, now, batch)
        latents = [drawn(step, 1) for step in range(2)]
        more = [drawn(1, stream) for stream in (3, 4)][:n]
        params, stats = two_batches(first, batches, latents, more)
        close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
        jax.tree.map(close, params, dict(now.params))
        jax.tree.map(close, stats, dict(now.model['batch_stats']))

    def test_a_phase_moves_one_network(self, plain):
        now, both, metrics = plain
        _, judged, _ = advance(only(PLAIN, 1), now)
        assert_same(now.params['generator'], judged.params['generator'])
        assert_same(*(x.model['batch_stats']['generator'] for x in (now, judged)))
        assert_same(judged.params['discriminator'], both.params['discriminator'])
        moved = jax.tree.map(lambda a, b: bool((a != b).any()), now.params, both.params)
        moved['discriminator']['first'].pop('bias')  # normalisation takes it away
        moved['generator']['first'].pop('bias')
        assert all(jax.tree.leaves(moved))
        assert set(metrics) == {
            'discriminator/real', 'discriminator/fake', 'discriminator/p_real',
            'discriminator/p_fake', 'generator/fake', 'generator/p_fake', 'generator/diversity',
            'learning_rate/generator', 'learning_rate/discriminator', 'parameters/norm',
        }  # fmt: skip

    def test_extra_steps_are_in_every_tenth_epoch_alone(self):
        def steps(**extra):
            (phase,) = build(rows=24, extra_generator=extra).phases[2:]  # three batches an epoch
            assert phase.repeat == extra['n'] and set(phase.optimizers) == {'generator'}
            found = np.asarray(jax.vmap(phase.when)(jnp.arange(66)))
            return np.flatnonzero(found).tolist()

        assert steps(every=10, n=2, unit='epoch') == [27, 28, 29, 57, 58, 59]
        assert steps(every=20, n=1, unit='step') == [19, 39, 59]
        assert steps(every=1, n=1, unit='epoch') == [*range(66)]
        assert len(PLAIN.phases) == 2

    def test_extra_steps_move_the_generator_alone_and_are_not_measured(self, plain):
        now, after, metrics = plain
        objective = build(extra_generator={'every': 1, 'n': 1, 'unit': 'step'})
        _, more, others = advance(objective, now)
        assert_same(after.params['discriminator'], more.params['discriminator'])
        assert differ(after.model['batch_stats'], more.model['batch_stats'])
        assert bool(
            (
                after.params['generator']['last']['kernel']
                != more.params['generator']['last']['kernel']
            ).any()
        )
        assert set(metrics) == set(others)
        for name in set(metrics) - {'parameters/norm'}:
            assert float(metrics[name]) == pytest.approx(float(others[name]), rel=1e-6)

    def test_averages_are_of_both_networks_and_are_what_predicts(self):
        before, after, _ = advance(PLAIN, ema=0.75)
        want = jax.tree.map(lambda a, b: 0.75 * a + 0.25 * b, before.params, after.params)
        jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-6), want, after.ema)
        assert after.variables()['params'] is after.ema
