"""Which weights are put into random order, and how alike maps are."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import spearmanr

from skinjax.relevance import randomisation
from tests.explainers import networks

UNITS = [
    ('encoder', 'stem_conv'), ('encoder', 'stem_norm'), ('encoder', 'stage1_0'),
    ('encoder', 'stage2_0'), ('encoder', 'stage3_0'), ('head',),
]  # fmt: skip


@pytest.fixture(scope='module')
def network():
    net = networks.classifier(networks.NARROW)
    variables, images = jax.tree.map(jnp.asarray, networks.drawn(net))
    return networks.subject(net), variables, images


def test_units_in_the_order_in_which_they_run(network):
    assert randomisation.units(*network) == UNITS


def test_attention_is_a_unit_of_its_own():
    net = networks.classifier(networks.ENCODERS['attended'])
    variables, images = jax.tree.map(jnp.asarray, networks.drawn(net))
    found = randomisation.units(networks.subject(net), variables, images)
    assert found == [*UNITS[:-1], ('encoder', 'attention'), ('head',)]


def test_only_the_chosen_weights_are_put_into_another_order(network):
    _, variables, _ = network
    found = randomisation.randomised(variables, UNITS[-2:], 0)
    again = randomisation.randomised(variables, UNITS[-1:], 0)
    for path, before in jax.tree_util.tree_flatten_with_path(variables)[0]:
        names = [key.key for key in path]
        after: Any = found
        for name in names:
            after = after[name]
        chosen = names[0] == 'params' and ('stage3_0' in names or 'head' in names)
        assert np.array_equal(np.sort(np.ravel(before)), np.sort(np.ravel(after)))
        assert np.array_equal(before, after) != chosen, names
    kernels = [one['params']['head']['kernel'] for one in (found, again)]
    assert np.array_equal(*kernels)  # whatever else is randomised


def test_cascade_goes_from_the_head_to_the_first_layer(network):
    subject, variables, images = network
    scores = jax.jit(lambda v: subject.scores(v, images)[:, :, None])
    steps = list(randomisation.cascade(scores, variables, UNITS, 0))
    assert [depth for depth, _ in steps] == [0, 1, 2, 3, 4, 5, 6]
    assert np.allclose(steps[0][1], scores(variables))
    assert not np.allclose(steps[0][1], steps[1][1])
    many = [('encoder', str(k)) for k in range(40)]
    depths = [depth for depth, _ in randomisation.cascade(scores, variables, many, 0)]
    assert depths[:2] == [0, 1] and depths[-1] == 40 and len(depths) == 9


def test_correlations_are_spearmans():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, (2, 3, 4, 6)).astype(np.float32)
    want: Any = [spearmanr(x.ravel(), y.ravel())[0] for x, y in zip(a, b, strict=True)]
    assert np.allclose(randomisation.alike(a, b), want)
    a[1] = 2
    assert np.isnan(randomisation.alike(a, b)).tolist() == [False, True, False]


def test_summary():
    rng = np.random.default_rng(0)
    first = rng.normal(size=(4, 5, 5))
    first[3] = np.where(first[3] > 0, 1, -1)  # of one size: left out of both correlations
    steps = [(0, first), (1, -first), (2, first**2 + 1)]
    head, last = randomisation.summary([('encoder', 'a'), ('head',)], steps, 0)
    assert (head['down_to'], last['down_to']) == ('head', 'encoder/a')
    assert head['rank']['value'] == pytest.approx(-1) and head['rank_abs']['value'] == 1
    assert last['rank_abs']['value'] == 1 and head['n'] == last['n'] == 3
