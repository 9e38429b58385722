"""DCGAN and coupled DCGAN in skinjax and in PyTorch: both networks, then five alternating steps.

Both sides get the same weights, images, labels and latents. Steps of Adam are about as long for
tiny gradients as for large ones, so weights whose gradients are all but rounding differ: changes
are compared in the mean square. Where an activation lies within rounding of zero, the two sides may
fall on different sides of a rectifier, after which they go apart; that depends on the numbers
drawn, so one of several draws has to agree in everything. Were the programs different, none could.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

torch = pytest.importorskip('torch')

from skinjax import config as configs  # noqa: E402
from skinjax.data.records import DataSet  # noqa: E402
from skinjax.engine import state  # noqa: E402
from skinjax.engine.step import example_keys, make_step  # noqa: E402
from skinjax.objectives import adversaries, gan  # noqa: E402
from tests.objectives.made import made_records  # noqa: E402
from third_party.torch_baselines import dcgan  # noqa: E402

CLASSES, ROWS, STEPS, RATE, WIDTH, KEY = 3, 6, 5, 2e-4, 1 / 8, jax.random.key(7)
EXTRA = {'every': 2, 'n': 2, 'unit': 'step'}  # runs twice in five steps
TOLERANCE = {'loss': 1e-5, 'values': 1e-4, 'change': 3e-4, 'first': 1e-3, 'second': 1e-3}
# Compiling costs far more here than the few steps.
QUICK = {'xla_backend_optimization_level': '0'}
NETWORKS = ('generator', 'discriminator')


@pytest.fixture(autouse=True, scope='module')
def one_thread():
    """Many threads cost PyTorch more than they gain on arrays of this size."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclasses.dataclass(frozen=True)
class Case:
    """A family and the size of its images."""

    model: str
    size: int = 64
    first_norm: bool = False

    @property
    def config(self) -> Any:
        objective = configs.plugin('objectives', 'gan', extra_generator=EXTRA)
        model = configs.plugin('models', self.model, width=WIDTH, first_norm=self.first_norm)
        config: Any = configs.train(objective, model=model)
        mean = {'mean': (0.5,) * 3, 'std': (0.5,) * 3}
        config.data.update(image_size=self.size, batch_size=ROWS, sampling='class', **mean)
        config.optimizer.update(name='adam', learning_rate=RATE, momentum=0.5, second=0.999)
        return config

    @property
    def net(self) -> adversaries.Adversaries:
        return adversaries.create(self.config, CLASSES)

    def batch(self, seed: int) -> dict[str, Any]:
        """Noise over a colour of each image; classes in no order, as many of one as of another."""
        rng = np.random.default_rng(seed)
        colour = rng.integers(40, 216, (ROWS, 1, 1, 3))
        image = colour + rng.normal(0, 30, (ROWS, self.size, self.size, 3))
        return {
            'image': np.clip(image, 0, 255).astype(np.uint8),
            'label': rng.permutation(np.arange(ROWS, dtype=np.int32) % CLASSES),
            'valid': np.ones(ROWS, bool),
        }

    def twins(self, params: Any, statistics: Any) -> dict[str, Any]:
        """The PyTorch networks with these weights."""
        classes = CLASSES if self.net.balanced else 0
        made = {
            'generator': dcgan.Generator(self.net.latent, self.size, WIDTH, classes),
            'discriminator': dcgan.Discriminator(self.size, WIDTH, classes, self.first_norm),
        }
        for name, twin in made.items():
            weights = dcgan.state(twin, params[name], statistics[name])
            left = twin.load_state_dict(weights, strict=False)
            assert not left.unexpected_keys
            assert all(key.endswith('num_batches_tracked') for key in left.missing_keys)
            twin.train().to(memory_format=torch.channels_last)
        return made


PLAIN, COUPLED = Case('dcgan'), Case('coupled_dcgan', first_norm=True)


def each(*cases: Case) -> pytest.MarkDecorator:
    return pytest.mark.parametrize('case', cases, ids=lambda case: f'{case.model} {case.size}')


@functools.cache
def program(case: Case) -> tuple[Any, Any]:
    """(function that makes an initial state, step) of kind 'train', compiled."""
    train = made_records(np.arange(4 * ROWS) % CLASSES, {})
    data = DataSet('made', ('a', 'b', 'c'), {}, {'train': train})
    objective = gan.build(case.config, data, STEPS)
    create = functools.partial(state.create, objective, ema=False)
    return (
        jax.jit(create, compiler_options=QUICK),
        jax.jit(make_step(objective), compiler_options=QUICK),
    )


def there(array: Any) -> Any:
    """An array as PyTorch has it."""
    found = torch.from_numpy(np.array(array))
    return found.permute(0, 3, 1, 2) if found.ndim == 4 else found


def distance(have: dict[str, Any], want: dict[str, Any], order: float = np.inf) -> float:
    """Largest relative distance of any array in the norm of that order."""
    assert set(have) == set(want)
    pairs = [(np.ravel(have[name]), np.ravel(want[name])) for name in want]
    return max(float(np.linalg.norm(a - b, order) / np.linalg.norm(b, order)) for a, b in pairs)


def statistics(twin: Any) -> dict[str, Any]:
    return {name: value for name, value in twin.state_dict().items() if 'running' in name}


# Networks for 128 pixels have normalised layers of every class on both sides.
@each(PLAIN, Case('coupled_dcgan', 128))
def test_images_logits_gradients_and_statistics_agree(case):
    net, batch = case.net, case.batch(0)
    now = program(case)[0](jax.random.key(0), batch=batch)
    latents = jax.random.normal(jax.random.key(1), (ROWS, net.latent))
    labels, images = jnp.asarray(batch['label']), net.images(jnp.asarray(batch['image']))

    def loss(params):
        made, after = net.generate({'params': params, **now.model}, latents, labels)
        (real, _), after = net.discriminate(after, images, labels)
        (fake, features), after = net.discriminate(after, made, labels)
        total = optax.losses.sigmoid_binary_cross_entropy(real, jnp.ones(ROWS)).mean()
        total += optax.losses.sigmoid_binary_cross_entropy(fake, jnp.zeros(ROWS)).mean()
        return total, ((made, fake, features), after['batch_stats'])

    run = jax.jit(jax.value_and_grad(loss, has_aux=True), compiler_options=QUICK)
    (value, (found, after)), gradients = run(now.params)
    twins = case.twins(now.params, now.model['batch_stats'])
    made = twins['generator'](there(latents), there(labels))
    real, _ = twins['discriminator'](there(images), there(labels))
    fake, features = twins['discriminator'](made, there(labels))
    total = dcgan.entropy(real, 1.0) + dcgan.entropy(fake, 0.0)
    total.backward()
    assert abs(float(value) - total.item()) < 1e-5 * total.item()
    features = features.permute(0, 2, 3, 1).flatten(1)
    pairs = zip(found, (made.permute(0, 2, 3, 1), fake, features), strict=True)
    for ours, theirs in pairs:
        want = theirs.detach().numpy()
        np.testing.assert_allclose(ours, want, atol=1e-4 * np.abs(want).max())
    for name, twin in twins.items():
        want = {key: p.grad.numpy() for key, p in twin.named_parameters()}
        assert all(np.abs(gradient).max() > 0 for gradient in want.values())
        assert distance(dcgan.state(twin, gradients[name]), want) < 1e-3
        assert distance(dcgan.state(twin, after[name]), statistics(twin)) < 1e-4


def latents(case: Case, step: int) -> Any:
    """The latents of one step in the order in which they are used."""
    key = jax.random.fold_in(KEY, step)
    batch = {'label': jnp.zeros(ROWS)}
    for stream in (1, 3, 4):  # discriminator and generator share theirs; then the extra steps
        keys = example_keys(key, stream, batch, None)
        yield there(case.net.latents(gan.folded(keys, gan.LATENT)))


def compare(case: Case, seed: int) -> dict[str, float]:
    """Distances of losses, parameters and statistics, their change, and Adam's averages."""
    first = now = program(case)[0](jax.random.key(seed), batch=case.batch(seed))
    twins = case.twins(first.params, first.model['batch_stats'])
    trainer = dcgan.Trainer(
        *(twins[name] for name in NETWORKS), lr=RATE, extra=EXTRA['n'], every=EXTRA['every']
    )
    found = {'loss': 0.0}
    for step in range(STEPS):
        batch = case.batch(100 * seed + step)
        now, metrics = program(case)[1](now, batch, KEY)
        images = there(case.net.images(jnp.asarray(batch['image'])))
        draw = functools.partial(next, latents(case, step))
        told = trainer.step(images, there(batch['label']), draw, epoch=step + 1)
        terms = {'real': 'discriminator/real', 'fake': 'discriminator/fake'}
        for name, value in {**terms, 'generator': 'generator/fake'}.items():
            found['loss'] = max(found['loss'], abs(told[name].item() - float(metrics[value])))
    for name, optimizer in zip(NETWORKS, trainer.optimizers, strict=True):
        twin = twins[name]

        def named(*trees, twin=twin):
            return {key: value.numpy() for key, value in dcgan.state(twin, *trees).items()}

        want, before = (
            named(at.params[name], at.model['batch_stats'][name]) for at in (now, first)
        )
        have = {key: value.numpy() for key, value in twin.state_dict().items() if key in want}
        moved, expected = ({k: side[k] - before[k] for k in want} for side in (have, want))
        kept = jax.tree.leaves(now.opt[name], is_leaf=lambda node: hasattr(node, 'mu'))
        adam: Any = next(part for part in kept if hasattr(part, 'mu'))
        theirs = {k: optimizer.state[p] for k, p in twin.named_parameters()}
        assert {int(s['step']) for s in theirs.values()} == {int(adam.count)}
        pairs = {
            'values': (have, want),
            'change': (moved, expected),
            'first': ({k: s['exp_avg'].numpy() for k, s in theirs.items()}, named(adam.mu)),
            'second': ({k: s['exp_avg_sq'].numpy() for k, s in theirs.items()}, named(adam.nu)),
        }
        for what, (one, other) in pairs.items():
            found[what] = max(found.get(what, 0.0), distance(one, other, 2))
    return found


@each(PLAIN, COUPLED)
def test_five_alternating_steps_agree(case):
    measured = []
    for seed in range(8):
        measured.append(compare(case, seed))
        if all(measured[-1][name] < limit for name, limit in TOLERANCE.items()):
            return
    pytest.fail(str(measured))
