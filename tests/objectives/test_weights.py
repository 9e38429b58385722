"""Class weights and margins: published values, limits, errors."""

import numpy as np
import pytest

from skinjax.objectives import weights

# Training images of ISIC 2018 as the slides have them: NV, MEL, BKL, AKIEC, BCC, DF, VASC.
COUNTS = np.array([6741, 1119, 1101, 331, 517, 116, 143])


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
        np.testing.assert_array_equal(weights.inverse_effective(COUNTS, 0.0), 1)
        np.testing.assert_allclose(weights.inverse_effective(COUNTS, 1e-12), 1, rtol=1e-6)
        np.testing.assert_array_equal(weights.inverse_effective(np.array([1])), 1)
        found = weights.inverse_effective(COUNTS, 1 - 1e-10)
        np.testing.assert_allclose(found * COUNTS, 1, rtol=1e-5)

    def test_no_scheme_is_one(self):
        for how in weights.NORMALIZE:
            np.testing.assert_allclose(weights.class_table(COUNTS, '', how), 1)

    def test_unknown_names_and_empty_classes(self):
        with pytest.raises(ValueError, match=r"class weights 'cbs'; .*did you mean 'cb'"):
            weights.class_table(COUNTS, 'cbs')
        for name in weights.CLASS_WEIGHTS:
            with pytest.raises(ValueError, match=r'need rows of every class, found \[3 0\]'):
                weights.class_table(np.array([3, 0]), name)

    def test_counts_name_every_absent_class(self):
        labels = np.array([0, 2, 2, -1])
        assert weights.class_counts(labels, 'abcd').tolist() == [1, 0, 2, 0]
        with pytest.raises(ValueError, match=r'cb needs training images .* b, d has none'):
            weights.class_counts(labels, 'abcd', 'cb')

    def test_margins_fall_with_the_fourth_root(self):
        found = weights.margins(np.array([16, 1, 81]), 0.5)
        np.testing.assert_allclose(found, [0.25, 0.5, 1 / 6])
