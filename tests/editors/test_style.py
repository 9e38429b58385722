"""The editor that changes the tone of skin."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax import config as configs
from skinjax import editing, kinds, skin
from skinjax.editors import style
from skinjax.styling import features as style_features
from skinjax.styling import methods as style_methods
from skinjax.styling import options as style_options
from tests.styling.test_photos import write
from tests.test_skin import scene

SIDE = 64


def build(transfer=None, **fields):
    options = {**style.DEFAULTS['transfer'], **(transfer or {})}
    values = configs.replaced("editor 'style'", style.DEFAULTS, {**fields, 'transfer': options})
    return style.build(configs.make(values))


def examples(n=4, size=SIDE):
    found = [scene(size, seed=seed) for seed in range(n)]
    return [{'image': image, 'mask': mask, 'label': np.array(1)} for image, mask in found]


@pytest.fixture(scope='module')
def styles(tmp_path_factory):
    return str(write(tmp_path_factory.mktemp('photos') / 'styles'))


def angle(example):
    return skin.median_ita(example['image'], example['mask'])


def test_the_tones_of_a_type():
    given = examples(8)
    before = [one['image'].copy() for one in given]
    found = build(target='V')(given)
    asked = []
    for old, one, image in zip(given, found, before, strict=True):
        np.testing.assert_array_equal(old['image'], image)
        assert set(old) == {'image', 'mask', 'label'} and set(one) == {*old, 'style'}
        facts = style.facts(one)
        assert facts['asked'] == [10, 19] and facts['photo'] == facts['reason'] == ''
        assert angle(one) == pytest.approx(facts['ita'], abs=1.5)
        assert 10 <= angle(one) <= 19
        asked.append(facts['ita'])
    assert len(set(asked)) == 8 and np.ptp(asked) > 2


def test_several_types_and_an_angle():
    kinds_ = {tuple(style.facts(one)['asked']) for one in build(target='I, VI')(examples(12))}
    assert kinds_ == {skin.TYPES['I'], skin.TYPES['VI']}
    default = {tuple(style.facts(one)['asked']) for one in build()(examples(30))}
    assert default == {skin.TYPES[name] for name in ('III', 'IV', 'V', 'VI')}
    [one] = build(target='ita=-12.5')(examples(1))
    assert style.facts(one)['asked'] == [-12.5, -12.5]
    assert angle(one) == pytest.approx(-12.5, abs=2)


def test_one_example_does_not_depend_on_the_others():
    edit, given = build(target='III,VI'), examples()
    together = edit(given)
    for k in (0, 3):
        np.testing.assert_array_equal(edit([given[k]])[0]['image'], together[k]['image'])
    assert edit([]) == []
    other = build(target='III,VI', seed=1)(given)
    assert [style.facts(one)['ita'] for one in other] != [
        style.facts(one)['ita'] for one in together
    ]


@pytest.mark.parametrize('match', ['tone', 'reinhard', 'histogram'])
def test_photographs(styles, match):
    for one in build(style=styles, match=match)(examples(2)):
        facts = style.facts(one)
        assert facts['photo'] == 'dark' and facts['asked'] == [facts['ita']] * 2
        assert facts['ita'] < 0 and angle(one) == pytest.approx(facts['ita'], abs=3)
    assert build(style=styles, match=match, target='VI')
    with pytest.raises(ValueError, match=r'skin of no photograph has such an angle; .* dark -2'):
        build(style=styles, match=match, target='I')


def test_what_cannot_be_edited_says_why():
    image, mask = scene(SIDE)
    grey = np.repeat(image[..., :1], 3, axis=2)
    tiny = {'image': image[:31], 'mask': mask[:31]}
    full = {'image': image, 'mask': np.full_like(mask, 255)}
    given = [tiny, {'image': grey, 'mask': mask}, full]
    for old, one, reason in zip(
        given, build()(given), ('less than 32 pixels', 'no bare skin', 'no bare skin'), strict=True
    ):
        np.testing.assert_array_equal(one['image'], old['image'])
        assert reason in style.facts(one)['reason']


def test_errors_of_examples():
    image, mask = scene(SIDE)
    for example, message in (
        ({'image': image}, "example 1 has no mask of its lesion: use data with masks .* 'segment'"),
        ({'image': image[..., 0], 'mask': mask}, r'expected an image uint8 \[h, w, 3\]'),
        ({'image': image, 'mask': mask[:9]}, r'expected a mask uint8 \[64, 64\], found'),
    ):
        with pytest.raises(ValueError, match=message):
            build()([{'image': image, 'mask': mask}, example])


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'method': 'color'}, "style.method 'color' is unknown; .* did you mean 'colour'"),
        ({'match': 'histogramm'}, "did you mean 'histogram'"),
        ({'lesion': 'move'}, "style.lesion 'move' is unknown"),
        ({'match': 'reinhard'}, 'takes its statistics from photographs: set style.style'),
        ({'method': 'transfer'}, 'takes its style from photographs: set style.style'),
        ({'feather': -1.0}, 'style.feather is -1.0, expected 0 to 64'),
        ({'seed': -1}, 'style.seed must be at least 0'),
        ({'target': 'VII'}, "style.target: no type 'VII'; .* did you mean 'VI'"),
        ({'target': 'ita=dark'}, "style.target is 'ita=dark': expected an angle of -60 to 75"),
        ({'target': 'ita=90'}, 'expected an angle'),
    ],
)
def test_options(fields, message):
    with pytest.raises(ValueError, match=message):
        build(**fields)


def test_in_a_chain():
    config = configs.override(kinds.purify(editors=('style',)), {'editors.style.target': 'VI'})
    [one] = editing.chain(config)(examples(1))
    assert angle(one) < 10


class Layers(nn.Module):
    """A network of two layers, which compiles at once."""

    @nn.compact
    def __call__(self, x, train):
        first = nn.relu(nn.Conv(4, (3, 3))(x))
        second = nn.relu(nn.Conv(6, (3, 3), strides=2)(first))
        return second.mean((1, 2)), [first, second]


@pytest.fixture
def network(monkeypatch):
    """Random features in place of those of a file."""

    def load(config):
        module = Layers()
        variables = dict(module.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)), False))
        return style_features.Features(
            style_features.Network(module, ('map1', 'map2'), ('map2',)), variables
        )

    monkeypatch.setattr(style_features, 'load', load)


def test_transfer_leaves_the_lesion_and_reaches_the_tone(styles, network):
    steps = {'steps': 6, 'chunk': 6}
    given = examples(2, 48)
    matched = build(style=styles)(given)
    found = build(style=styles, method='transfer', transfer=steps)(given)
    for one, colour in zip(found, matched, strict=True):
        lesion = one['mask'] > 0
        np.testing.assert_array_equal(one['image'][lesion], colour['image'][lesion])
        assert (one['image'] != colour['image']).any()
        assert angle(one) == pytest.approx(style.facts(one)['ita'], abs=12)
    np.testing.assert_allclose(
        build(style=styles, method='transfer', transfer=steps)(given[:1])[0]['image'],
        found[0]['image'],
        atol=1,
    )


def test_images_of_one_shape_go_together(styles, monkeypatch):
    shapes = []

    def method(config):
        def run(images, masks, photos):
            shapes.append([image.shape[0] for image in images])
            assert [photo.id for photo in photos] == ['dark'] * len(images)
            return [255 - image for image in images]

        return run

    monkeypatch.setitem(style_methods.METHODS, 'transfer', method)
    image, mask = scene(SIDE)
    given = [*examples(2), *examples(2, 48), *examples(1), {'image': 0 * image, 'mask': mask}]
    matched = build(style=styles)(given)
    found = build(style=styles, method='transfer')(given)
    assert shapes == [[64, 64, 64], [48, 48]]
    for one, colour in zip(found[:5], matched, strict=False):
        np.testing.assert_array_equal(one['image'], 255 - colour['image'])
    assert not found[5]['image'].any() and 'no bare skin' in style.facts(found[5])['reason']


def test_the_original_starts_at_the_style_and_needs_no_mask(styles, network):
    given = [{'image': one['image']} for one in examples(2)]
    found = build(style=styles, method='original', transfer={'steps': 2, 'chunk': 2})(given)
    photo = scene(80, (42.0, 12.0, 19.0))[0]
    for one in found:
        assert style.facts(one)['asked'] is None and style.facts(one)['reason'] == ''
        middle = np.abs(one['image'].astype(float).mean((0, 1)) - photo.mean((0, 1)))
        assert middle.max() < 12
    assert style_options.PUBLISHED['init'] == 'style'
