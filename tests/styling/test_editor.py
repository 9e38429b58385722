"""The editor 'style' with style transfer, by a network that was trained for it."""

import numpy as np
import pytest

from skinjax.editors import style
from tests.editors.test_style import angle, build, examples
from tests.styling.test_photos import BROWN, write
from tests.test_skin import scene


@pytest.fixture(scope='module')
def styles(tmp_path_factory):
    return str(write(tmp_path_factory.mktemp('photos') / 'styles'))


def test_transfer_leaves_the_lesion_and_reaches_the_tone(styles, trained):
    given = [*examples(2, 48), *examples(1, 40)]
    given += [{**given[0], 'image': 0 * given[0]['image']}]
    edit = build({'steps': 4, 'weights': str(trained)}, style=styles, method='transfer')
    found, matched = edit(given), build(style=styles)(given)
    for one, colour in zip(found[:3], matched, strict=False):
        lesion = one['mask'] > 0
        np.testing.assert_array_equal(one['image'][lesion], colour['image'][lesion])
        assert (one['image'] != colour['image']).any()
        assert angle(one) == pytest.approx(style.facts(one)['ita'], abs=12)
        losses = style.facts(one)['losses']
        assert {len(values) for values in losses.values()} == {4}
        assert losses['total'][-1] < losses['total'][0]
    assert not found[3]['image'].any() and 'no bare skin' in style.facts(found[3])['reason']
    [alone] = edit(given[2:3])
    np.testing.assert_allclose(alone['image'], found[2]['image'], atol=1)


def test_the_original_starts_at_the_style_and_needs_no_mask(styles, trained):
    given = [{'image': one['image']} for one in examples(2)]
    transfer = {'steps': 2, 'weights': str(trained)}
    found = build(transfer, style=styles, method='original')(given)
    photo = scene(80, BROWN)[0]
    for one in found:
        assert style.facts(one)['asked'] is None and style.facts(one)['reason'] == ''
        middle = np.abs(one['image'].astype(float).mean((0, 1)) - photo.mean((0, 1)))
        assert middle.max() < 12
