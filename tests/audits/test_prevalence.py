"""Prevalence of artefacts in two sets of images: counts, ratios and tests by hand."""

import dataclasses
import math

import numpy as np
import pytest

from skinjax.auditing import prevalence
from skinjax.auditing.prevalence import Looked
from skinjax.data import detectors
from skinjax.data.records import DataSet
from skinjax.editors import insert
from tests.helpers import tiny_records


def looked(name: str, labels: list[int], **found: list[int]) -> Looked:
    """A set of images of which the detectors have found what `found` says."""
    n = len(labels)
    zeros = {artefact: np.zeros(n, np.int32) for artefact in detectors.ARTEFACTS}
    table = zeros | {artefact: np.array(values) for artefact, values in found.items()}
    return Looked(name, tiny_records(n), np.array(labels), table)


def test_published_prevalence_of_frames():
    # Frames among 1,000 annotated malignant images: 251 of real, 365 of conditionally made ones.
    row = prevalence.compared(251, 1000, 365, 1000)
    assert row['ratio']['value'] == pytest.approx(365 / 251)
    # Katz: exp(log(ratio) +- 1.96 sqrt(1/a - 1/n + 1/b - 1/m)).
    half = 1.959964 * math.sqrt(1 / 365 - 1 / 1000 + 1 / 251 - 1 / 1000)
    assert row['ratio']['low'] == pytest.approx(365 / 251 * math.exp(-half), rel=1e-6)
    assert row['ratio']['high'] == pytest.approx(365 / 251 * math.exp(half), rel=1e-6)
    assert row['p'] < 1e-7 and row['real']['value'] == 0.251


def test_fishers_exact_test_by_hand():
    # All of 3 and none of 3: the two extreme tables of C(6, 3) = 20.
    row = prevalence.compared(0, 3, 3, 3)
    assert row['p'] == pytest.approx(2 / 20)
    assert row['ratio']['value'] == math.inf and math.isnan(row['ratio']['low'])
    nothing = prevalence.compared(0, 3, 0, 3)
    assert nothing['p'] == 1 and math.isnan(nothing['ratio']['value'])


def test_rows_of_each_class_and_folder():
    real = looked('real', [0, 0, 0, 0, 1, 1], hair=[1, 0, 0, 0, 1, 1], ink=[1, 0, 0, 0, 0, 0])
    one = looked('one', [0, 0, 1], hair=[1, 1, 0])
    other = looked('other', [1], ruler=[1])
    rows = prevalence.rows(real, [one, other], ('nevus', 'melanoma'))
    found = {(row['images'], row['class'], row['artefact']): row for row in rows}
    assert len(found) == 3 * len(prevalence.NAMES)  # 'other' has no nevi
    hair = found['one', 'nevus', 'hair']
    assert (hair['real']['value'], hair['found']['value']) == (0.25, 1.0)
    assert (hair['n_real'], hair['n'], hair['ratio']['value']) == (4, 2, 4.0)
    none = found['one', 'nevus', 'none']
    assert (none['real']['value'], none['found']['value']) == (0.75, 0.0)
    assert found['other', 'melanoma', 'ruler']['found']['value'] == 1
    assert all(row['p'] <= row['q'] <= 1 for row in rows)
    (first, second) = prevalence.tables(rows)
    assert len(first.rows) == 12 and len(second.rows) == 6


def test_samples_are_of_each_class():
    labels = np.array([0] * 50 + [1] * 3)
    rows = prevalence.sample(labels, 10, 0)
    assert np.bincount(labels[rows]).tolist() == [10, 3] and (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(rows, prevalence.sample(labels, 10, 0))
    assert (prevalence.sample(labels, 10, 1) != rows).any()
    assert len(prevalence.sample(labels, 0, 0)) == 53


def test_strong_cases_are_sub_types():
    scores = np.arange(20) / 10
    zeros = {name: np.zeros(20, np.int32) for name in detectors.ARTEFACTS}
    columns = {f'{name}_score': scores for name in detectors.ARTEFACTS}
    found = {'hair': (scores >= 0.95).astype(np.int32), 'dark_corner': (scores >= 1.15).astype(int)}
    real = Looked('real', tiny_records(20), np.zeros(20, int), zeros | columns | found)
    limits = prevalence.limits(real)
    # The 90th percentile of 1.0, 1.1 ... 1.9; eight dark corners are too few to have one.
    assert limits == {'hair, dense': pytest.approx(1.81)}
    real = prevalence.with_subtypes(real, limits)
    assert np.flatnonzero(real.has('hair, dense')).tolist() == [19]
    table = {name: values[17:] for name, values in (zeros | columns | found).items()}
    made = Looked('gan', tiny_records(3), np.zeros(3, int), table)
    made = prevalence.with_subtypes(made, limits)
    (row,) = (
        row for row in prevalence.rows(real, [made], ('a',)) if row['artefact'] == 'hair, dense'
    )
    assert (row['real']['value'], row['found']['value']) == (0.05, pytest.approx(1 / 3))
    assert 'hair, dense, gan' in prevalence.shares([real, made], 0)[0]
    assert 'dark_corner, large' not in real.names


def test_kappa_by_hand():
    # p_o = 35/50, p_e = (25 * 30 + 25 * 20) / 50^2 = 0.5.
    assert prevalence.kappa(np.array([[[20, 5], [10, 15]]]))[0] == pytest.approx(0.4)
    assert prevalence.kappa(np.array([[[7, 0], [0, 9]]]))[0] == 1
    assert math.isnan(prevalence.kappa(np.array([[[7, 0], [0, 0]]]))[0])


def test_agreement_where_people_have_looked():
    flags = np.array([1, 1, 1, 0, 0, 0, -1, -1])
    one = looked('real', [0] * 8, hair=[1, 1, 0, 0, 0, 1, 1, 1])
    records = dataclasses.replace(one.records, bias={'hair': flags, 'patches': flags})
    data = DataSet('x', ('a', 'b'), {'hair': ('absent', 'present'), 'patches': ('x', 'y', 'z')}, {})
    (row,) = prevalence.agreement(dataclasses.replace(one, records=records), data, 200, 0)
    assert (row['artefact'], row['n'], row['flagged'], row['found']) == ('hair', 6, 3, 3)
    assert row['kappa']['value'] == pytest.approx(1 / 3)
    assert row['kappa']['low'] < 1 / 3 < row['kappa']['high']
    assert row['sensitivity']['value'] == row['specificity']['value'] == pytest.approx(2 / 3)
    assert prevalence.agreement_table([row]).rows[0][0] == 'hair'
    assert prevalence.remark([row]) == ''
    chance = {'artefact': 'ruler', 'kappa': {'value': 0.02}}
    unknown = {'artefact': 'ink', 'kappa': {'value': float('nan')}}
    assert prevalence.remark([row, chance, unknown]).endswith('at most 0.2): ruler, ink.')


def test_inserted_artefacts_are_found():
    skin = np.full((64, 64, 3), (205, 160, 140), np.uint8)
    plain = dataclasses.replace(tiny_records(6, size=64), read=lambda row: {'image': skin.copy()})
    told = []
    for kind, artefact in (('frame', 'dark_corner'), ('hair_dense', 'hair')):
        marked = insert.inserted(plain, insert.options(kind=kind))
        found = prevalence.look('made', marked, plain.labels, 2, told.append)
        assert found.has(artefact).all() and not found.has('none').any()
    clean = prevalence.look('real', plain, plain.labels, 2, told.append)
    assert clean.has('none').all() and told[-1] == 6
    assert len(prevalence.examples([clean, found], 2)) > 1000
