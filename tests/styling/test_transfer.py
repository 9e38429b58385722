"""Style transfer with a small network: what is optimised, from where, and what has a part in it."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax.models.layers import ReLU
from skinjax.models.options import Options
from skinjax.models.pooling import MaxPool
from skinjax.styling import options as style_options
from skinjax.styling import transfer as st
from skinjax.styling.features import Features, Network
from skinjax.styling.options import DEFAULTS, FIELDS, PUBLISHED

SIDE = 16


class Small(nn.Module):
    """Two convolutions with rectifier and pooling; maps after each."""

    @nn.compact
    def __call__(self, images, train, keys=None):
        x, maps = images, []
        for i in range(2):
            x = ReLU(name=f'relu{i}')(Options().conv(6, 3, use_bias=True, name=f'conv{i}')(x))
            x = MaxPool(2, 2, name=f'pool{i}')(x)
            maps.append(x)
        return x.mean((1, 2)), maps


def pictures(n: int, seed: int) -> jax.Array:
    rng = np.random.default_rng([3, seed])
    return jnp.asarray(rng.uniform(0.1, 0.9, (n, SIDE, SIDE, 3)), jnp.float32)


@pytest.fixture(scope='module')
def features() -> Features:
    module: Any = Small()
    variables = module.init(jax.random.key(0), jnp.zeros((1, SIDE, SIDE, 3)), False)
    return Features(Network(module, ('relu0', 'map2'), ('map2',)), variables)


CONTENT, STYLE = pictures(2, 0), pictures(2, 1)
SQUARE = jnp.zeros((2, SIDE, SIDE)).at[:, 4:10, 5:9].set(1)


def run(features, *, mask=None, seed=0, content=CONTENT, style=STYLE, **fields):
    """Images and losses with options other than the defaults."""
    others = ('start', 'unseen', 'style_unseen', 'say', 'form', 'keys')
    more = {name: fields.pop(name) for name in others if name in fields}
    options = st.Options.read({**DEFAULTS, 'steps': 4, 'chunk': 4, 'variation': 0.0, **fields})
    keys = more.pop('keys', jax.random.split(jax.random.key(seed), len(content)))
    return st.transfer(features, content, style, mask, options, keys, **more)


PLAIN: dict[str, Any] = {'param': 'clip', 'schedule': 'constant'}


def test_losses_at_the_start(features):
    """Of a style zero style, of a content zero content; the other is not zero."""
    _, losses = run(features, init='style', **PLAIN)
    assert not losses['style'][:, 0].any() and (losses['content'][:, 0] > 0).all()
    _, losses = run(features, init='content', **PLAIN)
    assert not losses['content'][:, 0].any() and (losses['style'][:, 0] > 0).all()
    assert {name: found.shape for name, found in losses.items()} == dict.fromkeys(
        ('total', 'style', 'content'), (2, 4)
    )


def test_gradients_at_the_start(features):
    """Of what is zero they are zero, as well; else the image moves."""
    still, _ = run(features, init='style', content_weight=0.0, **PLAIN)
    np.testing.assert_allclose(still, STYLE, atol=1e-7)
    still, _ = run(features, init='content', style_weight=0.0, **PLAIN)
    np.testing.assert_allclose(still, CONTENT, atol=1e-7)
    for moved, start in (
        (run(features, init='content', content_weight=0.0, **PLAIN)[0], CONTENT),
        (run(features, init='style', style_weight=0.0, **PLAIN)[0], STYLE),
    ):
        assert float(jnp.abs(moved - start).max()) > 0.01


@pytest.mark.parametrize(
    'fields',
    [
        {'optimizer': 'adam', 'param': 'clip', 'learning_rate': 0.05},
        {'optimizer': 'adam', 'learning_rate': 0.05},
        {'optimizer': 'lbfgs', 'steps': 8, 'chunk': 8},
    ],
)
def test_images_get_better_from_noise(features, fields):
    before = jax.tree.map(np.asarray, features.variables)
    found, losses = run(features, **{'init': 'noise', 'steps': 50, 'chunk': 50, **fields})
    assert ((found >= 0) & (found <= 1)).all() and np.isfinite(losses['total']).all()
    assert (losses['total'][:, -1] < 0.5 * losses['total'][:, 0]).all()
    total = losses['content'] + losses['style']
    np.testing.assert_allclose(losses['total'], total, rtol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, features.variables, before)


def test_the_key_chunks_and_company_of_an_image(features):
    fields = {'init': 'noise', 'steps': 7}
    found, losses = run(features, **fields, chunk=7)
    again, parts = run(features, **fields, chunk=3)
    np.testing.assert_allclose(again, found, atol=1e-6)
    np.testing.assert_allclose(parts['total'], losses['total'], rtol=1e-5)
    other, _ = run(features, **fields, chunk=7, seed=1)
    assert float(jnp.abs(other - found).max()) > 0.1
    keys = jax.random.split(jax.random.key(0), 2)
    for init in ('content', 'noise'):
        together, _ = run(features, init=init, keys=keys)
        alone, _ = run(features, init=init, content=CONTENT[1:], style=STYLE[1:], keys=keys[1:])
        np.testing.assert_allclose(alone, together[1:], atol=1e-6)
    said = []
    run(
        features, **fields, chunk=3, say=lambda done, part: said.append((done, part['total'].shape))
    )
    assert said == [(3, (2, 3)), (6, (2, 3)), (7, (2, 1))]


@pytest.mark.parametrize('optimizer', ['adam', 'lbfgs'])
def test_both_forms_of_the_loop_do_the_same(features, optimizer):
    """Also for a last chunk with fewer steps, and for more steps than a chunk has at once."""
    fields = {'optimizer': optimizer, 'steps': 7, 'chunk': 3}
    image, losses = run(features, **fields, form='steps')
    other, again = run(features, **fields, form='loop')
    np.testing.assert_allclose(other, image, atol=1e-5)
    assert float(jnp.abs(image - CONTENT).max()) > 0.01
    for name in losses:
        assert again[name].shape == (2, 7)
        np.testing.assert_allclose(again[name], losses[name], rtol=1e-4, atol=1e-6)
    options = st.Options.read({**DEFAULTS, 'variation': 0.0, **fields})
    loop = st.Loop(features.network, options, 'loop')
    zeros = jnp.zeros((2, SIDE, SIDE))
    aim = loop.aim(features.variables, CONTENT, zeros, STYLE, zeros)
    state, whole = loop.advance(features.variables, aim, loop.begin(CONTENT), 7)
    np.testing.assert_allclose(whole['total'], losses['total'], rtol=1e-4)
    np.testing.assert_allclose(options.pixels(state[0]), image, atol=1e-5)


def test_a_given_start_and_one_style_of_another_size(features):
    wide = jnp.asarray(np.random.default_rng(0).random((1, 20, 24, 3)), jnp.float32)
    start = pictures(2, 5)
    one, _ = run(features, style=wide, start=start, **PLAIN, learning_rate=1e-6)
    np.testing.assert_allclose(one, start, atol=1e-5)
    each, _ = run(features, style=jnp.repeat(wide, 2, 0), start=start, **PLAIN)
    np.testing.assert_array_equal(run(features, style=wide, start=start, **PLAIN)[0], each)


def test_an_empty_mask_changes_nothing(features):
    empty = jnp.zeros((2, SIDE, SIDE))
    plain, masked = run(features)[0], run(features, mask=empty, style_unseen=empty)[0]
    np.testing.assert_array_equal(plain, masked)
    flat: dict[str, Any] = {'lesion_weight': 1.0}
    lesion = run(features, mask=SQUARE, **flat)[0]
    np.testing.assert_allclose(run(features, unseen=SQUARE, **flat)[0], lesion, atol=1e-6)
    both = run(features, mask=SQUARE, unseen=empty, **flat)[0]
    np.testing.assert_allclose(both, run(features, **flat)[0], atol=1e-6)
    assert float(jnp.abs(run(features, mask=SQUARE)[0] - plain).max()) > 1e-3


def aims(features, style, other, options) -> st.Aims:
    zeros = jnp.zeros((2, SIDE, SIDE))
    return st.Loop(features.network, options).aim(features.variables, CONTENT, zeros, style, other)


def test_a_lesion_in_the_style_image_has_no_part(features):
    """With its surroundings as far as the layers see, it does not change the Gram matrices at all;

    without, that of the first layer from pixels in its middle.
    """
    options = st.Options.read(DEFAULTS)
    wide = jnp.zeros((2, SIDE, SIDE)).at[:, 1:13, 2:12].set(1)  # 3 pixels of reach
    other = jnp.where(SQUARE[..., None] > 0, 1.0, STYLE)
    a, b = (aims(features, style, wide, options).grams for style in (STYLE, other))
    jax.tree.map(np.testing.assert_array_equal, a, b)
    middle = STYLE.at[:, 5:9, 6:8].set(1.0)
    a, b = (aims(features, style, SQUARE, options).grams[0] for style in (STYLE, middle))
    np.testing.assert_array_equal(a, b)
    unmasked = jnp.zeros((2, SIDE, SIDE))
    a, b = (aims(features, style, unmasked, options).grams[0] for style in (STYLE, other))
    assert float(jnp.abs(a - b).max()) > 0.01


def test_content_counts_more_within_the_lesion(features):
    """The same change costs more there, and the more the greater the weight."""
    options = dataclasses.replace(st.Options.read(DEFAULTS), style_weight=0.0, variation=0.0)
    found = []
    for weight in (1.0, 10.0):
        now = dataclasses.replace(options, lesion_weight=weight)
        loop = st.Loop(features.network, now)
        zeros = jnp.zeros((2, SIDE, SIDE))
        aim = loop.aim(features.variables, CONTENT, SQUARE, STYLE, zeros)
        aim = jax.tree.map(lambda x: x[0], aim)
        spots = [CONTENT[0].at[rows, 5:8].add(0.1) for rows in (slice(5, 8), slice(13, 16))]
        inside, outside = (
            st.losses(features.network, now, features.variables, aim, image)[0] for image in spots
        )
        found.append(float(inside / outside))
    assert found[1] > 2 * found[0]


def test_defaults_and_published_options_are_readable():
    st.Options.read(DEFAULTS)
    assert st.Options.read({**DEFAULTS, **PUBLISHED}).steps == 5000
    assert set(PUBLISHED) <= set(DEFAULTS)


def test_fields_that_are_set_stand():
    """Those of a preset, too, where they are the defaults of the other; weights are of the norm."""
    for preset, values in style_options.PRESETS.items():
        assert style_options.resolved(FIELDS, preset) == {'preset': preset, **values}
        named = {**FIELDS, 'preset': preset}
        assert style_options.resolved(named, 'default') == {'preset': preset, **values}
    own = {name: DEFAULTS[name] for name in ('steps', 'init', 'bn', 'style_pool', 'param')}
    found = style_options.resolved({**FIELDS, **own}, 'published')
    assert {name: found[name] for name in own} == own
    assert found['network'] == 'lesion_cnn' and found['style_weight'] == 1e8
    quick = style_options.resolved(
        {**FIELDS, 'optimizer': 'lbfgs', 'param': 'sigmoid'}, 'published'
    )
    assert st.Options.read(quick).optimizer == 'lbfgs'
    given = {**FIELDS, 'norm': 'mean', 'content_weight': 0.0}
    found = style_options.resolved(given, 'default')
    assert (found['content_weight'], found['style_weight']) == (0, 1e3)


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'preset': 'publish'}, 'style.transfer.preset is .publish.: choose one of default, publ'),
        ({'norm': 'meen'}, 'style.transfer.norm'),
        ({'optimizer': 'lbfgs', 'schedule': 'cosine'}, 'schedule does nothing beside .* .lbfgs.'),
        ({'optimizer': 'lbfgs', 'learning_rate': 0.02}, 'learning_rate does nothing'),
    ],
)
def test_fields_that_mean_nothing(fields, message):
    with pytest.raises(ValueError, match=message):
        style_options.resolved({**FIELDS, **fields}, 'default')


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'norm': 'meen'}, 'transfer.norm'),
        ({'variation': -1.0}, 'style.transfer.variation must be at least 0'),
        ({'form': 'scan'}, "form is 'scan': choose one of loop, steps"),
        ({'keys': jax.random.split(jax.random.key(0), 3)}, r'keys are \[3\] for 2 images'),
        ({'unseen': SQUARE[:, :8]}, r'unseen is \[2, 8, 16\]'),
        ({'optimizer': 'lbfgs', 'param': 'clip'}, 'line search'),
        ({'steps': 0}, 'must be positive'),
        ({'layer_weights': (1.0,)}, '1 for 2 layers of style: relu0, map2'),
        ({'style': pictures(3, 0)}, '3 style images for 2'),
        ({'style': STYLE[:, :8], 'init': 'style'}, r"init 'style' needs a style of \[16, 16\]"),
        ({'mask': SQUARE[:, :8]}, r'mask is \[2, 8, 16\]'),
        ({'start': CONTENT[:1]}, 'start is'),
    ],
)
def test_what_does_not_fit(features, fields, message):
    with pytest.raises(ValueError, match=message):
        run(features, **fields)
