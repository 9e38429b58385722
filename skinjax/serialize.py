"""A trained model as a compiled function and weights by name."""

from collections.abc import Callable
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array

from skinjax.engine.objective import Objective, Variables
from skinjax.models.forms import for_several_platforms
from skinjax.tasks import classification

Weights = dict[str, np.ndarray]


def flat_weights(variables: Variables) -> Weights:
    """Parameters and statistics by name, `params/encoder/...`, in alphabetical order."""
    kept = {name: variables[name] for name in ('params', 'batch_stats') if name in variables}
    flat = flatten_dict(kept, sep='/')
    return {name: np.array(flat[name], order='C') for name in sorted(flat)}


def compile_model(
    objective: Objective, trained: Any, weights: Weights, platforms: tuple[str, ...]
) -> jax.export.Exported:
    """(weights, uint8 images [b, size, size, 3]) -> {probabilities, features}, for any b.

    Normalisation and test-time augmentation are inside; the weights are an argument, so that they
    are stored once. Each platform gets its own form of convolutions and pooling.
    """
    size = trained.data.image_size
    shape = jax.export.symbolic_shape(f'b, {size}, {size}, 3')
    arguments = (
        {name: jax.ShapeDtypeStruct(value.shape, value.dtype) for name, value in weights.items()},
        jax.ShapeDtypeStruct(shape, jnp.uint8),
    )
    model = jax.jit(model_function(objective, tta=trained.evaluate.tta))
    with for_several_platforms():
        return jax.export.export(model, platforms=platforms)(*arguments)


def model_function(
    objective: Objective, *, tta: bool
) -> Callable[[dict[str, Any], Array], dict[str, Array]]:
    """What is exported: `classification.scorer` with flat weights and a column for every class."""
    score = classification.scorer(objective, tta=tta)

    def model(weights: dict[str, Any], images: Array) -> dict[str, Array]:
        out = score(unflatten_dict(weights, sep='/'), images)
        scores = out['scores']
        if scores.shape[1] == 1:
            scores = jnp.concatenate([1 - scores, scores], axis=1)
        return {'probabilities': scores, 'features': out['features']}

    return model
