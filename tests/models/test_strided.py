"""4x4 convolutions of stride 2 and their transposes: both forms, orders of gradients, PyTorch."""

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax.models import strided
from skinjax.models.forms import for_several_platforms

SHAPES = [(3, 5, 6), (6, 5, 4), (5, 6, 4), (6, 3, 2)]  # channels in, out, and rows


def sides(operation, count, c, f, rows):
    """(x, kernel, gradient) for an operation."""
    rng = np.random.default_rng(0)
    out = rows // 2 if operation == 'halve' else 2 * rows
    shapes = (count, rows, rows + 2, c), (4, 4, c, f), (count, out, out + 1 + (out > rows), f)
    if operation == 'double':
        shapes = (*shapes[:2], (count, 2 * rows, 2 * rows + 4, f))
    return [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes]


@pytest.mark.parametrize('operation', ['halve', 'double'])
@pytest.mark.parametrize(('c', 'f', 'rows'), SHAPES)
@pytest.mark.parametrize('few', [0, strided.FEW_PIXELS])
def test_forms_for_cpus_and_their_gradients_equal_xlas(operation, c, f, rows, few, monkeypatch):
    monkeypatch.setattr(strided, 'FEW_PIXELS', few)
    x, kernel, gradient = sides(operation, 2, c, f, rows)
    forms = getattr(strided, f'{operation}_by_squares'), getattr(strided, f'plain_{operation}')
    found = []
    for form in forms:
        out, back = jax.vjp(form, x, kernel)
        found.append((out, *back(gradient)))
    for have, want in zip(*found, strict=True):
        np.testing.assert_allclose(have, want, atol=1e-5 * float(jnp.abs(want).max()))


@pytest.mark.parametrize('operation', ['halve', 'double'])
def test_gradients_of_gradients(operation):
    """As a penalty on the gradients of images takes them."""
    x, kernel, gradient = sides(operation, 2, 3, 4, 4)

    def penalty(form):
        def size(kernel):
            back = jax.grad(lambda x: (gradient * jnp.tanh(form(x, kernel))).sum())(x)
            return jnp.square(back).sum()

        return jax.grad(size)(kernel)

    have = penalty(getattr(strided, f'{operation}_by_squares'))
    want = penalty(getattr(strided, f'plain_{operation}'))
    np.testing.assert_allclose(have, want, atol=1e-5 * float(jnp.abs(want).max()))


def test_one_is_the_transpose_of_the_other():
    x, kernel, gradient = sides('halve', 1, 2, 3, 4)
    forward = (strided.halve(x, kernel) * gradient).sum()
    turned = kernel[::-1, ::-1].transpose(0, 1, 3, 2)
    np.testing.assert_allclose(forward, (x * strided.double(gradient, turned)).sum(), rtol=1e-5)


@pytest.mark.parametrize('operation', ['halve', 'double'])
def test_both_are_those_of_torch(operation):
    torch = pytest.importorskip('torch')
    x, kernel, _ = sides(operation, 2, 3, 5, 4)
    there, weights = (
        torch.from_numpy(np.array(a.transpose(order)))
        for a, order in ((x, (0, 3, 1, 2)), (kernel, (3, 2, 0, 1)))
    )
    if operation == 'halve':
        want = torch.nn.functional.conv2d(there, weights, stride=2, padding=1)
    else:
        weights = weights.flip(2, 3).transpose(0, 1)
        want = torch.nn.functional.conv_transpose2d(there, weights, stride=2, padding=1)
    have = getattr(strided, operation)(x, kernel)
    np.testing.assert_allclose(have, want.permute(0, 2, 3, 1).numpy(), atol=1e-5)


def test_squares_and_pixels():
    x = jnp.arange(2 * 4 * 6 * 3.0).reshape(2, 4, 6, 3)
    found = strided.squares(x)
    np.testing.assert_array_equal(found[1, 1, 2].reshape(2, 2, 3), x[1, 2:4, 4:6])
    np.testing.assert_array_equal(strided.pixels(found), x)


def test_platforms_get_their_forms():
    kernel = jnp.zeros((4, 4, 3, 5))

    def text(*platforms):
        shape = jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.float32)
        with for_several_platforms():
            run = jax.jit(lambda x: strided.halve(x, kernel))
            return jax.export.export(run, platforms=platforms)(shape).mlir_module()

    assert 'stride = [2, 2]' in text('cuda') and 'stride = [2, 2]' not in text('cpu')


def test_the_slope_of_leaky():
    x = jnp.asarray([-2.0, -0.0, 0.0, 3.0])
    np.testing.assert_allclose(strided.leaky(x), jax.nn.leaky_relu(x, 0.2))
    slopes = jax.vmap(jax.grad(strided.leaky))(x)
    np.testing.assert_allclose(slopes, [0.2, 0.2, 0.2, 1.0])
