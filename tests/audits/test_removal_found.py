"""Which images the removal of artefacts is tested on: those that flags or detectors name."""

import dataclasses

import numpy as np
import pytest

from skinjax.auditing import removal
from tests.helpers import tiny_data


def found(names):
    """What is said of images, half of which have the value 0 of a variable `hair`."""
    data = tiny_data(12, size=32)
    records = data.splits['test']
    flags = {'hair': np.arange(12, dtype=np.int32) % 2}
    records = dataclasses.replace(
        records, bias=flags, read=lambda row: {'image': np.full((32, 32, 3), 200, np.uint8)}
    )
    return removal.something(records, dataclasses.replace(data, bias={'hair': names}))


@pytest.mark.parametrize(
    ('names', 'value'), [(('absent', 'present'), 1), (('dense', 'none'), 0), (('hair', 'no'), 0)]
)
def test_flags_mean_what_their_names_say(names, value):
    chosen, source = found(names)
    np.testing.assert_array_equal(chosen, np.arange(12) % 2 == value)
    assert source == {'hair': 'flag hair', 'ruler': 'detector', 'ink': 'detector'}


def test_flags_whose_names_do_not_say_are_left_to_detectors():
    chosen, source = found(('left', 'right'))
    assert not chosen.any() and source['hair'] == 'detector'
