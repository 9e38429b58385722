"""The objective of classes as paths: its losses and weights, beside numpy and by hand."""

import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax import taxonomy
from skinjax.data.records import DataSet, Records
from skinjax.engine.objective import Moment
from skinjax.objectives import hierarchical, rule, schemes
from tests.objectives.made import KEY, build, compiled, made_batch, made_data, make_config, start

PATHS = np.array([[0, 2, 5], [1, 4, 8], [1, 3, 6]])
CODES = taxonomy.renamed(taxonomy.LESIONS, taxonomy.CODES)


class TestPathLoss:
    def test_is_0_on_the_path_and_1_off_it(self):
        logits = 60.0 * jax.nn.one_hot(PATHS, 9)
        paths = jnp.asarray(PATHS)
        np.testing.assert_allclose(hierarchical.path_loss(logits, paths), 0, atol=1e-6)
        elsewhere = 60.0 * jax.nn.one_hot((PATHS + 1) % 9, 9)[:1]
        np.testing.assert_allclose(hierarchical.path_loss(elsewhere, paths[:1]), 1, atol=1e-6)

    def test_is_the_cosine_of_sums_within_0_and_1(self):
        rng = np.random.default_rng(0)
        logits = rng.normal(0, 4, (50, 3, 9)).astype(np.float32)
        paths = rng.integers(0, 9, (50, 3))
        found = np.asarray(hierarchical.path_loss(jnp.asarray(logits), jnp.asarray(paths)))
        for k in range(50):
            chances = np.exp(logits[k]) / np.exp(logits[k]).sum(1, keepdims=True)
            true = np.bincount(paths[k], minlength=9)
            cosine = chances.sum(0) @ true / np.linalg.norm(chances.sum(0)) / np.linalg.norm(true)
            assert found[k] == pytest.approx(1 - cosine, abs=1e-5)
        assert (found > 0).all() and (found < 1).all()


def seven(labels=(0, 0, 0, 1, 1, 2, 3, 4, 5, 5, 6)) -> DataSet:
    """Data of seven classes, with random images."""
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 2, 2, 3)).astype(np.uint8)
    names = np.array([f'image-{k}' for k in range(len(labels))])
    rows = Records(names, np.array(labels, np.int32), {}, names, lambda row: {'image': images[row]})
    return DataSet('made', tuple(taxonomy.CODES.values()), {}, {'train': rows})


class TestWeights:
    def test_count_the_images_below_each_node(self):
        """By hand: of 6 images, 4 below one node and 2 below the other; 3, 1 and 2 by class."""
        data = made_data(labels=(0, 0, 0, 1, 2, 2))
        data = functools.partial(type(data), data.name, ('a', 'b', 'c'))(data.bias, data.splits)
        tree = taxonomy.read({'x': ('a', 'b'), 'y': ('c',)}, data.classes)

        def tables(scheme, **fields):
            counted = rule.Rule(make_config('hierarchical', weights=scheme, **fields), data, 10)
            return hierarchical.level_weights(counted, tree, data)

        first, second = tables('cb')
        np.testing.assert_allclose(first, [6 / 4, 6 / 2, 0, 0, 0])
        np.testing.assert_allclose(second, [0, 0, 6 / 3, 6 / 1, 6 / 2])
        first, second = tables('cb', normalize='dataset')
        np.testing.assert_allclose(first, [3 / 4, 3 / 2, 0, 0, 0])
        np.testing.assert_allclose(second, [0, 0, 2 / 3, 2, 1])
        assert [t.tolist() for t in tables('ohem')] == [[1, 1, 0, 0, 0], [0, 0, 1, 1, 1]]
        # One image is one effective image, two are 1 + 5 / 6.
        np.testing.assert_allclose(tables('es')[1][3:], [1, 6 / 11])

    def test_classes_without_training_images_fail_by_name(self):
        labels = (0, 0, 0, 1, 3, 4, 6)
        text = 'hierarchical needs training images of every class, and bkl, bcc has none'
        with pytest.raises(ValueError, match=text):
            build('hierarchical', seven(labels), taxonomy=CODES)

    def test_schemes_of_the_logits_of_classes_are_refused(self):
        with pytest.raises(ValueError, match=r"weights is 'ldam_drw': ldam acts on .* cb, es, spl"):
            build('hierarchical', weights='ldam_drw')


class TestLoss:
    """Every term beside numpy: seven classes on three levels, eight rows of which one is none."""

    LABELS = np.array([0, 0, 1, 2, 3, 5, 6, 4])
    VALID = np.arange(8) < 7
    FIELDS: ClassVar[dict[str, Any]] = {
        'taxonomy': CODES, 'gamma': 2.0, 'path_weight': 0.5, 'hidden': 4,
    }  # fmt: skip
    AT_ONCE: ClassVar[dict[str, Any]] = {'ohem': {**schemes.DEFAULTS['ohem'], 'warmup': 0.0}}

    @pytest.mark.parametrize('scheme', ['cb', 'cb+ohem'])
    def test_terms_weights_and_scales(self, scheme):
        data = seven()
        more = self.AT_ONCE if 'ohem' in scheme else {}
        config = make_config('hierarchical', weights=scheme, **self.FIELDS, **more)
        net, objective = hierarchical.create(config, data), hierarchical.build(config, data, 100)
        batch = {**made_batch(), 'label': jnp.asarray(self.LABELS)}
        batch['valid'] = jnp.asarray(self.VALID)
        now = start(objective)

        @compiled
        def run(variables):
            moment = Moment(jax.random.split(KEY, 8), jnp.zeros((), jnp.int32))
            out = objective.phases[0].loss(variables, batch, moment)
            return out.losses, out.sums, net.forward(variables, batch, moment)[:2]

        terms, sums, found = run(now.variables())
        logits, paths = map(np.asarray, found)
        tree = taxonomy.read(CODES, data.classes)
        np.testing.assert_array_equal(paths, tree.paths[self.LABELS])
        chances = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        own = np.take_along_axis(chances, paths[..., None], -1)[..., 0]  # of the true nodes
        values = -((1 - own) ** 2) * np.log(own)
        kept = self.VALID
        if 'ohem' in scheme:  # ceil(7 / 2) of the mean over the levels
            kept = kept & (values.mean(1) >= np.sort(values.mean(1)[self.VALID])[3])
            assert kept.sum() == 4
        counts = np.bincount(data.splits['train'].labels)
        for k in range(3):
            below = np.bincount(tree.paths[:, k], counts, minlength=len(tree.nodes))
            weights = 11 / below[paths[:, k]] * kept
            term = terms[f'level_{k + 1}']
            np.testing.assert_allclose(term.values[:7], values[:7, k], rtol=1e-4)
            np.testing.assert_allclose(term.weights, weights, rtol=1e-5)
            assert float(term.scale) == pytest.approx(1 / 3)
        np.testing.assert_allclose(terms['path'].weights, kept)
        assert float(terms['path'].scale) == 0.5
        want = hierarchical.path_loss(jnp.asarray(logits), jnp.asarray(paths))
        np.testing.assert_allclose(terms['path'].values[:7], want[:7], rtol=1e-4)
        rest = {name: float(term.scale) for name, term in terms.items() if name[:5] != 'level'}
        assert {name for name, scale in rest.items() if scale} == {'path'}
        # The history keeps the weight of the class and the loss that ranks, of rows 0 to 5 and 0.
        rows = np.arange(8) % 6
        for name, each in (('weight', weights), ('loss', values.mean(1) * self.VALID)):
            np.testing.assert_allclose(sums[name], np.bincount(rows, each, 11), rtol=1e-4)
        assert float(sums['total']) == pytest.approx(weights.sum(), rel=1e-5)
