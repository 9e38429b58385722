"""Measures of masks: worked values, empty masks, slow twins."""

import math
from itertools import product

import numpy as np
import pytest

from skinjax import masks


def disk(size: int, radius: float, centre: tuple[float, float] | None = None) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    cy, cx = centre or ((size - 1) / 2,) * 2
    return (y - cy) ** 2 + (x - cx) ** 2 <= radius**2


def test_the_worked_example():
    """Truth: a 2x2 block in 4x4; prediction: its upper row."""
    truth, predicted = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    truth[1:3, 1:3] = True
    predicted[1, 1:3] = True
    found = masks.measure(truth, predicted)
    assert found['jaccard'] == 0.5 == masks.jaccard(truth, predicted)
    assert found['rowwise_jaccard'] == 0.75
    assert found['threshold_jaccard'] == 0
    assert found['dice'] == pytest.approx(2 / 3)
    assert found['pixel_sensitivity'] == 0.5
    assert found['pixel_specificity'] == 1
    assert tuple(found) == masks.MEASURES


def test_the_threshold_keeps_what_reaches_it():
    truth = np.zeros((10, 20), bool)
    truth[:, :10] = True
    for kept, want in ((65, 0.65), (64, 0.0)):
        predicted = np.zeros_like(truth)
        predicted[:, :10] = (np.arange(100) < kept).reshape(10, 10)
        assert masks.measure(truth, predicted)['threshold_jaccard'] == want


def test_empty_and_full_masks():
    empty, full = np.zeros((6, 5), bool), np.ones((6, 5), bool)
    none = masks.measure(empty, empty)
    assert [none[k] for k in ('jaccard', 'threshold_jaccard', 'dice', 'boundary_f')] == [1] * 4
    assert math.isnan(none['pixel_sensitivity']) and none['pixel_specificity'] == 1
    missed = masks.measure(full, empty)
    assert [missed[k] for k in ('jaccard', 'dice', 'boundary_f', 'pixel_sensitivity')] == [0] * 4
    assert math.isnan(missed['pixel_specificity'])
    assert masks.measure(empty, full)['jaccard'] == 0 == masks.measure(empty, full)['boundary_f']
    assert masks.measure(full, full)['boundary_f'] == 1


def test_masks_of_two_sizes_are_refused():
    one, other = np.ones((6, 5), bool), np.ones((5, 6), bool)
    for compare in (masks.measure, masks.jaccard, masks.boundary_f):
        with pytest.raises(ValueError, match=r'\(6, 5\), the other \(5, 6\)'):
            compare(one, other)
    with pytest.raises(ValueError, match="'rowwise'"):
        masks.jaccard(one, one, 'rows')


def slow_boundary_f(truth: np.ndarray, predicted: np.ndarray, reach: float) -> float:
    def edge(mask):
        inside = lambda y, x: (  # noqa: E731
            0 <= y < mask.shape[0] and 0 <= x < mask.shape[1] and mask[y, x]
        )
        return [
            (y, x)
            for y, x in np.argwhere(mask).tolist()
            if not all(inside(y + a, x + b) for a, b in ((0, 1), (1, 0), (0, -1), (-1, 0)))
        ]

    def share(own, other):
        return np.mean([min(math.dist(p, q) for q in other) <= reach for p in own])

    p, r = share(edge(predicted), edge(truth)), share(edge(truth), edge(predicted))
    return float(2 * p * r / (p + r)) if p + r else 0.0


@pytest.mark.parametrize('tolerance', [0.01, 0.05])
def test_boundary_by_its_definition(tolerance):
    rng = np.random.default_rng(1)
    shapes = [disk(24, 7), disk(24, 8, (12, 13)), disk(24, 6, (0, 4)), rng.random((24, 24)) > 0.5]
    for one, other in product(shapes, shapes):
        want = slow_boundary_f(one, other, tolerance * math.hypot(24, 24))
        assert masks.boundary_f(one, other, tolerance) == pytest.approx(want)


def test_a_shifted_boundary_counts_up_to_the_tolerance():
    truth = disk(200, 60)
    near, far = disk(200, 62), disk(200, 66)  # the tolerance is 2.8 pixels
    assert masks.boundary_f(truth, near) == 1
    assert masks.boundary_f(truth, far) == 0
    assert masks.measure(truth, far)['jaccard'] > 0.8


def test_a_ring_becomes_a_disk_and_a_bay_stays():
    ring = disk(21, 8) & ~disk(21, 4)
    np.testing.assert_array_equal(masks.fill_holes(ring), disk(21, 8))
    bay = ring.copy()
    bay[:11, 10] = False
    np.testing.assert_array_equal(masks.fill_holes(bay), bay)
    diagonal = ~np.eye(3, dtype=bool)  # the middle meets the frame by its corners alone
    assert masks.fill_holes(diagonal)[1, 1]
