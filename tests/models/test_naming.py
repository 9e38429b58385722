"""Names for a model file that has no table of them."""

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from skinjax import config as configs
from skinjax import convert, kinds
from skinjax.models import pretrained
from tests.helpers import LINEAR


@pytest.fixture(scope='module')
def nameless():
    """(model section, shapes, values) of a network without NAMES."""
    config = configs.train(model=LINEAR).model
    shapes = convert.abstract(config, 4, 3)
    rng = np.random.default_rng(0)
    return config, shapes, jax.tree.map(lambda s: rng.normal(size=s.shape).astype('f'), shapes)


@pytest.mark.parametrize('naming', ['', 'skinjax'])
def test_our_own_names_are_written_and_read(nameless, naming, tmp_path):
    config, shapes, values = nameless
    arrays = pretrained.give(values, config, naming)
    assert set(arrays) == {
        f'params/{name}' for name in ('encoder/out/kernel', 'head/kernel', 'head/bias')
    }
    save_file(arrays, tmp_path / 'w.safetensors')
    loaded = pretrained.load(tmp_path / 'w.safetensors', shapes, config)
    assert loaded.naming == 'skinjax'
    jax.tree.map(np.testing.assert_array_equal, loaded.variables, values)


def test_names_that_are_not_there(nameless):
    config, _, values = nameless
    with pytest.raises(ValueError, match=r"no 'timm' names for .*; there are: skinjax$"):
        pretrained.give(values, config, 'timm')


def test_a_family_with_names_has_ours_too():
    config = kinds.convert('narrow').model
    values = jax.tree.map(lambda s: np.ones(s.shape, 'f'), convert.abstract(config, 32))
    first, own = (pretrained.give(values, config, naming) for naming in ('', 'skinjax'))
    assert 'conv1.weight' in first
    assert own['params/encoder/stem_conv/conv/kernel'].shape == (5, 5, 3, 16)
    with pytest.raises(ValueError, match='there are: torchvision, timm, skinjax'):
        pretrained.give(values, config, 'keras')
