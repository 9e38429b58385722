"""Kind 'evaluate': a trained run judged again, on its own data or on others."""

from pathlib import Path
from typing import Any

from skinjax import config as configs
from skinjax import rundir, tasks
from skinjax.data import groups, writing
from skinjax.data.records import DataSet
from skinjax.engine.mesh import Mesh, is_main, on_main
from skinjax.engine.objective import Objective, Variables
from skinjax.engine.startup import hold

# Fields of config.data that belong to the network, whatever data it is judged on.
KEPT = ('image_size', 'mean', 'std', 'with_mask', 'geometry')


def run(config: Any, workdir: Path) -> dict[str, Any]:
    """Judge the run in `config.init_from`, on its own data or on those of `config.data`.

    Only the network is restored. The operating threshold of a classifier is that of the run, or
    with another rule or test-time augmentation chosen anew. Without `config.data.bias` the
    bias variables of the run are probed, as far as the data have them.

    Raises:
        FileNotFoundError: `config.init_from` is no run, or has no checkpoint.
        ValueError: the checkpoint or an option does not fit, or the work directory is in use.
    """
    if on_main(lambda: rundir.done(config, workdir)):
        print(f'{workdir} is done: {workdir}/report.html (delete it to run again)', flush=True)
        return rundir.read_results(workdir)
    source = Path(config.init_from)
    trained = rundir.load_trained(config)
    earlier = tasks.Earlier(trained, rundir.read_results(source))
    task = tasks.of(trained)
    if lacking := sorted(set(task.EVALUATE) - set(config.evaluate)):
        name = task.__name__.rpartition('.')[2]
        raise ValueError(
            f'{source} is a run of {name}, but config.evaluate has no {lacking[0]!r}: evaluate it '
            f'with configs/evaluate.py:{name}'
        )
    values: dict[str, Any] = {'evaluate': task.section(config.evaluate, trained.evaluate)}
    if len(config.data):
        kept = kept_fields(trained.data, config.data)
        kept['bias'] = config.data.bias or _shared_bias(trained.data.bias, config.data)
        values['data'] = configs.override(config.data, kept)
    trained = configs.override(trained, values)
    mesh = Mesh.create('jit', config.devices)
    data, objective, step, variables = restore(source, trained, mesh)
    judge = task.Task(trained, data, objective, mesh, earlier)
    judge.check()
    with hold(config, workdir):
        note_skipped(data, workdir)
        results = judge.judge(variables, workdir, step)
    print(f'{judge.summary(results)}\nreport: {workdir}/report.html', flush=True)
    return results


def note_skipped(data: DataSet, workdir: Path) -> None:
    """Writes skipped.csv, on the main process, where unreadable images were left out."""
    if 'skipped' in data.info and is_main():
        writing.write_skipped(workdir, data.info['skipped'])


def _shared_bias(names: tuple[str, ...], section: Any) -> tuple[str, ...]:
    """Those of `names` that the source of `section` says it has."""
    known = getattr(configs.find('data', section.name), 'variables', lambda _: ())(section)
    return tuple(name for name in names if name in known)


def kept_fields(trained: Any, data: Any) -> dict[str, Any]:
    """Fields of KEPT that both sections have, as they were in training."""
    return {name: trained[name] for name in KEPT if name in trained and name in data}


def restore(source: Path, trained: Any, mesh: Mesh) -> tuple[DataSet, Objective, int, Variables]:
    """Data, network, step and variables (parameters, statistics) of the run in `source`.

    Args:
        trained: config of the run, perhaps with other data.

    Raises:
        FileNotFoundError: the run has no checkpoint.
        ValueError: the checkpoint does not fit.
    """
    loader = configs.find('data', trained.data.name)
    data = groups.load(loader.build, trained.data, trained.seed, training=False)
    objective = tasks.of(trained).network(trained, data)
    step, variables = tasks.restore(source, trained, objective, mesh)
    return data, objective, step, variables
