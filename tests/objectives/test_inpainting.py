"""The loss of filling holes: worked values, slow twins, and what is not looked at."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax import config as configs
from skinjax.engine import state
from skinjax.engine.objective import Moment
from skinjax.engine.step import make_step
from skinjax.objectives import inpainting, perceptual
from skinjax.objectives import inpainting_losses as terms
from tests.helpers import tiny_data

SIDE, BATCH = 16, 4
KEYS = jax.random.split(jax.random.key(3), BATCH)


def make_config(**fields) -> Any:
    config: Any = configs.train(
        configs.plugin('objectives', 'inpainting', **fields),
        model=configs.plugin('models', 'partial_unet', levels=2, width=0.0625),
    )
    config.optimizer.update(name='adam', learning_rate=1e-3, momentum=0.5)
    return config


def make_batch(artefacts: bool = False) -> dict[str, jax.Array]:
    rng = np.random.default_rng(0)
    batch = {
        'image': rng.integers(0, 256, (BATCH, SIDE, SIDE, 3)).astype(np.uint8),
        'label': np.zeros(BATCH, np.int32),
        'valid': np.array([True, True, True, False]),
    }
    if artefacts:
        batch['artefact'] = np.zeros((BATCH, SIDE, SIDE), np.uint8)
        batch['artefact'][0, :, 3:6], batch['artefact'][2, 9:12] = 255, 255
    return jax.tree.map(jnp.asarray, batch)


def random_images(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


class TestTerms:
    def test_absolute_differences_count_where_the_region_is(self):
        a, b = jnp.zeros((2, 4, 4, 3)), jnp.ones((2, 4, 4, 3)).at[1].set(-3.0)
        region = jnp.zeros((2, 4, 4)).at[:, 0, :2].set(1)
        np.testing.assert_allclose(terms.absolute(a, b, region), [2 / 16, 6 / 16])

    def test_gram_of_a_worked_case_and_a_slow_twin(self):
        x = jnp.asarray([[[[1.0, 2.0]], [[3.0, 4.0]]]])  # h 2, w 1, c 2
        np.testing.assert_allclose(terms.gram(x), [[[2.5, 3.5], [3.5, 5.0]]])
        x = random_images(0, 2, 3, 4, 5)
        want = [
            [[(b[..., i] * b[..., j]).sum() / 60 for i in range(5)] for j in range(5)] for b in x
        ]
        np.testing.assert_allclose(terms.gram(x), want, rtol=1e-4, atol=1e-6)

    def test_perceptual_and_style_add_up_over_maps(self):
        maps = [random_images(1, 2, 4, 4, 3), random_images(2, 2, 2, 2, 5)]
        true = [random_images(3, 2, 4, 4, 3), random_images(4, 2, 2, 2, 5)]
        want = sum(
            np.abs(np.asarray(a - b)).mean((1, 2, 3)) for a, b in zip(maps, true, strict=True)
        )
        np.testing.assert_allclose(terms.perceptual(maps, true), want, rtol=1e-5)
        want = sum(
            np.abs(np.asarray(terms.gram(a) - terms.gram(b))).mean((1, 2))
            for a, b in zip(maps, true, strict=True)
        )
        np.testing.assert_allclose(terms.style(maps, true), want, rtol=1e-5)
        assert not terms.style(maps, maps).any()

    def test_variation_counts_neighbours_within_the_region(self):
        image = jnp.asarray([[[0.0, 1.0, 3.0], [0.0, 5.0, 5.0]]])[..., None]
        everywhere = jnp.ones((1, 2, 3))
        np.testing.assert_allclose(terms.variation(image, everywhere), [(1 + 2 + 5 + 4 + 2) / 6])
        left = everywhere.at[0, :, 2].set(0)
        np.testing.assert_allclose(terms.variation(image, left), [(1 + 5 + 4) / 6])

    def test_dilation_reaches_every_neighbour(self):
        region = jnp.zeros((1, 5, 5)).at[0, 1, 1].set(1)
        grown = np.zeros((5, 5))
        grown[:3, :3] = 1
        np.testing.assert_array_equal(terms.dilated(region)[0], grown)


def loss_of(config, batch):
    """(objective, output of its phase, variables)."""
    objective = inpainting.build(config, tiny_data(), 4)
    variables = jax.jit(objective.init)(jax.random.key(0), batch)
    return objective, jax.jit(phase_loss(objective))(variables, batch, KEYS), variables


def phase_loss(objective):
    """(variables, batch, keys) -> output of the phase."""

    def loss(variables, batch, keys):
        return objective.phases[0].loss(variables, batch, Moment(keys, jnp.zeros((), jnp.int32)))

    return loss


def test_the_terms_and_their_weights():
    batch = make_batch()
    _, out, variables = loss_of(make_config(), batch)
    assert set(out.losses) == {'valid', 'hole', 'variation'}
    assert {k: float(v.scale) for k, v in out.losses.items()} == pytest.approx(
        {'valid': 1.0, 'hole': 6.0, 'variation': 0.1}
    )
    assert all(v.values.shape == (BATCH,) for v in out.losses.values())
    np.testing.assert_array_equal(out.losses['hole'].weights, [1, 1, 1, 0])
    assert set(variables) == {'params', 'batch_stats'}
    # The values again, from the output of the network.
    net = inpainting.create(make_config())
    images = net.images(batch['image'])
    holes, _ = inpainting.masks(KEYS, batch)
    valid = (~holes).astype(jnp.float32)
    found, _ = jax.jit(
        lambda: net.model.apply(variables, images, valid, True, mutable='batch_stats')
    )()
    far = np.abs(np.asarray(found - images))
    hole = np.asarray(holes)[..., None]
    np.testing.assert_allclose(out.losses['hole'].values, (far * hole).mean((1, 2, 3)), rtol=1e-4)
    np.testing.assert_allclose(out.losses['valid'].values, (far * ~hole).mean((1, 2, 3)), rtol=1e-4)


def test_variation_of_the_whole_image_is_larger():
    batch = make_batch()
    near, whole = (
        loss_of(make_config(variation_region=region), batch)[1].losses['variation'].values
        for region in ('hole', 'image')
    )
    assert bool((whole > near).all())
    with pytest.raises(ValueError, match="variation_region is 'all'"):
        inpainting.build(make_config(variation_region='all'), tiny_data(), 4)


def test_masks_of_other_images_are_holes_and_own_artefacts_are_unknown():
    batch = make_batch(artefacts=True)
    holes, unknown = inpainting.masks(KEYS, batch)
    np.testing.assert_array_equal(unknown, batch['artefact'] > 0)
    assert not bool((holes & unknown).any())
    assert holes[1, :, 3:6].all() and holes[3, 9:12].all()  # those of the image before
    drawn, _ = inpainting.masks(KEYS, make_batch())
    others = jnp.roll(unknown, 1, axis=0)
    np.testing.assert_array_equal(holes, (drawn | others) & ~unknown)


def test_pixels_that_are_unknown_have_no_part_in_anything():
    """Other values under an image's own artefact change neither a term nor a gradient."""
    batch = make_batch(artefacts=True)
    config = make_config(features={**perceptual.NONE, 'pretrained': 'made'})
    hidden = jnp.where(batch['artefact'][..., None] > 0, 255 - batch['image'], batch['image'])
    features = made_features()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(perceptual, 'load', lambda section: features)
        objective = inpainting.build(config, tiny_data(), 4)
    variables = jax.jit(objective.init)(jax.random.key(0), batch)
    loss = phase_loss(objective)

    def total(params, image):
        out = loss({**variables, 'params': params}, {**batch, 'image': image}, KEYS)
        return sum((v.values * v.scale).sum() for v in out.losses.values()), out.losses

    run = jax.jit(jax.grad(total, has_aux=True))
    (first, losses), (second, again) = (
        run(variables['params'], x) for x in (batch['image'], hidden)
    )
    for name in ('valid', 'hole', 'variation'):
        np.testing.assert_allclose(losses[name].values, again[name].values, rtol=1e-5)
    assert set(losses) == {*inpainting.DEFAULTS} - {'variation_region', 'features', 'style'} | {
        'style_out', 'style_composite'
    }  # fmt: skip
    assert any(bool(x.any()) for x in jax.tree.leaves(first))
    plain = {k: v for k, v in losses.items() if k in ('valid', 'hole', 'variation')}
    assert plain and all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves((first, second)))


class Maps(nn.Module):
    """An encoder of two convolutions."""

    @nn.compact
    def __call__(self, x, train):
        del train
        first = nn.tanh(nn.Conv(4, (3, 3), 2)(x))
        return x.mean((1, 2)), [first, nn.tanh(nn.Conv(6, (3, 3), 2)(first))]


def made_features() -> perceptual.Features:
    variables = jax.jit(lambda: Maps().init(jax.random.key(1), jnp.zeros((1, 8, 8, 3)), False))()
    return perceptual.Features(Maps(), variables, (0.5,) * 3, (0.25,) * 3, 2, False)


def test_prediction_fills_holes_and_nothing_else():
    batch = make_batch()
    objective, _, variables = loss_of(make_config(), batch)
    holes = jnp.zeros((BATCH, SIDE, SIDE), bool).at[:, 4:8, 4:8].set(True)
    predict: Any = jax.jit(objective.predict)
    found = predict(variables, batch['image'], holes)['image']
    assert found.dtype == jnp.uint8
    outside = ~np.asarray(holes)
    np.testing.assert_array_equal(found[outside], batch['image'][outside])
    assert (np.asarray(found)[~outside] != np.asarray(batch['image'])[~outside]).any()
    blind = jnp.where(holes[..., None], jnp.uint8(7), batch['image'])
    np.testing.assert_array_equal(predict(variables, blind, holes)['image'], found)
    np.testing.assert_array_equal(predict(variables, batch['image'])['image'], batch['image'])
    every = predict(variables, batch['image'], jnp.ones_like(holes))['image']
    mean = np.round(255 * np.asarray(make_config().data.mean))
    np.testing.assert_allclose(every, np.broadcast_to(mean, every.shape), atol=1)


def test_the_encoder_that_compares_stays_as_it_is():
    batch, features = make_batch(), made_features()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(perceptual, 'load', lambda section: features)
        objective = inpainting.build(make_config(), tiny_data(), 4)
    now = jax.jit(lambda: state.create(objective, jax.random.key(0), batch, ema=False))()
    assert set(now.params) == {'encoder', 'decoder'}
    after, metrics = jax.jit(make_step(objective))(now, batch, jax.random.key(1))
    jax.tree.map(np.testing.assert_array_equal, after.model['features'], features.variables)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), now.params, after.params)
    assert all(jax.tree.leaves(moved))
    assert all(np.isfinite(v) for v in metrics.values())
    assert metrics['main/style_composite'] > 0 and metrics['main/perceptual'] > 0


class TestFeatures:
    def test_none(self):
        config = make_config()
        assert perceptual.load(config.objective.features) is None

    def test_an_encoder_without_weights_is_refused(self):
        config = make_config(features=perceptual.section('mobilenet'))
        with pytest.raises(ValueError, match='without weights'):
            perceptual.load(config.objective.features)

    def test_a_file_without_the_name_of_its_encoder_is_refused(self, tmp_path):
        section = {**perceptual.NONE, 'pretrained': str(tmp_path / 'x.npz')}
        config = make_config(features=section)
        with pytest.raises(FileNotFoundError, match=r'x\.npz does not exist'):
            perceptual.load(config.objective.features)
        (tmp_path / 'x.npz').touch()
        with pytest.raises(ValueError, match='which is no run of skinjax'):
            perceptual.load(config.objective.features)

    def test_no_map_is_refused(self, tmp_path):
        section = {**perceptual.NONE, 'pretrained': str(tmp_path), 'maps': 0}
        with pytest.raises(ValueError, match='maps is 0, expected at least 1'):
            perceptual.load(make_config(features=section).objective.features)

    def test_a_section_of_another_encoder_is_refused(self):
        config = make_config(
            features={**perceptual.section('mobilenet'), 'name': 'vgg', 'pretrained': 'x'}
        )
        with pytest.raises(ValueError, match=r"lacks \['top'\] of 'vgg'"):
            perceptual.load(config.objective.features)

    def test_published_weights(self):
        from tests.helpers import SHARED

        weights = SHARED / 'weights' / 'mobilenet_v2_1.0_224_dequantised_f32.npz'
        if not weights.is_file():
            pytest.skip('no ../shared/weights')
        grey = (128 / 255,) * 3
        section = perceptual.section(
            'mobilenet', padding='tf', mean=grey, std=grey, pretrained=str(weights)
        )
        found = perceptual.load(make_config(features=section).objective.features)
        assert found is not None and found.maps == 3 and found.mean == grey
        images = jnp.asarray(np.random.default_rng(0).random((1, 32, 32, 3)), jnp.float32)
        maps = jax.jit(lambda x: found(found.variables, x))(images)
        assert [x.shape[1:] for x in maps] == [(16, 16, 16), (8, 8, 24), (4, 4, 32)]
        assert all(0.1 < float(x.std()) < 20 for x in maps)

    def test_vgg_is_pooled(self):
        from skinjax.models import vgg

        encoder = vgg.VGG(False, 0)
        image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
        shapes = jax.eval_shape(lambda x: encoder.init(jax.random.key(0), x, False), image)
        features = perceptual.Features(encoder, {}, (0.5,) * 3, (0.5,) * 3, 3, True)
        maps = jax.eval_shape(features, shapes, image)
        assert [x.shape[1:] for x in maps] == [(16, 16, 64), (8, 8, 128), (4, 4, 256)]
