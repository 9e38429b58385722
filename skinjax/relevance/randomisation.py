"""Do relevance maps depend on what a network has learned? (Adebayo et al. 2018, section 3)

The weights are randomised layer by layer, from the head down, and the maps compared with those of
the trained network. Where they stay alike, they show the image, and not what the network does with
it.

Departures: the weights of every array are put into random order, where the paper draws them as at
the start of training. That keeps their scale, also that of normalisations which start at zero. The
means and variances of normalisations stay those of the trained network.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jaxtyping import Array, Float, Num
from scipy.stats import rankdata

from skinjax.bootstrap import bootstrap_mean
from skinjax.engine.objective import Variables
from skinjax.relevance.subject import Subject

DEPTHS = 8  # how far down the weights are randomised, at most so many steps
Unit = tuple[str, ...]


def units(subject: Subject, variables: Variables, images: Array) -> list[Unit]:
    """The parts of the network that have parameters, in the order in which they run.

    A part is a module of the encoder, such as a block, or one beside the encoder, such as the head.
    """
    known = {_unit(path) for path in _paths(variables['params'])}
    found: dict[Unit, None] = {}

    def note(call, args, kwargs, context):
        path = context.module.scope.path if context.module.scope else ()
        found.setdefault(_unit(path))
        return call(*args, **kwargs)

    def run(images):
        with nn.intercept_methods(note):
            return subject.scores(variables, images)

    jax.eval_shape(run, images)
    return [unit for unit in found if unit in known]


def _unit(path: Sequence[str]) -> Unit:
    return tuple(path[:2] if path[:1] == ('encoder',) else path[:1])


def _paths(params: Any) -> list[Unit]:
    leaves = jax.tree_util.tree_flatten_with_path(params)[0]
    return [tuple(key.key for key in path[:-1]) for path, _ in leaves]


def randomised(variables: Variables, chosen: Sequence[Unit], seed: int) -> Variables:
    """The variables with the values of every array of these units in random order."""
    known = set(chosen)

    def shuffle(path, values):
        names = tuple(key.key for key in path)
        if _unit(names[:-1]) not in known:
            return values
        draw = np.random.default_rng([seed, *'/'.join(names).encode()])
        mixed = draw.permutation(np.asarray(values).reshape(-1)).reshape(values.shape)
        # On the same devices, for the same programs.
        return jax.device_put(mixed, values.sharding) if isinstance(values, jax.Array) else mixed

    params = jax.tree_util.tree_map_with_path(shuffle, variables['params'])
    return {**variables, 'params': params}


def cascade(
    explain: Callable[[Variables], Float[np.ndarray, 'n h w']],
    variables: Variables,
    layers: Sequence[Unit],
    seed: int,
) -> Iterator[tuple[int, Float[np.ndarray, 'n h w']]]:
    """(number of the last units that are randomised, maps), from 0 to all in at most DEPTHS steps.

    Args:
        explain: variables -> maps of some images.
        variables: of the trained network.
        layers: `units` of it.
        seed: of the random order.
    """
    depths = np.unique(np.linspace(1, len(layers), min(DEPTHS, len(layers))).astype(int))
    for depth in (0, *depths.tolist()):
        changed = randomised(variables, layers[len(layers) - depth :], seed) if depth else variables
        yield depth, np.asarray(explain(changed), np.float32)


def alike(
    maps: Num[np.ndarray, 'n h w'], others: Num[np.ndarray, 'n h w']
) -> Float[np.ndarray, ' n']:
    """Spearman's rank correlation of each pair over the pixels; nan where one is constant."""
    a, b = (rankdata(m.reshape(len(m), -1), axis=1) for m in (maps, others))
    a, b = (ranks - ranks.mean(1, keepdims=True) for ranks in (a, b))
    sizes = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return np.divide((a * b).sum(1), sizes, out=np.full(len(a), np.nan), where=sizes > 0)


def summary(
    layers: Sequence[Unit], steps: Sequence[tuple[int, Num[np.ndarray, 'n h w']]], seed: int
) -> list[dict[str, Any]]:
    """A row for each step of `cascade`: how far down, and the mean correlations with step 0.

    `rank` compares the maps, `rank_abs` their absolute values, over the images where the absolute
    values of both maps vary (and so do the maps); `n` is their number.
    """
    first, rows = steps[0][1], []
    for depth, maps in steps[1:]:
        row: dict[str, Any] = {'down_to': '/'.join(layers[-depth]), 'layers': depth}
        found = {'rank': alike(first, maps), 'rank_abs': alike(np.abs(first), np.abs(maps))}
        vary = ~np.isnan(found['rank_abs'])
        row |= {name: bootstrap_mean(values[vary], seed=seed) for name, values in found.items()}
        rows.append({**row, 'n': int(vary.sum())})
    return rows
