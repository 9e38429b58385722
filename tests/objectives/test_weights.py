"""Class weights, curricula and the focal loss: published values, brute force, slow twins."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from skinjax.objectives import losses, weighting, weights
from skinjax.objectives.weights import Curriculum, Pool

# Training images of ISIC 2018 as the slides have them: NV, MEL, BKL, AKIEC, BCC, DF, VASC.
COUNTS = np.array([6741, 1119, 1101, 331, 517, 116, 143])
LOSSES = jnp.array([0.1, 0.5, 1.0, 2.0])
NOW = jnp.asarray(0)
SPL, OHEM = (Curriculum(hard, 1.0, 1.0) for hard in (False, True))


SIZE = 10  # what every batch is padded to: one shape compiles once


def choose(curriculum, values: Any = LOSSES, labels: Any = 0, valid: Any = True, step=NOW, **pool):
    size = len(values)

    def padded(array, dtype):
        found = np.zeros(SIZE, dtype)
        found[:size] = array
        return jnp.asarray(found)

    rows = {'rows': padded(pool['rows'], np.int32)} if pool else {}
    found = curriculum.choose(
        padded(values, np.float32),
        padded(labels, np.int32),
        padded(valid, bool),
        step,
        **pool | rows,
    )
    assert not found[size:].any()
    return np.asarray(found[:size]).astype(int).tolist()


class TestClassWeights:
    def test_inverse_frequency(self):
        want = [1.494, 8.997, 9.144, 30.417, 19.474, 86.793, 70.406]
        np.testing.assert_allclose(weights.class_table(COUNTS, 'cb'), want, atol=5e-4)

    def test_effective_numbers(self):
        want = [4913.96, 1059.11, 1042.98, 325.63, 503.97, 115.34, 142.00]
        np.testing.assert_allclose(1 / weights.class_table(COUNTS, 'es'), want, atol=5e-3)

    def test_effective_numbers_are_geometric_sums(self):
        beta = 1 - 1 / COUNTS.sum()
        want = [sum(beta**k for k in range(count)) for count in COUNTS.tolist()]
        np.testing.assert_allclose(1 / weights.inverse_effective(COUNTS), want, rtol=1e-9)
        np.testing.assert_allclose(1 / weights.inverse_effective(COUNTS, beta), want, rtol=1e-9)

    def test_dataset_normalisation(self):
        table = weights.class_table(COUNTS, 'cb', 'dataset')
        np.testing.assert_allclose(COUNTS * table, COUNTS.sum() / 7)
        np.testing.assert_allclose(table[[0, 5]], [0.2134, 12.399], atol=5e-4)
        table = weights.class_table(COUNTS, 'es', 'dataset')
        assert (COUNTS * table).sum() == pytest.approx(COUNTS.sum())

    def test_class_normalisation(self):
        table = weights.class_table(COUNTS, 'cb', 'classes')
        np.testing.assert_allclose(table[[0, 5, 6]], [0.046, 2.680, 2.174], atol=5e-4)
        assert table.sum() == pytest.approx(7)

    def test_limits_of_the_effective_number(self):
        assert weights.inverse_effective(np.array([1, 9]))[0] == pytest.approx(1)
        np.testing.assert_allclose(weights.inverse_effective(COUNTS, 1e-12), 1, rtol=1e-6)
        found = weights.inverse_effective(COUNTS, 1 - 1e-10)
        np.testing.assert_allclose(found * COUNTS, 1, rtol=1e-5)

    def test_no_scheme_is_one(self):
        for how in weights.NORMALIZE:
            np.testing.assert_allclose(weights.class_table(COUNTS, '', how), 1)

    def test_margins_fall_with_the_fourth_root(self):
        found = weights.margins(np.array([16, 1, 81]), 0.5)
        np.testing.assert_allclose(found, [0.25, 0.5, 1 / 6])


def best(value):
    """The w in {0, 1}^4 with the least value, by trying all."""
    return list(min(itertools.product((0, 1), repeat=4), key=lambda w: value(np.array(w))))


class TestThreshold:
    spl = Curriculum(False, 1.0, 1.0, threshold=0.8)
    ohem = Curriculum(True, 1.0, 1.0, threshold=0.8)

    def test_worked_values_are_the_optima_over_all_choices(self):
        loss = np.asarray(LOSSES)
        assert choose(self.spl) == [1, 1, 0, 0] == best(lambda w: (w * loss - 0.8 * w).mean())
        assert choose(self.ohem) == [0, 0, 1, 1] == best(lambda w: -(w * loss - 0.8 * w).mean())
        assert best(lambda w: (w * loss + 0.8 * w).mean()) == [0, 0, 0, 0]  # OHEM as printed

    def test_ties_do_not_count(self):
        assert choose(self.spl, [0.8, 0.3, 0.9]) == [0, 1, 0]
        assert choose(self.ohem, [0.8, 0.3, 0.9]) == [0, 0, 1]

    def test_the_ends_are_the_plain_mean(self):
        assert choose(Curriculum(False, 1.0, 1.0, threshold=1e30)) == [1] * 4
        assert choose(Curriculum(True, 1.0, 1.0, threshold=1e-30)) == [1] * 4

    def test_one_is_always_kept(self):
        assert choose(self.spl, [3.0, 2.0, 5.0]) == [0, 1, 0]
        assert choose(self.ohem, [0.3, 0.2, 0.5]) == [0, 0, 1]
        assert choose(self.ohem, [0.3, 0.2, 0.9], valid=[True, True, False]) == [1, 0, 0]
        assert choose(self.ohem, [0.3, 0.2], valid=[False, False]) == [0, 0]

    def test_what_is_taken_for_wrong_labels_is_not_kept_instead(self):
        guarded = Curriculum(True, 1.0, 1.0, threshold=0.8, drop_top=0.25)
        assert choose(guarded) == [0, 0, 1, 0]
        assert choose(guarded, [0.1, 0.2, 0.3, 2.0]) == [0, 0, 1, 0]


def chosen_slowly(curriculum, values, labels, valid, fraction):
    """Sort the rows of each class, leave out the top, take the next."""
    kept = [0] * len(values)
    strata = sorted(set(labels)) if curriculum.stratified else [None]
    for stratum in strata:
        rows = [k for k in range(len(values)) if valid[k] and stratum in (None, labels[k])]
        rows.sort(key=lambda k: (-values[k] if curriculum.hard else values[k], k))
        first = int(curriculum.drop_top * len(rows) + 1e-9)
        number = max(int(np.ceil(fraction * len(rows) - 1e-9)), 1)
        for k in rows[first : first + number]:
            kept[k] = 1
    return kept


class TestFraction:
    @pytest.mark.parametrize('hard', [False, True])
    @pytest.mark.parametrize('stratified', [False, True])
    @pytest.mark.parametrize(('fraction', 'drop_top'), [(0.5, 0.0), (0.7, 0.2), (0.01, 0.1)])
    def test_slow_twin(self, hard, stratified, fraction, drop_top):
        rng = np.random.default_rng(0)
        drop_top *= hard
        curriculum = Curriculum(hard, fraction, fraction, drop_top=drop_top, stratified=stratified)
        for size in (1, 7, 10):
            values = rng.integers(0, 6, size) / 4  # with ties
            labels, valid = rng.integers(0, 3, size), rng.random(size) < 0.8
            want = chosen_slowly(curriculum, values, labels.tolist(), valid, fraction)
            assert choose(curriculum, values, labels, valid) == want
        assert sum(want) < size

    def test_all_is_the_plain_mean(self):
        assert choose(SPL) == choose(OHEM) == [1] * 4

    def test_schedule(self):
        rising = Curriculum(False, 0.5, 1.0, over=60)
        found = [float(rising.fraction(jnp.asarray(step))) for step in (0, 30, 60, 90)]
        assert found == pytest.approx([0.5, 0.75, 1.0, 1.0])
        late = Curriculum(True, 0.5, 0.25, over=10, warmup=20)
        counted = [sum(choose(late, step=jnp.asarray(step))) for step in (0, 19, 20, 30, 99)]
        assert counted == [4, 4, 2, 1, 1]

    def test_ranks_of_the_training_set(self):
        """Of ten rows six were visited; those of the batch are ranked by their last losses."""
        pool = Pool(
            jnp.array([0.1, 0.9, 0.4, 0.6, 0.0, 0.7, 0.2, 0.0, 0.0, 0.0]),
            jnp.zeros(SIZE, jnp.int32),
            jnp.array([1, 1, 1, 1, 0, 1, 1, 0, 0, 0], bool),
        )
        half = {hard: Curriculum(hard, 0.5, 0.5) for hard in (False, True)}
        rows = np.array([0, 1, 4, 5])
        # The hardest of the batch at this moment is no longer the hardest of the set.
        assert choose(half[False], [9.0, 0.0, 1.0, 1.0], pool=pool, rows=rows) == [1, 0, 1, 0]
        assert choose(half[True], [9.0, 0.0, 1.0, 1.0], pool=pool, rows=rows) == [0, 1, 1, 1]

    def test_choices_are_constant_to_the_gradient(self):
        def total(values):
            kept = SPL.choose(values, jnp.zeros(4, jnp.int32), jnp.ones(4, bool), NOW)
            return (kept.astype(jnp.float32) * values).sum()

        np.testing.assert_array_equal(jax.grad(total)(LOSSES), 1)


class TestParse:
    def test_schemes(self):
        known = {'': ('', ''), 'cb': ('cb', ''), 'ohem': ('', 'ohem'), 'spl+es': ('es', 'spl')}
        assert {scheme: weights.parse(scheme) for scheme in known} == known

    def test_unknown_schemes_list_the_known(self):
        with pytest.raises(ValueError, match=r"'ohm' is none of cb, es, spl, ohem; join two by"):
            weights.parse('cb+ohm')

    @pytest.mark.parametrize('scheme', ['cb+es', 'spl+ohem', 'cb+cb'])
    def test_one_of_each_kind(self, scheme):
        with pytest.raises(ValueError, match='exclude each other'):
            weights.parse(scheme)

    def test_defaults_are_those_of_the_comparison(self):
        made = {
            name: weights.curriculum(
                name, ConfigDict(weighting.DEFAULTS[name]), 1000, 50, stratified=False
            )
            for name in weights.CURRICULA
        }
        assert made['spl'] == Curriculum(False, 0.5, 1.0, over=600)
        assert made['ohem'] == Curriculum(True, 0.5, 0.5, warmup=50)

    @pytest.mark.parametrize(('field', 'value'), [('first', 0.0), ('last', 1.1), ('drop_top', 1.0)])
    def test_fractions(self, field, value):
        options = ConfigDict({**weighting.DEFAULTS['ohem'], field: value})
        with pytest.raises(ValueError, match=rf'ohem\.{field} is {value}: expected a fraction'):
            weights.curriculum('ohem', options, 10, 1, stratified=False)


class TestFocal:
    def test_worked_values(self):
        p = jnp.array([[0.9], [0.5], [0.1]])
        found = losses.focal(jnp.log(p / (1 - p)), jnp.ones(3, jnp.int32))
        np.testing.assert_allclose(found, [0.0010536, 0.1732868, 1.8650939], atol=5e-8)

    @pytest.mark.parametrize('columns', [1, 4])
    def test_slow_twin(self, columns):
        rng = np.random.default_rng(0)
        logits = rng.normal(size=(6, columns)).astype(np.float32)
        labels = rng.integers(0, max(columns, 2), 6)
        every = np.concatenate([np.zeros((6, 1)), logits], 1) if columns == 1 else logits
        want = [
            -((1 - p[y]) ** 3) * np.log(p[y])
            for p, y in zip(np.exp(every) / np.exp(every).sum(1)[:, None], labels, strict=True)
        ]
        found = losses.focal(jnp.asarray(logits), jnp.asarray(labels), 3.0)
        np.testing.assert_allclose(found, want, rtol=1e-5)

    def test_gamma_zero_is_cross_entropy(self):
        logits, labels = jnp.array([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]]), jnp.array([2, 0])
        for smoothing in (0.0, 0.1):
            np.testing.assert_array_equal(
                losses.focal(logits, labels, 0.0, smoothing),
                losses.classification(logits, labels, smoothing),
            )

    @pytest.mark.parametrize('scale', [1.0, 1e3, 1e30])
    def test_finite_everywhere(self, scale):
        logits = scale * jnp.array([[1.0, -1.0, 0.0], [1.0, -1.0, 0.0]])
        for gamma in (0.5, 2.0):

            def total(z, g=gamma):
                return losses.focal(z, jnp.array([0, 1]), g).sum()

            value, gradient = jax.jit(jax.value_and_grad(total))(logits)
            assert np.isfinite(value) and np.isfinite(gradient).all()


def test_margins_move_the_true_class_alone():
    found = losses.with_margins(
        jnp.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), jnp.array([2, 0]), jnp.array([0.1, 0.2, 0.5])
    )
    np.testing.assert_allclose(found, [[1, 2, 2.5], [3.9, 5, 6]], rtol=1e-6)
