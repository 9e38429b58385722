"""CBAM and the hierarchical head beside their torch twins: values, statistics, all gradients.

Both sides get the same random weights; ours are put into theirs. The LSTM of the twin adds nothing
to its forget gate, so that its bias has the 1 that ours adds.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

torch = pytest.importorskip('torch')

from skinjax import taxonomy  # noqa: E402
from skinjax.models.attention import CBAM  # noqa: E402
from skinjax.models.hierarchy import Head, Hierarchical  # noqa: E402
from skinjax.objectives.hierarchical import path_loss  # noqa: E402
from skinjax.objectives.losses import cross_entropy  # noqa: E402
from tests.models.sides import random_variables  # noqa: E402
from tests.objectives.linear_encoder import LinearEncoder  # noqa: E402
from tests.test_taxonomy import CLASSES, TREE  # noqa: E402
from third_party.torch_baselines import hierarchy  # noqa: E402

EXACT, GRADIENTS = 2e-5, 1e-4  # of the largest value
QUICK: Any = {'xla_backend_optimization_level': '0'}
BATCH, SIDE, DEPTH, NODES, LEVELS, HIDDEN, EMBEDDING = 3, 4, 16, 9, 3, 6, 5
PLAIN = {'cell.gates': None, 'attention.state': 'asked', 'attention.out': 'score'}


def distance(have: Any, want: Any) -> float:
    have, want = np.asarray(have), np.asarray(want)
    assert have.shape == want.shape
    return float(np.abs(have - want).max() / np.abs(want).max())


def assert_same_gradients(ours: dict[str, np.ndarray], net: Any) -> None:
    theirs = {name: p.grad.numpy() for name, p in net.named_parameters()}
    for name, value in ours.items():
        assert np.abs(theirs[name]).max() > 0, name
        assert distance(value, theirs[name]) < GRADIENTS, name


def named(tree: Any) -> dict[str, np.ndarray]:
    """Parameters of `Head` under the twin's names."""
    found = {}
    for (*path, leaf), value in flatten_dict(tree).items():
        value, module = np.asarray(value).T, '.'.join(path)
        if module == 'cell.gates' and leaf == 'kernel':
            found['cell.weight_ih'], found['cell.weight_hh'] = np.split(value, [-HIDDEN], axis=1)
        elif module == 'cell.gates':
            found['cell.bias_ih'] = value
        else:
            suffix = 'weight' if leaf == 'kernel' else 'bias'
            found[f'{PLAIN.get(module, module)}.{suffix}'] = value
    return found


@pytest.mark.parametrize('fields', [{}, {'channel_attention': 4, 'context': True}])
def test_the_head_of_three_levels_with_its_loss_and_all_gradients(fields):
    rng = np.random.default_rng(0)
    pixels = rng.normal(size=(BATCH, SIDE**2, DEPTH)).astype(np.float32)
    paths = jnp.asarray(rng.integers(0, NODES, (BATCH, LEVELS)))
    decoder = {'hidden': HIDDEN, 'embedding': EMBEDDING, **fields}
    model: Any = Hierarchical(LinearEncoder(1), taxonomy.read(TREE, CLASSES), decoder)
    maps = jnp.asarray(pixels.reshape(BATCH, SIDE, SIDE, DEPTH))
    run = functools.partial(model.apply, method='follow')
    shapes = jax.eval_shape(
        functools.partial(model.init, method='follow'), jax.random.key(0), maps, paths
    )
    params = random_variables(shapes, rng)['params']['head']
    table = np.asarray(model.apply({}, method=lambda net: net.table))
    before = np.stack([np.zeros((BATCH, EMBEDDING)), *(table[paths[:, k]] for k in (0, 1))], 1)
    before = before.astype(np.float32)

    @functools.partial(jax.jit, compiler_options=QUICK)
    def ours(params):
        def total(params):
            logits, alphas = run({'params': {'head': params}}, maps, paths)
            entropy = [cross_entropy(logits[:, k], paths[:, k]) for k in range(LEVELS)]
            value = jnp.stack(entropy).mean() + path_loss(logits, paths).mean()
            return value, (logits, alphas)

        return jax.value_and_grad(total, has_aux=True)(params)

    (value, (logits, alphas)), gradients = ours(params)
    sizes = (HIDDEN, EMBEDDING, fields.get('channel_attention', 0), 'context' in fields)
    net = hierarchy.Decoder(DEPTH, NODES, *sizes)
    state = {name: torch.from_numpy(np.array(v)) for name, v in named(params).items()}
    state['cell.bias_ih'][HIDDEN : 2 * HIDDEN] += 1
    state['cell.bias_hh'] = torch.zeros(4 * HIDDEN)
    net.load_state_dict(state)
    want, weights = net(torch.from_numpy(pixels), torch.from_numpy(before))
    total = hierarchy.loss(want, torch.tensor(np.array(paths), dtype=torch.int64))
    total.backward()
    assert abs(float(value) - total.item()) < EXACT * total.item()
    assert distance(logits, want.detach()) < EXACT
    assert distance(alphas.reshape(weights.shape), weights.detach()) < EXACT
    assert_same_gradients(named(gradients), net)


def test_cbam_with_its_statistics_and_all_gradients():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(BATCH, 6, 5, 32)).astype(np.float32)
    weights = rng.normal(size=x.shape).astype(np.float32)
    model: Any = CBAM()
    shapes = jax.eval_shape(functools.partial(model.init, train=True), jax.random.key(0), x)
    variables = random_variables(shapes, rng)

    @functools.partial(jax.jit, compiler_options=QUICK)
    def ours(variables, x):
        def total(params, x):
            given = {**variables, 'params': params}
            y, new = model.apply(given, x, True, mutable=['batch_stats'])
            return (y * weights).sum(), (y, new['batch_stats'])

        out = jax.grad(total, argnums=(0, 1), has_aux=True)(variables['params'], x)
        return *out, model.apply(variables, x, False)

    (gradients, slope), (y, statistics), calm = ours(variables, x)
    net, theirs = hierarchy.CBAM(32), torch.from_numpy(x).permute(0, 3, 1, 2).requires_grad_()

    def theirs_named(params: Any) -> dict[str, np.ndarray]:
        channels, spatial = params['channels'], params['spatial']
        found = {
            f'mlp.{k}.weight': channels[n]['kernel'].T for n, k in {'hidden': 0, 'out': 2}.items()
        }
        found |= {f'mlp.{k}.bias': channels[n]['bias'] for n, k in {'hidden': 0, 'out': 2}.items()}
        found['conv.weight'] = spatial['conv']['conv']['kernel'].transpose(3, 2, 0, 1)
        found |= {'norm.weight': spatial['norm']['scale'], 'norm.bias': spatial['norm']['bias']}
        return {name: np.array(value) for name, value in found.items()}

    state = theirs_named(variables['params'])
    running = variables['batch_stats']['spatial']['norm']
    state |= {f'norm.running_{name}': np.array(value) for name, value in running.items()}
    net.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()}, strict=False)
    quiet = net.eval()(theirs).detach().permute(0, 2, 3, 1)
    assert distance(calm, quiet) < EXACT
    want = net.train()(theirs)
    (want * torch.from_numpy(weights).permute(0, 3, 1, 2)).sum().backward()
    assert distance(y, want.detach().permute(0, 2, 3, 1)) < EXACT
    assert theirs.grad is not None
    assert distance(slope, theirs.grad.permute(0, 2, 3, 1)) < EXACT
    assert_same_gradients(theirs_named(gradients), net)
    for name in ('mean', 'var'):
        now = statistics['spatial']['norm'][name]
        assert distance(now, net.get_buffer(f'norm.running_{name}')) < EXACT


def test_the_width_of_a_decoder_is_that_of_the_paper():
    """VGG-16's 512 channels, a state of 1024, embeddings of 50."""
    given = [jnp.zeros(shape) for shape in ((1, 2, 2, 512), (1, 1024), (1, 50))]
    init = functools.partial(Head(nodes=7).init, level=0, keys=None)
    shapes = jax.eval_shape(init, jax.random.key(0), *given)
    net = hierarchy.Decoder(512, 7)
    ours = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    theirs = sum(p.numel() for name, p in net.named_parameters() if not name.startswith('start'))
    assert ours == theirs - 4 * 512  # the second bias of nn.LSTMCell
