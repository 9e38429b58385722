"""Settings of the unlearning study really unlearn: one seed of the embedded main job."""

import pytest

from skinjax import recipes, train


@pytest.mark.slow
def test_clgr_beats_the_baseline_where_the_ruler_misleads(tmp_path):
    found = {}
    for method in ('baseline', 'clgr'):
        results = train.run(recipes.unlearning(method), tmp_path / method)
        found[method] = {name: b['auc']['value'] for name, b in results['splits'].items()}
    assert found['clgr']['reversed'] > found['baseline']['reversed'] + 0.10
    assert abs(found['clgr']['plain'] - found['baseline']['plain']) < 0.04
    for aucs in found.values():
        assert aucs['plain'] <= 0.98
