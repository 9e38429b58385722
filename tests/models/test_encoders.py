"""What every family promises: sizes, maps, options. Shapes and programs only; see also parity."""

import functools
import itertools
import math
import re
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from ml_collections import ConfigDict

from skinjax import config as configs
from skinjax import recipes
from skinjax.models.classifier import Classifier
from skinjax.models.options import COMMON, Options
from tests.models import small

# Parameters of the encoder, and of the published network with its head of 1000 classes.
PARAMETERS = {
    ('resnet', 'resnet18'): (11_176_512, 11_689_512),
    ('resnet', 'resnet34'): (21_284_672, 21_797_672),
    ('resnet', 'resnet50'): (23_508_032, 25_557_032),
    ('resnet', 'resnet101'): (42_500_160, 44_549_160),
    ('resnet', 'resnext50_32x4d'): (22_979_904, 25_028_904),
    ('resnet', 'resnext101_32x8d'): (86_742_336, 88_791_336),
    ('resnet', 'narrow'): (78_160, None),
    ('densenet', 'densenet121'): (6_953_856, 7_978_856),
    ('densenet', 'densenet161'): (26_472_000, 28_681_000),
    ('vgg', 'vgg16'): (134_260_544, 138_357_544),
    ('vgg', 'vgg16_bn'): (134_268_992, 138_365_992),
    ('inception', 'inception_v3'): (21_785_568, 23_834_568),
    ('efficientnet', 'efficientnet_b0'): (4_007_548, 5_288_548),
    ('efficientnet', 'efficientnet_b1'): (6_513_184, 7_794_184),
    ('efficientnet', 'efficientnet_b2'): (7_700_994, 9_109_994),
    ('efficientnet', 'efficientnet_b3'): (10_696_232, 12_233_232),
    ('mobilenet', 'mobilenet_v2'): (2_223_872, 3_504_872),
    ('lesion_cnn', 'max'): (5_177_064, None),
    ('lesion_cnn', 'avg'): (5_177_064, None),
}
FAMILIES = configs.siblings('models', 'classification')
RANDOM = {'efficientnet', 'vgg', 'lesion_cnn'}  # dropout or stochastic depth inside


def network(family: str, **fields: Any) -> Any:
    """A small network with these options."""
    return small.SMALL[family](Options(**fields))


def images(family: str, batch: int = 2, size: int = 0) -> jax.ShapeDtypeStruct:
    side = size or {'inception': 299, 'lesion_cnn': 224}.get(family, 64)
    return jax.ShapeDtypeStruct((batch, side, side, 3), jnp.float32)


@functools.cache
def shapes(net: Any, x: jax.ShapeDtypeStruct) -> tuple[Any, Any]:
    """((features, maps), variables)."""
    init = functools.partial(net.init_with_output, train=True)
    return jax.eval_shape(init, jax.random.key(0), x)


def count(tree: Any) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


@functools.cache
def program(net: Any, x: jax.ShapeDtypeStruct, *, train: bool, keys: bool = False) -> str:
    """The traced forward pass, without the addresses of functions."""
    _, variables = shapes(net, x)
    given = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), len(x))) if keys else None

    def forward(variables, x, keys):
        return net.apply(variables, x, train, keys, mutable=['batch_stats'])

    return re.sub(r'0x\w+', '', str(jax.make_jaxpr(forward)(variables, x, given)))


def test_every_variant_has_a_known_size():
    known = {
        (family, variant)
        for family in FAMILIES
        for module in [configs.find('models', family)]
        for variant in getattr(module, 'VARIANTS', [module.DEFAULTS['variant']])
    }
    assert known == set(PARAMETERS)


@pytest.mark.parametrize(('family', 'variant'), PARAMETERS)
def test_number_of_parameters(family, variant):
    encoder, published = PARAMETERS[family, variant]
    params = small.published_shapes(family, variant)['params']
    assert count(params['encoder']) == encoder
    if published:
        assert count(params) == published


@pytest.mark.parametrize(('size', 'total'), [(224, 5_177_649), (256, 6_160_689)])
def test_parameters_of_the_lesion_network_with_nine_classes(size, total):
    net: Any = Classifier(small.build('lesion_cnn'), 9)
    _, variables = shapes(net, images('lesion_cnn', size=size))
    assert count(variables['params']) == total
    _, bare = shapes(small.build('lesion_cnn', top='mean'), images('lesion_cnn', size=96))
    assert count(bare['params']) == 1_949_096


@pytest.mark.parametrize(('variant', 'total'), [('vgg16', 14_714_688), ('vgg16_bn', 14_723_136)])
def test_parameters_of_the_convolutions_of_vgg(variant, total):
    net: Any = small.build('vgg', variant=variant, top='mean')
    (features, _), variables = shapes(net, images('vgg'))
    assert count(variables['params']) == total
    assert features.shape == (2, 512)


@pytest.mark.parametrize('family', FAMILIES)
def test_maps_are_finest_first_and_halve(family):
    x = images(family)
    (features, maps), _ = shapes(network(family), x)
    assert features.shape[0] == 2
    assert features.dtype == jnp.float32
    sides = [m.shape[1] for m in maps]
    assert len(maps) >= 4
    assert sides[0] >= x.shape[1] / 4
    for fine, coarse in itertools.pairwise(sides):
        assert coarse == fine or 0.44 * fine < coarse <= (fine + 1) / 2
    assert sides[0] / sides[-1] >= 8


@pytest.mark.parametrize('family', FAMILIES)
def test_parameters_do_not_depend_on_the_image_size(family):
    dense = family == 'lesion_cnn'  # its dense layers are made for one size
    net = small.build(family, top='mean') if dense else network(family)
    trees = [shapes(net, images(family, size=s))[1] for s in (96, 128)]
    assert trees[0] == trees[1]


@pytest.mark.parametrize('family', FAMILIES)
def test_bfloat16_computes_while_parameters_stay_float32(family):
    (features, maps), variables = shapes(network(family, dtype='bfloat16'), images(family))
    assert features.dtype == jnp.float32
    assert {m.dtype for m in maps} == {jnp.dtype('bfloat16')}
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype('float32')}


@pytest.mark.parametrize('family', FAMILIES)
def test_rematerialisation_keeps_the_names(family):
    plain, again = (shapes(network(family, remat=r), images(family)) for r in (False, True))
    assert plain == again
    text = program(network(family, remat=True), images(family), train=True)
    assert 'remat' in text or 'checkpoint' in text


@pytest.mark.parametrize('family', FAMILIES)
def test_frozen_normalisation_trains_as_it_evaluates(family):
    x = images(family)
    evaluation = program(network(family), x, train=False)
    assert program(network(family, frozen_norm=True), x, train=True) == evaluation
    assert program(network(family), x, train=True) != evaluation


@pytest.mark.parametrize('family', FAMILIES)
def test_normalisation_in_groups(family):
    with pytest.raises(ValueError, match='norm_groups = 2 does not divide the batch of 3'):
        shapes(network(family, norm_groups=2), images(family, 3))


@pytest.mark.parametrize('family', FAMILIES)
def test_randomness_inside_is_on_only_with_keys(family):
    x = images(family)
    assert 'random_bits' not in program(network(family), x, train=True)
    drawn = 'random_bits' in program(network(family), x, train=True, keys=True)
    assert drawn == (family in RANDOM)


@pytest.mark.parametrize('family', FAMILIES)
def test_options_reach_the_network(family):
    fields = {'norm_groups': 4, 'norm_momentum': 0.8, 'frozen_norm': True, 'dropout': 0.1}
    fields |= {'remat': True, 'dtype': 'bfloat16'}
    assert small.build(family, **fields).options == Options(**fields)


def test_options_reach_the_layers():
    config = ConfigDict({**COMMON, 'norm_groups': 4, 'norm_momentum': 0.8, 'dropout': 0.1})
    options = Options.read(config)
    norm = options.norm(epsilon=1e-3)
    assert (norm.groups, norm.momentum, norm.epsilon) == (4, 0.8, 1e-3)
    assert (options.dropout, options.dtype, norm.frozen) == (0.1, None, False)
    assert Options.read(ConfigDict({})) == Options()
    with pytest.raises(ValueError, match=r"model.dtype is 'float16': choose one of float32, bf"):
        Options.read(ConfigDict({'dtype': 'float16'}))


def test_recipes_state_their_dropout():
    """The unlearning studies have that of the published code, whatever the family's."""
    for config in (recipes.unlearning('clgr'), recipes.double()):
        assert config.model.dropout == 0.5
    assert recipes.finetuning().model.dropout == 0.2


@pytest.mark.parametrize(
    ('family', 'field', 'text'),
    [
        ('vgg', 'top', "model.top is 'no': choose one of fc, mean, hidden"),
        ('lesion_cnn', 'top', "model.top is 'no'"),
        ('mobilenet', 'padding', "model.padding is 'no': choose one of torch, tf"),
        *((family, 'variant', "model.variant is 'no': choose one of") for family in FAMILIES),
    ],
)
def test_unknown_choices_are_refused(family, field, text):
    with pytest.raises(ValueError, match=text):
        small.build(family, **{field: 'no'})
