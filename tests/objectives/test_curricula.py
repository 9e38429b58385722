"""Curricula: worked values, brute force, slow twins, schedules."""

import dataclasses
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax.objectives import curricula
from skinjax.objectives.curricula import Curriculum, Pool

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
        assert choose(Curriculum(True, 1.0, 1.0, threshold=0.0)) == [1] * 4
        # Unlike the fraction, which would take half.
        assert choose(Curriculum(True, 0.5, 0.5, threshold=0.0)) == [1] * 4

    def test_one_is_always_kept(self):
        assert choose(self.spl, [3.0, 2.0, 5.0]) == [0, 1, 0]
        assert choose(self.ohem, [0.3, 0.2, 0.5]) == [0, 0, 1]
        assert choose(self.ohem, [0.3, 0.2, 0.9], valid=[True, True, False]) == [1, 0, 0]
        assert choose(self.ohem, [0.3, 0.2], valid=[False, False]) == [0, 0]
        assert choose(self.spl, [0.9, 0.9, 1.2]) == [1, 0, 0]  # the first of equals
        assert choose(self.ohem, [0.2, 0.3, 0.3]) == [0, 1, 0]

    def test_what_is_taken_for_wrong_labels_is_not_kept_instead(self):
        guarded = Curriculum(True, 1.0, 1.0, threshold=0.8, drop_top=0.25)
        assert choose(guarded) == [0, 0, 1, 0]
        assert choose(guarded, [0.1, 0.2, 0.3, 2.0]) == [0, 0, 1, 0]


def chosen_slowly(curriculum, values, labels, valid, fraction):
    """Sort the rows, leave out the top of all; of each class, take the next."""
    rows = [k for k in range(len(values)) if valid[k]]
    rows.sort(key=lambda k: (-values[k] if curriculum.hard else values[k], k))
    left = rows[int(curriculum.drop_top * len(rows) + 1e-9) :]
    kept = [0] * len(values)
    strata = sorted(set(labels)) if curriculum.stratified else [None]
    for stratum in strata:
        of_class = [k for k in rows if stratum in (None, labels[k])]
        number = max(int(np.ceil(fraction * len(of_class) - 1e-9)), 1)
        for k in [k for k in left if k in of_class][:number]:
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

    def test_wrong_labels_are_left_out_before_the_classes_are_told_apart(self):
        """The two hardest of ten are of class 1: a fifth of each class would spare one of them."""
        guarded = Curriculum(True, 1.0, 1.0, drop_top=0.2, stratified=True)
        values, labels = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 3.0, 2.0, 0.8], [0] * 7 + [1] * 3
        assert choose(guarded, values, labels) == [1] * 7 + [0, 0, 1]
        half = dataclasses.replace(guarded, first=0.5, last=0.5)
        assert choose(half, values, labels) == [0, 0, 0, 1, 1, 1, 1, 0, 0, 1]

    @pytest.mark.parametrize(('size', 'left_out'), [(16, 0), (32, 1), (64, 3)])
    def test_the_guard_takes_whole_rows_of_a_batch(self, size, left_out):
        guarded = Curriculum(True, 1.0, 1.0, drop_top=0.05)
        values, labels = jnp.arange(size, dtype=jnp.float32), jnp.zeros(size, jnp.int32)
        kept = guarded.choose(values, labels, jnp.ones(size, bool), NOW)
        np.testing.assert_array_equal(kept, np.arange(size) < size - left_out)
        assert curricula.whole(0.05, size) == left_out

    @pytest.mark.parametrize(
        ('curriculum', 'want'),
        [
            (Curriculum(False, 0.5, 1.0, over=10, warmup=2), [0, 0, 1, 1, 0]),
            (Curriculum(True, 0.5, 0.5, warmup=3), [0, 0, 0, 1, 1]),
            (Curriculum(True, 1.0, 1.0), [0, 0, 0, 0, 0]),
            (Curriculum(True, 1.0, 1.0, warmup=2, threshold=0.0), [0, 0, 1, 1, 1]),
            (Curriculum(True, 1.0, 1.0, warmup=2, drop_top=0.1), [0, 0, 1, 1, 1]),
        ],
    )
    def test_when_it_takes_less_than_everybody(self, curriculum, want):
        steps = (0, 1, 2, 11, 12)
        assert [bool(curriculum.selects(jnp.asarray(step))) for step in steps] == want

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
