"""Kind 'evaluate': prediction tables of a trained run, and every figure that follows from them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from skinjax import config as configs
from skinjax import metrics, report, rundir
from skinjax.audits import probe
from skinjax.data import groups, writing
from skinjax.data.augment_device import d4
from skinjax.data.records import DataSet, Records, choices
from skinjax.engine import checkpoint, mapping
from skinjax.engine.mesh import Mesh, is_main, on_main
from skinjax.engine.objective import Objective, Variables
from skinjax.engine.startup import hold
from skinjax.engine.writer import read_json, write_atomic, write_json
from skinjax.measures import auc, choose_threshold, insertion, mean_of, one_vs_rest_aucs
from skinjax.objectives import network
from skinjax.predictions import Predictions
from skinjax.tables import console_table

VIEWS = 8  # the symmetries of the square


def run(config: Any, workdir: Path) -> dict[str, Any]:
    """Judge the run in `config.init_from`, on its own data or on those of `config.data`.

    Only encoder, head and statistics are restored. The operating threshold is that of the run, or
    with another rule or test-time augmentation chosen anew. Without `config.data.bias` the
    bias variables of the run are probed, as far as the data have them.

    Raises:
        FileNotFoundError: `config.init_from` is no run, or has no checkpoint.
        ValueError: the checkpoint or an option does not fit, or the work directory is in use.
    """
    if on_main(lambda: rundir.done(config, workdir)):
        print(f'{workdir} is done: {workdir}/report.html (delete it to run again)', flush=True)
        return read_results(workdir)
    source = Path(config.init_from)
    trained = rundir.load_trained(config)
    trained_tta = trained.evaluate.tta
    values: dict[str, Any] = {'evaluate': section(config.evaluate, trained.evaluate)}
    if len(config.data):
        kept = {name: trained.data[name] for name in ('image_size', 'mean', 'std')}
        kept['bias'] = config.data.bias or _shared_bias(trained.data.bias, config.data)
        values['data'] = configs.override(config.data, kept)
    trained = configs.override(trained, values)
    mesh = Mesh.create('jit', config.devices)
    data, objective, step, variables = restore(source, trained, mesh)
    earlier = read_json(source / 'results.json')
    _same_classes(earlier.get('data', {}).get('classes', data.classes), data.classes)
    threshold = earlier.get('threshold')
    asked = (config.evaluate.threshold, values['evaluate'].tta)
    if threshold and asked != (threshold['rule'], trained_tta):
        threshold = None
    check(trained, data, chosen=threshold is not None)
    with hold(config, workdir):
        note_skipped(data, workdir)
        predict = Predictor(trained, objective, mesh)
        results = judge(trained, data, predict, variables, workdir, step, threshold)
    print(f'{summary(results, data)}\nreport: {workdir}/report.html', flush=True)
    return results


def note_skipped(data: DataSet, workdir: Path) -> None:
    """Writes skipped.csv, on the main process, where unreadable images were left out."""
    if 'skipped' in data.info and is_main():
        writing.write_skipped(workdir, data.info['skipped'])


def section(wanted: Any, run: Any) -> Any:
    """The options of `wanted`, with those of the run where they are left to it.

    Raises:
        ValueError: `tta` is none of on, off and run.
    """
    choice = {'run': run.tta, 'on': True, 'off': False}
    if wanted.tta not in choice:
        raise ValueError(f'config.evaluate.tta is {wanted.tta!r}; {choices("", choice)}')
    values = {**wanted.to_dict(), 'tta': choice[wanted.tta]}
    return ConfigDict({**values, 'mean_over': wanted.mean_over or run.mean_over})


def _same_classes(run: Sequence[str], data: Sequence[str]) -> None:
    """Raise ValueError unless the classes mean the same; of two, the positive one counts."""
    first = 1 if len(run) == len(data) == 2 else 0
    if list(run)[first:] != list(data)[first:]:
        raise ValueError(
            f'the run knows the classes {", ".join(run)}, the data have {", ".join(data)}: give '
            'the names in the same order (config.data.classes), or other data'
        )


def _shared_bias(names: tuple[str, ...], section: Any) -> tuple[str, ...]:
    """Those of `names` that the source of `section` says it has."""
    known = getattr(configs.find('data', section.name), 'variables', lambda _: ())(section)
    return tuple(name for name in names if name in known)


def restore(source: Path, trained: Any, mesh: Mesh) -> tuple[DataSet, Objective, int, Variables]:
    """Data, network, step and variables (encoder, head, statistics) of the run in `source`.

    Args:
        trained: config of the run, perhaps with other data.

    Raises:
        FileNotFoundError: the run has no checkpoint.
        ValueError: the checkpoint does not fit.
    """
    loader = configs.find('data', trained.data.name)
    data = groups.load(loader.build, trained.data, trained.seed, training=False)
    objective = network.create(trained, data).objective({}, ())
    size = trained.data.image_size
    example = {'image': jnp.zeros((1, size, size, 3), jnp.uint8)}
    abstract = jax.eval_shape(objective.init, jax.random.key(0), example)
    step, variables = checkpoint.restore_variables(
        source, checkpoint.with_sharding(abstract, mesh.replicated), trained
    )
    return data, objective, step, variables


def check(config: Any, data: DataSet, *, chosen: bool = False) -> None:
    """Raise ValueError for whatever would make `judge` fail after a long training.

    Args:
        config: of the run.
        data: to be judged on.
        chosen: the operating threshold is known already.
    """
    section = config.evaluate
    least = {'batch_size': 1, 'bootstrap': 0, 'probe_folds': 2}
    for name, bound in least.items():
        if section[name] < bound:
            raise ValueError(
                f'config.evaluate.{name} is {section[name]}, expected at least {bound}'
            )
    if unknown := sorted(set(section.splits) - set(data.splits)):
        raise ValueError(f'config.evaluate.splits: no {unknown[0]!r}; {choices("", data.splits)}')
    if section.probe_split and section.probe_split not in _splits(config, data):
        raise ValueError(
            f'config.evaluate.probe_split is {section.probe_split!r}, which is not evaluated; '
            f'{choices(section.probe_split, _splits(config, data))}'
        )
    if unknown := sorted(set(section.probes) - {'linear', 'mlp'}):
        raise ValueError(f'config.evaluate.probes: no {unknown[0]!r}; choose linear, mlp')
    if unknown := sorted(set(section.mean_over) - set(data.classes)):
        raise ValueError(
            f'config.evaluate.mean_over: no class {unknown[0]!r}; {choices("", data.classes)}'
        )
    if len(data.classes) == 2 and not chosen:
        if 'val' not in data.splits:
            raise ValueError(
                f'config.evaluate.threshold is {section.threshold!r}, to be chosen on a split '
                f"'val'; {choices('val', data.splits)}"
            )
        labels = data.splits['val'].labels
        choose_threshold(labels, labels / 1.0, section.threshold)


def _splits(config: Any, data: DataSet) -> list[str]:
    """Names of the splits to predict, validation first where there is one."""
    names = config.evaluate.splits or [name for name in data.splits if name != 'train']
    return list(dict.fromkeys([*(['val'] if 'val' in data.splits else []), *names]))


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
    for name in _splits(config, data):
        tables[name], features[name] = predict(variables, data.splits[name])
    if threshold is None:
        threshold = {'value': 0.5, 'rule': config.evaluate.threshold, 'split': 'val'}
        if len(data.classes) == 2:
            val = tables['val']
            threshold['value'] = choose_threshold(
                val.labels, val.positive, config.evaluate.threshold
            )
    results = figures(config, data, tables, threshold['value'])
    results['threshold'] = threshold
    results['probes'] = leakage(config, data, features)
    results |= {'step': step, 'seed': config.seed, 'versions': versions()}

    def publish() -> None:
        for name, table in tables.items():
            table.write_csv(workdir / 'predictions' / f'{name}.csv')
        write_json(workdir / 'results.json', results)
        report.build_run_report(workdir, data, config.evaluate.beside)
        write_atomic(workdir / 'DONE', f'step {step}\n')

    on_main(publish)
    return results


def scorer(objective: Objective, *, tta: bool) -> Callable[[Variables, Array], dict[str, Array]]:
    """(variables, images) -> probabilities `scores` [b, c] and `features` [b, d].

    With `tta` the probabilities of all eight flips and transposes are averaged; features are those
    of the unturned images.
    """

    def view(variables: Variables, images: Array) -> dict[str, Array]:
        out = objective.predict(variables, images)
        chance = jax.nn.sigmoid if out['logits'].shape[-1] == 1 else jax.nn.softmax
        return {'scores': chance(out['logits']), 'features': out['features']}

    def run(variables: Variables, images: Array) -> dict[str, Array]:
        first = view(variables, images)
        views = VIEWS if tta else 1
        turned = [view(variables, d4(images, i))['scores'] for i in range(1, views)]
        return {**first, 'scores': jnp.stack([first['scores'], *turned]).mean(0)}

    return run


class Predictor:
    """Prediction tables of whole splits; compiled once for a run."""

    def __init__(self, config: Any, objective: Objective, mesh: Mesh):
        self._config, self._mesh = config, mesh
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
            self._run, variables, records, config.data, self._mesh, config.evaluate.batch_size
        )
        table = Predictions(
            records.ids, records.labels, out['scores'], dict(records.bias), dict(records.columns)
        )
        return table, out['features']


def score(table: Predictions, over: Sequence[int] = ()) -> float:
    """AUC, or the mean of the one-vs-rest AUCs of the classes `over` (none: of all)."""
    if table.binary:
        return auc(table.labels, table.positive)
    aucs = one_vs_rest_aucs(table.labels, table.scores)
    return float(mean_of(aucs[list(over)] if over else aucs))


def figures(
    config: Any, data: DataSet, tables: Mapping[str, Predictions], threshold: float
) -> dict[str, Any]:
    """The blocks of results.json that follow from prediction tables alone."""
    bias = {name: data.bias[name] for name in data.bias}
    options = {'resamples': config.evaluate.bootstrap, 'mean_over': config.evaluate.mean_over}
    blocks = {
        name: metrics.evaluate_table(table, data.classes, bias, threshold, **options)
        for name, table in tables.items()
    }
    if len(data.classes) == 2:
        for name in data.info.get('bayes_splits', ()):
            if name in blocks and blocks[name]['auc']['value'] is not None:
                value = blocks[name]['auc']['value']
                blocks[name]['share_of_bayes'] = value / data.info['bayes_auc']
    shifts = {
        artefact: insertion(
            tables[without].positive, tables[inserted].positive, tables[without].labels, threshold
        )
        for artefact, (without, inserted) in data.pairs.items()
        if without in tables and inserted in tables and len(data.classes) == 2
    }
    return {
        'splits': blocks,
        'insertion': shifts,
        'data': data.describe(),
    }


def leakage(config: Any, data: DataSet, features: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Fresh probes of the bias variables in `config.data.bias` on the features of one split."""
    name = config.evaluate.probe_split
    if not name:
        name = next((n for n in ('balanced', 'test') if n in features), list(features)[-1])
    records = data.splits[name]
    return {
        variable: {
            'split': name,
            **{
                kind: probe.probe(
                    features[name],
                    records.bias[variable],
                    records.groups,
                    kind=kind,
                    folds=config.evaluate.probe_folds,
                    seed=0,
                )
                for kind in config.evaluate.probes
            },
        }
        for variable in config.data.bias
    }


def versions() -> dict[str, str]:
    """What the figures were computed with."""
    import platform
    from importlib import metadata

    packages = ('jax', 'flax', 'optax', 'orbax-checkpoint', 'grain', 'numpy', 'scikit-learn')
    found = {name: metadata.version(name) for name in packages}
    device = jax.devices()[0]
    return {
        'python': platform.python_version(),
        **found,
        'device': f'{len(jax.devices())} x {device.device_kind}',
    }


def read_results(workdir: Path) -> dict[str, Any]:
    """results.json of a finished run."""
    return read_json(workdir / 'results.json')


def summary(results: dict[str, Any], data: DataSet) -> str:
    """The table that ends a run."""
    binary = len(data.classes) == 2
    key = 'auc' if binary else 'mean_auc'
    header = ['split', 'n', 'AUC', '95 % interval', 'accuracy']
    header += ['sensitivity', 'specificity'] if binary else ['balanced accuracy']
    bayes = data.info.get('bayes_auc') if binary else None
    header += ['share of Bayes AUC'] if bayes else []
    rows = []
    for name, block in results['splits'].items():
        found = block[key]
        cells = [name, str(block['n']), _number(found['value'])]
        cells.append(f'{_number(found["low"])} to {_number(found["high"])}')
        rest = ('accuracy', 'sensitivity', 'specificity')
        rest = rest if binary else ('accuracy', 'balanced_accuracy')
        cells += [_number(block[r]['value']) for r in rest]
        rows.append(cells + ([_number(block.get('share_of_bayes'))] if bayes else []))
    lines = [console_table(header, rows)]
    if bayes:
        lines.append(
            f'the lesions allow an AUC of {bayes:.2f} (Bayes); an artefact or camera that goes '
            'with the class adds to that: such splits have no share'
        )
    for artefact, block in results['insertion'].items():
        lines.append(
            f'inserting {artefact!r} moves a prediction by {block["mean_abs"]:.1f} percentage '
            f'points on average; {block["switched"]} of {block["n"]} calls switch'
        )
    for variable, block in results['probes'].items():
        found = [
            f'{kind} {_number(block[kind]["auc"])}' for kind in ('linear', 'mlp') if kind in block
        ]
        lines.append(
            f'AUC of a fresh probe for {variable!r} on frozen features: {", ".join(found)}'
        )
    return '\n'.join(lines)


def _number(value: float | None) -> str:
    return '-' if value is None or not np.isfinite(value) else f'{value:.3f}'
