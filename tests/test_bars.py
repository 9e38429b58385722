"""The bars of the unlearning study: the checker, and (slow) the study itself."""

import copy
import json
import subprocess

import pytest

from skinjax import experiments
from tests import bars
from tests.helpers import ROOT, command, environment

# Plain, marked, reversed, probe, shift: means near those measured.
MEANS = {
    'oracle': (0.877, 0.876, 0.873, 0.757, 1.1),
    'baseline': (0.862, 0.726, 0.533, 0.940, 31.3),
    'lntl': (0.831, 0.826, 0.825, 0.640, 2.4),
    'tabe': (0.853, 0.795, 0.732, 0.793, 8.5),
    'clgr': (0.854, 0.827, 0.793, 0.748, 5.4),
}
COLUMNS = ('plain', 'marked', 'reversed', bars.PROBE, bars.SHIFT)


def made():
    """A comparison in which two seeds lie on either side of each mean."""
    return {
        'values': {
            method: {
                column: [0.9 * mean, 1.1 * mean]
                for column, mean in zip(COLUMNS, means, strict=True)
            }
            for method, means in MEANS.items()
        }
    }


def test_values_near_the_measured_ones_pass():
    assert bars.missed(made()) == []


@pytest.mark.parametrize(
    ('method', 'column', 'value', 'line'),
    [
        ('oracle', 'plain', 0.849, 'oracle: plain is 0.849, expected >= 0.85'),
        ('baseline', 'reversed', 0.621, 'baseline: reversed is 0.621, expected <= 0.62'),
        ('baseline', bars.PROBE, 0.849, 'baseline: linear probe is 0.849, expected >= 0.85'),
        ('baseline', bars.SHIFT, 21.9, 'baseline: shift, pp is 21.900, expected >= 22'),
        ('clgr', bars.SHIFT, 10.1, 'clgr: shift, pp is 10.100, expected <= 10'),
        ('lntl', bars.SHIFT, 10.1, 'lntl: shift, pp is 10.100, expected <= 10'),
        ('clgr', 'marked', 0.770, 'clgr - baseline: marked is 0.044, expected >= 0.05'),
        ('clgr', 'reversed', 0.680, 'clgr - baseline: reversed is 0.147, expected >= 0.15'),
        ('clgr', 'plain', 0.830, 'clgr - baseline: plain is -0.032, expected >= -0.03'),
        ('clgr', bars.PROBE, 0.850, 'clgr - baseline: linear probe is -0.090, expected <= -0.1'),
        ('lntl', 'reversed', 0.730, 'lntl - baseline: reversed is 0.197, expected >= 0.2'),
        ('lntl', 'plain', 0.800, 'lntl - baseline: plain is -0.062, expected >= -0.06'),
        ('tabe', 'marked', 0.740, 'tabe - baseline: marked is 0.014, expected >= 0.02'),
        ('tabe', 'plain', 0.971, 'tabe: plain is 0.971, expected <= 0.97'),
        ('tabe', 'marked', None, 'tabe - baseline: marked is nan, expected >= 0.02'),
    ],
)
def test_one_value_beyond_its_bar_is_named(method, column, value, line):
    comparison = copy.deepcopy(made())
    comparison['values'][method][column] = [value, value]
    assert bars.missed(comparison) == [line]


def test_every_bar_is_a_column_of_the_study():
    study = experiments.load('skinjax:compare_unlearning')
    for methods in (bars.LEVELS, bars.DIFFERENCES):
        assert set(methods) <= set(study.runs)
        for columns in methods.values():
            assert set(columns) <= {name for name, _ in study.columns}
    assert study.runs.baseline.data.bayes_auc == 0.97
    assert len(study.seeds) == 5


@pytest.mark.slow
def test_it_unlearns(tmp_path):
    """About 25 minutes on two cores."""
    arguments = command('--config=configs/compare_unlearning.py', f'--workdir={tmp_path / "w"}')
    subprocess.run([*arguments, '--config.jobs=2'], cwd=ROOT, env=environment(), check=True)
    assert bars.missed(json.loads((tmp_path / 'w' / 'comparison.json').read_text())) == []
