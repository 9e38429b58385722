"""What makes adversarial training stable: each option against its formula, and its gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from skinjax import config as configs
from skinjax.data.diffaugment import diffaugment
from skinjax.engine.objective import Moment
from skinjax.models import dcgan, strided
from skinjax.objectives import gan
from tests.objectives.adversarial import (
    ROWS,
    advance,
    build,
    make_batch,
    make_config,
    make_net,
    phase,
    start,
    variables,
)
from tests.objectives.made import KEY, assert_same, compiled, differ

CHANGES = ('color', 'translation', 'cutout')


@pytest.fixture(scope='module')
def plain():
    """Parameters and statistics at the start."""
    return variables(start(build()))


@pytest.fixture(scope='module')
def kept(plain):
    """A batch with the latents that the discriminator's phase keeps."""
    return make_batch() | compiled(phase(build(), 0))(plain, make_batch()).keep


class TestPenalty:
    def test_it_is_the_squared_slope_at_real_images(self, plain):
        """By finite differences of the logits, pixel by pixel."""
        net, batch, step = make_net(), make_batch(rows=4), 1e-2
        term = compiled(phase(build(r1=3.0), 0))(plain, batch).losses['r1']
        assert float(term.scale) == 1.5

        @jax.jit
        def slopes(images):
            def total(place):
                moved = images.ravel().at[place].add
                ends = [
                    net.discriminate(plain, moved(s * step).reshape(images.shape), batch['label'])[
                        0
                    ][0]
                    for s in (1, -1)
                ]
                return (ends[0] - ends[1]).sum() / (2 * step)

            return jax.lax.map(total, jnp.arange(images.size)).reshape(images.shape)

        want = np.square(slopes(net.images(batch['image']))).sum((1, 2, 3))
        np.testing.assert_allclose(term.values, want, rtol=2e-2)

    def test_its_gradient(self, plain):
        """Second derivatives through layers whose backward passes are written out."""
        loss, batch = phase(build(r1=3.0), 0), make_batch()

        def penalty(part):
            known = plain | {'params': plain['params'] | {'discriminator': part}}
            return loss(known, batch).losses['r1'].values.sum()

        @compiled
        def sides(part):
            """Length of the gradient, and how fast the penalty grows along it."""
            slope = jax.grad(penalty)(part)
            length = optax.tree.norm(slope)
            ends = [
                penalty(jax.tree.map(lambda p, d, s=s: p + s * d / length, part, slope))
                for s in (1e-2, -1e-2)
            ]
            return length, (ends[0] - ends[1]) / 2e-2

        length, want = sides(plain['params']['discriminator'])
        assert float(length) == pytest.approx(float(want), rel=1e-2)

    @pytest.mark.parametrize('model', ['dcgan', 'coupled_dcgan'])
    def test_its_gradient_in_a_dcgan(self, model, monkeypatch):
        """That of XLA's own convolutions: rectifiers leave no finite differences to look at."""
        batch = make_batch(rows=4, size=64)
        section = configs.plugin('models', model, width=0.05)
        objective = build(r1=1.0, size=64, model=section, sampling='class')
        known, loss = variables(start(objective, batch)), phase(objective, 0)

        def slope():
            def penalty(part):
                now = known | {'params': {**known['params'], 'discriminator': part}}
                return jnp.log(loss(now, batch).losses['r1'].values.sum())

            return compiled(jax.grad(penalty))(known['params']['discriminator'])

        ours = slope()
        monkeypatch.setattr(strided, 'halve', strided.plain_halve)
        monkeypatch.setattr(dcgan, 'leaky', lambda x: jnp.where(x > 0, x, 0.2 * x))
        for x, y in zip(*map(jax.tree.leaves, (ours, slope())), strict=True):
            assert float(jnp.abs(x - y).max()) <= 1e-3 * float(jnp.abs(y).max())


def test_label_smoothing_is_one_sided(plain):
    first, second = (
        compiled(phase(build(label_smoothing=s), 0))(plain, make_batch()).losses for s in (0.0, 0.2)
    )
    np.testing.assert_array_equal(first['fake'].values, second['fake'].values)
    p = np.exp(-np.float64(first['real'].values))
    want = -0.8 * np.log(p) - 0.2 * np.log(1 - p)
    np.testing.assert_allclose(second['real'].values, want, rtol=1e-4)


def test_feature_matching(plain, kept):
    first, second = (
        compiled(phase(build(feature_matching=weight), 1))(plain, kept) for weight in (0.0, 0.7)
    )
    assert_same(first.state, second.state)
    np.testing.assert_array_equal(first.losses['fake'].values, second.losses['fake'].values)
    term = second.losses['features']
    assert float(term.scale) == pytest.approx(0.7)

    @compiled
    def distance():
        net = make_net()
        made, _ = net.generate(plain, kept['latent'], kept['label'])
        true, fake = (
            net.discriminate(plain, images, kept['label'])[0][1].mean(0)
            for images in (net.images(kept['image']), made)
        )
        return jnp.square(true - fake).sum()

    np.testing.assert_allclose(term.values, np.full(ROWS, distance()), rtol=1e-4)


def shown(images, step, use, **fields):
    """What the discriminator sees in a step of ten."""
    config = make_config(**fields)
    game = gan.Game(make_net(), config.objective, 1, 10)

    @compiled
    def run(images, step):
        return game.shown(images, Moment(jax.random.split(KEY, len(images)), step), use)

    return np.asarray(run(images, jnp.asarray(step)))


def test_noise_falls_to_nothing():
    images = jnp.zeros((64, 8, 8, 3))
    for step, want in ((0, 0.5), (5, 0.25), (10, 0), (11, 0)):
        noise = shown(images, step, gan.REAL, instance_noise=0.5)
        assert noise.std() == pytest.approx(want, rel=0.03)
    first, second = (
        shown(images, 0, use, instance_noise=0.5).ravel() for use in (gan.REAL, gan.FAKE)
    )
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05


def test_changes_are_drawn_for_real_and_generated_images_each():
    images = jnp.tile(jax.random.normal(KEY, (1, 8, 8, 3)), (16, 1, 1, 1))
    found = [shown(images, 0, use, augment=CHANGES[:2]) for use in (gan.REAL, gan.FAKE)]
    assert (found[0] != found[1]).any((1, 2, 3)).all()
    keys = gan.folded(jax.random.split(KEY, 16), gan.REAL)
    want = compiled(lambda: diffaugment(keys, images, CHANGES[:2]))()
    np.testing.assert_allclose(found[0], want, atol=1e-6)
    np.testing.assert_array_equal(shown(images, 0, gan.REAL), images)


def test_every_pass_of_the_discriminator_sees_changed_images(plain):
    """The box of an image of one pixel is all of it: whatever was there is judged alike."""
    batch, objective = make_batch(size=1), build(augment=('cutout',), feature_matching=1.0, size=1)
    known = variables(start(objective, batch))

    @compiled
    def run(batch):
        first = phase(objective, 0)(known, batch)
        return first.losses, phase(objective, 1)(known, batch | first.keep).losses

    first, second = run(batch)
    np.testing.assert_allclose(first['p_real'].values, first['p_fake'].values, rtol=1e-5)
    np.testing.assert_allclose(second['p_fake'].values, first['p_fake'].values, rtol=1e-5)
    np.testing.assert_allclose(second['features'].values, np.zeros(ROWS), atol=1e-8)


def test_generators_learn_through_the_changes():
    now, after, _ = advance(build(augment=CHANGES))
    last = (x.params['generator']['last'] for x in (now, after))
    assert differ(*last)
