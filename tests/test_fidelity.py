"""KID, FID and the manifold measures: worked values, slow twins, few rows."""

import itertools

import numpy as np
import pytest
from scipy.linalg import sqrtm

from skinjax import fidelity


def clouds(n: int, m: int, d: int, shift: float = 0.5, seed: int = 0):
    rng = np.random.default_rng(seed)
    spread = rng.normal(size=(d, d)) / np.sqrt(d)
    return rng.normal(size=(n, d)) @ spread, shift + rng.normal(size=(m, d))


def slow_mmd(x, y):
    """Every pair of different rows by itself."""

    def k(a, b):
        return (np.dot(a, b) / len(a) + 1) ** 3

    within = [np.mean([k(a, b) for a, b in itertools.permutations(rows, 2)]) for rows in (x, y)]
    return sum(within) - 2 * np.mean([k(a, b) for a in x for b in y])


def slow_manifold(real, made, k):
    """(share of made rows in a real ball, mean number of them / k, share of real balls met)."""
    balls = []
    for i, a in enumerate(real):
        others = sorted(np.linalg.norm(a - b) for j, b in enumerate(real) if j != i)
        balls.append(others[k - 1])
    inside = [[np.linalg.norm(a - b) <= r for a, r in zip(real, balls, strict=True)] for b in made]
    met = [any(row[i] for row in inside) for i in range(len(real))]
    return np.mean([any(row) for row in inside]), np.mean(np.sum(inside, 1)) / k, np.mean(met)


def test_worked_values():
    """d = 1, x = (0, 2, 1), y = (1, 1, 1): k(0, .) = 1, k(2, 1) = 27, k(1, 1) = 8."""
    x, y = np.array([[0.0], [2.0], [1.0]]), np.ones((3, 1))
    found = fidelity.kid(x, y)
    assert found['value'] == pytest.approx((1 + 1 + 27) / 3 + 8 - 2 * (1 + 27 + 8) / 3)
    # Means 0 and 2, variances 2 and 8: 4 + 2 + 8 - 2 * 4.
    assert fidelity.fid(np.array([[-1.0], [1.0]]), np.array([[0.0], [4.0]])) == pytest.approx(6)
    # On a line: each ball of three neighbours of 0 ... 4 reaches to the third of the others.
    line = np.arange(5.0)[:, None]
    np.testing.assert_allclose(fidelity.radii(line, 3), [3, 2, 2, 2, 3])
    found = fidelity.manifold(line, np.array([[7.0], [7.5], [8.0], [4.5]]))
    assert found['precision'] == 0.5  # 7 is on the ball of 4, and 4.5 inside
    assert found['recall'] == 0.8  # 4.5 reaches down to 1, as 8 is 3.5 away


def test_slow_twins():
    for n, m, d in ((7, 9, 3), (8, 6, 12)):
        x, y = clouds(n, m, d)
        assert fidelity.kid(x, y)['value'] == pytest.approx(slow_mmd(x, y))
        a, b = np.cov(x.T), np.cov(y.T)
        want = np.square(x.mean(0) - y.mean(0)).sum() + np.trace(
            a + b - 2 * np.real(np.asarray(sqrtm(a @ b)))
        )
        assert fidelity.fid(x, y) == pytest.approx(want, rel=1e-6)
        found = fidelity.manifold(x, y)
        precision, _, _ = slow_manifold(x, y, 3)
        recall, _, _ = slow_manifold(y, x, 3)
        _, density, coverage = slow_manifold(x, y, 5)
        assert found == pytest.approx(
            {'precision': precision, 'recall': recall, 'density': density, 'coverage': coverage}
        )


def test_the_jackknife_leaves_out_one_row_at_a_time():
    x, y = clouds(9, 7, 4)
    without_x = [slow_mmd(np.delete(x, i, 0), y) for i in range(9)]
    without_y = [slow_mmd(x, np.delete(y, i, 0)) for i in range(7)]
    variance = sum(
        (len(v) - 1) / len(v) * np.square(np.array(v) - np.mean(v)).sum()
        for v in (without_x, without_y)
    )
    found = fidelity.kid(x, y)
    assert found['error'] == pytest.approx(np.sqrt(variance))
    assert found['high'] - found['value'] == pytest.approx(1.959964 * found['error'])


def test_unbiased_with_an_interval_of_its_level():
    """Few rows of two laws against very many: right on average, the truth inside 95 %."""

    def sample(n, rng):
        return rng.normal(size=(n, 2)), rng.normal(0.7, 1, (n, 2))

    truth = fidelity.kid(*sample(6000, np.random.default_rng(0)))
    found = [fidelity.kid(*sample(50, np.random.default_rng(k))) for k in range(1, 301)]
    values = np.array([one['value'] for one in found])
    spread = values.std() / np.sqrt(len(values)) + truth['error']
    assert abs(values.mean() - truth['value']) < 3 * spread
    assert np.mean([one['error'] for one in found]) == pytest.approx(values.std(), rel=0.15)
    inside = np.mean([one['low'] <= truth['value'] <= one['high'] for one in found])
    assert 0.88 < inside <= 0.99


def test_alike_and_collapsed():
    x, y = clouds(60, 60, 5)
    same = fidelity.measure(x, x.copy())
    assert same['fid'] == pytest.approx(0, abs=1e-9)
    assert (same['precision'], same['recall'], same['coverage']) == (1, 1, 1)
    assert same['kid']['value'] < 0  # unbiased: the pairs of a row with itself are not counted
    one = fidelity.measure(x, np.repeat(x[:1], 60, 0))
    assert one['precision'] == 1 and one['recall'] <= 1 / 60 and one['coverage'] < 0.3
    assert one['fid'] > 1 and one['kid']['low'] > 0
    assert fidelity.measure(x, y)['fid'] > 1


def test_many_rows_are_taken_in_blocks(monkeypatch):
    x, y = clouds(23, 17, 4)
    want = fidelity.measure(x, y)
    monkeypatch.setattr(fidelity, '_BLOCK', 5)
    assert fidelity.kid(x, y) == pytest.approx(want['kid'])
    tall = fidelity.fid(x, y)  # more rows than features: by the covariances' roots
    wide = fidelity.fid(np.hstack([x, np.zeros((23, 30))]), np.hstack([y, np.zeros((17, 30))]))
    assert tall == pytest.approx(wide)


@pytest.mark.parametrize('count', [0, 1, 2, 3, 5])
def test_what_few_rows_cannot_say_is_nan(count):
    x, y = clouds(12, 12, 4)
    found = fidelity.measure(x[:count], y)
    assert set(found) == set(fidelity.MEASURES)
    assert np.isnan(found['kid']['value']) == (count < 3)
    assert np.isnan(found['fid']) == (count < 2)
    assert np.isnan(found['precision']) == (count < 4)
    assert np.isnan(found['recall']) == (count == 0)
    assert np.isnan(found['density']) == np.isnan(found['coverage']) == (count < 6)


def test_which_real_rows_are_covered():
    x, y = clouds(30, 40, 3)
    nearest, reached = fidelity.covered(x, y)
    assert reached.mean() == fidelity.manifold(x, y)['coverage']
    assert nearest[4] == pytest.approx(min(np.linalg.norm(x[4] - b) for b in y))
