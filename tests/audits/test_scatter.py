"""Tests of the scatter's markup, data and size; what a browser makes of it: tests/browser."""

import base64
import hashlib
import html
import json
import re

import cv2
import numpy as np
import pytest
from ml_collections import ConfigDict

from skinjax.auditing import scatter
from skinjax.data import synthetic
from skinjax.data.records import COMMON
from tests.browser import pages

DATA = re.compile(r'<script type="application/json">(.*?)</script>', re.DOTALL)


def data_of(part):
    """What the script reads."""
    found = DATA.findall(part.body)
    assert len(found) == 1
    return json.loads(found[0])


@pytest.fixture(scope='module')
def part():
    return pages.part()


def test_points_fill_the_picture_and_columns_are_coded(part):
    data = data_of(part)
    place = np.array(data['points'])
    np.testing.assert_array_equal(place.min(axis=0), [0, 0])
    np.testing.assert_array_equal(place.max(axis=0), [1, 1])
    for column, (name, values) in zip(data['columns'], pages.columns().items(), strict=True):
        assert column['name'] == name
        assert [column['values'][code] for code in column['codes']] == values
    assert [column['few'] for column in data['columns']] == [True, True, True, False]
    assert data['columns'][2]['values'] == ['no', 'yes', '']
    assert data['titles'][:2] == ['image 0', 'image 1']


def test_values_stand_in_the_order_of_numbers():
    values = ['10', '9', '', 'b', 'a', '-1', 'nan'] * 3
    part = scatter.view(
        np.zeros((21, 2)), image, heat, {'x': values}, [str(k) for k in range(21)], False
    )
    data = data_of(part)
    assert data['columns'][0]['values'] == ['-1', '9', '10', 'a', 'b', 'nan', '']
    # All points in one place: the middle.
    assert data['points'] == [[0.5, 0.5]] * 21


@pytest.mark.parametrize(('n', 'clusters'), [(10, 6), (4, 3), (60, 40), (60, 41)])
def test_small_sets_keep_the_column_of_their_colours(n, clusters):
    names = [str(k % clusters) for k in range(n)]
    columns = {'cluster': names, 'again': names}
    part = scatter.view(np.zeros((n, 2)), image, heat, columns, [''] * n, False)
    few = [column['few'] for column in data_of(part)['columns']]
    assert few == [clusters <= scatter.MOST, False]
    assert part.body.count('class="by"') == part.body.count('class="filter"') == few[0]


def image(row):
    return np.full((8, 8, 3), 100 + row, np.uint8)


def heat(row):
    return np.zeros((3, 3), np.float16)


def decoded(text):
    pixels = cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return pixels[..., ::-1].astype(int)


def test_pictures_are_small_and_show_image_and_map():
    def large(row):
        return np.full((200, 200, 3), (200, 150, 120), np.uint8)

    def spot(row):
        heat = np.zeros((50, 50), np.float32)
        heat[:25, :25], heat[25:, 25:] = 1, -1
        return heat

    part = scatter.view(np.zeros((2, 2)), large, spot, {}, ['a', 'b'], True)
    shown, over = (decoded(one) for one in data_of(part)['pictures'][0])
    assert shown.shape == over.shape == (96, 96, 3)
    np.testing.assert_allclose(shown[48, 48], (200, 150, 120), atol=4)
    red, blue, grey = over[20, 20], over[76, 76], over[20, 76]
    assert red[0] - red[2] > 60 and blue[2] - blue[0] > 60
    assert np.ptp(grey) < 6
    # A small image and a map of zeros: as they are.
    part = scatter.view(np.zeros((1, 2)), image, heat, {}, ['a'], False)
    shown, over = (decoded(one) for one in data_of(part)['pictures'][0])
    assert shown.shape == (8, 8, 3)
    np.testing.assert_allclose(over, 100, atol=4)


def test_what_users_wrote_stays_text():
    n, trap = 4, pages.TRAP
    columns = {trap: [trap, '', trap, ''], 'b<i>': [trap + str(k) for k in range(n)]}
    part = scatter.view(np.zeros((n, 2)), image, heat, columns, [trap] * n, False)
    data = data_of(part)
    assert data['titles'] == [trap] * n
    assert data['columns'][0]['values'] == [trap, '']
    rest = DATA.sub('', part.body)
    assert html.escape(trap) in rest
    assert '<img' not in part.body and rest.count('<script') == 0 and '<i>' not in rest


def test_the_page_allows_its_own_style_and_script_only(tmp_path, part):
    source = pages.write(tmp_path / 'page.html', part, part).read_text('utf-8')
    policy = re.findall(r'<meta http-equiv="Content-Security-Policy" content="(.*?)">', source)[0]
    rules = dict(rule.split(' ', 1) for rule in policy.split('; '))
    assert rules['default-src'] == "'none'" and rules['img-src'] == 'data:'
    for tag in ('style', 'script'):
        # Two scatters share them.
        (text,) = re.findall(rf'<{tag}>(.*?)</{tag}>', source, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[f'{tag}-src'] == f"'sha256-{digest}'"
    assert not re.search(r'url\(|@import|https?://| on\w+=| style=', source)


def test_a_page_without_scripts_has_the_table(part):
    rest = DATA.sub('', part.body)
    assert rest.count('<tr>') == 1 + scatter.LISTED
    assert '<th scope="row">image 0</th><td class="n">0</td><td>melanoma</td><td>yes</td>' in rest
    assert '<td>unknown</td>' in rest
    assert '<details open>' in rest and 'need JavaScript' in rest
    assert '<div class="live" hidden>' in rest


def test_a_thousand_images_of_224_pixels_stay_below_15_megabytes():
    n = 1000
    config = ConfigDict({**COMMON, **synthetic.DEFAULTS, 'n_train': 20, 'image_size': 224})
    records = synthetic.build(config, 0).splits['train']
    rng = np.random.default_rng(0)
    few = [records.read(row)['image'] for row in range(20)]
    part = pages.part(n, images=lambda row: np.roll(few[row % 20], row, axis=1))
    assert len(part.body) < 15_000_000 - 100_000
    noise = rng.integers(0, 255, (224, 224, 3), np.uint8)
    rough = pages.part(60, images=lambda row: noise, budget=300_000)
    pictures = [base64.b64decode(one) for pair in data_of(rough)['pictures'] for one in pair]
    assert 100_000 < sum(map(len, pictures)) <= 300_000


def test_of_very_many_images_some_are_pictured(monkeypatch):
    monkeypatch.setattr(scatter, 'PICTURED', 10)
    pictures = data_of(pages.part(60))['pictures']
    assert len(pictures) == 60
    assert [k for k, pair in enumerate(pictures) if pair][::9] == [0, 59]
    assert sum(pair is not None for pair in pictures) == 10


def test_wrong_arguments_say_what_is_wrong():
    points, titles = np.zeros((2, 2)), ['a', 'b']
    with pytest.raises(ValueError, match='at least one point'):
        scatter.view(np.zeros((0, 2)), image, heat, {}, [], False)
    with pytest.raises(ValueError, match=r'point 1 of a scatter is \[0.0, nan\]'):
        scatter.view(np.array([[0, 0], [0, np.nan]]), image, heat, {}, titles, False)
    with pytest.raises(ValueError, match=r"2 points needs as many of each: \{'x': 1\}"):
        scatter.view(points, image, heat, {'x': ['1']}, titles, False)
    with pytest.raises(ValueError, match='the map of a has values that are not finite'):
        scatter.view(points, image, lambda row: np.full((2, 2), np.inf), {}, titles, False)
