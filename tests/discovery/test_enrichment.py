"""Enrichment tables by hand."""

import numpy as np
import pytest
from scipy.stats import fisher_exact

from skinjax.discovery import enrichment, view
from tests.discovery.planted import framed

CLUSTERS = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, -1])
FLAGS = {
    'ruler': np.array([1, 1, 1, 0, 0, 0, 0, 0, -1, 1]),
    'camera': np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0]),
}
NAMES = {'ruler': ('no', 'yes'), 'camera': ('a', 'b', 'c')}


def test_rows_by_hand():
    found = enrichment.corrected(enrichment.rows(CLUSTERS, FLAGS, NAMES))
    assert len(found) == 3 + 3 * 3  # of the ruler only 'yes'
    first = found[0]
    assert (first['cluster'], first['flag'], first['value']) == (0, 'ruler', 'yes')
    # Known: three of four in the cluster have one, and none of four others.
    assert (first['n'], first['hits']) == (4, 3)
    assert first['inside']['value'] == 0.75 and first['outside']['value'] == 0
    assert first['p'] == pytest.approx(fisher_exact([[3, 1], [0, 4]])[1]) and np.isinf(
        first['odds']
    )
    # Benjamini and Hochberg: p times the number of rows over the rank, made monotonous.
    p = np.array([row['p'] for row in found])
    order = np.argsort(p)
    scaled = np.minimum.accumulate((p[order] * len(p) / np.arange(1, len(p) + 1))[::-1])[::-1]
    np.testing.assert_allclose(np.array([row['q'] for row in found])[order], scaled.clip(max=1))


def test_agreement_by_hand():
    found = enrichment.corrected(enrichment.rows(CLUSTERS, FLAGS, NAMES))
    ruler, _ = enrichment.agreement(CLUSTERS, FLAGS, NAMES, found)
    assert (ruler['flag'], ruler['n'], ruler['clusters'], ruler['value']) == (
        'ruler',
        8,
        [0],
        'yes',
    )
    assert (ruler['precision'], ruler['recall']) == (3 / 4, 1)
    # Tables [[3, 0, 0], [1, 3, 1]] and [[3, 0], [1, 4]] of pairs, Hubert and Arabie's formula.
    assert ruler['ari'] == pytest.approx((6 - 13 * 9 / 28) / ((13 + 9) / 2 - 13 * 9 / 28))
    assert ruler['joint_ari'] == pytest.approx((9 - 13 * 12 / 28) / (12.5 - 13 * 12 / 28))


def test_a_value_that_fills_two_clusters():
    """Rulers at two places: 20 in each of clusters 1 and 2, one of 40 images in cluster 0."""
    labels = np.repeat([0, 1, 2], [40, 20, 20])
    flags = {'ruler': np.r_[1, np.zeros(39, int), np.ones(40, int)]}
    names = {'ruler': ('no', 'yes')}
    found = enrichment.corrected(enrichment.rows(labels, flags, names))
    (row,) = enrichment.agreement(labels, flags, names, found)
    assert row['clusters'] == [1, 2]
    assert (row['precision'], row['recall']) == (1, 40 / 41)
    assert row['joint_ari'] > 0.9 > 0.75 > row['ari']


def test_nothing_known_or_one_cluster():
    one = np.zeros(4, np.int64)
    flags = {'ruler': np.array([-1, 0, 0, 0]), 'hair': np.array([0, 1, 1, 0])}
    names = dict.fromkeys(flags, ('no', 'yes'))
    assert enrichment.rows(one, flags, names) == enrichment.corrected([]) == []
    (row,) = enrichment.agreement(one, flags, names, [])
    assert row['flag'] == 'hair' and row['ari'] == 0 and row['clusters'] is None
    flags['hair'] = np.ones(4, np.int64)
    assert enrichment.rows(np.array([0, 0, 1, 1]), flags, names) == []


def test_view_keeps_groups_together():
    _, pictures, has = framed(30)
    points = pictures.reshape(30, -1)[:, ::8].astype(np.float64)
    start = np.random.default_rng(0).normal(size=(30, 2))
    found = view.tsne(points, start)
    np.testing.assert_array_equal(found, view.tsne(points, start))
    apart = np.hypot(*(found[:, None] - found[None]).transpose(2, 0, 1)) + 1e9 * np.eye(30)
    assert (has[apart.argmin(1)] == has).all()
    assert view.tsne(points, np.zeros((30, 1)), seed=3).std() > 0
    assert not view.tsne(np.ones((30, 4)), start).any()
    assert view.tsne(points[:3], start[:3]).shape == (3, 2)
