"""Classifiers as audits see them: runs with their own data, or with those of an audit."""

import dataclasses
import functools
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Integer

from skinjax import config as configs
from skinjax import evaluate, explain, rundir, tasks
from skinjax.data import groups, mixing
from skinjax.data.records import DataSet, Records, choices
from skinjax.engine.mesh import Mesh
from skinjax.measures import choose_threshold
from skinjax.predictions import Predictions
from skinjax.relevance import explained
from skinjax.tasks import classification

# Options of a run that are not repeated.
_PLAIN = {'splits': (), 'purify': '', 'insert': (), 'probe_split': ''}

Say = Callable[[Records], tuple[Predictions, Float[np.ndarray, 'n d'] | None]]
Heat = Callable[[Records, Integer[np.ndarray, ' n']], Float[np.ndarray, 'n h w']]
Remarks = Callable[[Records, Integer[np.ndarray, ' n']], Iterable[str]]


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
        pictures: the same for classifiers that get the same picture for the same id; '': like no
            other's.
        remarks: (records, class of each) -> what the explainer has to say of these maps.
    """

    name: str
    size: int
    data: DataSet
    records: Records
    threshold: float
    say: Say
    explain: Heat | None = None
    pictures: str = ''
    remarks: Remarks | None = None

    def predict(self, records: Records) -> Predictions:
        """The prediction table of some records."""
        return self.say(records)[0]


def of_run(name: str, config: Any) -> Classifier:
    """The run in `config.init_from` with its own data and its threshold, and perhaps an explainer.

    Args:
        name: of the classifier.
        config: with `init_from`, `root` (replaces that of the data), `devices`, `split` ('' is
            test, or else plain), and perhaps `explainer`, the section of one.

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
    heat = remarks = None
    if 'explainer' in config:
        size = min(trained.evaluate.batch_size, 32)
        heat = explain.mapper(config.explainer, trained, data, variables, mesh, size)
        remarks = heat.remarks
    return Classifier(
        name,
        trained.data.image_size,
        data,
        split_of(data, config.split, 'split'),
        results['threshold']['value'],
        functools.partial(predict, variables),
        heat,
        _pictures(trained),
        remarks,
    )


def _pictures(trained: Any) -> str:
    """Runs of which this is the same read the same pictures."""
    return json.dumps([trained.seed, configs.to_json(trained.data)], sort_keys=True)


def _finished(field: str, path: Path) -> dict[str, Any]:
    """results.json of a finished run of classification, which has a threshold."""
    if not path.is_dir():
        raise FileNotFoundError(f'{field}: there is no directory {path}')
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
    value, pictures = threshold['value'], _pictures(trained)
    one = Classifier(name, section.image_size, data, records, value, say, None, pictures)
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
    name = name_of(data, name)
    if name not in data.splits:
        raise ValueError(f'config.audit.{field} is {name!r}; {choices(name, data.splits)}')
    records = data.splits[name]
    if not len(real := real_rows(records)):
        raise ValueError(f'config.audit.{field}: split {name!r} has no real images')
    return records.select(real)


def name_of(data: DataSet, name: str) -> str:
    """The name of a split: '' is 'test', or else 'plain', or '' where there is neither."""
    return name or next((n for n in ('test', 'plain') if n in data.splits), '')


def real_rows(records: Records) -> Int[np.ndarray, ' k']:
    """The rows that are neither generated nor edited."""
    return np.flatnonzero(~(records.flagged(mixing.SYNTHETIC) | records.flagged('purified')))


def same_rows(classifiers: Sequence[Classifier]) -> None:
    """Raise ValueError unless all judge the same images, labels and classes, as pairs need."""
    first = classifiers[0]
    for other in classifiers[1:]:
        both = f'config.audit.runs: {first.name} and {other.name}'
        known, also = first.data.classes, other.data.classes
        # Of two classes the positive one counts: the other may be 'nevus' or 'benign'.
        meant, too = (names[1:] if len(names) == 2 else names for names in (known, also))
        if tuple(meant) != tuple(too):
            raise ValueError(
                f'{both} know different classes: {", ".join(known)}, and {", ".join(also)}; give '
                'runs of the same classes in the same order'
            )
        mine, others = first.records, other.records
        if not np.array_equal(mine.ids, others.ids):
            raise ValueError(
                f'{both} do not judge the same images: they were trained with different seeds, by '
                'which data are divided, or with other data; give runs of one seed and one data set'
            )
        if (wrong := np.flatnonzero(mine.labels != others.labels)).size:
            raise ValueError(
                f'{both} have different labels for {wrong.size} of {len(mine)} images, the first '
                f'of them {str(mine.ids[wrong[0]])!r}: give runs of one data set and task'
            )
