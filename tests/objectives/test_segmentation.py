"""The segmentation objective: losses by hand, who is learned from, one step, the crop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax import config as configs
from skinjax.data.channels import channels
from skinjax.engine import state
from skinjax.engine.objective import Moment
from skinjax.engine.step import make_step
from skinjax.objectives import segmentation
from tests.helpers import tiny_data

KEY = jax.random.key(0)


def make_config(**fields):
    config = configs.train(
        configs.plugin('objectives', 'segmentation', **fields),
        model=configs.plugin('models', 'tests.objectives.one_conv'),
    )
    config.data.image_size, config.data.with_mask = 12, True
    config.optimizer.update(name='adam', learning_rate=0.05)
    return config


def build(**fields):
    return segmentation.build(make_config(**fields), tiny_data(8), 10)


@pytest.fixture(scope='module')
def batch():
    """Six images; dark pixels are lesion. Row 4 has no mask, row 5 is padding."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (6, 12, 12, 3)).astype(np.uint8)
    mask = np.where(image.mean(-1) < 120, 255, 0).astype(np.uint8)
    has = np.array([1, 1, 1, 1, 0, 0], bool)
    valid = np.array([1, 1, 1, 1, 1, 0], bool)
    mask[~has] = 0
    return jax.tree.map(
        jnp.asarray,
        {
            'image': image,
            'mask': mask,
            'has_mask': has,
            'valid': valid,
            'label': np.zeros(6, np.int32),
        },
    )


def start(objective, batch):
    return state.create(objective, KEY, batch, ema=False)


def loss(objective, now, batch):
    moment = Moment(jax.random.split(KEY, len(batch['label'])), jnp.asarray(0))
    return objective.phases[0].loss(now.variables(), batch, moment).losses


def test_cross_entropy_and_dice_by_hand(batch):
    objective = build(dice=0.5)
    now = start(objective, batch)
    found = loss(objective, now, batch)
    p = np.asarray(objective.predict(now.variables(), batch['image'])['probability'], np.float64)
    assert p.shape == (6, 12, 12) and p.min() > 0 and p.max() < 1
    y = np.asarray(batch['mask']) / 255
    bce = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean((1, 2))
    np.testing.assert_allclose(found['bce'].values, bce, rtol=1e-4)
    dice = [
        1 - (2 * (a * b).sum() + 1) / (a.sum() + b.sum() + 1) for a, b in zip(p, y, strict=True)
    ]
    np.testing.assert_allclose(found['dice'].values, dice, rtol=1e-4)
    assert found['dice'].scale == 0.5
    for term in found.values():
        assert term.weights.tolist() == [1, 1, 1, 1, 0, 0]


def test_rows_without_a_mask_move_nothing(batch):
    objective = build()
    now, step = start(objective, batch), jax.jit(make_step(objective))
    other = {**batch, 'image': batch['image'].at[4:].set(7), 'mask': batch['mask'].at[4:].set(255)}
    one, metrics = step(now, batch, KEY)
    two, again = step(now, other, KEY)
    assert set(one.params) == {'segmenter'} and 'main/dice' not in metrics
    assert metrics['main/bce'] == again['main/bce']
    jax.tree.map(np.testing.assert_array_equal, one.params, two.params)
    moved = jax.tree.map(lambda a, b: bool((a != b).all()), one.params, now.params)
    assert all(jax.tree.leaves(moved))


def test_it_learns_dark_pixels(batch):
    objective = build(dice=1.0)
    now, step = start(objective, batch), jax.jit(make_step(objective))
    losses = []
    for _ in range(60):
        now, metrics = step(now, batch, KEY)
        losses.append(float(metrics['main/bce']))
    assert losses[-1] < 0.3 * losses[0]


def test_the_crop_takes_image_and_mask_alike(batch):
    whole, cut = build(), build(crop=2)
    now = start(cut, batch)
    inner = {**batch, 'image': batch['image'][:, 2:-2, 2:-2], 'mask': batch['mask'][:, 2:-2, 2:-2]}
    variables = now.variables()
    found = cut.predict(variables, batch['image'])['probability']
    assert found.shape == (6, 8, 8)
    np.testing.assert_array_equal(found, whole.predict(variables, inner['image'])['probability'])
    np.testing.assert_array_equal(
        loss(cut, now, batch)['bce'].values, loss(whole, now, inner)['bce'].values
    )


def test_the_network_sees_the_channels_that_are_asked_for(batch):
    for compat in (False, True):
        objective = build(compat=compat)
        now = start(objective, batch)
        kernel = now.params['segmenter']['out']['kernel']
        middle = jnp.zeros_like(kernel).at[1, 1, 6].set(1.0)
        now.params['segmenter']['out']['kernel'] = middle
        found = objective.predict(now.variables(), batch['image'])['probability']
        seen = channels(batch['image'], compat=compat)[..., 6]
        np.testing.assert_allclose(found, jax.nn.sigmoid(seen), atol=1e-6)


def test_what_cannot_work_is_said(batch):
    config = make_config()
    config.data.with_mask = False
    with pytest.raises(ValueError, match=r'set config\.data\.with_mask to True'):
        segmentation.build(config, tiny_data(8), 10)
    for crop in (6, -1):
        with pytest.raises(
            ValueError, match=f'crop is {crop}: of images of 12 pixels between 0 an'
        ):
            build(crop=crop)
