"""The editor 'insert': its keys, places and sizes, and the oracles of the insertion test."""

import cv2
import numpy as np
import pytest

from skinjax import config as configs
from skinjax import editing, kinds, measures, rundir
from skinjax.data import detectors
from skinjax.editors import insert, overlays
from skinjax.engine.writer import write_json
from tests.helpers import tiny_records

SKIN = (200, 160, 140)


def skin(*shape: int) -> np.ndarray:
    """Plain skin with a little noise of its own."""
    noise = np.random.default_rng(shape[0]).integers(-9, 10, (*shape, 3))
    return (np.array(SKIN) + noise).astype(np.uint8)


def done(image: np.ndarray, kind: str, name: str = 'a', **fields):
    return insert.insert(image, name, insert.options(kind=kind, **fields))


@pytest.mark.parametrize('kind', overlays.KINDS)
def test_insertions_are_keyed_and_the_same_in_any_order(kind):
    images, options = [skin(40 + k, 48) for k in range(4)], insert.options(kind=kind, seed=3)
    editor, copies = insert.build(options), [image.copy() for image in images]
    together = editor([{'image': image} for image in images])
    backwards = [editor([{'image': image}])[0] for image in images[::-1]][::-1]
    for image, copy, one, other in zip(images, copies, together, backwards, strict=True):
        np.testing.assert_array_equal(image, copy)
        assert one['image'].dtype == np.uint8 and one['artefact'].dtype == np.uint8
        np.testing.assert_array_equal(one['image'], other['image'])
        np.testing.assert_array_equal(one['artefact'], other['artefact'])
        outside = one['artefact'] == 0
        np.testing.assert_array_equal(one['image'][outside], image[outside])
        assert set(np.unique(one['artefact'])) <= {0, 255}


@pytest.mark.parametrize('kind', [kind for kind in overlays.KINDS if kind != 'identity'])
def test_names_and_seeds_change_the_insertion(kind):
    image = skin(64, 64)
    (first, share), (again, _) = done(image, kind), done(image, kind)
    np.testing.assert_array_equal(first, again)
    assert 0 < share.max() <= 1 and (first != image).any()
    same = (done(image, kind, 'b')[0] == first).all()
    assert same == (kind in overlays.SAME)
    spread = [done(image, kind, seed=seed, spread=0.1)[0] for seed in range(2)]
    assert (spread[0] != spread[1]).any()


def test_identity_changes_nothing():
    image = skin(30, 20)
    (found,) = insert.build(insert.options(kind='identity'))([{'image': image}])
    np.testing.assert_array_equal(found['image'], image)
    assert not found['artefact'].any()
    scores, labels = np.array([0.1, 0.6]), np.array([0, 1])
    shift = measures.insertion(scores, scores, labels)
    assert (shift['mean_abs'], shift['max_abs'], shift['switched']) == (0, 0, 0)


@pytest.mark.parametrize('kind', ['red_circle', 'ruler', 'hair_medium', 'frame', 'ink', 'patches'])
def test_a_larger_picture_has_the_same_insertion(kind):
    for name in 'abcd':
        small = done(np.full((96, 96, 3), 200, np.uint8), kind, name)[1]
        large = done(np.full((384, 384, 3), 200, np.uint8), kind, name)[1]
        large = cv2.resize(large, (96, 96), interpolation=cv2.INTER_AREA)
        assert np.corrcoef(small.ravel(), large.ravel())[0, 1] > 0.95
        assert large.mean() == pytest.approx(small.mean(), rel=0.1)


def test_strength_is_the_opacity():
    image = skin(64, 64)
    share = {s: done(image, 'frame', strength=s)[1] for s in (0.0, 0.5, 1.0)}
    assert not share[0.0].any() and share[1.0].max() == 1
    np.testing.assert_allclose(share[0.5], 0.5 * share[1.0], atol=1 / 255)
    half = done(image, 'frame', strength=0.5)[0]
    np.testing.assert_allclose(half[0, 0], image[0, 0] / 2, atol=0.51)


def test_frames_are_where_their_options_say():
    image = np.full((100, 100, 3), 200, np.uint8)
    round_ = done(image, 'frame', radius=0.3)[1]
    area = 1 - round_.mean()
    assert area == pytest.approx(np.pi * 0.3**2, rel=0.02)
    assert (round_[[0, 0, 99, 99], [0, 99, 0, 99]] == 1).all() and round_[50, 50] == 0
    wide = done(image, 'frame_rectangular', margin=0.1)[1]
    assert (wide[:9] == 1).all() and (wide[:, -9:] == 1).all() and not wide[11:89, 11:89].any()
    assert detectors.dark_corner(done(skin(256, 256), 'frame')[0]) > 0.53
    assert detectors.dark_corner(skin(256, 256)) < 0.1


def test_red_circles_are_rings_of_24_pixels_inside_the_picture():
    image, centres = np.full((224, 224, 3), 200, np.uint8), []
    for k in range(60):
        found, share = done(image, 'red_circle', str(k))
        y, x = np.nonzero(share > 0.5)
        for values in (x, y):
            assert 23 <= np.ptp(values) + 1 <= 25 and values.min() > 0 and values.max() < 223
        centres.append((x.mean(), y.mean()))
        inner, outer = overlays.OUTER - overlays.STROKE, overlays.OUTER
        assert share.sum() == pytest.approx(np.pi * (outer**2 - inner**2), rel=0.1)
        assert (found[share == 1] == (255, 0, 0)).all()
    # Of the letter's corner: x in [0, 139], y in [0, 179].
    reach = np.ptp(np.array(centres), axis=0)
    assert (reach > (100, 140)).all() and (reach < (141, 181)).all()


def test_rulers_lie_in_the_lower_part_and_show_at_least_half():
    image = np.full((224, 224, 3), 200, np.uint8)
    for k in range(40):
        found, share = done(image, 'ruler', str(k))
        y, x = np.nonzero(share > 0.3)
        assert np.hypot(np.ptp(x), np.ptp(y)) >= 70 and y.max() > 140
        assert 20 <= found.min() <= 45  # black, and a tenth of the skin


def test_rulers_have_longer_ticks_at_5_and_10_millimetres():
    image = np.full((224, 224, 3), 200, np.uint8)
    for k in range(4000):
        rng = insert._generator(0, 'ruler', str(k))
        if rng.integers(*overlays.ANGLES) == 0 and rng.integers(*overlays.RULER_X) > 20:
            break
    share = done(image, 'ruler', str(k))[1]
    ink = share > 0.4
    top = int(np.argmax(ink.sum(axis=1)))
    length = ink[top + 2 :].sum(axis=0)
    ticks = np.flatnonzero((length > 2) & (length >= np.roll(length, 1)))
    ticks = ticks[np.append(True, np.diff(ticks) > 3)]
    assert set(np.diff(ticks)) <= {9, 10, 11}
    found = [int(length[tick]) for tick in ticks]
    assert found[0] == max(found) and found[1] < found[5] < found[10] == found[0]
    assert max(found[1:5]) == min(found[1:5])


def test_ink_and_patches_are_what_the_detectors_look_for():
    image = skin(224, 224)
    for kind, name in (('ink', 'ink'), ('patches', 'patches')):
        score, limit = detectors.ARTEFACTS[name]
        found = [score(done(image, kind, str(k))[0]) for k in range(8)]
        assert np.median(found) > limit > score(image), kind


def test_bubbles_are_bright_rings_with_a_glint():
    image = np.full((224, 224, 3), 120, np.uint8)
    for k in range(4):
        found, share = done(image, 'gel_bubbles', str(k))
        assert 0 < (share > 0).mean() < 0.2
        assert (found[share > 0.02] > 120).all() and found.max() >= 240
        count, _ = cv2.connectedComponents((share > 0.1).astype(np.uint8))
        assert 3 <= count <= 20  # two to six, each in one piece or two; and the background


def test_hair_of_three_densities():
    image = np.full((224, 224, 3), 200, np.uint8)
    area = {
        kind: np.mean([done(image, f'hair_{kind}', str(k))[1].mean() for k in range(10)])
        for kind in overlays.HAIR
    }
    assert area['dense'] > 3 * area['medium'] and area['dense'] > 3 * area['short']
    scores = {
        kind: np.median([detectors.hair(done(image, f'hair_{kind}', str(k))[0]) for k in range(8)])
        for kind in overlays.HAIR
    }
    limit = detectors.ARTEFACTS['hair'][1]
    assert min(scores.values()) > limit > detectors.hair(image) and scores['dense'] > 0.2


def test_a_model_of_the_border_is_moved_by_frames_alone():
    def chance(image):
        border = np.concatenate([image[[0, -1]].ravel(), image[:, [0, -1]].ravel()])
        return float(border.mean() / 255)

    images = [skin(224, 224) for _ in range(12)]
    before = np.array([chance(image) for image in images])
    labels = np.arange(12) % 2
    for kind, moved in (('frame', True), ('frame_rectangular', True), ('red_circle', False)):
        named = enumerate(images)
        after = np.array([chance(done(image, kind, str(k))[0]) for k, image in named])
        shift = measures.insertion(before, after, labels)
        assert (shift['mean_abs'] > 40) == moved and (shift['max_abs'] == 0) == (not moved)
        assert (shift['switched'] == 12) == moved


def test_records_are_keyed_by_their_ids():
    records, options = tiny_records(6, size=32), insert.options(kind='red_circle', seed=5)
    found = insert.inserted(records, options)
    backwards = insert.inserted(records.select(np.arange(6)[::-1]), options)
    for row in range(6):
        image = found.read(row)['image']
        np.testing.assert_array_equal(image, backwards.read(5 - row)['image'])
        expected, _ = insert.insert(records.read(row)['image'], str(records.ids[row]), options)
        np.testing.assert_array_equal(image, expected)


def test_it_is_an_editor_that_others_can_follow():
    chain = kinds.purify(editors=('insert', 'inpaint'))
    chain.editors.insert.kind = 'red_circle'
    chain.editors.inpaint.method = 'telea'
    image = np.full((96, 96, 3), SKIN, np.uint8)
    given = np.zeros((96, 96), np.uint8)
    given[:4, :4] = 255
    edit = editing.chain(chain)
    (found,) = edit([{'image': image, 'artefact': given, 'mask': 0 * given}])
    assert (found['artefact'][:4, :4] == 255).all() and not found['mask'].any()
    assert (found['artefact'][6:] > 0).any() or (found['artefact'][:, 6:] > 0).any()
    # What was laid on plain skin is gone again.
    assert np.abs(found['image'].astype(int) - image).max() <= 4


def test_runs_from_before_this_editor_are_still_theirs(tmp_path):
    config = kinds.purify()
    old = configs.to_json(config)
    del old['editors']['insert']
    write_json(tmp_path / 'config.json', old)
    assert not rundir.done(config, tmp_path)
    changed = configs.override(config, {'editors.insert.kind': 'frame'})
    with pytest.raises(ValueError, match=r"editors\.insert\.kind: 'ruler' -> 'frame'"):
        rundir.done(changed, tmp_path)


def test_errors():
    for fields, message in (
        ({'kind': 'rular'}, r"insert.kind 'rular'.*did you mean 'ruler'"),
        ({'strength': 1.5}, r'insert.strength is 1.5, expected 0 to 1'),
        ({'margin': -0.1}, r'insert.margin is -0.1'),
    ):
        with pytest.raises(ValueError, match=message):
            insert.build(insert.options(**fields))
        with pytest.raises(ValueError, match=message):
            insert.inserted(tiny_records(2), insert.options(**fields))
    with pytest.raises(ValueError, match=r"'insert' has no field 'kinds'"):
        insert.options(kinds='ruler')
    edit = insert.build(insert.options())
    with pytest.raises(ValueError, match=r'example 1: expected an image uint8.*float64 \[4, 4\]'):
        edit([{'image': skin(4, 4)}, {'image': np.zeros((4, 4))}])
    with pytest.raises(ValueError, match=r"'artefact' is \[2, 2\], its image \[4, 4\]"):
        edit([{'image': skin(4, 4), 'artefact': np.zeros((2, 2), np.uint8)}])
