"""Style transfer as a step of the editor 'style', with the network of a run."""

from typing import Any

import cv2
import numpy as np
import pytest

from skinjax import config as configs
from skinjax import skin
from skinjax.editors import style
from skinjax.styling import methods, recolour
from skinjax.styling import options as style_options
from skinjax.styling.photos import Photo
from tests.test_skin import scene

SIDE = 64
BROWN = (42.0, 12.0, 19.0)


def config(method='transfer', weights='', **transfer: Any) -> Any:
    layers = {'style_layers': ('map1',), 'content_layers': ('map1',)}  # for speed
    given = {**style_options.FIELDS, 'weights': str(weights), **layers, **transfer}
    return configs.make({**style.DEFAULTS, 'method': method, 'style': 'x', 'transfer': given})


def photo(size=SIDE, mask=None, image=None) -> Photo:
    image = scene(size, BROWN)[0] if image is None else image
    return Photo('dark', image, mask, recolour.statistics(image, mask))


def test_what_the_options_mean():
    assert methods.resolved(config('colour')) == {}
    assert methods.resolved(config())['preset'] == 'default'
    found = methods.resolved(config('original', steps=300, bn='running'))
    assert (found['preset'], found['steps'], found['bn']) == ('published', 300, 'running')
    assert found['init'] == 'style' and found['norm'] == 'report'
    found = methods.resolved(config('original', preset='default'))
    assert found['steps'] == 300 and found['lesion_weight'] == 1  # it is told of no lesion


def spoilt(image):
    """With a black rim, a ruler and a hair, and where these are."""
    found, other = image.copy(), np.zeros(image.shape[:2], bool)
    other[:4], other[-6:], other[:, 12] = True, True, True
    found[:4], found[-6:, ::2], found[-6:, 1::2], found[:, 12] = 0, 255, (0, 60, 200), (40, 25, 20)
    return found, other


@pytest.mark.parametrize('size', [64, 256])
def test_what_is_no_skin(size):
    image, mask = scene(size)
    found = methods.not_skin(image, mask)
    lesion = cv2.dilate(mask, np.ones((2 * methods.REACH + 1,) * 2, np.uint8)) > 0
    assert (found[lesion] == 255).all()
    assert (found == 0).mean() > 0.6  # noise of skin is skin
    dirty, other = spoilt(image)
    found = methods.not_skin(dirty, mask)
    assert (found[other] == 255).all() and set(np.unique(found)) == {0, 255}
    grey = np.full_like(image, 99)  # no skin: all but the lesion
    np.testing.assert_array_equal(methods.not_skin(grey, mask), np.where(lesion, 255, 0))


def test_rims_rulers_and_hair_give_no_style(trained):
    """Dirt in the photograph changes the loss of the style where it has a part, and only there."""
    image, mask = scene(SIDE)
    clean = photo()
    dirty = photo(image=spoilt(clean.image)[0])
    changes = []
    for make, method in ((methods.transferred, 'transfer'), (methods.original, 'original')):
        run = make(config(method, trained, preset='default', steps=1))
        first, second = (run([image], [mask], [one])[0][1]['style'][0] for one in (clean, dirty))
        changes.append(abs(second / first - 1))
    assert changes[0] < 0.03 < 0.15 < changes[1], changes


@pytest.mark.parametrize('method', ['transfer', 'original'])
def test_photographs_of_another_size(trained, method):
    """As one of the images' size; the style to start from, as well."""
    image, mask = scene(SIDE)
    around = scene(2 * SIDE)[1]
    large = photo(2 * SIDE, mask=around)
    size = (SIDE, SIDE)
    small, lesion = (
        cv2.resize(one, size, interpolation=cv2.INTER_AREA) for one in (large.image, around)
    )
    same = photo(image=small, mask=np.where(lesion > 0, 255, 0).astype(np.uint8))
    run = methods.METHODS[method](config(method, trained, init='style', steps=2))
    [(found, losses)] = run([image], [mask], [large])
    np.testing.assert_array_equal(run([image], [mask], [same])[0][0], found)
    assert losses.keys() == {'total', 'style', 'content'}
    assert all(len(values) == 2 and np.isfinite(values).all() for values in losses.values())


def test_noise_is_the_images_own(trained):
    run = methods.original(config('original', trained, init='noise', steps=1))
    pictures = [scene(SIDE, seed=seed) for seed in range(2)]
    images, masks = map(list, zip(*pictures, strict=True))
    one, two = run(images, masks, [photo()] * 2)
    other = run(images[::-1], masks, [photo()] * 2)
    alone = run(images[1:], masks[1:], [photo()])
    for found in (other[0], alone[0]):
        np.testing.assert_allclose(found[0], two[0], atol=1)
    assert np.abs(one[0].astype(float) - two[0]).mean() > 20


def test_what_the_network_lacks(trained):
    with pytest.raises(ValueError, match="no layer 'block9': expected map1 to map5"):
        methods.transferred(config(weights=trained, style_layers=('block9',)))
    with pytest.raises(ValueError, match='weights is empty'):
        methods.original(config('original'))
    assert skin.median_ita(photo().image) < 20
