"""What the gate measures, on images whose answer is known, and what it refuses."""

import csv
from collections import Counter, defaultdict

import cv2
import numpy as np
import pytest
from ml_collections import ConfigDict

from skinjax import skin
from skinjax.data import images, rendering
from skinjax.styling import gate as style_gate
from skinjax.styling import recolour
from tests.helpers import SHARED

SIDE = 64
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE]
RADIUS = np.hypot(ROWS - 31.5, COLUMNS - 31.5)
DISK = RADIUS < 16
DECODE = (images.decode, images.decode_mask)
QUANTILES = (0.01, 0.5, 0.99)
LIMITS = ConfigDict(style_gate.DEFAULTS)


def grey(lightness):
    """An image of the given L, in float as CIE Lab has it."""
    lab = np.stack([lightness, 0 * lightness, 0 * lightness], axis=-1).astype(np.float32)
    return skin.rgb(lab)


def edge(inside, outside, width=2.0):
    """L of a disk with a soft edge."""
    return outside + (inside - outside) / (1 + np.exp((RADIUS - 16) / width))


@pytest.fixture(scope='module')
def lesions():
    pictures = [rendering.render(3, i, i % 2, 64, [], i % 8) for i in range(6)]
    return [(picture.image, picture.mask) for picture in pictures]


def test_nothing_is_new_in_the_same_image(lesions):
    for image, mask in lesions:
        assert style_gate.structure(image, image, mask > 0) == 1
        assert style_gate.boundary(image, image, mask > 0) == pytest.approx(0, abs=1e-6)


def test_brightness_and_contrast_do_not_count():
    texture = 8 * np.sin(ROWS / 2) * np.cos(COLUMNS / 3)
    before = grey(edge(40, 70) + texture)
    after = grey(30 + 0.7 * (edge(40, 70) + texture))
    assert style_gate.structure(before, after, DISK) > 0.99
    assert style_gate.boundary(before, after, DISK) < 0.03


def test_structure_falls_with_what_is_lost_or_gained():
    texture = 16 * cv2.GaussianBlur(np.random.default_rng(0).normal(0, 1, DISK.shape), (0, 0), 1)
    before = grey(50 + texture)
    found = [
        style_gate.structure(before, image, DISK)
        for image in (
            cv2.GaussianBlur(before, (0, 0), 2),
            grey(50 + np.roll(texture, 6, 0)),
            grey(50 - texture),
            grey(0 * texture + 50),
        )
    ]
    assert found[0] < 0.9 and found[1] < 0.5 and found[2] < -0.8 and found[3] == 0
    flat, other = (grey(0 * texture + value) for value in (50, 30))
    assert style_gate.structure(flat, before, DISK) == 0
    assert style_gate.structure(flat, other, DISK) == 1
    assert np.isnan(style_gate.structure(before, before, np.zeros_like(DISK)))


def test_boundary_is_the_part_of_the_steps_that_no_scale_explains():
    """A halo beside the outline, a lesion turned lighter than its skin, and a new seam."""
    before = grey(edge(40, 70))
    halo = grey(edge(30, 50) + 20 * np.exp(-(((RADIUS - 19) / 1.5) ** 2)))
    assert style_gate.boundary(before, halo, DISK) > 0.5
    # All slopes are reversed: the best scale is 0, and what is left are the slopes themselves.
    lighter = grey(edge(70, 40))
    assert style_gate.boundary(before, lighter, DISK) == pytest.approx(1, abs=0.05)
    # Plain skin is divided by the least slope: 0.25 L in a hundredth of the diagonal.
    plain, seam = grey(np.full((SIDE, SIDE), 60.0)), grey(np.where(DISK, 55.0, 60.0))
    assert style_gate.boundary(plain, seam, DISK) > 1
    assert np.isnan(style_gate.boundary(before, halo, np.zeros_like(DISK)))
    for measure in (style_gate.boundary, style_gate.structure):
        with pytest.raises(ValueError, match='images and mask of one size expected'):
            measure(before, halo, DISK[1:])


def spoilt(image, mask, good):
    """What can go wrong with a recoloured image, by name; sizes are shares of the side."""
    side = len(image)
    square = np.ones((2 * round(0.03 * side) + 1,) * 2, np.uint8)
    rim = (mask > 0) & (cv2.erode(mask, square) == 0)
    jpeg = cv2.imdecode(cv2.imencode('.jpg', good, [cv2.IMWRITE_JPEG_QUALITY, 20])[1], 1)
    return {
        'lesion left as it was': np.where(mask[..., None] > 0, image, good),
        'a rim left as it was': np.where(rim[..., None], image, good),
        'moved by 5 %': np.roll(good, round(0.05 * side), 1),
        'blurred by 2.5 %': cv2.GaussianBlur(good, (0, 0), side / 40),
        'JPEG of quality 20': jpeg,
    }


def test_recolouring_passes_and_what_spoils_it_does_not(lesions):
    """The limits stand between them; docs/style.md has the figures of many images."""
    refused = Counter()
    for k, (image, mask) in enumerate(lesions):
        good = recolour.recolour(image, mask, 0.0)
        asked = (-10.0, 10.0)
        found = style_gate.measure(image, good, mask > 0, asked)
        assert style_gate.reasons(found, LIMITS) == []
        assert found['ita_after'] == pytest.approx(0, abs=2)
        other, around = lesions[k - 1]
        bad = {**spoilt(image, mask, good), 'another': recolour.recolour(other, around, 0.0)}
        for name, made in bad.items():
            reasons = style_gate.reasons(style_gate.measure(image, made, mask > 0, asked), LIMITS)
            refused[name] += bool(reasons)
    assert refused['moved by 5 %'] == refused['another'] == 6
    assert refused['JPEG of quality 20'] == 6 and refused['blurred by 2.5 %'] >= 5
    assert refused['lesion left as it was'] >= 3  # where skin was light


def photographs(source, n):
    """Images and masks of training rows, evenly."""
    root = SHARED / 'data' / source
    if not root.is_dir():
        return
    with (root / 'labels.csv').open(encoding='utf-8', newline='') as file:
        rows = [r for r in csv.DictReader(file) if r['mask'] and r.get('split', 'train') == 'train']
    for k in np.linspace(0, len(rows) - 1, n).astype(int):
        places = (root / rows[k][name] for name in ('image', 'mask'))
        yield tuple(f(place, 256) for f, place in zip(DECODE, places, strict=True))


def synthetic(size, n):
    for k in range(n):
        picture = rendering.render(5, k, k % 2, size, [], k % 8)
        yield picture.image, picture.mask


@pytest.mark.slow
def test_the_limits_stand_between_good_and_spoilt_images():
    """The table of docs/style.md."""
    sources = {
        'synthetic, 64': synthetic(64, 60),
        'synthetic, 256': synthetic(256, 60),
        'ISIC 2017': photographs('isic2017', 200),
        'HAM10000': photographs('ham10000', 200),
    }
    rng, found, skinless = np.random.default_rng(0), defaultdict(list), Counter()
    for source, pairs in sources.items():
        for image, mask in pairs:
            if not len(skin.skin_pixels(image, mask)):
                skinless[source] += 1
                continue
            asked = skin.TYPES[('III', 'IV', 'V', 'VI')[rng.integers(4)]]
            good = recolour.recolour(image, mask, float(rng.uniform(*asked)))
            shift = recolour.recolour(image, mask, float(rng.uniform(*asked)), lesion='shift')
            for name, made in {
                'recoloured': good,
                "recoloured, lesion='shift'": shift,
                **spoilt(image, mask, good),
            }.items():
                one = style_gate.measure(image, made, mask > 0, asked)
                found[source, name].append((one, bool(style_gate.reasons(one, LIMITS))))
    assert max(skinless.values(), default=0) <= 6, skinless
    for (source, name), images_ in found.items():
        refused = np.mean([bad for _, bad in images_])
        cells = [
            ' '.join(
                f'{v:.3f}' for v in np.nanquantile([one[key] for one, _ in images_], QUANTILES)
            )
            for key in ('structure', 'boundary', 'ita_error')
        ]
        print(
            f'| {source} | {name} | {len(images_)} | {" | ".join(cells)} | {100 * refused:.0f} % |'
        )
        if name == 'recoloured':
            assert refused <= 0.03
        if name in ('moved by 5 %', 'JPEG of quality 20', 'blurred by 2.5 %'):
            assert refused >= 0.9


def test_angles_are_measured_against_the_range(lesions):
    image, mask = lesions[0]
    made = recolour.recolour(image, mask, 15.0)
    angle = skin.median_ita(made, mask)
    for asked, error in (
        ((10.0, 19.0), 0),
        ((20.0, 30.0), 20 - angle),
        ((-5.0, 5.0), angle - 5),
        (None, 0),
    ):
        found = style_gate.measure(image, made, mask > 0, asked)
        assert found['ita_error'] == pytest.approx(error, abs=1e-6)
        assert found['ita_before'] == skin.median_ita(image, mask)
    grey_image = np.full_like(image, 128)
    found = style_gate.measure(image, grey_image, mask > 0, (0.0, 1.0))
    assert np.isnan(found['ita_after'])
    assert 'no skin is found in the styled image' in style_gate.reasons(found, LIMITS)


GOOD = {
    'structure': 0.99,
    'ita_before': 60.0,
    'ita_after': 12.0,
    'ita_error': 0.0,
    'boundary': 0.05,
    'novelty': 0.01,
    'change': -0.1,
}


@pytest.mark.parametrize(
    ('fields', 'reason'),
    [
        ({}, []),
        ({'structure': np.nan}, ['structure is unknown: there is no lesion']),
        ({'boundary': np.nan}, ['boundary is unknown: the lesion has no outline']),
        ({'structure': 0.5}, ['structure 0.500 is below 0.9']),
        ({'ita_error': 6.25}, ['ita 12.0 is 6.2 degrees off']),
        ({'boundary': 1.5}, ['boundary 1.500 is above 0.3']),
        ({'change': -0.625}, ['change -0.625 is more than 0.5']),
        ({'change': np.nan}, ['change +nan is more than 0.5']),
        ({'novelty': 0.0001}, ['novelty 0.0001 is below 0.001']),
    ],
)
def test_reasons(fields, reason):
    assert style_gate.reasons(GOOD | fields, LIMITS) == reason


def test_limits_that_let_all_pass_let_the_unknown_pass():
    unknown = GOOD | {'structure': np.nan, 'boundary': np.nan}
    limits = LIMITS.copy_and_resolve_references()
    limits.least_structure, limits.most_boundary = -1.0, 1e9
    style_gate.check(limits)
    assert len(style_gate.reasons(unknown, LIMITS)) == 2
    assert style_gate.reasons(unknown, limits) == []


@pytest.mark.parametrize(
    ('name', 'value'),
    [('least_structure', 2.0), ('ita_tolerance', -1.0), ('most_change', 1.5)],
)
def test_limits_out_of_range(name, value):
    with pytest.raises(ValueError, match=f'config.gate.{name} is {value}, expected'):
        style_gate.check(ConfigDict({**style_gate.DEFAULTS, name: value}))
