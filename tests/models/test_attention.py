"""CBAM after any encoder: its values, its place among the parameters, weights in files."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from skinjax import config as configs
from skinjax import convert, kinds
from skinjax.models import attention, pretrained
from skinjax.models.attention import CBAM
from skinjax.models.classifier import Classifier
from skinjax.models.options import COMMON, Options
from skinjax.models.tensor_files import write_safetensors
from tests.models import small
from tests.models.sides import random_variables


@pytest.fixture(scope='module')
def narrow() -> Any:
    """(model section with CBAM, variables)."""
    config = kinds.convert('narrow').model
    with config.unlocked():
        config.attention = 'cbam'
    return config, random_variables(convert.abstract(config, 32, 3), np.random.default_rng(0))


def test_gates_without_weights_are_a_quarter():
    x = jax.random.normal(jax.random.key(0), (2, 5, 4, 32))
    init = functools.partial(CBAM().init, train=False)
    variables = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape), jax.eval_shape(init, jax.random.key(0), x)
    )
    found: Any = jax.jit(lambda x: CBAM().apply(variables, x, False))(x)
    np.testing.assert_allclose(found, x / 4, rtol=1e-6)


def test_bfloat16_stays_what_it_is():
    x = jnp.ones((2, 5, 4, 32), jnp.bfloat16)
    net = CBAM(Options(dtype='bfloat16'))
    out, variables = jax.eval_shape(lambda: net.init_with_output(jax.random.key(0), x, True))
    assert out.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype('float32')}


def test_it_refines_the_last_map_and_its_mean(narrow):
    config, variables = narrow
    plain = configs.find('models', config.name).build(config)
    x = jax.random.normal(jax.random.key(1), (2, 32, 32, 3))
    inner = {part: dict(tree['encoder']) for part, tree in variables.items()}
    own = {part: {'attention': tree.pop('attention')} for part, tree in inner.items()}

    @jax.jit
    def run():
        whole: Any = attention.encoder(config).apply(
            {part: {**own[part], **inner[part]} for part in inner}, x, False
        )
        _, maps = plain.apply(inner, x, False)
        gated = CBAM().apply({part: own[part]['attention'] for part in own}, maps[-1], False)
        return whole, maps, gated

    (features, refined), maps, gated = run()
    for have, want in zip(refined, [*maps[:-1], gated], strict=True):
        np.testing.assert_allclose(have, want, atol=1e-6)
    assert np.abs(refined[-1] - maps[-1]).max() > 0.01
    np.testing.assert_allclose(features, gated.mean((1, 2)), atol=1e-6)


def test_weights_of_others_leave_it_as_it_is(narrow, tmp_path):
    """A file of torchvision fills the rest; ours holds it; theirs cannot."""
    config, variables = narrow
    plain = kinds.convert('narrow').model
    bare = {part: {**tree, 'encoder': dict(tree['encoder'])} for part, tree in variables.items()}
    for tree in bare.values():
        del tree['encoder']['attention']
    path = tmp_path / 'w.safetensors'
    write_safetensors(path, pretrained.give(bare, plain, 'torchvision'), {'format': 'pt'})
    loaded = pretrained.load(path, variables, config)
    assert (
        loaded.naming == 'torchvision' and 'attention' not in loaded.variables['params']['encoder']
    )
    jax.tree.map(np.testing.assert_array_equal, loaded.variables, bare)
    with pytest.raises(ValueError, match=r"torchvision has no place for 'encoder/attention.*skinj"):
        pretrained.give(variables, config, 'torchvision')
    write_safetensors(path, pretrained.give(variables, config, 'skinjax'), {'format': 'pt'})
    again = pretrained.load(path, variables, config)
    jax.tree.map(np.testing.assert_array_equal, again.variables, variables)


def test_vgg_without_its_dense_layers_reads_files_that_have_them(tmp_path):
    """The dense layers of a published file stay behind; the one of `hidden` starts as it is."""
    config = ConfigDict({**COMMON, **configs.find('models', 'vgg').DEFAULTS, 'name': 'vgg'})
    config.update(top='mean', leave_out=('head',))
    shapes = convert.abstract(config, 32, 3)
    values = jax.tree.map(lambda leaf: np.full(leaf.shape, 0.5, np.float32), shapes)
    named = pretrained.give(values, config, 'torchvision')
    named |= {f'classifier.{k}.bias': np.zeros(4096, np.float32) for k in (0, 3)}
    write_safetensors(tmp_path / 'w.safetensors', named, {'format': 'pt'})
    for top in ('mean', 'hidden'):
        config.top = top
        shapes = convert.abstract(config, 32, 3)
        loaded = pretrained.load(tmp_path / 'w.safetensors', shapes, config)
        assert loaded.naming == 'torchvision'
        (note,) = loaded.notes
        assert note.endswith('2 arrays of layers that this model has not stay behind')
        assert set(loaded.variables['params']['encoder']) == {f'stage{k}' for k in range(1, 6)}


def test_the_small_head_of_vgg_is_that_of_the_paper():
    """512 on the mean of the last map, then the seven classes."""
    net = Classifier(small.build('vgg', top='hidden'), 7)
    x = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)
    init = functools.partial(net.init_with_output, train=False)
    out, variables = jax.eval_shape(init, jax.random.key(0), x)
    count = sum(leaf.size for leaf in jax.tree.leaves(variables))
    assert count == 14_714_688 + 512 * 513 + 513 * 7
    assert out['features'].shape == (2, 512) and out['logits'].shape == (2, 7)


def test_what_it_cannot_follow_is_refused():
    config = configs.train(model='vgg').model
    config.attention = 'cbam'
    with pytest.raises(ValueError, match=r"model.attention acts .* set config.model.top to 'mean'"):
        attention.encoder(config)
    config.top = 'mean'
    assert isinstance(attention.encoder(config), attention.Attended)
    config.attention = 'cbm'
    with pytest.raises(ValueError, match=r"model.attention is 'cbm': choose one of cbam"):
        attention.encoder(config)
