"""The head fitted on frozen features."""

import numpy as np
import pytest

from skinjax.measures import auc
from skinjax.models import linear_head


def _features(classes: int, n: int = 240):
    """Normal clouds around one corner a class, in feature units that differ a thousandfold."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % classes
    features = rng.normal(0, 1, (n, 4))
    features[np.arange(n), labels] += 3.0
    return (features * [1, 100, 0.1, 10] + [5, -300, 0, 0]).astype(np.float32), labels


@pytest.mark.parametrize('classes', [2, 3])
def test_separates_the_classes_whatever_the_units(classes):
    features, labels = _features(classes)
    head = linear_head.fit(features, labels, np.arange(240), classes)
    outputs = 1 if classes == 2 else classes
    assert head['kernel'].shape == (4, outputs) and head['bias'].shape == (outputs,)
    assert head['kernel'].dtype == head['bias'].dtype == np.float32
    logits = features @ head['kernel'] + head['bias']
    if classes == 2:
        assert auc(labels, logits[:, 0]) > 0.97
        # Classes of equal size and shape: the mean chance of the second is its share.
        assert np.mean(1 / (1 + np.exp(-logits))) == pytest.approx(0.5, abs=0.01)
    else:
        assert np.mean(logits.argmax(1) == labels) > 0.9


def test_the_penalty_falls_with_the_evidence():
    rng = np.random.default_rng(1)
    labels, noise = np.arange(300) % 2, rng.normal(0, 1, (300, 40)).astype(np.float32)
    blind = linear_head.fit(noise, labels, np.arange(300), 2)
    noise[:, 0] += 4 * labels
    seeing = linear_head.fit(noise, labels, np.arange(300), 2)
    assert np.abs(blind['kernel']).max() < 0.05 < 1 < seeing['kernel'][0, 0]


def test_groups_are_never_divided():
    # Twins: a division that ignores groups sees copies of its fitting rows and trusts the noise.
    rng = np.random.default_rng(2)
    labels = np.repeat(np.arange(60) % 2, 5)
    features = np.repeat(rng.normal(0, 1, (60, 80)), 5, axis=0).astype(np.float32)
    together = linear_head.fit(features, labels, np.repeat(np.arange(60), 5), 2)
    apart = linear_head.fit(features, labels, np.arange(300), 2)
    assert np.abs(together['kernel']).sum() < 0.1 * np.abs(apart['kernel']).sum()


def test_too_few_groups():
    features, labels = _features(2)
    with pytest.raises(ValueError, match=r'needs 5 groups of each class, found \[3, 3\]'):
        linear_head.fit(features, labels, np.arange(240) % 6, 2)
