"""Cut-outs of photographs: what makes them, where they lie, and files missing or broken."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from skinjax.editors import insert, templates
from tests.helpers import SHARED

PUBLISHED = SHARED / 'data' / 'artefact_templates'
SKIN = np.full((96, 128, 3), (200, 160, 140), np.uint8)


def write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)


@pytest.fixture
def cut_outs(tmp_path):
    """Red bars with a transparent border, as rulers and as ink."""
    bar = np.zeros((20, 120, 4), np.uint8)
    bar[4:-4, 4:-4] = (0, 0, 255, 255)
    for kind in ('ruler', 'ink'):
        write(tmp_path / kind / 'bar.png', bar)
    return tmp_path


def placed(folder: Path, kind: str, name: str = 'a', image: np.ndarray = SKIN, **fields):
    options = insert.options(kind=kind, templates=str(folder), **fields)
    return insert.insert(image, name, options)


def test_a_pair_becomes_what_makes_one_of_the_other():
    rng = np.random.default_rng(0)
    without, with_it = rng.integers(0, 256, (2, 9, 7, 3), np.uint8)
    share, light = templates.difference(with_it, without)
    known = (np.abs(with_it.astype(int) - without) > templates.NOTHING).any(axis=2)
    again = (1 - share) * without + 255 * light
    np.testing.assert_allclose(again[known], with_it[known], atol=1e-3)
    assert not share[~known].any() and not light[~known].any()
    assert share.min() >= 0 and share.max() <= 1 and (light <= share).all()


def test_ink_on_white_multiplies():
    cut = np.array([[[255, 255, 255], [51, 102, 255]]], np.uint8)
    share, light = templates.difference(cut, np.full_like(cut, 255))
    np.testing.assert_allclose(share, [[[0, 0, 0], [0.8, 0.6, 0]]], atol=1e-6)
    assert not light.any()


def test_transparent_cut_outs_are_pasted_in_their_colour(cut_outs):
    found, share = placed(cut_outs, 'ink')
    assert (found[share == 1] == (255, 0, 0)).all() and (share == 1).sum() > 10
    np.testing.assert_array_equal(found[share == 0], SKIN[share == 0])
    half = placed(cut_outs, 'ink', strength=0.5)[1]
    np.testing.assert_allclose(half, share / 2, atol=1 / 255)
    # Their size is that of a picture of 600 x 450: 12 x 112 pixels there, scaled by 0.8 to 1.25.
    area = [placed(cut_outs, 'ruler', str(k))[1].mean() for k in range(20)]
    assert 0.4 * 12 * 112 / 270_000 < max(area) < 1.5625 * 1.2 * 12 * 112 / 270_000


def test_places_depend_on_name_and_seed_alone(cut_outs):
    first, again = placed(cut_outs, 'ruler'), placed(cut_outs, 'ruler')
    np.testing.assert_array_equal(first[0], again[0])
    others = [placed(cut_outs, 'ruler', 'b')[1], placed(cut_outs, 'ruler', seed=1)[1]]
    assert all((first[1] != share).any() for share in others)
    large = placed(cut_outs, 'ruler', image=np.repeat(np.repeat(SKIN, 3, 0), 3, 1))[1]
    small = cv2.resize(large, (128, 96), interpolation=cv2.INTER_AREA)
    assert np.corrcoef(small.ravel(), first[1].ravel())[0, 1] > 0.9


def test_other_kinds_are_drawn(cut_outs):
    drawn = insert.insert(SKIN, 'a', insert.options(kind='red_circle'))[0]
    np.testing.assert_array_equal(placed(cut_outs, 'red_circle')[0], drawn)


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason='no ../shared/data/artefact_templates')
@pytest.mark.parametrize(('kind', 'count'), [('ruler', 20), ('ink', 28), ('gel_bubbles', 96)])
def test_published_templates(kind, count):
    found = templates.load(str(PUBLISHED), kind)
    assert len(found) == count == len({template.name for template in found})
    for template in found:
        assert 0 < template.share.max() <= 1 and (template.light <= template.share).all()
    image = np.full((224, 224, 3), (200, 160, 140), np.uint8)
    for k in range(6):
        edited, share = placed(PUBLISHED, kind, str(k), image)
        assert 0 < (share > 0).mean() < 0.3
        if kind != 'gel_bubbles':
            assert edited.mean() < image.mean()


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason='no ../shared/data/artefact_templates')
def test_a_published_ruler_comes_back_on_its_own_photograph():
    name = 'ISIC_0025400'
    folder = PUBLISHED / templates.PUBLISHED / 'src' / name
    with_it, without = (
        templates.read(folder / f'{name}_{part}_03.png') for part in ('with', 'without')
    )
    (template,) = (t for t in templates.load(str(PUBLISHED), 'ruler') if name in t.name)
    again = np.rint((1 - template.share) * without + 255 * template.light)
    difference = np.abs(again - with_it)
    assert difference.max() <= templates.NOTHING and np.median(difference) == 0


def test_missing_and_broken_files_are_named(cut_outs, tmp_path_factory):
    folder = tmp_path_factory.mktemp('published')
    table = folder / templates.PUBLISHED / 'meta.json'

    def refused(root: Path, kind: str, message: str, error: type = ValueError) -> None:
        templates.load.cache_clear()
        with pytest.raises(error, match=message):
            insert.build(insert.options(kind=kind, templates=str(root)))

    refused(folder / 'nowhere', 'ink', r'nowhere: no such folder', FileNotFoundError)
    refused(cut_outs, 'gel_bubbles', r"no templates of 'gel_bubbles'", FileNotFoundError)
    (cut_outs / 'ink' / 'text.png').write_text('no image')
    refused(cut_outs, 'ink', r'text\.png: not a readable image')
    write(cut_outs / 'ruler' / 'opaque.png', np.zeros((4, 4, 3), np.uint8))
    refused(cut_outs, 'ruler', r'opaque\.png: expected a PNG with transparency')
    for path in (cut_outs / 'ink' / 'text.png', cut_outs / 'ruler' / 'opaque.png'):
        path.unlink()
    write(cut_outs / 'ink' / 'deep.png', np.full((4, 4, 4), 30_000, np.uint16))
    refused(cut_outs, 'ink', r'deep\.png: expected 8 bits a channel, found 16')
    write(cut_outs / 'ruler' / 'grey.png', np.zeros((4, 5), np.uint8))
    refused(cut_outs, 'ruler', r'grey\.png: expected a PNG .*found \(4, 5\)')
    write(cut_outs / 'ruler' / 'clear.png', np.full((4, 5, 4), (9, 9, 9, 0), np.uint8))
    (cut_outs / 'ruler' / 'grey.png').unlink()
    refused(cut_outs, 'ruler', r'clear\.png: the cut-out is transparent everywhere')
    table.parent.mkdir(parents=True)
    refused(folder, 'ink', r'meta\.json: no such file', FileNotFoundError)
    for text in ('{', '{"artefacts": [{"class": "bubble"}]}', '[]'):
        table.write_text(text)
        refused(folder, 'ink', r"meta\.json: expected JSON with 'artefacts'")
    entry = {'class': 'bubble', 'artefact_folder': 'src/a'}
    table.write_text(json.dumps({'artefacts': [entry]}))
    refused(folder, 'ink', r"no templates of 'ink'", FileNotFoundError)
    refused(folder, 'gel_bubbles', r'src/a: no \*\.png', FileNotFoundError)
    write(table.parent / 'src' / 'a' / 'a_with_1.png', np.zeros((4, 4, 3), np.uint8))
    refused(folder, 'gel_bubbles', r'a_without_1\.png: no such file', FileNotFoundError)
    write(table.parent / 'src' / 'a' / 'a_without_1.png', np.zeros((4, 5, 3), np.uint8))
    refused(folder, 'gel_bubbles', r'a_without_1\.png is \[4, 5\], a_with_1\.png \[4, 4\]')
    write(table.parent / 'src' / 'a' / 'a_without_1.png', np.full((4, 4, 3), 5, np.uint8))
    refused(folder, 'gel_bubbles', r'a_with_1\.png: nothing is to be seen')
    for name in ('a_1.png', 'a_with_b_with.png'):
        (table.parent / 'src' / 'a' / 'a_with_1.png').unlink(missing_ok=True)
        write(table.parent / 'src' / 'a' / name, np.zeros((4, 4, 3), np.uint8))
        refused(folder, 'gel_bubbles', rf"{name}: expected one '_with' in the name")
        (table.parent / 'src' / 'a' / name).unlink()


def test_the_rest_of_a_name_may_have_the_word(tmp_path):
    folder = tmp_path / templates.PUBLISHED
    meta = {'artefacts': [{'class': 'bubble', 'artefact_folder': 'within'}]}
    for name, grey in (('swith_with_1', 90), ('swith_without_1', 40)):
        write(folder / 'within' / f'{name}.png', np.full((4, 4, 3), grey, np.uint8))
    (folder / 'meta.json').write_text(json.dumps(meta))
    (found,) = templates.load(str(tmp_path), 'gel_bubbles')
    np.testing.assert_allclose(found.share, (90 - 40) / (255 - 40), rtol=1e-5)
