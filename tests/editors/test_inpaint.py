"""The editor that fills artefacts: by OpenCV and by a trained network."""

from typing import Any

import numpy as np
import pytest
from ml_collections import ConfigDict

from skinjax.editors import inpaint


def editor(**fields) -> Any:
    return inpaint.build(ConfigDict({'name': 'inpaint', **inpaint.DEFAULTS, **fields}))


def example(seed: int = 0, height: int = 40, width: int = 50) -> dict[str, np.ndarray]:
    """A smooth picture with a dark line, which its artefact marks."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    image = np.stack([100 + y + x / 2, 80 + y / 2, 60 + x / 2], -1) + rng.normal(0, 1, (1, 1, 3))
    image = np.clip(np.round(image), 0, 255).astype(np.uint8)
    artefact, mask = np.zeros((2, height, width), np.uint8)
    artefact[height // 2 : height // 2 + 2] = 255
    mask[:, : width // 2] = 255
    image[artefact > 0] = 10
    return {'image': image, 'artefact': artefact, 'mask': mask}


@pytest.mark.parametrize('method', ['telea', 'ns'])
def test_opencv_fills_the_line_and_its_rim(method):
    one = example()
    before = {name: array.copy() for name, array in one.items()}
    (found,) = editor(method=method, protect_lesion=False)([one])
    for name, array in before.items():
        np.testing.assert_array_equal(one[name], array)  # the input stays
    filled = found['artefact'] > 0
    assert filled[18:24].all() and not filled[:18].any() and not filled[24:].any()
    np.testing.assert_array_equal(found['image'][~filled], one['image'][~filled])
    assert found['image'][filled].min() > 50
    np.testing.assert_array_equal(found['mask'], one['mask'])


def test_the_lesion_is_left_alone():
    one = example()
    (found,) = editor(method='telea')([one])
    lesion = one['mask'] > 0
    np.testing.assert_array_equal(found['image'][lesion], one['image'][lesion])
    assert not found['artefact'][lesion].any()
    assert (found['image'][20:22, 35:] > 50).all()  # further from the line that is left


def test_nothing_to_fill_and_nothing_to_fill_from():
    clean, whole, bare = example(), example(), example()
    clean['artefact'][:] = 0
    whole['artefact'][:] = 255
    del bare['artefact']
    edit = editor(method='ns', protect_lesion=False)
    for given, found in zip((clean, whole, bare), edit([clean, whole, bare]), strict=True):
        assert set(given) == set(found)
        for name in given:
            np.testing.assert_array_equal(given[name], found[name])
    assert editor(method='telea')([]) == []


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'image': np.zeros((40, 50, 4), np.uint8)}, r'example 1: .*found uint8 \[40, 50, 4\]'),
        ({'image': np.zeros((40, 50), np.uint8)}, r'found uint8 \[40, 50\]'),
        ({'image': np.zeros((40, 50, 3), np.float32)}, 'found float32'),
        ({'artefact': np.zeros((50, 40), np.uint8)}, r"'artefact' is \[50, 40\]"),
        ({'mask': np.zeros((8, 8), np.uint8)}, r"'mask' is \[8, 8\]"),
    ],
)
def test_examples_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        editor(method='telea')([example(), {**example(), **change}])


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'method': 'magic'}, "method is 'magic'.*network, telea, ns"),
        ({'method': 'telea', 'batch_size': 0}, 'batch_size must be at least 1'),
        ({'method': 'telea', 'dilate': -1}, 'dilate 0'),
        ({}, 'config.init_from is empty'),
    ],
)
def test_options_out_of_range_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        editor(**fields)
