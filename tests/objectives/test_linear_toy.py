"""What unlearning is for, where everything is linear."""

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from skinjax.engine.step import make_step
from tests.objectives.made import KEY, build, made_data, start


class TestLinearToy:
    """Class and bias both linearly readable from the pixels."""

    @staticmethod
    def draw(n, seed) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        label, ruler = rng.integers(0, 2, (2, n)).astype(np.int32)
        image = rng.normal(128, 20, (n, 2, 2, 3))
        image[:, 0] += 12 * (2 * label - 1)[:, None, None]
        image[:, 1] += 30 * (2 * ruler - 1)[:, None, None]
        image = np.clip(image, 0, 255).astype(np.uint8)
        return {'image': image, 'label': label, 'ruler': ruler, 'valid': np.ones(n, bool)}

    def outcome(self, method, **fields):
        """(AUC of the class, AUC of a fresh linear probe for the bias) on new rows."""
        rows, rng = self.draw(2000, 0), np.random.default_rng(1)
        data = made_data(rows['label'], rows['ruler'], rows['ruler'])
        objective = build(method, data, rate=0.003, **fields)
        step, now = make_step(objective), start(objective)
        order = np.concatenate([rng.permutation(2000) for _ in range(12)]).reshape(-1, 40)
        batches = {name: jnp.asarray(values[order]) for name, values in rows.items()}
        run = jax.jit(lambda now, xs: jax.lax.scan(lambda s, b: step(s, b, KEY), now, xs)[0])
        now, rows = run(now, batches), self.draw(2000, 1)
        out = objective.predict(now.variables(), jnp.asarray(rows['image']))
        features, ruler = np.asarray(out['features']), rows['ruler']
        features = (features - features.mean(0)) / features.std(0)
        probe = LogisticRegression(C=100.0).fit(features[:1000], ruler[:1000])
        leak = roc_auc_score(ruler[1000:], probe.decision_function(features[1000:]))
        return roc_auc_score(rows['label'], np.asarray(out['logits'])[:, 0]), leak

    def test_a_fresh_probe_finds_the_bias_without_unlearning(self):
        assert min(self.outcome('baseline')) > 0.95

    def test_clgr_leaves_the_class_and_removes_the_bias(self):
        # The head has to be faster than the encoder, which else overshoots to the other side.
        auc, leak = self.outcome('clgr', confusion=0.1, reversal=0.1, learning_rate=1.0)
        assert auc > 0.95
        assert leak < 0.65
