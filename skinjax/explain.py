"""Kind 'explain': the relevance of pixels for what a classifier says of the images of a split.

maps.npy         [n, h, w]: relevance, summed over channels, divided by its largest absolute value
explained.csv    a row for each map: id, label, probabilities, target, score, total, scale
results.json     also what says whether the maps can be believed: `relevance/checks.py`
figures/         image, map and both of some images

`relevance.explained.read` reads them again. The same command continues a run that was stopped or
killed.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from skinjax import config as configs
from skinjax import evaluate, rundir
from skinjax.data.choosing import evenly
from skinjax.data.records import DataSet, Records, choices
from skinjax.engine import mapping
from skinjax.engine.mesh import Mesh
from skinjax.engine.objective import Variables
from skinjax.engine.writer import read_json, write_atomic
from skinjax.objectives import network as networks
from skinjax.predictions import Predictions
from skinjax.relevance import checks, explained, findings, gradients, parts, report
from skinjax.relevance.faithfulness import FILLS
from skinjax.relevance.mapper import Explainer, Mapper
from skinjax.relevance.subject import Subject
from skinjax.tasks import classification

FREE = ('batch_size', 'devices')  # fields that do not change what is written
TARGETS = ('predicted', 'label')


@dataclasses.dataclass(frozen=True)
class Setting:
    """A trained classifier, what explains it, and the images.

    Attributes:
        config: of kind 'explain'.
        source: config of the run.
        net: its network.
        mapper: makes maps.
        facts: (variables, uint8 images, labels) -> of each row probabilities `chances`, class
            `predicted`, the explained class `target` and its `score`.
        threshold: from which on the positive class of two is called.
        data: of the run.
        records: the images that are explained.
        step, variables: of the checkpoint.
    """

    config: Any
    source: Any
    net: networks.Bound
    mapper: Mapper
    facts: Callable[[Variables, Any, Any], dict[str, Any]]
    threshold: float
    data: DataSet
    records: Records
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
        _write_maps(setting, workdir)
        maps = np.load(workdir / explained.MAPS, mmap_mode='r')
        table = Predictions.read_csv(workdir / explained.TABLE)
        found = {**checks.sanity(setting, table), **checks.faithfulness(setting, table, maps)}
        results = report.write(setting, table, maps, found, workdir)
        parts.remove(workdir)
        write_atomic(workdir / 'DONE', f'step {setting.step}\n')
    print(f'{findings.line(results)}\nreport: {workdir}/report.html', flush=True)
    return results


def _check(config: Any) -> None:
    least = {'n': 0, 'batch_size': 1, 'shown': 0, 'sanity': 0, 'faithfulness': 0}
    for name, bound in least.items():
        if config[name] < bound:
            raise ValueError(f'config.{name} is {config[name]}, expected at least {bound}')
    for name, known in (('dtype', ('float16', 'float32')), ('fill', FILLS)):
        if config[name] not in known:
            raise ValueError(f'config.{name} is {config[name]!r}; {choices(config[name], known)}')


def prepare(config: Any) -> Setting:
    """The run restored, its explainer built, its images chosen.

    Raises:
        FileNotFoundError, ValueError: as `run`.
    """
    build = configs.find('explainers', config.explainer.name).build
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
    threshold = results.get('threshold', {}).get('value', 0.5)
    net, size = network(source, data), min(config.batch_size, len(records))
    made = Mapper(build(config.explainer), net, source.data, mesh, size)
    # As the threshold was chosen.
    predict = classification.scorer(objective, tta=source.evaluate.tta)
    facts = _facts(config.target, data.classes, threshold, net, made.subject, predict)
    return Setting(
        config=config,
        source=source,
        net=net,
        mapper=made,
        facts=jax.jit(facts, out_shardings=mesh.shared_out),
        threshold=threshold,
        data=data,
        records=records,
        step=step,
        variables=variables,
    )


def mapper(
    section: Any, source: Any, data: DataSet, variables: Variables, mesh: Mesh, batch_size: int
) -> Explainer:
    """What gives the relevance of class targets[i] of row i: float32, summed over channels.

    The programs are compiled once, for all records.

    Args:
        section: config of the explainer.
        source: config of the run.
        data: of the run.
        variables: of the run.
        mesh: of the devices.
        batch_size: images that are explained at once.

    Raises:
        ValueError: an option does not fit; when it runs, the explainer cannot follow the network,
            or a map is not finite.
    """
    explain = configs.find('explainers', section.name).build(section)
    made = Mapper(explain, network(source, data), source.data, mesh, batch_size)
    return Explainer(section, made, variables)


def network(source: Any, data: DataSet) -> networks.Bound:
    """The network of a run: that of its objective, or a classifier without bias heads."""
    module = configs.find('objectives', source.objective.name)
    return getattr(module, 'create', networks.create)(source, data)


def _facts(
    target: str,
    classes: Sequence[str],
    threshold: float,
    net: networks.Bound,
    subject: Subject,
    predict: Callable[[Variables, Any], dict[str, Any]],
) -> Callable[[Variables, Any, Any], dict[str, Any]]:
    """Setting.facts, to be compiled."""

    def facts(variables, images, labels):
        chances = predict(variables, images)['scores']
        called = chances.argmax(-1).astype(jnp.int32)
        if chances.shape[1] == 1:
            called = (chances[:, 0] >= threshold).astype(jnp.int32)
        targets = {'predicted': called, 'label': labels}.get(target)
        if targets is None:
            targets = jnp.full_like(called, classes.index(target))
        return {
            'chances': chances,
            'predicted': called,
            'target': targets,
            'score': gradients.score(subject, variables, net.images(images), targets),
        }

    return facts


def _write_maps(setting: Setting, workdir: Path) -> None:
    """Explains what is not explained yet; writes maps.npy and explained.csv."""
    records, made = setting.records, setting.mapper

    def tidy(heat, facts):
        scale = jnp.abs(heat).max((1, 2))
        divisor = jnp.where(scale > 0, scale, 1)[:, None, None]
        maps = (heat / divisor).astype(setting.config.dtype)
        return {'maps': maps, **facts, 'total': heat.sum((1, 2)), 'scale': scale}

    tidy = jax.jit(tidy, out_shardings=made.mesh.replicated)

    def run(variables, batch):
        facts = setting.facts(variables, batch['image'], batch['label'])
        return tidy(made.heat(variables, batch['image'], facts['target']), facts)

    done = parts.begin(workdir, setting.step)
    if done < len(records):
        rest = records.select(np.arange(done, len(records)))
        data, size = setting.source.data, made.batch_size
        stream = mapping.stream_split(run, setting.variables, rest, data, made.mesh, size)
        parts.write(stream, records.ids, done, workdir)
    columns = parts.join(len(records), workdir / explained.MAPS, workdir)
    chances = columns.pop('chances')
    columns = {**records.columns, **columns}
    table = Predictions(records.ids, records.labels, chances, dict(records.bias), columns)
    table.write_csv(workdir / explained.TABLE)
