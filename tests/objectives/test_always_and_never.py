"""Which images a curriculum has always and never chosen, of forty whose losses are known."""

import csv
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax.data.records import DataSet, Records
from skinjax.engine.objective import Moment
from skinjax.objectives import history
from skinjax.objectives.rule import Rule
from tests.objectives.made import KEY, make_config
from tests.objectives.test_weighting import fields

# Forty images of fixed losses, in batches of eight of which the hardest four count.
LABELS = np.arange(40, dtype=np.int32) % 3
DIFFICULTY = np.random.default_rng(0).permutation(40).astype(np.float32)


def forty() -> DataSet:
    """The number of an image is its colour."""
    names = np.arange(40).astype(str)
    train_split = Records(
        names, LABELS, {}, names, lambda row: {'image': np.full((4, 4, 3), row, np.uint8)}
    )
    return DataSet('made', ('a', 'b', 'c'), {}, {'train': train_split})


def visit(rule, state, index, step):
    """The history after a batch of these rows."""
    batch = {'label': jnp.asarray(LABELS)[index], 'valid': jnp.ones(8, bool), 'index': index}
    ranks, moment = jnp.asarray(DIFFICULTY)[index], Moment(jax.random.split(KEY, 8), step)
    own, kept, decided = rule.weigh(batch, ranks, moment, state[history.NAME])
    given = {'weights': own * kept, 'losses': ranks, 'decided': decided, 'kept': kept}
    sums = history.sums(batch, **given, total=(own * kept).sum(), rows=40)
    return history.update(state, sums)


@pytest.fixture(scope='module')
def told():
    """(data, history of 21 epochs, how often each was decided about and chosen by hand)."""
    config = make_config('weighting', **fields(weights='ohem'))
    config.data.batch_size = 8
    advance = jax.jit(functools.partial(visit, Rule(config, forty(), 105)))
    state = {history.NAME: history.empty(40)}
    counts, rng = np.zeros((2, 40), int), np.random.default_rng(1)
    for epoch in range(21):
        for k, index in enumerate(rng.permutation(40).reshape(5, 8)):
            state = advance(state, jnp.asarray(index), jnp.asarray(5 * epoch + k))
            if epoch:  # the first is the warm-up
                counts[0, index] += 1
                counts[1, index[np.argsort(-DIFFICULTY[index])[:4]]] += 1
    return forty(), state, counts


class TestNeverAndAlways:
    def test_the_warm_up_decides_nothing(self, told):
        _, state, (ranked, chosen) = told
        table = jax.device_get(state[history.NAME])
        np.testing.assert_array_equal(table['seen'], 21)
        np.testing.assert_array_equal(table['ranked'], ranked)
        np.testing.assert_array_equal(table['chosen'], chosen)
        assert (table['weight'] > 0).all()  # which is why the weight cannot tell

    def test_they_are_told_by_class_and_by_image(self, told):
        data, state, (ranked, chosen) = told
        found = history.findings(data, state, {}, None)
        never, always = chosen == 0, chosen == ranked
        assert never.sum() > 5 and always.sum() > 5
        for code, block in enumerate(found.results['weights'].values()):
            own = np.equal(LABELS, code)
            assert block['ranked'] == own.sum()
            assert block['never_chosen'] == (own & never).sum() > 0
            assert block['always_chosen'] == (own & always).sum() > 0
        rows = list(csv.DictReader(str(found.files['weights_history.csv']).splitlines()))
        assert {int(row['id']): (int(row['ranked']), int(row['chosen'])) for row in rows} == {
            k: (20, chosen[k]) for k in range(40)
        }

    def test_they_are_shown(self, told):
        data, state, (ranked, chosen) = told
        found = history.findings(data, state, {}, None)
        assert {'figures/weights_chosen.png', 'figures/weights_chosen_images.png'} <= {*found.files}
        strips = history.always_and_never(data, jax.device_get(state[history.NAME]))
        for (title, images), which in zip(
            strips.items(), (chosen == ranked, chosen == 0), strict=True
        ):
            assert f'{which.sum()} of 40 images' in title and 'a 20' in title
            shown = [int(image[0, 0, 0]) for image in images]
            assert shown == np.flatnonzero(which)[:8].tolist()
