"""Kind 'evaluate': prediction tables of a trained run, and every figure that follows from them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from skinjax import config as configs
from skinjax import metrics, report
from skinjax.audits import probe
from skinjax.data.images import d4
from skinjax.data.records import DataSet, Records
from skinjax.engine import mapping
from skinjax.engine.mesh import Mesh, is_main
from skinjax.engine.objective import Objective, Variables
from skinjax.engine.writer import write_atomic, write_json
from skinjax.predictions import Predictions

VIEWS = 8  # the symmetries of the square


def run(config: Any, workdir: Path) -> dict[str, Any]:
    """Judge the run in `config.init_from`, on its own data or on those of `config.data`.

    Raises:
        FileNotFoundError: `config.init_from` is no run, or has no checkpoint.
        ValueError: the checkpoint does not fit, or the work directory is in use.
    """
    from skinjax import train
    from skinjax.engine import checkpoint

    trained = configs.load_run(config.init_from)
    if len(config.data):
        kept = {name: trained.data[name] for name in ('image_size', 'mean', 'std')}
        trained = configs.override(trained, {'data': configs.override(config.data, kept)})
    trained = configs.override(trained, {'evaluate': config.evaluate})
    if configs.claim(config, workdir):
        print(f'{workdir} is done: {workdir}/report.html (delete it to run again)', flush=True)
        return read_results(workdir)
    data = train.load_data(trained)
    mesh = Mesh.create('jit', config.devices)
    trainer = train.Trainer(trained, data, mesh)
    abstract = checkpoint.with_sharding(trainer.abstract(), mesh.replicated)
    step, state = checkpoint.restore_state(Path(config.init_from), abstract, trained.train.select)
    results = judge(trained, data, trainer.objective, state.variables(), mesh, workdir, step)
    print(f'{summary(results, data)}\nreport: {workdir}/report.html', flush=True)
    return results


def judge(
    config: Any,
    data: DataSet,
    objective: Objective,
    variables: Variables,
    mesh: Mesh,
    workdir: Path,
    step: int,
) -> dict[str, Any]:
    """Predict every split; write predictions/, results.json, figures/, report.html and DONE.

    The operating threshold comes from the validation split. Returns the contents of results.json.
    """
    names = config.evaluate.splits or [name for name in data.splits if name != 'train']
    tables, features = {}, {}
    for name in dict.fromkeys(['val', *names]):
        records = data.splits[name]
        tables[name], features[name] = predict(config, objective, variables, records, mesh)
    threshold = 0.5
    if len(data.classes) == 2:
        val = tables['val']
        threshold = metrics.choose_threshold(val.labels, val.positive, config.evaluate.threshold)
    results = figures(config, data, tables, threshold)
    results['probes'] = leakage(config, data, features)
    results |= {'step': step, 'seed': config.seed, 'versions': versions()}
    if is_main():
        for name, table in tables.items():
            (workdir / 'predictions').mkdir(exist_ok=True)
            table.write_csv(workdir / 'predictions' / f'{name}.csv')
        write_json(workdir / 'results.json', results)
        report.build_run_report(workdir, data, config.evaluate.beside)
        write_atomic(workdir / 'DONE', f'step {step}\n')
    return results


def predict(
    config: Any, objective: Objective, variables: Variables, records: Records, mesh: Mesh
) -> tuple[Predictions, Float[np.ndarray, 'n d']]:
    """The prediction table of a split, and the features of its (unturned) images."""

    def view(variables: Variables, images: Array) -> dict[str, Array]:
        out = objective.predict(variables, images)
        binary = out['logits'].shape[-1] == 1
        chance = jax.nn.sigmoid if binary else jax.nn.softmax
        return {'scores': chance(out['logits']), 'features': out['features']}

    def batch_fn(batch: dict[str, Array]) -> dict[str, Array]:
        first = view(variables, batch['image'])
        if not config.evaluate.tta:
            return first
        turned = [view(variables, d4(batch['image'], i))['scores'] for i in range(1, VIEWS)]
        return {**first, 'scores': jnp.stack([first['scores'], *turned]).mean(0)}

    out = mapping.map_split(batch_fn, records, config.data, mesh, config.evaluate.batch_size)
    table = Predictions(
        records.ids, records.labels, out['scores'], dict(records.bias), dict(records.columns)
    )
    return table, out['features']


def score(table: Predictions) -> float:
    """AUC, or the mean over classes of the one-vs-rest AUCs."""
    if table.binary:
        return metrics.auc(table.labels, table.positive)
    return float(np.nanmean(metrics.one_vs_rest_aucs(table.labels, table.scores)))


def figures(
    config: Any, data: DataSet, tables: Mapping[str, Predictions], threshold: float
) -> dict[str, Any]:
    """The blocks of results.json that follow from prediction tables alone."""
    bias = {name: data.bias[name] for name in data.bias}
    resamples = config.evaluate.bootstrap
    blocks = {
        name: metrics.evaluate_table(table, data.classes, bias, threshold, resamples=resamples)
        for name, table in tables.items()
    }
    insertion = {
        artefact: metrics.insertion(
            tables[without].positive, tables[inserted].positive, tables[without].labels, threshold
        )
        for artefact, (without, inserted) in data.pairs.items()
        if without in tables and inserted in tables
    }
    return {
        'splits': blocks,
        'threshold': {'value': threshold, 'rule': config.evaluate.threshold, 'split': 'val'},
        'insertion': insertion,
        'data': {
            'name': data.name,
            'classes': list(data.classes),
            'bias': {name: list(values) for name, values in data.bias.items()},
            'rows': {name: len(records) for name, records in data.splits.items()},
            **data.info,
        },
    }


def leakage(config: Any, data: DataSet, features: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Fresh probes of the bias variables in `config.data.bias` on the features of one split."""
    name = config.evaluate.probe_split
    if not name:
        name = next((n for n in ('balanced', 'test') if n in features), list(features)[-1])
    if name not in features:
        raise ValueError(
            f'config.evaluate.probe_split is {name!r}, which is not among the evaluated splits '
            f'{list(features)}'
        )
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
    return json.loads((workdir / 'results.json').read_text(encoding='utf-8'))


def summary(results: dict[str, Any], data: DataSet) -> str:
    """The table that ends a run."""
    binary = len(data.classes) == 2
    key = 'auc' if binary else 'mean_auc'
    header = ['split', 'n', 'AUC', '95 % interval', 'accuracy']
    header += ['sensitivity', 'specificity'] if binary else ['balanced accuracy']
    rows = []
    for name, block in results['splits'].items():
        auc = block[key]
        cells = [name, str(block['n']), _number(auc['value'])]
        cells.append(f'{_number(auc["low"])} to {_number(auc["high"])}')
        rest = ('accuracy', 'sensitivity', 'specificity')
        rest = rest if binary else ('accuracy', 'balanced_accuracy')
        rows.append(cells + [_number(block[r]['value']) for r in rest])
    lines = [report.console_table(header, rows)]
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
