"""Artefacts change exactly the pixels of their masks, and differ from picture to picture."""

import cv2
import numpy as np
import pytest

from skinjax.data import artefacts, cameras, lesions, rendering
from skinjax.data.artefacts import ARTEFACTS
from skinjax.data.canvas import Layer, blend

KINDS = tuple(ARTEFACTS)


def scene(index: int, size: int = 64) -> lesions.Scene:
    rng = np.random.default_rng(index)
    skin = lesions.skin_colour(rng, 50.0)
    return lesions.draw(rng.standard_normal(8), rng, skin, size)


def has_ink(image: np.ndarray) -> bool:
    """The usual screening for gentian violet."""
    hue, saturation, value = np.moveaxis(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), -1, 0)
    return bool(((hue >= 125) & (hue <= 145) & (saturation >= 100) & (value >= 60)).any())


@pytest.mark.parametrize('kind', KINDS)
def test_mask_is_exactly_what_changes(kind: str):
    for index in range(12):
        clean = scene(index)
        image, masks = artefacts.add(clean, (kind,), 7, index)
        assert list(masks) == [kind]
        np.testing.assert_array_equal((image != clean.image).any(-1), masks[kind])


@pytest.mark.parametrize('kind', KINDS)
def test_counterfactual_pairs_are_exact(kind: str):
    for index in range(10):
        camera = index % cameras.SEEN
        without = rendering.render(1, index, index % 2, 64, ('bubbles',) * (kind == 'hair'), camera)
        names = (*(('bubbles',) * (kind == 'hair')), kind)
        with_it = rendering.render(1, index, index % 2, 64, names, camera)
        reach = cameras.reach(64)
        near = cv2.dilate(with_it.artefacts[kind], np.ones((2 * reach + 1,) * 2, np.uint8)) > 0
        np.testing.assert_array_equal(without.image[~near], with_it.image[~near])
        np.testing.assert_array_equal(without.mask, with_it.mask)
        changed = np.abs(without.image.astype(int) - with_it.image).max(-1)
        # A camera's blur spreads a change but does not undo it.
        assert (changed[with_it.artefacts[kind] > 0] > 0).mean() > 0.7


@pytest.mark.parametrize('kind', KINDS)
def test_always_visible_and_never_the_same(kind: str):
    seen, strength = [], []
    for index in range(60):
        clean = scene(index)
        image, masks = artefacts.add(clean, (kind,), 2, index)
        change = np.abs(image - clean.image).max(-1)
        seen.append((change > 12 / 255).sum())
        strength.append(change[masks[kind]].mean())
    assert min(seen) >= 15
    assert np.std(seen) > 0.1 * np.mean(seen)
    assert np.std(strength) > 0.02


def test_artefacts_do_not_disturb_each_other():
    clean = scene(3)
    ruler, _ = artefacts.add(clean, ('ruler',), 5, 3)
    both, masks = artefacts.add(clean, ('hair', 'ruler'), 5, 3)
    untouched = ~masks['hair']
    np.testing.assert_array_equal(both[untouched], ruler[untouched])
    _, alone = artefacts.add(clean, ('hair',), 5, 3)
    np.testing.assert_array_equal(alone['hair'], masks['hair'])


def test_what_an_opaque_one_hides_is_not_in_the_mask():
    clean, hidden = scene(4), []
    for index in range(10):
        framed, _ = artefacts.add(clean, ('frame',), 9, index)
        both, masks = artefacts.add(clean, ('hair', 'frame'), 9, index)
        _, alone = artefacts.add(clean, ('hair',), 9, index)
        np.testing.assert_array_equal((both != framed).any(-1), masks['hair'])
        assert not (masks['hair'] & ~alone['hair']).any()
        hidden.append((alone['hair'] & ~masks['hair']).sum())
    assert np.mean(hidden) > 20


@pytest.mark.parametrize('size', [64, 128])
def test_ink_passes_the_colour_screening_and_little_else_does(size: int):
    count = 240 if size == 64 else 120
    pictures = [(i, i % 2, size, i % cameras.SEEN) for i in range(count)]
    marked = [
        has_ink(rendering.render(7, i, y, s, ('marking',), c).image) for i, y, s, c in pictures
    ]
    clean = [has_ink(rendering.render(7, i, y, s, (), c).image) for i, y, s, c in pictures]
    assert np.mean(marked) >= 0.9
    assert np.mean(clean) <= 0.03


def test_unknown_artefact_is_refused():
    with pytest.raises(ValueError, match=r"\['moustache'\].*ruler"):
        rendering.render(0, 0, 0, 32, ('moustache',))


@pytest.mark.parametrize('size', [64, 100, 256])
@pytest.mark.parametrize('width', [0.5, 1.3, 3.0, 6.5, 14.0])
def test_lines_are_as_wide_as_asked(size: int, width: float):
    for end in ((0.95, 0.5), (0.9, 0.8), (0.85, 0.95)):
        layer = Layer(size)
        start, stop = np.array([0.1, 0.3]), np.array(end)
        layer.line(np.stack([start, stop]), width)
        # Round ends add about a width to the length.
        area = (np.linalg.norm(stop - start) + 0.8 * width / 256) * width / 256
        assert layer.coverage().mean() == pytest.approx(area, rel=0.15)


def test_lines_far_outside_are_harmless():
    layer = Layer(64)
    layer.line(np.array([[-1e9, 0.5], [1e9, 0.5]]), 4.0)
    assert 0 < layer.coverage().mean() < 0.1


def test_blend_keeps_clear_pixels_exactly():
    image = np.random.default_rng(0).random((4, 4, 3), dtype=np.float32)
    alpha = np.zeros((4, 4), np.float32)
    alpha[0, 0] = 1
    result = blend(image, alpha, np.array([0.1, 0.2, 0.3]))
    np.testing.assert_allclose(result[0, 0], [0.1, 0.2, 0.3], atol=1e-6)
    np.testing.assert_array_equal(result[1:], image[1:])


def test_cameras_differ_and_none_only_rounds():
    clean = scene(1)
    np.testing.assert_allclose(
        cameras.take(clean.image, np.random.default_rng(0), None) / 255.0,
        np.clip(clean.image, 0, 1),
        atol=0.5 / 255 + 1e-6,
    )
    photographs = np.stack(
        [
            cameras.take(clean.image, np.random.default_rng(0), camera).astype(float)
            for camera in range(cameras.SEEN + cameras.UNSEEN)
        ]
    )
    apart = np.abs(photographs[:, None] - photographs[None]).mean((2, 3, 4))
    assert apart[~np.eye(len(apart), dtype=bool)].min() > 1.5


def test_camera_given_class():
    table = cameras.given_class(1.5)
    np.testing.assert_allclose(table.sum(1), 1)
    assert table[1].max() / table[1].min() == pytest.approx(np.exp(3))
    np.testing.assert_allclose(np.sort(table[0]), np.sort(table[1]))
    np.testing.assert_allclose(table[0] * table[1], (table[0] * table[1])[0])
    np.testing.assert_allclose(cameras.given_class(0.0), 1 / 8)
