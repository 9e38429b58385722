"""The objective `weighting`: published batches, reductions, gradients, logits, errors."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax import config as configs
from skinjax.data.records import DataSet
from skinjax.engine.objective import Moment
from skinjax.objectives import history
from skinjax.objectives.rule import Rule
from tests.objectives.made import (
    KEY,
    made_data,
    made_records,
    make_config,
)
from tests.objectives.test_weights import COUNTS

CLASSES = ('nv', 'mel', 'bkl', 'akiec', 'bcc', 'df', 'vasc')
NOW = jnp.asarray(5)
# The slides' batch of 16: 5 NV, 3 MEL, 3 BKL, 1 AKIEC, 2 BCC, 1 DF, 1 VASC.
PUBLISHED = np.repeat(np.arange(7), (5, 3, 3, 1, 2, 1, 1))


def lesions(counts=COUNTS) -> DataSet:
    """Training rows of the seven classes."""
    labels = np.repeat(np.arange(7), counts)
    return DataSet('made', CLASSES, {}, {'train': made_records(labels, {})})


def fields(**given) -> dict[str, Any]:
    """Options of the objective; those of spl and ohem (`ohem__last`) among their defaults."""
    defaults = configs.find('objectives', 'weighting').DEFAULTS
    found: dict[str, Any] = {}
    for name, value in given.items():
        section, _, leaf = name.partition('__')
        if leaf:
            found[section] = {**found.get(section, defaults[section]), leaf: value}
        else:
            found[name] = value
    return found


def rule(counts=COUNTS, **given) -> Rule:
    return Rule(make_config('weighting', **fields(**given)), lesions(counts), 100)


def some(labels=PUBLISHED, seed=0) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Logits of seven classes, and a batch with these labels."""
    logits = np.random.default_rng(seed).normal(size=(len(labels), 7)).astype(np.float32)
    batch = {'label': labels, 'valid': np.ones(len(labels), bool), 'index': np.arange(len(labels))}
    return jnp.asarray(logits), jax.tree.map(jnp.asarray, batch)


def weigh(found: Rule, logits, batch, step=NOW):
    """(Loss, class weights, kept)."""
    values, ranks = found.losses(logits, batch['label'])
    moment = Moment(jax.random.split(KEY, len(logits)), step)
    own, kept, _ = found.weigh(batch, ranks, moment, history.empty(found.rows))
    return found.reduce(values, own, kept, batch), own, kept


def mean(loss) -> Any:
    return (loss.weights * loss.values).sum() / loss.weights.sum()


def cross_entropy(logits, labels) -> np.ndarray:
    logits = np.asarray(logits, np.float64)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return -np.log(p[np.arange(len(labels)), labels])


class TestPublishedBatch:
    @pytest.mark.parametrize(
        ('scheme', 'want'),
        [
            ('cb', [0.0828, 0.4991, 0.5072, 1.6872, 1.0802, 4.8142, 3.9052]),
            ('es', [0.1105, 0.5125, 0.5204, 1.6668, 1.0770, 4.7058, 3.8224]),
        ],
    )
    def test_weights_are_those_of_the_slides(self, scheme, want):
        """As the history records them: what each image has counted in the global batch."""
        found = rule(weights=scheme)
        logits, batch = some()
        loss, own, kept = weigh(found, logits, batch)
        sums = history.sums(
            batch,
            weights=own * kept,
            losses=loss.values,
            decided=batch['valid'],
            kept=kept,
            total=loss.weights.sum(),
            rows=found.rows,
        )
        after = history.update({history.NAME: history.empty(found.rows)}, sums)[history.NAME]
        counted = np.asarray(after['weight'])[:16]
        np.testing.assert_allclose(counted, np.array(want)[PUBLISHED], atol=6e-5)
        assert counted.sum() == pytest.approx(16, abs=1e-5)
        want_loss = (counted * cross_entropy(logits, PUBLISHED)).mean()
        assert float(mean(loss)) == pytest.approx(want_loss, rel=1e-5)

    @pytest.mark.parametrize('scheme', ['cb', 'es'])
    def test_a_batch_of_one_class_is_the_plain_mean(self, scheme):
        labels = np.full(16, 5)
        logits, batch = some(labels)
        loss, _, _ = weigh(rule(weights=scheme), logits, batch)
        assert float(mean(loss)) == pytest.approx(cross_entropy(logits, labels).mean(), rel=1e-5)


class TestReduce:
    @pytest.mark.parametrize('normalize', ['batch_mean', 'dataset', 'classes', 'none'])
    @pytest.mark.parametrize('scheme', ['cb', 'ohem', 'es+ohem', ''])
    def test_slow_twin(self, scheme, normalize):
        given: dict[str, Any] = {'weights': scheme, 'normalize': normalize}
        given |= {'ohem__warmup': 0.0} if 'ohem' in scheme else {}
        logits, batch = some()
        values = cross_entropy(logits, PUBLISHED)
        name = scheme.partition('+')[0].replace('ohem', '')
        beta = 1 - 1 / COUNTS.sum()
        table = {
            'cb': COUNTS.sum() / COUNTS,
            'es': (1 - beta) / (1 - beta**COUNTS),
            '': np.ones(7),
        }[name]
        if normalize == 'dataset':
            table = table * COUNTS.sum() / (table * COUNTS).sum()
        if normalize == 'classes':
            table = table * 7 / table.sum()
        w = table[PUBLISHED]
        if normalize == 'batch_mean':
            w = w / w.mean()
        keep = np.ones(16)
        if 'ohem' in scheme:
            keep = (np.argsort(np.argsort(-values)) < 8) * 1.0
        want = {
            'batch': (w * keep * values).sum() / 16,
            'weights': (w * keep * values).sum() / (w * keep).sum(),
        }
        want['auto'] = want['weights' if 'ohem' in scheme else 'batch']
        for reduce, value in want.items():
            loss, _, kept = weigh(rule(reduce=reduce, **given), logits, batch)
            np.testing.assert_array_equal(kept, keep)
            assert float(mean(loss)) == pytest.approx(value, rel=1e-5), reduce


class TestGradient:
    @pytest.mark.parametrize('reduce', ['weights', 'batch'])
    def test_dropped_examples_have_none_and_weights_are_constants(self, reduce):
        """w_i (p - y) / sum(w) by hand, for the w of this moment."""
        found = rule(weights='cb+ohem', ohem__warmup=0.0, reduce=reduce)
        logits, batch = some()
        gradient = np.asarray(jax.grad(lambda z: mean(weigh(found, z, batch)[0]))(logits))
        _, own, kept = weigh(found, logits, batch)
        own, kept = np.asarray(own), np.asarray(kept)
        w = own * kept / (own * (kept if reduce == 'weights' else 1)).sum()
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        np.testing.assert_allclose(gradient, w[:, None] * (p - np.eye(7)[PUBLISHED]), atol=1e-6)
        assert kept.sum() == 8 and (gradient[kept == 0] == 0).all()
        assert (np.abs(gradient[kept == 1]).max(1) > 0).all()


class TestLogits:
    labels = np.array([0, 5, 6, 1])

    def values(self, **given):
        logits, batch = some(self.labels)
        values, ranked = rule(**given).losses(logits, batch['label'])
        return np.asarray(logits, np.float64), np.asarray(values), np.asarray(ranked)

    def test_logit_adjustment_and_balanced_softmax(self):
        logits, found, _ = self.values(weights='logit_adjustment', tau=2.0)
        prior = np.log(COUNTS / COUNTS.sum())
        want = cross_entropy(logits + 2 * prior, self.labels)
        np.testing.assert_allclose(found, want, rtol=1e-5)
        _, found, _ = self.values(weights='balanced_softmax')
        raised = COUNTS * np.exp(logits)
        want = -np.log(raised[np.arange(4), self.labels] / raised.sum(1))
        np.testing.assert_allclose(found, want, rtol=1e-5)

    def test_ldam(self):
        logits, found, _ = self.values(weights='ldam', max_margin=0.7)
        moved = logits.copy()
        for row, label in enumerate(self.labels):
            moved[row, label] -= 0.7 * (116 / COUNTS[label]) ** 0.25
        np.testing.assert_allclose(found, cross_entropy(moved, self.labels), rtol=1e-5)

    @pytest.mark.parametrize(
        'given', [{'weights': 'spl', 'loss': 'focal'}, {'weights': 'ldam+ohem'}]
    )
    def test_what_ranks(self, given):
        logits, values, ranked = self.values(**given)
        np.testing.assert_array_equal(ranked, values)
        _, values, ranked = self.values(rank_by='ce', **given)
        np.testing.assert_allclose(ranked, cross_entropy(logits, self.labels), rtol=1e-5)
        assert (np.abs(values - ranked) > 1e-3).all()

    def test_two_classes_by_one_logit(self):
        data = made_data()
        for scheme in ('balanced_softmax', 'ldam'):
            config = make_config('weighting', weights=scheme, loss='focal')
            both = Rule(config, data, 10)
            z = np.array([[0.3], [-1.2]])
            labels = jnp.array([1, 0])
            wide = np.concatenate([np.zeros((2, 1)), z], 1).astype(np.float32)
            ce = cross_entropy(wide - (scheme == 'ldam') * 0.5 * np.eye(2)[[1, 0]], [1, 0])
            found, _ = both.losses(jnp.asarray(wide), labels)
            np.testing.assert_allclose(found, (1 - np.exp(-ce)) ** 2 * ce, rtol=1e-5)


class TestTime:
    def test_deferred_class_weights(self):
        found = rule(weights='cb', normalize='none', defer=0.8)
        logits, batch = some()
        for step, want in ((79, np.ones(7)), (80, COUNTS.sum() / COUNTS)):
            _, own, _ = weigh(found, logits, batch, jnp.asarray(step))
            np.testing.assert_allclose(own, want[PUBLISHED], rtol=1e-6)
            assert bool(found.begun(jnp.asarray(step))) == (step == 80)

    @pytest.mark.parametrize(('defer', 'begin'), [(0.0, 80), (0.5, 50)])
    def test_ldam_drw_is_ldam_and_late_class_weights(self, defer, begin):
        given: dict[str, Any] = {'normalize': 'none', 'defer': defer}
        logits, batch = some()
        plain, late = rule(weights='ldam'), rule(weights='ldam_drw', **given)
        for step, table in ((begin - 1, np.ones(7)), (begin, COUNTS.sum() / COUNTS)):
            loss, own, _ = weigh(late, logits, batch, jnp.asarray(step))
            np.testing.assert_allclose(own, table[PUBLISHED], rtol=1e-6)
            values, _ = plain.losses(logits, batch['label'])
            np.testing.assert_allclose(loss.values, own * values, rtol=1e-6)

    def test_hard_examples_after_an_epoch(self):
        found = rule(counts=np.full(7, 10), weights='ohem')  # one epoch is one batch of 64
        logits, batch = some()
        counted = [weigh(found, logits, batch, jnp.asarray(step))[2].sum() for step in (0, 1)]
        assert counted == [16, 8]
