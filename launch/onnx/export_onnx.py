"""ONNX out of an exported run, checked against it: `python export_onnx.py EXPORT [model.onnx]`.

To be run in the environment of its own that README.md here describes. The network is rebuilt from
model.json, traced by jax2onnx and compared with the exported model under onnxruntime; a file is
written only where they agree.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import safetensors.numpy
from flax import linen as nn
from flax.traverse_util import unflatten_dict
from ml_collections import ConfigDict

from skinjax.data.augment_device import d4
from skinjax.data.records import DataSet
from skinjax.exported import Model
from skinjax.models.layers import ReLU
from skinjax.models.pooling import MaxPool
from skinjax.objectives import network

TOLERANCE = 1e-5  # of a probability; of features relative to the largest one
BATCH_SIZES = (1, 3, 8)


def _plain(call, args, kwargs, context) -> Any:
    """ReLU and max pooling in operations that jax2onnx knows; others convert as they are.

    Its max_pool drops explicit padding, so that it is done before.
    """
    module = context.module
    if context.method_name == '__call__' and type(module) is ReLU:
        return jax.nn.relu(args[0])
    if context.method_name == '__call__' and type(module) is MaxPool:
        side = (module.padding, module.padding)
        # Less than any activation, and unlike -inf safe where a runtime multiplies by a mask.
        lowest = float(np.finfo(np.float32).min)
        x = jnp.pad(args[0], ((0, 0), side, side, (0, 0)), constant_values=lowest)
        window, strides = (module.window,) * 2, (module.stride,) * 2
        return nn.max_pool(x, window_shape=window, strides=strides, padding='VALID')
    return call(*args, **kwargs)


def function(facts: dict[str, Any], weights: dict[str, np.ndarray]):
    """uint8 images [b, size, size, 3] -> (probabilities [b, classes], features [b, d])."""
    inputs = facts['input']
    config = ConfigDict({'model': facts['model'], 'data': inputs})
    data = DataSet('exported', tuple(facts['labels']), {}, {})
    predict = network.create(config, data).objective({}, ()).predict
    variables = unflatten_dict(weights, sep='/')

    def run(images):
        probabilities, features = [], None
        for view in range(8 if facts['tta'] else 1):
            with nn.intercept_methods(_plain):
                out = predict(variables, d4(images, view))
            features = out['features'] if features is None else features
            logits = out['logits']
            if logits.shape[1] == 1:
                one = jax.nn.sigmoid(logits)
                probabilities.append(jnp.concatenate([1 - one, one], axis=1))
            else:
                probabilities.append(jax.nn.softmax(logits, axis=1))
        return sum(probabilities) / len(probabilities), features

    return run


def convert(facts: dict[str, Any], weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    """The traced model, for any batch size."""
    import jax2onnx
    from jax2onnx.converter import conversion_api

    # The graph optimiser of jax2onnx 0.17.1 breaks residual networks of three and more stages.
    conversion_api.optimize_graph = lambda model, *args, **kwargs: model
    size = facts['input']['size']
    shape = jax.ShapeDtypeStruct(('b', size, size, 3), jnp.uint8)
    return jax2onnx.to_onnx(function(facts, weights), [shape], model_name='skinjax')


def check(model: Model, path: Path) -> dict[str, float]:
    """Largest differences to the exported model on random images.

    Raises:
        RuntimeError: they are more than TOLERANCE, or outputs have other shapes.
    """
    onnxruntime.set_default_logger_severity(3)  # it warns of each of many unused constants
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    name = session.get_inputs()[0].name
    rng = np.random.default_rng(0)
    largest = {'probabilities': 0.0, 'features': 0.0}
    for size in BATCH_SIZES:
        images = rng.integers(0, 256, (size, model.size, model.size, 3)).astype(np.uint8)
        expected = model(images)
        found = dict(zip(largest, session.run(None, {name: images}), strict=True))
        for output, value in found.items():
            if value.shape != expected[output].shape:
                raise RuntimeError(
                    f'{output} are {value.shape}, expected {expected[output].shape}; '
                    'nothing was written'
                )
            scale = 1.0 if output == 'probabilities' else max(1.0, np.abs(expected[output]).max())
            gap = float(np.abs(value - expected[output]).max() / scale)
            if not gap <= TOLERANCE:
                raise RuntimeError(
                    f'{output} differ by {gap:.1e} at batch size {size}, allowed are '
                    f'{TOLERANCE:.0e}; nothing was written'
                )
            largest[output] = max(gap, largest[output])
    return largest


def main(source: str, target: str = '') -> None:
    """Convert, check, write: the file appears when it is equal, or not at all."""
    model = Model(source)
    path = Path(target or Path(source) / 'model.onnx')
    weights = safetensors.numpy.load((Path(source) / 'weights.safetensors').read_bytes())
    proto = convert(model.facts, weights)
    kept = {'labels': model.labels, 'threshold': model.facts['threshold']}
    onnx.helper.set_model_props(proto, {name: json.dumps(value) for name, value in kept.items()})
    with tempfile.TemporaryDirectory(prefix='.onnx-', dir=path.parent) as folder:
        staged = Path(folder) / 'model.onnx'
        onnx.save(proto, str(staged))
        largest = check(model, staged)
        staged.replace(path)
    print(f'{path}: equal to the exported model, largest differences {largest}')


if __name__ == '__main__':
    if len(sys.argv) not in (2, 3):
        sys.exit('usage: python export_onnx.py EXPORT [model.onnx]')
    try:
        main(*sys.argv[1:])
    except (OSError, RuntimeError, ValueError) as error:
        sys.exit(f'error: {error}')
