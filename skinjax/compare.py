"""Kind 'compare': several configs x seeds (x folds) -> one table in the shape of the papers.

Every run has its own directory below the work directory, and is reused where it is done: the
same command continues after any interruption, and a longer list of seeds adds runs.
"""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skinjax import comparison, jobs, rundir
from skinjax import config as configs
from skinjax.bootstrap import mean_interval, paired_interval
from skinjax.data.records import choices
from skinjax.engine.writer import write_atomic, write_json
from skinjax.measures import fold_aucs
from skinjax.predictions import Predictions

Values = dict[str, dict[str, list[float]]]  # method -> column -> one value a seed
# Fields that may change later.
FREE = ('seeds', 'jobs', 'columns', 'support', 'drawn', 'order', 'note')
ADDED = ('add_purified', 'add_generated')  # fields of config.data that name folders


def run(config: Any, workdir: Path) -> dict[str, Any]:
    """Run what is not done yet, then write comparison.json, table.md, figures/ and report.html.

    Returns:
        The contents of comparison.json.

    Raises:
        ValueError: a field is wrong, or a directory is not that of this comparison or run: nothing
            is written then; or no run has the figure of a column.
        FileNotFoundError: a folder whose rows are to be added does not exist; nothing is written.
        RuntimeError: a run failed; the others' results are kept.
    """
    check(config)
    planned = plan(config, workdir)
    rundir.done(config, workdir, FREE)
    todo = {key: job for key, job in planned.items() if not rundir.done(*job)}
    _check_folders(todo)
    with rundir.lock(workdir):
        rundir.claim(config, workdir, FREE)
        (workdir / 'DONE').unlink(missing_ok=True)
        if len(todo) < len(planned):
            print(f'{len(planned) - len(todo)} of {len(planned)} runs are done already', flush=True)
        if todo:
            jobs.execute(todo, config.jobs)
        values = collect(config, planned)
        summary = summarise(config, values) | {'support': support(config, planned)}
        if config.folds:
            summary['folds'] = cross_validation(config, planned)
        write_json(workdir / 'comparison.json', {**summary, 'values': values})
        text = comparison.publish(config, summary, values, workdir)
        write_atomic(workdir / 'DONE', f'{len(planned)} runs\n')
    print(f'{text}\nreport: {workdir}/report.html', flush=True)
    return summary


def check(config: Any) -> None:
    """Raise ValueError for what can be seen to be wrong before anything runs."""
    if not config.seeds or len(set(config.seeds)) < len(config.seeds):
        raise ValueError(
            f'config.seeds is {tuple(config.seeds)}: give at least one, and each of them once'
        )
    if config.jobs < 1:
        raise ValueError(f'config.jobs is {config.jobs}, expected at least 1')
    for name, one in config.runs.items():
        if config.folds and one.train.select == 'best':
            raise ValueError(
                f"config.runs.{name}.train.select is 'best': with config.folds the fold that is "
                "judged would choose the checkpoint; say 'last'"
            )
    columns = [column for column, _ in config.columns]
    for field, names, known in (
        ('reference', [config.reference] if config.reference else [], config.runs),
        ('ceiling', [config.ceiling] if config.ceiling else [], config.runs),
        ('order', config.order, config.runs),
        ('drawn', config.drawn, columns),
        ('support', [column for column, _ in config.support], columns),
    ):
        if unknown := [name for name in names if name not in known]:
            what = 'columns' if known is columns else 'runs'
            raise ValueError(
                f'config.{field}: {unknown[0]!r} is not among the {what}; '
                f'{choices(unknown[0], known)}'
            )


def plan(config: Any, workdir: Path) -> dict[tuple[str, int, int], tuple[Any, Path]]:
    """(method, seed, fold) -> (config of the run, its directory), seeds outermost."""
    planned = {}
    for seed in config.seeds:
        for fold in range(max(config.folds, 1)):
            for name in sorted(config.runs):
                one = config.runs[name].copy_and_resolve_references()
                one.seed = seed
                folder = f'seed{seed}'
                if config.root:
                    one.data.root = config.root
                if config.pretrained and one.model.pretrained:
                    one.model.pretrained = config.pretrained
                if config.folds:
                    one.data.folds, one.data.fold = config.folds, fold
                    folder += f'_fold{fold}'
                _folders(one, seed, fold)
                planned[name, seed, fold] = (configs.resolve(one), workdir / name / folder)
    return planned


def _folders(one: Any, seed: int, fold: int) -> None:
    """Puts seed and fold in the place of {seed} and {fold} in the folders whose rows are added."""
    for field in ADDED:
        one.data[field] = one.data[field].replace('{seed}', str(seed)).replace('{fold}', str(fold))


def _check_folders(todo: Mapping[tuple[str, int, int], tuple[Any, Path]]) -> None:
    """FileNotFoundError if one of them does not exist: better now than after hours."""
    for (name, _, _), (one, _) in todo.items():
        for field in ADDED:
            for folder in filter(None, (part.strip() for part in one.data[field].split(','))):
                if not Path(folder).is_dir():
                    raise FileNotFoundError(
                        f'config.runs.{name}.data.{field}: {folder}: no such folder; give others '
                        f'with --config.runs.{name}.data.{field}=FOLDER,...; in them {{seed}} '
                        'stands for the seed, {fold} for the fold'
                    )


def collect(config: Any, planned: Mapping[tuple[str, int, int], tuple[Any, Path]]) -> Values:
    """The figure of every column for every seed (mean over folds); NaN where a run lacks it.

    Raises:
        ValueError: no run has the figure, or it is no number.
    """
    values: Values = {name: {column: [] for column, _ in config.columns} for name in config.runs}
    found = {key: rundir.read_results(folder) for key, (_, folder) in planned.items()}
    _check_columns(config, list(found.values()))
    for name, seed in itertools.product(config.runs, config.seeds):
        folds = [found[name, seed, fold] for fold in range(max(config.folds, 1))]
        for column, path in config.columns:
            each = [lookup(results, path) for results in folds]
            values[name][column].append(float(np.mean(each)))
    return values


def support(config: Any, planned: Mapping[Any, tuple[Any, Path]]) -> dict[str, tuple[int, int]]:
    """Fewest and most rows behind each column of `config.support`, over all runs that tell."""
    found = [rundir.read_results(folder) for _, folder in planned.values()]
    counts = {
        column: [n for n in (lookup(results, path) for results in found) if np.isfinite(n)]
        for column, path in config.support
    }
    return {column: (int(min(n)), int(max(n))) for column, n in counts.items() if n}


def _check_columns(config: Any, found: Sequence[dict[str, Any]]) -> None:
    for field in ('columns', 'support'):
        for column, path in config[field]:
            wrong = [_misses(results, path) for results in found]
            if all(wrong):
                raise ValueError(
                    f'config.{field}: no run has the figure {path!r} of {column!r}: {wrong[0]}'
                )


def _misses(results: Any, path: str) -> str:
    """What is wrong with a path; '' where it leads to a number, or to null on its way."""
    for part in path.split('.'):
        if results is None:
            return ''
        if not isinstance(results, Mapping) or part not in results:
            known = results if isinstance(results, Mapping) else ()
            return f'no {part!r} there; {choices(part, known)}'
        results = results[part]
    if results is None or isinstance(results, (int, float)):
        return ''
    known = results if isinstance(results, Mapping) else ()
    return f'that is no number; {choices("", known)}'


def lookup(results: Any, path: str) -> float:
    """The number at a dotted path ('splits.plain.auc.value'); NaN where there is none."""
    for part in path.split('.'):
        if not isinstance(results, Mapping) or part not in results:
            return float('nan')
        results = results[part]
    return float(results) if isinstance(results, (int, float)) else float('nan')


def summarise(config: Any, values: Values) -> dict[str, Any]:
    """Per method and column: mean, sd, paired difference to the reference, share of the gap.

    The share is (method - reference) / (ceiling - reference) of the means.
    """
    methods: dict[str, Any] = {}
    for name, columns in values.items():
        methods[name] = {}
        for column, found in columns.items():
            block = mean_interval(np.array(found))
            if config.reference and name != config.reference:
                other = np.array(values[config.reference][column])
                block['difference'] = paired_interval(np.array(found), other)
                if config.ceiling and name != config.ceiling:
                    gap = np.mean(values[config.ceiling][column]) - other.mean()
                    share = (np.mean(found) - other.mean()) / gap if gap else float('nan')
                    block['share_of_gap'] = float(share)
            methods[name][column] = block
    return {
        'methods': methods,
        'reference': config.reference,
        'ceiling': config.ceiling,
        'seeds': list(config.seeds),
    }


def cross_validation(config: Any, planned: Mapping[Any, tuple[Any, Path]]) -> dict[str, Any]:
    """Per method: AUCs of the held-out folds pooled, as they are and as ranks within a fold."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in config.runs}
    for name in config.runs:
        for seed in config.seeds:
            parts = [
                Predictions.read_csv(planned[name, seed, fold][1] / 'predictions' / 'val.csv')
                for fold in range(config.folds)
            ]
            found[name].append(
                fold_aucs(
                    np.concatenate([part.labels for part in parts]),
                    np.concatenate([part.positive for part in parts]),
                    np.repeat(np.arange(config.folds), [len(part) for part in parts]),
                )
            )
    return {
        name: {
            kind: mean_interval(np.array([aucs[kind] for aucs in rows]))
            for kind in ('pooled', 'ranked', 'mean')
        }
        for name, rows in found.items()
    }
