"""From training to clusters: the artefact that a network was misled by has clusters of its own."""

import pytest

from skinjax import audit, explain, kinds, recipes, train
from skinjax import config as configs


@pytest.mark.slow  # half a minute
def test_the_frame_that_misled_a_network_is_found(tmp_path):
    config = recipes.unlearning('baseline')
    config.data.update(artefact='frame', bias=('frame',), skew=(0.05, 0.95))
    config.data.update(n_train=1500, n_val=200, n_test=200)
    config.train.epochs = 6
    config.evaluate.update(probes=(), bootstrap=100)
    results = train.run(configs.resolve(config), tmp_path / 'run')
    assert results['insertion']['frame']['mean_abs'] > 30  # percentage points: it has been misled

    maps = kinds.explain('lrp')
    maps.update(init_from=str(tmp_path / 'run'), split='balanced', n=0, target='melanoma')
    maps.update(sanity=0, faithfulness=0)
    explain.run(configs.resolve(maps), tmp_path / 'maps')

    spray = kinds.audit('spray', maps=str(tmp_path / 'maps'), by='all')
    found = audit.run(configs.resolve(spray), tmp_path / 'spray')
    (frame,) = [row for row in found['agreement'] if row['flag'] == 'frame']
    assert frame['value'] == 'frame'
    assert frame['precision'] > 0.9 and frame['recall'] > 0.8 and frame['joint_ari'] > 0.6
