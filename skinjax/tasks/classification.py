"""Classification: prediction tables of every split, and every figure that follows from them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from skinjax import config as configs
from skinjax import report, rundir
from skinjax.data.augment_device import d4
from skinjax.data.records import DataSet, Records
from skinjax.engine import mapping
from skinjax.engine.mesh import Mesh, on_main
from skinjax.engine.objective import Findings, Objective, Variables
from skinjax.engine.writer import write_atomic, write_json
from skinjax.measures import auc, choose_threshold, mean_of, one_vs_rest_aucs
from skinjax.objectives import network as networks
from skinjax.predictions import Predictions
from skinjax.tasks import Judge, chosen_tta
from skinjax.tasks.classified import (
    check_section,
    figures,
    inserted_last,
    judged_splits,
    leakage,
    summary,
    with_twins,
)

EVALUATE: dict[str, Any] = {
    'batch_size': 256,
    'splits': (),  # empty: all but train
    'tta': False,  # average the probabilities of the eight flips and transposes
    'threshold': 'youden',  # chosen on the validation split; or balanced, sensitivity=0.9, a number
    'bootstrap': 1000,
    'mean_over': (),  # classes whose AUCs are averaged, with more than two; empty: all
    'probes': ('linear', 'mlp'),
    'probe_split': '',  # empty: balanced, test, or the last split
    'probe_folds': 5,
    # An editor, or a run of kind 'purify': every split is also judged with the images so changed.
    'purify': '',
    # Kinds of the editor 'insert': splits are also judged with each of them in all their images,
    # where the seed of the run puts it; of two classes.
    'insert': (),
    'insert_splits': (),  # which splits; empty: all that are judged but val
    'beside': '',  # folder of real images shown beside the data in the report
}
AGAIN = {'tta': 'run'}  # on | off | run: as the run did
VIEWS = 8  # the symmetries of the square
COLUMN = 'column:'  # begin of the names of what a network adds to its prediction tables


def network(config: Any, data: DataSet) -> Objective:
    """Encoder and main head, without bias heads; or what the objective's `restored` makes."""
    module = configs.find('objectives', config.objective.name)
    if hasattr(module, 'restored'):
        return module.restored(config, data)
    return networks.create(config, data).objective({}, ())


def section(wanted: Any, run: Any) -> Any:
    """The options of `wanted`, with those of the run where they are left to it.

    Raises:
        ValueError: `tta` is none of on, off and run.
    """
    values = {**wanted.to_dict(), 'tta': chosen_tta(wanted, run)}
    return ConfigDict({**values, 'mean_over': wanted.mean_over or run.mean_over})


class Task(Judge):
    """One classifier; see `Judge`."""

    def __init__(self, config: Any, data: DataSet, *given: Any):
        super().__init__(config, with_twins(config, data), *given)
        self.predict = Predictor(self.config, self.objective, self.mesh)

    def check(self) -> None:
        """Raise ValueError for whatever would make `judge` fail after a long training."""
        if self.earlier:
            known = self.earlier.results.get('data', {}).get('classes', self.data.classes)
            _same_classes(known, self.data.classes)
        check_section(self.config, self.data, chosen=self._threshold() is not None)

    def _threshold(self) -> dict[str, Any] | None:
        """That of the earlier run, unless the rule or the augmentation have changed."""
        if self.earlier is None:
            return None
        known = self.earlier.results.get('threshold')
        now, before = self.config.evaluate, self.earlier.config.evaluate
        if known and (now.threshold, now.tta) == (known['rule'], before.tta):
            return known
        return None

    def validate(self, variables: Variables) -> tuple[float, dict[str, float]]:
        """AUC (mean over classes where there are more than two)."""
        table = self.predict(variables, self.data.splits['val'])[0]
        over = [self.data.classes.index(name) for name in self.config.evaluate.mean_over]
        value = score(table, over)
        return value, {'auc': value}

    def judge(self, variables: Variables, workdir: Path, step: int) -> dict[str, Any]:
        """As `Judge.judge`; the threshold is chosen on the validation split unless known."""
        return judge(
            self.config, self.data, self.predict, variables, workdir, step, self._threshold()
        )

    def summary(self, results: dict[str, Any]) -> str:
        """The table that ends a run."""
        return summary(results, self.data)


def _same_classes(run: Sequence[str], data: Sequence[str]) -> None:
    """Raise ValueError unless the classes mean the same; of two, the positive one counts."""
    first = 1 if len(run) == len(data) == 2 else 0
    if list(run)[first:] != list(data)[first:]:
        raise ValueError(
            f'the run knows the classes {", ".join(run)}, the data have {", ".join(data)}: give '
            'the names in the same order (config.data.classes), or other data'
        )


def judge(
    config: Any,
    data: DataSet,
    predict: 'Predictor',
    variables: Variables,
    workdir: Path,
    step: int,
    threshold: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Predict every split; write predictions/, results.json, report.html and DONE.

    The operating threshold (`value`, `rule`, `split`) is chosen on the validation split unless
    given. Returns the contents of results.json.
    """
    tables, features = {}, {}
    for name in judged_splits(config, data):
        tables[name], features[name] = predict(variables, data.splits[name])
    threshold = threshold or _chosen_threshold(config, data, tables)
    results = figures(config, data, tables, threshold['value'])
    results['threshold'] = threshold
    results['probes'] = leakage(config, data, features)
    conclude = predict.objective.conclude
    more = conclude(variables, tables, predict.mesh) if conclude else Findings()
    results |= more.results
    if note := inserted_last(config):
        results['remarks'] = [*results.get('remarks', ()), note]
    results |= {'step': step, 'seed': config.seed, 'versions': rundir.versions()}

    def publish() -> None:
        for name, table in tables.items():
            table.write_csv(workdir / 'predictions' / f'{name}.csv')
        for name, contents in more.files.items():
            write_atomic(workdir / name, contents)
        write_json(workdir / 'results.json', results)
        report.build_run_report(workdir, data, config.evaluate.beside)
        write_atomic(workdir / 'DONE', f'step {step}\n')

    on_main(publish)
    return results


def _chosen_threshold(
    config: Any, data: DataSet, tables: Mapping[str, Predictions]
) -> dict[str, Any]:
    """Of two classes by the rule of the config; 0.5 of more, where it calls nothing."""
    rule, value = config.evaluate.threshold, 0.5
    if len(data.classes) == 2:
        value = choose_threshold(tables['val'].labels, tables['val'].positive, rule)
    return {'value': value, 'rule': rule, 'split': 'val'}


def scorer(objective: Objective, *, tta: bool) -> Callable[[Variables, Array], dict[str, Array]]:
    """(variables, images) -> probabilities `scores` [b, c], `features` [b, d], further columns.

    With `tta` the probabilities of all eight flips and transposes are averaged; the rest is that
    of the unturned images.
    """

    def view(variables: Variables, images: Array) -> dict[str, Array]:
        out = objective.predict(variables, images)
        chance = jax.nn.sigmoid if out['logits'].shape[-1] == 1 else jax.nn.softmax
        more = {name: value for name, value in out.items() if name.startswith(COLUMN)}
        return {'scores': chance(out['logits']), 'features': out['features'], **more}

    def run(variables: Variables, images: Array) -> dict[str, Array]:
        first = view(variables, images)
        views = VIEWS if tta else 1
        turned = [view(variables, d4(images, i))['scores'] for i in range(1, views)]
        return {**first, 'scores': jnp.stack([first['scores'], *turned]).mean(0)}

    return run


class Predictor:
    """Prediction tables of whole splits; compiled once for a run."""

    def __init__(self, config: Any, objective: Objective, mesh: Mesh):
        self._config, self.objective, self.mesh = config, objective, mesh
        score = scorer(objective, tta=config.evaluate.tta)
        self._run = mapping.compile_map(lambda v, batch: score(v, batch['image']), mesh)

    def __call__(
        self, variables: Variables, records: Records
    ) -> tuple[Predictions, Float[np.ndarray, 'n d']]:
        """The prediction table of a split, and the features of its (unturned) images.

        With `evaluate.tta` the probabilities of all eight flips and transposes are averaged.
        """
        config = self._config
        out = mapping.map_split(
            self._run, variables, records, config.data, self.mesh, config.evaluate.batch_size
        )
        columns = {k.removeprefix(COLUMN): v for k, v in out.items() if k.startswith(COLUMN)}
        columns = {**records.columns, **columns}
        table = Predictions(records.ids, records.labels, out['scores'], dict(records.bias), columns)
        return table, out['features']


def score(table: Predictions, over: Sequence[int] = ()) -> float:
    """AUC, or the mean of the one-vs-rest AUCs of the classes `over` (none: of all)."""
    if table.binary:
        return auc(table.labels, table.positive)
    aucs = one_vs_rest_aucs(table.labels, table.scores)
    return float(mean_of(aucs[list(over)] if over else aucs))
