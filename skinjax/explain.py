"""Kind 'explain': the relevance of pixels for what a classifier says of the images of a split.

maps.npy         [n, h, w]: relevance, summed over channels, divided by its largest absolute value
explained.csv    a row for each map: id, label, probabilities, target, score, total, scale
results.json     also what says whether the maps can be believed: `randomisation.py`,
                 `faithfulness.py`
figures/         image, map and both of some images

`explained.read` reads them again. The same command continues a run that was stopped or killed.
"""

import dataclasses
import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from skinjax import config as configs
from skinjax import evaluate, explained, explanation_report, faithfulness, making, rundir
from skinjax import randomisation as randomised
from skinjax.data.parallel import Stopped
from skinjax.data.records import DataSet, Records, choices
from skinjax.engine import mapping
from skinjax.engine.mesh import Mesh
from skinjax.engine.objective import Objective, Variables
from skinjax.engine.writer import appearing, leftovers, read_json, write_atomic, write_json
from skinjax.explainers import Explain, Subject, gradients, subject
from skinjax.heatmaps import evenly, some_of_each
from skinjax.objectives import network as networks
from skinjax.predictions import Predictions
from skinjax.tasks import classification

FREE = ('batch_size', 'devices')  # fields that do not change what is written
PARTS = 'parts'  # folder of the maps of each batch, until all are there
TARGETS = ('predicted', 'label')


@dataclasses.dataclass(frozen=True)
class Setting:
    """A trained classifier, what explains it, and the images.

    Attributes:
        config: of kind 'explain'.
        source: config of the run.
        see: the network as explainers see it.
        normalise: uint8 images -> what the network takes.
        chances: (variables, uint8 images) -> probabilities [b, c].
        threshold: from which on the positive class of two is called.
        records: the images that are explained.
    """

    config: Any
    source: Any
    explain: Explain
    see: Subject
    normalise: Callable[[Any], Any]
    chances: Callable[[Variables, Any], Any]
    threshold: float
    data: DataSet
    records: Records
    mesh: Mesh
    step: int
    variables: Variables


def run(config: Any, workdir: Path) -> dict[str, Any]:
    """Explain the run in `config.init_from`; returns the contents of results.json.

    Raises:
        FileNotFoundError: no such run, or it has no checkpoint.
        ValueError: it is no classifier, an option or the work directory does not fit, the explainer
            cannot follow the network, or a map is not finite.
        SystemExit: after SIGTERM or Ctrl-C; what is written stays.
    """
    _check(config)
    if rundir.done(config, workdir, FREE):
        print(f'{workdir} is done: {workdir}/report.html (delete it to run again)', flush=True)
        return read_json(workdir / 'results.json')
    setting = prepare(config)
    with rundir.lock(workdir):
        rundir.claim(config, workdir, FREE)
        evaluate.note_skipped(setting.data, workdir)
        _write_parts(setting, workdir)
        _join(setting, workdir)
        maps = np.load(workdir / explained.MAPS, mmap_mode='r')
        table = Predictions.read_csv(workdir / explained.TABLE)
        checks = {**_sanity(setting, table), **_faithfulness(setting, table, maps)}
        results = explanation_report.write(setting, table, maps, checks, workdir)
        shutil.rmtree(workdir / PARTS, ignore_errors=True)
        write_atomic(workdir / 'DONE', f'step {setting.step}\n')
    print(f'{explanation_report.line(results)}\nreport: {workdir}/report.html', flush=True)
    return results


def _check(config: Any) -> None:
    least = {'n': 0, 'batch_size': 1, 'shown': 0, 'sanity': 0, 'faithfulness': 0}
    for name, bound in least.items():
        if config[name] < bound:
            raise ValueError(f'config.{name} is {config[name]}, expected at least {bound}')
    for name, known in (('dtype', ('float16', 'float32')), ('fill', faithfulness.FILLS)):
        if config[name] not in known:
            raise ValueError(f'config.{name} is {config[name]!r}; {choices(config[name], known)}')


def prepare(config: Any) -> Setting:
    """The run restored, its explainer built, its images chosen.

    Raises:
        FileNotFoundError, ValueError: as `run`.
    """
    explain = configs.find('explainers', config.explainer.name).build(config.explainer)
    source, mesh = explained.trained(config), Mesh.create('jit', config.devices)
    data, objective, step, variables = evaluate.restore(Path(config.init_from), source, mesh)
    if config.target not in (*TARGETS, *data.classes):
        known = (*TARGETS, *data.classes)
        raise ValueError(f'config.target is {config.target!r}; {choices(config.target, known)}')
    records = explained.split_of(data, config.split)
    if not len(records):
        raise ValueError(f'config.split is {config.split!r}, which has no images')
    rows = np.arange(len(records))
    records = records.select(evenly(rows, config.n) if config.n else rows)
    results = rundir.read_results(Path(config.init_from))
    net = _network(source, data)
    return Setting(
        config,
        source,
        explain,
        subject(net),
        net.images,
        _chances(objective),
        results.get('threshold', {}).get('value', 0.5),
        data,
        records,
        mesh,
        step,
        variables,
    )


def _network(source: Any, data: DataSet) -> networks.Bound:
    """The network of a run: that of its objective, or a classifier without bias heads."""
    module = configs.find('objectives', source.objective.name)
    return getattr(module, 'create', networks.create)(source, data)


def _chances(objective: Objective) -> Callable[[Variables, Any], Any]:
    predict = classification.scorer(objective, tta=False)
    return lambda variables, images: predict(variables, images)['scores']


def _heat(setting: Setting, variables: Variables, images: Any, targets: Any) -> Any:
    """Relevance [b, h, w] of uint8 images."""
    normal = setting.normalise(images)
    return setting.explain(setting.see, variables, normal, targets).astype(jnp.float32).sum(-1)


def _explain_batch(setting: Setting) -> Callable[[Variables, dict[str, Any]], dict[str, Any]]:
    """(variables, batch) -> map and columns of each row."""
    config = setting.config

    def explain(variables, batch):
        images = batch['image']
        chances = setting.chances(variables, images)
        called = chances.argmax(-1).astype(jnp.int32)
        if chances.shape[1] == 1:
            called = (chances[:, 0] >= setting.threshold).astype(jnp.int32)
        targets = {'predicted': called, 'label': batch['label']}.get(config.target)
        if targets is None:
            targets = jnp.full_like(called, setting.data.classes.index(config.target))
        heat = _heat(setting, variables, images, targets)
        normal = setting.normalise(images)
        largest = jnp.abs(heat).max((1, 2))
        scale = jnp.where(largest > 0, largest, 1)
        return {
            'maps': (heat / scale[:, None, None]).astype(config.dtype),
            'chances': chances,
            'predicted': called,
            'target': targets,
            'score': gradients.score(setting.see, variables, normal, targets),
            'total': heat.sum((1, 2)),
            'scale': largest,
        }

    return explain


def _write_parts(setting: Setting, workdir: Path) -> None:
    """Explain what is not explained yet; one file for each batch, named by its first row."""
    folder, records = workdir / PARTS, setting.records
    kept = read_json(folder / 'step.json').get('step')
    if kept != setting.step:  # of another checkpoint of the run
        shutil.rmtree(folder, ignore_errors=True)
        write_json(folder / 'step.json', {'step': setting.step})
    done = sum(len(np.load(path)['score']) for path in _parts(folder))
    if done == len(records):
        return
    run = mapping.compile_map(_explain_batch(setting), setting.mesh)
    rest = records.select(np.arange(done, len(records)))
    with making.stoppable(len(records), done) as (told, stopped):
        stream = mapping.stream_split(
            run,
            setting.variables,
            rest,
            setting.source.data,
            setting.mesh,
            min(setting.config.batch_size, len(rest)),
        )
        for rows, out in stream:
            if not np.isfinite(out['scale']).all():
                bad = int(rows[~np.isfinite(out['scale'])][0])
                raise ValueError(
                    f'the map of image {str(rest.ids[bad])!r} is not finite: try other options of '
                    f'explainer {setting.config.explainer.name!r}, such as a larger epsilon'
                )
            with appearing(folder / f'{done:09d}.npz') as place, place.open('wb') as file:
                np.savez(file, allow_pickle=False, **out)
            done += len(rows)
            told(done)
            if stopped():
                raise Stopped


def _parts(folder: Path) -> list[Path]:
    return sorted(folder.glob('[0-9]*.npz'))


def _join(setting: Setting, workdir: Path) -> None:
    """Writes maps.npy and explained.csv from the parts."""
    records, columns, at = setting.records, {}, 0
    paths = _parts(workdir / PARTS)
    for file in leftovers(workdir / explained.MAPS):
        file.unlink()
    with appearing(workdir / explained.MAPS) as place:
        whole = None
        for path in paths:
            with np.load(path) as part:
                arrays = dict(part)
            maps = arrays.pop('maps')
            if whole is None:
                shape = (len(records), *maps.shape[1:])
                whole = np.lib.format.open_memmap(place, 'w+', maps.dtype, shape)
            whole[at : at + len(maps)] = maps
            at += len(maps)
            for name, values in arrays.items():
                columns.setdefault(name, []).append(values)
        if whole is not None:
            whole.flush()
    joined = {name: np.concatenate(values) for name, values in columns.items()}
    chances = joined.pop('chances')
    more = {**records.columns, **joined}
    table = Predictions(records.ids, records.labels, chances, dict(records.bias), more)
    table.write_csv(workdir / explained.TABLE)


def _pixels(setting: Setting, rows: Any) -> np.ndarray:
    return np.stack([setting.records.read(int(row))['image'] for row in rows])


def _sanity(setting: Setting, table: Predictions) -> dict[str, Any]:
    """Rank correlations of the maps with those of randomised weights, and some of the maps."""
    rows = some_of_each(table.labels, setting.config.sanity)[: setting.config.sanity]
    if not rows:
        return {}
    images, seed = _pixels(setting, rows), setting.config.seed
    given = jnp.asarray(images), jnp.asarray(table.columns['target'][rows].astype(np.int32))
    heat = jax.jit(functools.partial(_heat, setting))
    layers = randomised.units(setting.see, setting.variables, setting.normalise(given[0]))
    steps = list(randomised.cascade(lambda v: heat(v, *given), setting.variables, layers, seed))
    return {'sanity': randomised.summary(layers, steps, seed), 'cascade': (images, steps)}


def _faithfulness(setting: Setting, table: Predictions, maps: np.ndarray) -> dict[str, Any]:
    """Curves of the target's probability while cells are deleted and inserted."""
    config, most = setting.config, setting.config.faithfulness
    rows = some_of_each(table.labels, most)[:most]
    if not rows:
        return {}
    targets = table.columns['target'][rows]
    predict = jax.jit(setting.chances)

    def chance(images):
        chances = np.asarray(predict(setting.variables, images))
        if chances.shape[1] == 1:
            return np.where(targets == 1, chances[:, 0], 1 - chances[:, 0])
        return chances[np.arange(len(chances)), targets]

    images = _pixels(setting, rows)
    found = faithfulness.curves(chance, images, maps[rows], config.fill, config.seed)
    block = {'n': len(rows), 'fill': config.fill, **faithfulness.summary(found, config.seed)}
    return {'faithfulness': block, 'curves': found}
