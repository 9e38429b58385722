"""Style transfer from the same weights and images, in skinjax and in PyTorch: the published loop of
the five blocks, and that of Gatys et al. 2016 with VGG-16: losses, gradients, several steps.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip('torch')

from skinjax import config as configs  # noqa: E402
from skinjax import contender  # noqa: E402
from skinjax.data.records import COMMON  # noqa: E402
from skinjax.styling import features as style_features  # noqa: E402
from skinjax.styling import transfer as st  # noqa: E402
from skinjax.styling.options import DEFAULTS, PUBLISHED  # noqa: E402
from third_party.torch_baselines import style as theirs  # noqa: E402

SIDE, BATCH, STEPS, DRAWS = 32, 2, 4, 2
CASES = {
    # Not from the style, as published: there its gradient is rounding, which Adam makes steps of.
    'published': ('lesion_cnn', {**PUBLISHED, 'init': 'content'}),
    'gatys': ('lesion_cnn', {**PUBLISHED, 'bn': 'running', 'norm': 'gatys', 'style_weight': 10.0}),
    'vgg16': ('vgg', contender.STYLES['vgg16']),
}
# In parts of the largest value, a few times what was reached in six draws. A rectifier or a maximum
# within rounding of a tie falls either way; the published normalisation makes much of it, so that
# the same draw has given 1e-5 and 5e-3 for the worst pixel of its gradient (mean 1e-6 and 6e-5).
LOSSES = 5e-6
GRADIENT = {'published': 1e-4, 'gatys': 2e-5, 'vgg16': 1e-5}
MEAN_GRADIENT = {'published': 3e-4, 'gatys': 2e-6, 'vgg16': 1e-6}
CURVES = 3e-4  # of losses, over the steps
PIXELS = {'published': 1e-4, 'gatys': 1e-5, 'vgg16': 3e-4}  # mean difference after them


@pytest.fixture(autouse=True, scope='module')
def one_thread():
    """Many threads cost PyTorch more than they gain on arrays of this size."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def images(seed: int) -> np.ndarray:
    """Coarse squares and noise, from 0 to 1."""
    rng = np.random.default_rng([4, seed])
    coarse = rng.random((BATCH, SIDE // 4, SIDE // 4, 3)).repeat(4, 1).repeat(4, 2)
    return np.clip(coarse + rng.normal(0, 0.1, coarse.shape), 0, 1).astype(np.float32)


def nchw(array: Any) -> Any:
    return torch.from_numpy(np.array(array).transpose(0, 3, 1, 2).copy())


def state_dict(variables: Any) -> dict[str, Any]:
    """Weights and statistics under PyTorch's names."""
    leaves = {'kernel': 'weight', 'bias': 'bias', 'mean': 'running_mean', 'var': 'running_var'}
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        _, stage, layer, *rest = [part.key for part in path]
        name = f'features.{layer.removeprefix("conv_")}' if '_' in layer else f'{stage}.{layer}'
        array = np.array(leaf)
        array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
        found[f'{name}.{leaves[rest[-1]]}'] = torch.from_numpy(np.ascontiguousarray(array))
    return found


@functools.cache
def sides(case: str, seed: int):
    """(network, options, variables, aims, start) here, and the loop there."""
    family, fields = CASES[case]
    fields = {**DEFAULTS, **fields, 'chunk': STEPS}
    model: Any = configs.make(configs.plugin('models', family, top='mean'))
    about = COMMON if family == 'vgg' else style_features.FILES['lesion_cnn']
    module = configs.find('models', family).build(model)
    network = style_features.network(family, module, fields, about)
    shapes = jax.eval_shape(
        lambda key: module.init(key, jnp.zeros((1, SIDE, SIDE, 3)), False), jax.random.key(0)
    )
    rng = np.random.default_rng([5, seed])

    def fill(path, leaf):
        if path[-1].key == 'kernel':
            return rng.normal(0, np.sqrt(2 / np.prod(leaf.shape[:-1])), leaf.shape)
        low, high = (0.5, 1.5) if path[-1].key == 'var' else (-0.1, 0.1)
        return rng.uniform(low, high, leaf.shape)

    variables = jax.tree_util.tree_map_with_path(fill, shapes)
    variables = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), variables)
    content, style = images(2 * seed), images(2 * seed + 1)
    options = st.Options.read(fields)
    zeros = jnp.zeros((BATCH, SIDE, SIDE))
    loop = st.Loop(network, options)
    aims = loop.aim(variables, jnp.asarray(content), zeros, jnp.asarray(style), zeros)
    start = style if options.init == 'style' else content
    more = {'norm': options.norm, 'weights': (options.content_weight, options.style_weight)}
    more['rate'] = options.learning_rate
    if family == 'vgg':
        model, make = theirs.VGG16(), theirs.with_vgg
    else:
        model, make = theirs.Blocks(batch_norm=network.batch_norm), theirs.published
    wanted = {k for k in model.state_dict() if not k.endswith('num_batches_tracked')}
    given = {k: v for k, v in state_dict(variables).items() if k in wanted}
    assert set(given) == wanted
    model.load_state_dict(given, strict=False)
    stylist: Any = make(model, nchw(content), nchw(style), **more)
    stylist.image.data.copy_(nchw(start))
    return loop, variables, aims, jnp.asarray(start), stylist


def far(a: Any, b: Any) -> float:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30))


@functools.cache
def gradients(case: str) -> Any:
    """(variables, aims, images) -> the losses and the gradient of their sum, compiled once."""
    loop = sides(case, 0)[0]

    def total(variables, aims, image):
        one = functools.partial(st.losses, loop.network, loop.options, variables)
        value, terms = jax.vmap(one)(aims, image)
        return value.sum(), terms

    return jax.jit(jax.value_and_grad(total, 2, has_aux=True))


@pytest.mark.parametrize('case', CASES)
def test_losses_and_gradients_agree(case):
    """At a mixture of both images, where no term is 0; single pixels in one of the draws."""
    measured = []
    for draw in range(DRAWS):
        _, variables, aims, _, stylist = sides(case, draw)
        mixed = 0.5 * images(2 * draw) + 0.5 * images(2 * draw + 1)
        (_, terms), gradient = gradients(case)(variables, aims, jnp.asarray(mixed))
        begin = stylist.image.detach().clone()
        stylist.image.data.copy_(nchw(mixed))
        want = stylist.losses()
        (slope,) = torch.autograd.grad(want['total'].sum(), stylist.image)
        stylist.image.data.copy_(begin)
        for name, value in want.items():
            assert far(terms[name], value.detach()) < LOSSES, name
        slope = slope.permute(0, 2, 3, 1).numpy()
        off = np.abs(np.asarray(gradient) - slope) / np.abs(slope).max()
        measured.append((float(off.mean()), float(off.max())))
        assert measured[-1][0] < MEAN_GRADIENT[case], measured
    assert min(worst for _, worst in measured) < GRADIENT[case], measured


@pytest.mark.parametrize('case', CASES)
def test_steps_agree(case):
    """For one of the draws, from the start of the case: the losses before each step, and the image.

    Adam divides gradients by their size, which makes whole steps of those that are rounding: a few
    pixels go the other way, and so differ by twice the rate; in other draws by more.
    """
    measured = []
    for draw in range(DRAWS):
        loop, variables, aims, start, stylist = sides(case, draw)
        state, history = loop.advance(variables, aims, loop.begin(start), STEPS)
        found = [stylist.step() for _ in range(STEPS)]
        curves = max(far(history[k], torch.stack([one[k] for one in found], 1)) for k in history)
        final = stylist.image.detach().permute(0, 2, 3, 1).numpy()
        assert float(np.abs(final - np.asarray(start)).mean()) > 0.01  # it has moved
        off = float(np.abs(np.asarray(state[0]) - final).mean())
        measured.append((curves, off))
        if curves < CURVES and off < PIXELS[case]:
            return
    pytest.fail(f'{case}: {measured}')
