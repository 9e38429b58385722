"""The rule of weighting: what it shows, and which options it refuses."""

import numpy as np
import pytest

from skinjax.objectives.rule import Rule
from tests.objectives.made import make_config
from tests.objectives.test_weighting import (
    CLASSES,
    PUBLISHED,
    cross_entropy,
    fields,
    lesions,
    mean,
    rule,
    some,
    weigh,
)
from tests.objectives.test_weights import COUNTS


class TestLog:
    def test_what_is_shown_is_the_share_in_the_weights_by_the_share_of_the_rows(self):
        found = rule(weights='cb+ohem', ohem__warmup=0.0)
        logits, batch = some()
        _, own, kept = weigh(found, logits, batch)
        shown = {name: float(mean(term)) for name, term in found.shown(own, kept, batch).items()}
        hard = np.argsort(-cross_entropy(logits, PUBLISHED))[:8]
        w = (COUNTS.sum() / COUNTS)[PUBLISHED[hard]]
        want = {
            f'weight_{name}': w[PUBLISHED[hard] == c].sum() / w.sum() * COUNTS.sum() / COUNTS[c]
            for c, name in enumerate(CLASSES)
        }
        assert shown == pytest.approx({**want, 'kept': 0.5}, rel=1e-5)
        assert sum(value > 0 for value in want.values()) >= 3
        assert 'kept' not in rule(weights='cb').shown(own, kept, batch)


class TestErrors:
    @pytest.mark.parametrize(
        ('batch_size', 'accumulate', 'scope', 'fits'),
        [
            (16, 1, 'batch', False),
            (20, 1, 'batch', True),
            (64, 4, 'batch', False),
            (64, 2, 'batch', True),
            (16, 1, 'epoch', True),
        ],
    )
    def test_a_guard_that_would_leave_out_no_row(self, batch_size, accumulate, scope, fits):
        config = make_config(
            'weighting', **fields(weights='ohem', ohem__drop_top=0.05, scope=scope)
        )
        config.data.batch_size, config.train.accumulate = batch_size, accumulate
        if fits:
            assert Rule(config, lesions(), 100).rows == COUNTS.sum()
            return
        with pytest.raises(ValueError, match=r'drop_top is 0.05, which is no row of a batch of 16'):
            Rule(config, lesions(), 100)

    def test_a_guard_that_would_leave_out_no_training_row(self):
        given = fields(weights='ohem', ohem__drop_top=0.05, scope='epoch')
        with pytest.raises(ValueError, match='no row of the training rows of 7'):
            Rule(make_config('weighting', **given), lesions(np.ones(7, int)), 100)

    def test_a_class_without_images_is_named(self):
        counts = COUNTS * (np.arange(7) != 3)
        for scheme in ('es', 'ldam', 'balanced_softmax+ohem'):
            with pytest.raises(ValueError, match=r'every class, and akiec has none'):
                rule(counts, weights=scheme)
        assert rule(counts, weights='spl').rows == counts.sum()

    @pytest.mark.parametrize('scheme', ['cb', 'logit_adjustment', 'balanced_softmax', 'ldam_drw'])
    def test_classes_are_not_balanced_twice(self, scheme):
        config = make_config('weighting', weights=scheme)
        config.data.sampling = 'class'
        with pytest.raises(ValueError, match="sampling to 'uniform', found 'class'"):
            Rule(config, lesions(), 10)
        config.objective.weights = 'ohem'
        assert Rule(config, lesions(), 10).scheme.curriculum == 'ohem'


def test_beta_of_zero_counts_every_class_alike():
    found = rule(weights='es', beta=0.0, normalize='none')
    np.testing.assert_array_equal(found.class_table(found.counts), 1)
    np.testing.assert_array_equal(weigh(found, *some())[1], 1)
