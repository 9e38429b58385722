"""Kind 'export': a trained run as files that run without skinjax, proved equal to it.

model.jax             jax.export of (weights, uint8 images [b, h, w, 3]) -> probabilities, features
weights.safetensors   encoder, main head and batch statistics, by name
model.json            labels, input, threshold, weights, sums of the files, versions, the proof
predict.py            a loader and command line: `skinjax/exported.py`
MODEL_CARD.md         what the model is for, what it was trained on, how it did
config.json           what was asked for, with the names of folders but not where they are
"""

import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from skinjax import card, evaluate, exported, rundir
from skinjax import config as configs
from skinjax.data.records import DataSet, choices
from skinjax.engine.mesh import Mesh
from skinjax.engine.objective import Objective, Variables
from skinjax.engine.writer import write_atomic, write_json
from skinjax.models.forms import for_several_platforms
from skinjax.models.tensor_files import write_safetensors
from skinjax.serialize import compile_model, flat_weights
from skinjax.tasks import classification

FILES = ('model.jax', 'weights.safetensors', 'predict.py', 'MODEL_CARD.md', 'model.json')
PLATFORMS = ('cpu', 'cuda', 'rocm', 'tpu')
ROWS = 8  # validation images of the proof
BATCH_SIZES = (1, 3, 8)
TOLERANCE = 1e-6  # of probabilities; of features relative to the largest one

# Runs in the folder of the export; must not find the code that the model was made with.
_PROOF = """
import sys
import numpy as np
from predict import Model
model, images, out = Model(), np.load(sys.argv[1]), {}
for size in map(int, sys.argv[3:]):
    parts = [model(images[i : i + size]) for i in range(0, len(images) - size + 1, size)]
    out |= {f'{name} {size}': np.concatenate([p[name] for p in parts]) for name in parts[0]}
np.savez(sys.argv[2], **out)
used = {name.partition('.')[0] for name in sys.modules} & {'skinjax', 'flax', 'orbax', 'optax'}
sys.exit(f'predict.py imports {sorted(used)}' if used else 0)
"""


def run(config: Any, workdir: Path) -> dict[str, Any]:
    """Export the run in `config.init_from`; returns the contents of model.json.

    Everything is written beside the work directory, loaded and compared in a fresh process, and
    moved into place only then.

    Raises:
        FileNotFoundError: no such run, or it has no checkpoint or no results.
        ValueError: unknown platform or choice, or the work directory is in use.
        RuntimeError: the exported model does not predict what `evaluate` does.
    """
    public, source = _public(config), Path(config.init_from)
    if rundir.done(public, workdir):
        facts = exported.Model(workdir).facts
        _same_run(facts, source, workdir)
        print(f'{workdir} is done: {workdir}/MODEL_CARD.md (delete it to run again)', flush=True)
        return facts
    trained = _trained(config, source)
    results = rundir.read_results(source)
    cpu = Mesh('jit', tuple(jax.local_devices(backend='cpu')[:1]))
    with _staging(workdir) as staged:
        data, objective, step, variables = evaluate.restore(source, trained, cpu)
        facts = write(staged, config, trained, data, objective, variables, results)
        facts['proof'] = prove(staged, trained, data, objective, variables, cpu)
        facts['step'] = step
        write_json(staged / 'model.json', facts)
        write_atomic(staged / 'MODEL_CARD.md', card.model_card(facts, results, trained))
        with rundir.lock(workdir):
            rundir.claim(public, workdir)
            for name in FILES:
                (staged / name).replace(workdir / name)
            write_atomic(workdir / 'DONE', f'step {step}\n')
    print(f'proved equal on {facts["proof"]["rows"]} images: {workdir}/MODEL_CARD.md', flush=True)
    return facts


def _public(config: Any) -> Any:
    """`config` with the names of folders alone: where they are is nobody's business."""
    fields = {'init_from': Path(config.init_from).resolve().name, 'root': Path(config.root).name}
    return configs.override(config, fields)


def _same_run(facts: Mapping[str, Any], source: Path, workdir: Path) -> None:
    """The folders of two runs can have the same name."""
    results = source / 'results.json'
    if results.exists() and facts.get('results') != _sum(results):
        raise ValueError(
            f'{workdir} holds the export of another run than {source}, or of other results of it: '
            'choose another --workdir, or delete it'
        )


@contextlib.contextmanager
def _staging(workdir: Path) -> Iterator[Path]:
    """A folder beside `workdir`, which is looked at before the long work, not only after it.

    Raises:
        OSError: the one or the other cannot be written to.
        ValueError: `workdir` is in use.
    """
    workdir.parent.mkdir(parents=True, exist_ok=True)
    if workdir.exists():
        with rundir.lock(workdir):
            pass
    with tempfile.TemporaryDirectory(prefix='.export-', dir=workdir.parent) as folder:
        yield Path(folder)


def _trained(config: Any, source: Path) -> Any:
    """Config of the run, with the data folder and views that the export asks for."""
    platforms = tuple(config.platforms)
    if unknown := [name for name in platforms if name not in PLATFORMS]:
        raise ValueError(f'config.platforms: no {unknown[0]!r}; {choices(unknown[0], PLATFORMS)}')
    if 'cpu' not in platforms:
        raise ValueError(f"config.platforms is {platforms}: it needs 'cpu', for the proof")
    if config.tta not in ('run', 'on', 'off'):
        raise ValueError(f'config.tta is {config.tta!r}: choose on, off or run (as the run did)')
    trained = rundir.load_trained(config)
    configs.only_classifiers('export', source, trained)
    if not (source / 'results.json').exists():
        raise FileNotFoundError(
            f'{source} has no results.json: finish the run first, with the command that began it'
        )
    values: dict[str, Any] = {}
    if config.root:
        values['data.root'] = config.root
    if config.tta != 'run':
        values['evaluate.tta'] = config.tta == 'on'
    return configs.override(trained, values)


def write(
    folder: Path,
    config: Any,
    trained: Any,
    data: DataSet,
    objective: Objective,
    variables: Variables,
    results: Mapping[str, Any],
) -> dict[str, Any]:
    """Write the model and what describes it into `folder`; returns the contents of model.json."""
    weights = flat_weights(variables)
    write_safetensors(folder / 'weights.safetensors', weights)
    model = compile_model(objective, trained, weights, tuple(config.platforms))
    write_atomic(folder / 'model.jax', bytes(model.serialize()))
    write_atomic(folder / 'predict.py', Path(exported.__file__).read_bytes())
    as_run = rundir.load_run(Path(config.init_from)).evaluate.tta
    facts = {
        'format': exported.FORMAT,
        'labels': list(data.classes),
        'input': {
            'size': trained.data.image_size,
            'dtype': 'uint8',
            'colours': 'RGB',
            'geometry': trained.data.get('geometry', 'squash'),
            'mean': list(trained.data.mean),
            'std': list(trained.data.std),
        },
        'tta': trained.evaluate.tta,
        'threshold': {**results['threshold'], 'tta': as_run} if len(data.classes) == 2 else None,
        # A folder of this machine is nobody's business.
        'model': {**trained.model.to_dict(), 'pretrained': Path(trained.model.pretrained).name},
        'weights': {n: {'dtype': str(w.dtype), 'shape': w.shape} for n, w in weights.items()},
        'files': {name: _sum(folder / name) for name in ('model.jax', 'weights.safetensors')},
        'jax': {
            'version': jax.__version__,
            'calling_convention': model.calling_convention_version,
            'platforms': list(model.platforms),
        },
        'versions': rundir.versions(),
        'data': {'name': data.name, 'bias': {k: list(v) for k, v in data.bias.items()}},
        'seed': trained.seed,
        'run': Path(config.init_from).resolve().name,
        'results': _sum(Path(config.init_from) / 'results.json'),
    }
    write_json(folder / 'model.json', facts)  # the proof loads the folder as users do
    return facts


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def prove(
    folder: Path,
    trained: Any,
    data: DataSet,
    objective: Objective,
    variables: Variables,
    mesh: Mesh,
) -> dict[str, Any]:
    """Compare the files in `folder`, loaded in a fresh process, with `classification.Predictor`.

    Returns:
        Rows and batch sizes, and the largest difference of each output.

    Raises:
        RuntimeError: the process fails, or an output differs by more than TOLERANCE.
    """
    rows = data.splits['val'].select(np.arange(min(ROWS, len(data.splits['val']))))
    sizes = [size for size in BATCH_SIZES if size <= len(rows)]
    found = _fresh_process(
        folder, np.stack([rows.read(i)['image'] for i in range(len(rows))]), sizes
    )
    largest = {'probabilities': 0.0, 'features': 0.0}
    for size in sizes:
        # The same batch size on both sides: another one rounds otherwise, and deep networks in
        # bfloat16 enlarge that a thousandfold.
        config = configs.override(trained, {'evaluate.batch_size': size})
        whole = rows.select(np.arange(len(rows) // size * size))
        # The forms of the exported model, on a machine with a GPU too.
        with for_several_platforms():
            table, features = classification.Predictor(config, objective, mesh)(variables, whole)
        for name, expected in (('probabilities', table.scores), ('features', features)):
            value = found[f'{name} {size}'][:, -expected.shape[1] :]
            scale = 1.0 if name == 'probabilities' else max(1.0, float(np.abs(expected).max()))
            gap = float(np.abs(value - expected).max()) / scale
            if not gap <= TOLERANCE:
                raise RuntimeError(
                    f'the exported model is not the trained one: its {name} differ by {gap:.1e} at '
                    f'batch size {size}, allowed are {TOLERANCE:.0e}; nothing was exported'
                )
            largest[name] = max(gap, largest[name])
    return {
        'rows': len(rows),
        'batch_sizes': sizes,
        'tolerance': TOLERANCE,
        'largest_difference': largest,
    }


def _fresh_process(folder: Path, images: np.ndarray, sizes: list[int]) -> dict[str, np.ndarray]:
    """What predict.py in `folder` says about `images`, by '<output> <batch size>'."""
    with tempfile.TemporaryDirectory() as scratch:
        given, returned = Path(scratch, 'images.npy'), Path(scratch, 'out.npz')
        np.save(given, images)
        done = subprocess.run(
            [sys.executable, '-B', '-c', _PROOF, given, returned, *map(str, sizes)],
            cwd=folder,
            env={**os.environ, 'JAX_PLATFORMS': 'cpu'},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            last = (done.stderr.strip() or f'exit status {done.returncode}').splitlines()[-1]
            raise RuntimeError(f'the exported model cannot be loaded: {last}')
        with np.load(returned) as arrays:
            return dict(arrays)
