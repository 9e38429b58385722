"""Kind 'convert': weights from PyTorch files to skinjax checkpoints, and back."""

import contextlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from skinjax import config as configs
from skinjax import rundir
from skinjax.engine.checkpoint import Checkpointer
from skinjax.engine.state import TrainState
from skinjax.engine.writer import appearing, write_json
from skinjax.models import attention, options, pretrained
from skinjax.models.classifier import Classifier
from skinjax.models.tensor_files import write_safetensors

FOREIGN = ('.pth', '.pt', '.npz', '.bin', '.h5', '.onnx', '.tar', '.zip')


def run(config: Any, workdir: Path) -> dict[str, Any]:
    """Convert `config.source` to `config.target`, which appears whole or not at all.

    Returns:
        naming of the source, outputs of its head, numbers of arrays and of parameters, target.

    Raises:
        FileNotFoundError, ImportError: no such source, or no torch to read it.
        ValueError: the source is damaged or does not fit the network, or the target exists.
    """
    source, target = Path(config.source), Path(config.target or workdir)
    _check(config, source, target)
    model, size = _network(config, source)
    head = () if 'head' in model.leave_out else ('head',)
    outputs = pretrained.outputs(source, abstract(model, size, 1), model) if head else 1
    loaded = pretrained.load(source, abstract(model, size, outputs), model)
    arrays: dict[Any, Any] = flatten_dict(loaded.variables)
    result = {
        'naming': loaded.naming,
        'outputs': outputs if head else 0,
        'arrays': len(arrays),
        'parameters': sum(int(np.size(v)) for k, v in arrays.items() if k[0] == 'params'),
        'target': str(target),
    }
    if target.suffix == '.safetensors':
        named = pretrained.give(loaded.variables, model, config.naming)
        write_safetensors(target, named, {'format': 'pt'})
    else:
        with appearing(target) as place:
            _write_checkpoint(place, loaded.variables, model, size)
    for note in loaded.notes:
        print(f'note: {note}')
    print(
        f'{_label(model)}, {loaded.naming} names: {result["arrays"]} arrays, '
        f'{result["parameters"]:,} parameters, {result["outputs"]} outputs\nwritten: {target}',
        flush=True,
    )
    return result


def _check(config: Any, source: Path, target: Path) -> None:
    if not config.source:
        raise ValueError('config.source is empty: name a weights file or a run directory')
    if target.suffix in FOREIGN:
        raise ValueError(
            f'config.target is {target}: name a file that ends in .safetensors, or a directory'
        )
    if config.naming and target.suffix != '.safetensors':
        raise ValueError(
            f'config.naming is {config.naming!r}, but the directory {target} would hold our own '
            'names: name a .safetensors file as config.target, or leave the naming out'
        )
    if target.exists() or target.is_symlink():
        raise ValueError(f'{target} exists: choose another config.target, or delete it')
    if not source.exists():
        raise FileNotFoundError(f'config.source: {source} does not exist')


def _network(config: Any, source: Path) -> tuple[Any, int]:
    """The model section and image size: of the run where the source is one, else of the config."""
    if (source / 'config.json').exists():
        run = rundir.read_run(source)
        if 'model' not in run:
            raise ValueError(
                f'{source} is of kind {run.get("kind")!r} and has no weights of one network: name '
                'a run of kind train, or a converted checkpoint'
            )
        configs.only_classifiers('convert', source, run)
        given = config.model or run.model
        if (given.name, given.get('variant')) != (run.model.name, run.model.get('variant')):
            raise ValueError(
                f'{source} is a run of {_label(run.model)}, not of {_label(given)}: give no variant'
            )
        kept = {'pretrained': '', 'leave_out': config.model.get('leave_out', ())}
        defaults = {**options.COMMON, **configs.find('models', run.model.name).DEFAULTS}
        model = ConfigDict({**defaults, **run.model.to_dict(), **kept})
        return model, (run.data if 'data' in run else run).image_size
    if not len(config.model):
        raise ValueError(
            f'{source} does not say which network it is for: give it as a variant, as in '
            '--config=configs/convert.py:resnet50'
        )
    return config.model, config.image_size


def _label(model: Any) -> str:
    return model.get('variant', model.name)


def abstract(model: Any, size: int = 224, outputs: int = 1) -> Any:
    """Shapes of the variables of encoder and main head."""
    network = Classifier(attention.encoder(model), outputs)
    images = jnp.zeros((1, size, size, 3))
    shapes: Any = jax.eval_shape(lambda: network.init(jax.random.key(0), images, False))
    return shapes


def _write_checkpoint(place: Path, variables: Any, model: Any, size: int) -> None:
    """A checkpoint at step 0, in the layout of a run."""
    statistics = {k: v for k, v in variables.items() if k != 'params'}
    place.mkdir()
    with contextlib.closing(Checkpointer(place, keep=1)) as saver:
        saver.save(TrainState(np.int32(0), variables['params'], statistics, {}, {}), None)
        saver.wait()
    kept = {**configs.to_json(model), 'leave_out': ()}
    write_json(place / 'config.json', {'kind': 'convert', 'model': kept, 'image_size': size})
