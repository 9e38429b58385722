"""The editor that changes the tone of skin."""

import numpy as np
import pytest

from skinjax import config as configs
from skinjax import editing, kinds, skin
from skinjax.editors import style
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
    for target, asked in (('ita=-12.5', -12.5), ('monk=7', skin.monk_ita(7))):
        [one] = build(target=target)(examples(1))
        assert style.facts(one)['asked'] == [asked, asked]
        assert angle(one) == pytest.approx(asked, abs=2)


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
        ({'method': 'color'}, "style.method 'color' is unknown; did you mean 'colour'"),
        ({'match': 'histogramm'}, "did you mean 'histogram'"),
        ({'lesion': 'move'}, "style.lesion 'move' is unknown"),
        ({'match': 'reinhard'}, 'takes its statistics from photographs: set style.style'),
        ({'method': 'transfer'}, 'takes its style from photographs: set style.style'),
        ({'feather': -1.0}, 'style.feather is -1.0, expected 0 to 64'),
        ({'seed': -1}, 'style.seed must be at least 0'),
        ({'target': 'VII'}, "style.target: no type 'VII'; did you mean 'VI'"),
        ({'target': 'ita=dark'}, "style.target is 'ita=dark': expected an angle of -60 to 75"),
        ({'target': 'ita=90'}, 'expected an angle'),
        ({'target': 'monk=9'}, "'monk=9': expected a tone of 3 to 8, such as monk=7"),
        ({'target': 'ita=-20', 'style': 'x'}, "target='ita=-20' asks for one angle, but a photog"),
        ({'feather': 4.0}, 'style.feather does nothing with style.match=.tone. and style.lesion='),
        (
            {'transfer': {'steps': 9}},
            "style.transfer.steps does nothing with style.method='colour'",
        ),
        ({'method': 'original', 'style': 'x', 'match': 'reinhard'}, 'style.match does nothing'),
        ({'method': 'original', 'style': 'x', 'lesion': 'keep'}, 'style.lesion does nothing'),
        (
            {'method': 'original', 'style': 'x', 'transfer': {'lesion_weight': 4.0}},
            "style.transfer.lesion_weight does nothing with style.method='original'",
        ),
    ],
)
def test_options(fields, message):
    with pytest.raises(ValueError, match=message):
        build(**fields)


def test_options_that_do_something(styles):
    given = examples(1)
    for fields in ({'lesion': 'keep'}, {'style': styles, 'match': 'reinhard'}):
        wide, narrow = (build(**fields, feather=feather)(given)[0] for feather in (64.0, 0.0))
        assert (wide['image'] != narrow['image']).any()


def test_no_chain_takes_it():
    """Neither of kind 'purify' nor of `data.purify`: nobody would judge or mark its images."""
    for chain in (
        lambda: editing.named('style'),
        lambda: editing.chain(kinds.purify('', ('style',))),
    ):
        with pytest.raises(
            ValueError, match=r"'style' makes images .* kind 'generate' with a style"
        ):
            chain()
