"""Classifiers as audits see them, and what they say of images without and with artefacts."""

import dataclasses
import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

from skinjax import config as configs
from skinjax import evaluate, explain, explained, rundir, tasks
from skinjax.audits.switches import Called
from skinjax.data import groups, mixing
from skinjax.data.records import DataSet, Records, choices
from skinjax.editors import insert
from skinjax.engine.mesh import Mesh
from skinjax.measures import choose_threshold
from skinjax.predictions import Predictions
from skinjax.tasks import classification

SPREAD = 0.1  # by which frames of different masks differ
_PLAIN = {'splits': (), 'purify': '', 'probe_split': ''}  # options of a run that are not repeated

Say = Callable[[Records], tuple[Predictions, Float[np.ndarray, 'n d'] | None]]
Heat = Callable[[Records, Integer[np.ndarray, ' n']], Float[np.ndarray, 'n h w']]


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A classifier as audits see it, and the images that it is judged on.

    Attributes:
        name: of the run, or of whatever says it.
        size: side of its images, in pixels.
        data: classes, bias variables and splits.
        records: the images that it is judged on.
        threshold: of two classes.
        say: records -> their prediction table, and features where they are known.
        explain: (records, class of each) -> relevance of pixels for that class, of any scale.
    """

    name: str
    size: int
    data: DataSet
    records: Records
    threshold: float
    say: Say
    explain: Heat | None = None

    def predict(self, records: Records) -> Predictions:
        """The prediction table of some records."""
        return self.say(records)[0]


def of_run(name: str, config: Any) -> Classifier:
    """The run in `config.init_from` with its own data and its threshold, and an explainer.

    Args:
        name: of the classifier.
        config: with `init_from`, `root` (replaces that of the data), `devices`, `split` ('' is
            test, or else plain), and `explainer`, the section of one.

    Raises:
        ValueError: it is no finished run of classification, or the data have no such split.
        FileNotFoundError: it is no run, or has no checkpoint.
    """
    path = Path(config.init_from)
    results = _finished('config.init_from', path)
    trained = configs.override(
        explained.trained(config), {f'evaluate.{field}': value for field, value in _PLAIN.items()}
    )
    mesh = Mesh.create('jit', config.devices)
    data, objective, _, variables = evaluate.restore(path, trained, mesh)
    predict = classification.Predictor(trained, objective, mesh)
    size = trained.evaluate.batch_size
    heat = explain.mapper(config.explainer, trained, data, variables, mesh, min(size, 32))
    return Classifier(
        name,
        trained.data.image_size,
        data,
        split_of(data, config.split, 'split'),
        results['threshold']['value'],
        functools.partial(predict, variables),
        heat,
    )


def _finished(field: str, path: Path) -> dict[str, Any]:
    """results.json of a finished run of classification, which has a threshold."""
    results = rundir.read_results(path)
    if 'threshold' not in results:
        raise ValueError(f'{field}: {path} is not finished: run its config to the end')
    return results


def restore(name: str, path: Path, config: Any) -> Classifier:
    """The run in `path` with the real data of the audit `config` in place of its own.

    Size, normalisation and, where both sources have it, geometry of images stay those of the run,
    and so does the seed, by which some sources divide their rows. The threshold is that of the run;
    with other test-time augmentation it is chosen anew, by the same rule.

    Raises:
        ValueError: it is no finished run of classification, knows other classes, or the data have
            no split `config.test`.
        FileNotFoundError: it is no run, or has no checkpoint.
    """
    trained, earlier = _configured(path, config)
    section, mesh = trained.data, Mesh.create('jit', 0)
    source = configs.find('data', section.name)
    data = groups.load(source.build, section, trained.seed, training=False)
    objective = classification.network(trained, data)
    judge = classification.Task(trained, data, objective, mesh, earlier)
    judge.check()  # before weights that do not fit
    _, variables = tasks.restore(path, trained, objective, mesh)
    records = split_of(data, config.test, 'test')
    threshold = earlier.results['threshold']
    say = functools.partial(judge.predict, variables)
    one = Classifier(name, section.image_size, data, records, threshold['value'], say)
    if len(data.classes) == 2 and trained.evaluate.tta != earlier.config.evaluate.tta:
        val = one.predict(data.splits['val'])
        chosen = choose_threshold(val.labels, val.positive, threshold['rule'])
        return dataclasses.replace(one, threshold=chosen)
    return one


def _configured(path: Path, config: Any) -> tuple[Any, tasks.Earlier]:
    """The config of a run with the data and options of the audit, and the run itself.

    Raises:
        ValueError, FileNotFoundError: it is no finished run of classification.
    """
    trained = rundir.load_trained(configs.make({'init_from': str(path)}))
    task = configs.task_of('objectives', trained.objective.name)
    if task != configs.CLASSIFICATION:
        raise ValueError(f'config.audit.runs: {path} is a run of {task}, expected classification')
    results = _finished('config.audit.runs', path)
    kept = evaluate.kept_fields(trained.data, config.data)
    options = {**_PLAIN, 'tta': tasks.chosen_tta(config, trained.evaluate)}
    fields = {f'evaluate.{field}': value for field, value in options.items()}
    fields['data'] = configs.override(config.data, {**kept, 'bias': ()})
    return configs.override(trained, fields), tasks.Earlier(trained, results)


def split_of(data: DataSet, name: str, field: str) -> Records:
    """A split of real data, without generated and edited rows; '' is 'test', or else 'plain'.

    Raises:
        ValueError: there is no such split, or it has no other rows.
    """
    name = name or next((n for n in ('test', 'plain') if n in data.splits), '')
    if name not in data.splits:
        raise ValueError(f'config.audit.{field} is {name!r}; {choices(name, data.splits)}')
    records = data.splits[name]
    real = ~(records.flagged(mixing.SYNTHETIC) | records.flagged('purified'))
    if not real.any():
        raise ValueError(f'config.audit.{field}: split {name!r} has no real images')
    return records.select(real)


def same_rows(classifiers: Sequence[Classifier]) -> None:
    """ValueError if not all are judged on the same images, as a paired comparison needs."""
    first = classifiers[0]
    for other in classifiers[1:]:
        if not np.array_equal(first.records.ids, other.records.ids):
            raise ValueError(
                f'config.audit.runs: {first.name} and {other.name} were trained with different '
                'seeds, and by these the data are divided differently: their test images are not '
                'the same; give runs of one seed'
            )


def call(
    classifiers: Sequence[Classifier],
    kinds: Sequence[str],
    masks: int,
    seed: int,
    told: Callable[[int], None] = lambda done: None,
) -> list[Called]:
    """What each classifier says of its images, and of the same with each kind, `masks` times.

    Insertions are keyed by the id of the image, and `seed` + mask; those of one mask are the same
    for all classifiers.
    """
    shared, done = Counter(one.size for one in classifiers), 0
    clean, biased = {}, {one.name: {kind: [] for kind in kinds} for one in classifiers}
    for one in classifiers:
        clean[one.name] = one.predict(one.records)
        told(done := done + 1)
    for kind in kinds:
        for mask in range(masks):
            options = insert.options(kind=kind, seed=seed + mask, spread=SPREAD)
            marked: dict[int, Records] = {}
            for one in classifiers:
                if one.size not in marked:
                    records = insert.inserted(one.records, options)
                    marked[one.size] = records.cached() if shared[one.size] > 1 else records
                biased[one.name][kind].append(one.predict(marked[one.size]))
                told(done := done + 1)
    return [
        Called(one.name, one.threshold, clean[one.name], biased[one.name]) for one in classifiers
    ]


def write(called: Sequence[Called], folder: Path) -> None:
    """Writes every prediction table: FOLDER/CLASSIFIER/clean.csv, and KIND_MASK.csv."""
    for one in called:
        tables: Mapping[str, Predictions] = {'clean': one.clean} | {
            f'{kind}_{mask}': table
            for kind, masks in one.biased.items()
            for mask, table in enumerate(masks)
        }
        for name, table in tables.items():
            table.write_csv(folder / one.classifier / f'{name}.csv')
