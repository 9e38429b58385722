"""Detectors on drawn images, and (slow) against the human flags of ISIC 2017 and HAM10000's ITA."""

import cv2
import numpy as np
import pytest

from skinjax import bootstrap
from skinjax.data import detectors, images
from skinjax.data.records import Records
from skinjax.data.table import read_table
from tests.helpers import ISIC2017, SHARED

HAM10000 = SHARED / 'data' / 'ham10000'
SKIN, DARK = (205, 160, 140), (60, 40, 35)


@pytest.fixture(scope='module')
def plain():
    """Skin with a round lesion."""
    image = np.full((256, 256, 3), SKIN, np.uint8)
    cv2.circle(image, (128, 128), 45, (120, 70, 50), -1)
    noise = np.random.default_rng(0).normal(0, 2, image.shape)
    return np.clip(cv2.GaussianBlur(image, (0, 0), 2) + noise, 0, 255).astype(np.uint8)


def with_dark_corner(image):
    """Black beyond a circle that leaves one corner only in the dark."""
    rows, columns = np.mgrid[:256, :256]
    return np.where(np.hypot(rows - 140, columns - 140)[..., None] > 170, 5, image).astype(np.uint8)


def with_hair(image):
    for k in range(0, 256, 20):
        cv2.line(image, (k, 0), (k + 60, 255), DARK, 2)
    return image


def with_ruler(image):
    for k in range(10, 250, 12):
        cv2.line(image, (k, 235), (k, 246), DARK, 1)
    return image


def with_ink(image):
    cv2.line(image, (20, 30), (60, 60), (120, 60, 180), 5)
    return image


def with_patch(image):
    cv2.circle(image, (250, 60), 40, (60, 180, 90), -1)
    return image


DRAWN = {
    'dark_corner': with_dark_corner,
    'hair': with_hair,
    'ruler': with_ruler,
    'ink': with_ink,
    'patches': with_patch,
}


@pytest.mark.parametrize('size', [256, 384])
@pytest.mark.parametrize('name', DRAWN)
def test_each_artefact_is_told_from_plain_skin_at_any_size(plain, name, size):
    score, limit = detectors.ARTEFACTS[name]
    plain_sized = images.fit(plain, size)
    drawn = images.fit(DRAWN[name](plain.copy()), size)
    assert score(plain_sized) < limit <= score(drawn)


@pytest.mark.parametrize(
    ('hsv', 'share'),
    [
        ((127, 105, 63), 1.0),
        ((143, 250, 250), 1.0),
        ((122, 200, 200), 0.0),
        ((148, 200, 200), 0.0),
        ((135, 94, 200), 0.0),
        ((135, 200, 56), 0.0),
    ],
)
def test_gentian_violet_is_the_published_box(hsv, share):
    """H 125 to 145 of 180, S from 100 and V from 60: colours just inside and just outside."""
    image = np.full((256, 256, 3), hsv, np.uint8)
    assert detectors.gentian_violet(cv2.cvtColor(image, cv2.COLOR_HSV2RGB)) == share


def test_ita_of_the_formula():
    """spec/01, section 8, and type 6 only where the published arctangent makes it so."""
    L, b = np.array([70.0, 60.0, 70.0, 50.0, 20.0]), np.array([15.0, 20.0, -15.0, 10.0, 10.0])
    found = detectors.angle(L, b)
    np.testing.assert_allclose(found[:2], [53.130102, 26.565051], atol=1e-5)
    assert detectors.skin_type(found).tolist() == [2, 4, 1, 6, 6]
    published = detectors.angle(L, b, 'sdu')
    np.testing.assert_allclose(published[[0, 1, 3, 4]], found[[0, 1, 3, 4]])
    assert detectors.skin_type(published)[2] == 6
    limits = np.array([55.1, 55, 41.1, 41, 28.1, 28, 19.1, 19, 10.1, 10])
    assert detectors.skin_type(limits).tolist() == [1, 2, 2, 3, 3, 4, 4, 5, 5, 6]


def lab_image(L, b):
    lab = np.full((256, 256, 3), (L, 8, b), np.float32)
    return np.rint(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB) * 255).astype(np.uint8)


def test_ita_is_that_of_the_lightest_patch_without_hair(plain):
    image = lab_image(65, 20)
    expected = float(detectors.angle(np.array([65.0]), np.array([20.0]))[0])
    assert detectors.ita(image) == pytest.approx(expected, abs=1)
    image[216:236, 20:40] = lab_image(75, 15)[0, 0]
    expected = float(detectors.angle(np.array([75.0]), np.array([15.0]))[0])
    assert detectors.ita(image) == pytest.approx(expected, abs=1.5)
    hairy = with_hair(lab_image(65, 20))
    assert detectors.hair_mask(hairy).mean() > 0.05
    bare = detectors.ita(lab_image(65, 20))
    assert detectors.ita(hairy) == pytest.approx(bare, abs=1.5)
    assert not detectors.hair_mask(detectors.without_hair(hairy)).any()
    blue = lab_image(70, -10)
    assert detectors.skin_type(
        np.array([detectors.ita(blue), detectors.ita(blue, 'sdu')])
    ).tolist() == [1, 6]
    with pytest.raises(ValueError, match="compat='x'; expected"):
        detectors.ita(blue, 'x')


def test_images_without_anything_have_finite_scores():
    for value in (0, 255):
        image = np.full((40, 60, 3), value, np.uint8)
        scores = [score(image) for score, _ in detectors.ARTEFACTS.values()]
        assert np.isfinite([*scores, detectors.ita(image), detectors.ita(image, 'sdu')]).all()


def test_table(plain):
    drawn = [plain, *(draw(plain.copy()) for draw in DRAWN.values())]
    ids = np.array(['plain', *DRAWN])
    zeros = np.zeros(len(ids), np.int32)
    found = detectors.table(Records(ids, zeros, {}, ids, lambda row: {'image': drawn[row]}))
    assert found['id'].tolist() == ids.tolist()
    for k, name in enumerate(DRAWN):
        assert found[name].dtype == np.int32 and found[name][0] == 0 and found[name][k + 1] == 1
        assert found[f'{name}_score'][k + 1] >= detectors.ARTEFACTS[name][1]
    assert found['violet'].tolist() == (found['gentian_violet'] > 0).tolist()
    assert (found['skin_type'] == detectors.skin_type(found['ita'])).all()
    assert {len(column) for column in found.values()} == {len(ids)}


# Lower bounds on agreement with human flags: below them a detector has been broken.
LEAST = {'dark_corner': 0.97, 'hair': 0.67, 'ruler': 0.78, 'ink': 0.69, 'patches': 0.92}


@pytest.mark.slow
@pytest.mark.skipif(not ISIC2017.is_dir(), reason='the ISIC 2017 images are not in ../shared/data')
def test_detectors_against_human_flags():
    """The table of docs/data.md: pytest -m slow -s tests/data/test_detectors.py"""
    table = read_table(ISIC2017 / 'labels.csv')
    rows = np.flatnonzero(table.array('ruler') != '')
    files = table.array('image')[rows]
    pixels = [images.decode(ISIC2017 / name, 256) for name in files]
    scores = {name: score for name, (score, _) in detectors.ARTEFACTS.items()}
    scores['gentian_violet'] = detectors.gentian_violet
    print(f'\n{len(rows)} images; AUC [95 %], 1,000 resamples, seed 0; other half; sens., spec.')
    for name, score in scores.items():
        flag = table.array('ink' if name == 'gentian_violet' else name)[rows].astype(float) == 1
        values = np.array([score(image) for image in pixels])
        found = bootstrap.bootstrap_auc(flag.astype(int), values)
        half = bootstrap.auc(flag[1::2].astype(int), values[1::2])
        limit = detectors.ARTEFACTS[name][1] if name in LEAST else 1e-9
        sensitivity, specificity = (values[flag] >= limit).mean(), (values[~flag] < limit).mean()
        print(
            f'| {name} | {flag.sum()} | {found["value"]:.3f} [{found["low"]:.3f}, '
            f'{found["high"]:.3f}] | {half:.3f} | {sensitivity:.2f} | {specificity:.2f} |'
        )
        assert found['value'] > LEAST.get(name, 0.59)


@pytest.mark.slow
@pytest.mark.skipif(not HAM10000.is_dir(), reason='HAM10000 is not in ../shared/data')
def test_ita_against_ham10000():
    """The table of docs/data.md: 2,000 images drawn with seed 0."""
    table = read_table(HAM10000 / 'labels.csv')
    rows = np.flatnonzero(table.array('ita_dlhss') != '')
    rows = np.random.default_rng(0).permutation(rows)[:2000]
    reference = table.array('ita_dlhss')[rows].astype(float)
    pixels = [images.decode(HAM10000 / name, 256) for name in table.array('image')[rows]]
    agreement = {}
    for compat, column in (('sdu', 'fst_bevan'), ('', 'fst_corrected')):
        found = np.array([detectors.ita(image, compat) for image in pixels])
        types = detectors.skin_type(found)
        agreement[compat] = (types == table.array(column)[rows].astype(int)).mean()
        print(
            f'\ncompat={compat!r}: r {np.corrcoef(found, reference)[0, 1]:.3f}, mean absolute '
            f'difference {np.abs(found - reference).mean():.1f} degrees, same type as ita_dlhss '
            f'{(types == detectors.skin_type(reference)).mean():.3f}, as {column} '
            f'{agreement[compat]:.3f}; types 1-6 {np.bincount(types, minlength=7)[1:].tolist()}'
        )
    lightness = [detectors.lightness(image) for image in pixels]
    print(f'r of the lightness with ita_dlhss {np.corrcoef(lightness, reference)[0, 1]:.3f}')
    assert agreement['sdu'] > 0.96 and agreement[''] > 0.98
