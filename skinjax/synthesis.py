"""Kind 'generate' from a run: images that a generative model makes, as a data set that trains.

Beside what kind 'generate' always writes stand `trained_on.csv`, the rows that the model has
learned from (no split may hold them where its images are added), and `drawn.json`, all images that
were made and refused. Columns of the table: `synthetic` (1), `run`, `step`, `seed`, and `nearest`
and `mse`, the closest training image and the mean squared error to it.
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np

from skinjax import config as configs
from skinjax import drawing, figures, making, memorisation, report, rundir, tasks
from skinjax.data import balancing, generated, groups, images, mixing, writing
from skinjax.data.records import DataSet, Records, choices
from skinjax.drawing import Drawn, Near
from skinjax.engine.mesh import Mesh
from skinjax.engine.objective import Objective, Variables
from skinjax.engine.writer import read_json, write_atomic, write_json
from skinjax.generate import COLUMNS, SIDE, contact_sheet
from skinjax.objectives import adversaries
from skinjax.pictures import beside_rows, class_rows
from skinjax.sampling import Sampler

TASK = 'generation'
PAIRS = 8  # closest pairs in the report


def run(config: Any, workdir: Path) -> dict[str, Any]:
    """Make `config.count` images by the run in `config.init_from`; continues after a stop.

    Returns:
        The contents of results.json: under 'data' the classes and rows, under 'refused' how many
        images of each class were too close to a training image, under 'copies' how many of them far
        closer than to any other, under 'memorisation' the distances of all that were made beside
        those of held-out images, and the 'alarms' of the run.

    Raises:
        ValueError: an option is impossible, the directory holds something else, the run is of
            another task, or most images are copies.
        FileNotFoundError: `config.init_from` is no run, or has no checkpoint.
        SystemExit: after SIGTERM or Ctrl-C; what is written stays.
    """
    if rundir.done(config, workdir):
        print(f'{workdir} is done: {workdir}/report.html (delete it to run again)', flush=True)
        return read_json(workdir / 'results.json')
    _check(config)
    model = Model.of(config)
    alarms = rundir.read_results(Path(config.init_from)).get('alarms', [])
    for alarm in alarms:
        print(f'note: {config.init_from} ended with an alarm: {alarm}', flush=True)
    wanted = counts(config.count, model.data.classes)
    real = beside_rows(config.beside, SIDE, COLUMNS)
    near = drawing.near(model.data, model.trained, config.least_mse)
    with rundir.lock(workdir):
        rundir.claim(config, workdir)
        files = drawing.places(wanted, workdir / writing.IMAGES)
        drawn = _draw(config, model, files, near, workdir)
        made = _data(config, model, files, drawn, near)
        writing.write(made, workdir)
        mixing.write_trained_on(workdir, near.train)
        records = made.splits[config.split]
        page = contact_sheet([*class_rows(records, SIDE, COLUMNS), *real])
        write_atomic(workdir / 'figures' / 'contact_sheet.png', page)
        write_atomic(workdir / 'figures' / 'closest_pairs.png', _pairs(records, drawn, near))
        results = {'data': made.describe(), 'seed': config.seed, 'step': model.step}
        results |= {**_refusals(drawn, near), 'alarms': alarms}
        write_json(workdir / 'results.json', results)
        report.build_run_report(workdir, made)
        write_atomic(workdir / 'DONE', f'{sum(wanted.values())} images\n')
    told = ', '.join(f'{count} {name}' for name, count in wanted.items() if count)
    refused = sum(results['refused'].values())
    print(
        f'{told}; {refused} refused: --config.data.add_generated={workdir}\n'
        f'report: {workdir}/report.html',
        flush=True,
    )
    return results


def _check(config: Any) -> None:
    if config.batch_size < 1:
        raise ValueError(f'config.batch_size must be at least 1, found {config.batch_size}')
    if not config.split:
        raise ValueError("config.split is empty: name the split, such as 'train'")


@dataclasses.dataclass(frozen=True)
class Model:
    """A trained generative model, and what it has learned from.

    Attributes:
        trained: config of the run.
        data: of the run.
        net: its networks.
        step: of its checkpoint.
    """

    trained: Any
    data: DataSet
    net: adversaries.Adversaries
    step: int
    variables: Variables

    @classmethod
    def of(cls, config: Any) -> 'Model':
        """The run in `config.init_from`.

        Raises:
            FileNotFoundError, ValueError: it is none that can make images of known classes.
        """
        trained = rundir.load_trained(config)
        task = configs.task_of('objectives', trained.objective.name)
        if task != TASK:
            raise ValueError(f'{config.init_from} is a run of {task}; expected one of {TASK}')
        fields = {'data.cache': False} | ({'data.root': config.root} if config.root else {})
        trained = configs.override(trained, fields)
        source = configs.find('data', trained.data.name)
        data = groups.load(source.build, trained.data, trained.seed, training=False)
        net = adversaries.create(trained, len(data.classes))
        if len(data.classes) > 1 and not net.balanced:
            raise ValueError(
                f'{config.init_from} has learned from {len(data.classes)} classes '
                f'({", ".join(data.classes)}), and {trained.model.name} does not tell which one an '
                'image shows: train it on one class (data.only), or train coupled_dcgan'
            )
        predict: Any = net.predict
        objective = Objective(net.init, {}, (), predict)
        mesh = Mesh('jit', tuple(jax.local_devices()[:1]))
        step, variables = tasks.restore(Path(config.init_from), trained, objective, mesh)
        variables = adversaries.with_standing_statistics(trained, net, variables, len(data.classes))
        return cls(trained, data, net, step, variables)


def counts(text: str, classes: tuple[str, ...]) -> dict[str, int]:
    """Images of each class: '350' is for all of them, 'melanoma=350,nevus=20' for those named.

    Raises:
        ValueError: it says something else, or names another class.
    """
    named = dict.fromkeys(classes, text.strip())
    if '=' in text:
        pairs = [part.partition('=') for part in text.split(',') if part.strip()]
        given = {name.strip(): number.strip() for name, _, number in pairs}
        for name in given:
            if name not in classes:
                raise ValueError(f'config.count: no class {name!r}; {choices(name, classes)}')
        named = dict.fromkeys(classes, '0') | given
    if not all(number.isdecimal() for number in named.values()) or not any(
        map(int, named.values())
    ):
        raise ValueError(
            f'config.count is {text!r}; expected a number of images for each class, such as 350, '
            f'or for some of {", ".join(classes)}: {classes[0]}=350'
        )
    return {name: int(number) for name, number in named.items()}


def _draw(
    config: Any, model: Model, files: dict[str, list[Path]], near: Near, workdir: Path
) -> dict[str, Drawn]:
    sampler = Sampler(
        model.net, len(model.data.classes), config.batch_size, config.batch_statistics
    )

    def make(label: int, first: int, count: int) -> np.ndarray:
        labels = np.full(count, label)
        return sampler(model.variables, labels, config.seed, first)

    paths = [path for places in files.values() for path in places]
    there = sum(path.is_file() for path in paths)
    with making.stoppable(len(paths), there) as (told, stopped):
        return drawing.draw(
            make, files, near, config.batch_size, workdir, model.step, told, stopped
        )


def _data(
    config: Any,
    model: Model,
    files: dict[str, list[Path]],
    drawn: dict[str, Drawn],
    near: Near,
) -> DataSet:
    """The images as a data set, with where they come from."""
    paths = [path for places in files.values() for path in places]
    kept = [pair for name in files for pair in drawn[name].kept]
    ids = np.array([path.stem for path in paths])
    columns = {
        balancing.SYNTHETIC: 1,
        'run': config.init_from,
        'step': model.step,
        'seed': config.seed,
        'number': [number for name in files for number in drawn[name].numbers],
        'nearest': near.train.ids[[row for row, _ in kept]],
        'mse': [f'{mse:.6f}' for _, mse in kept],
    }
    size = model.trained.data.image_size
    records = Records(
        ids,
        np.repeat(np.arange(len(files), dtype=np.int32), [len(p) for p in files.values()]),
        {},
        ids,
        lambda row: {'image': images.decode(paths[row], size)},
        {name: np.broadcast_to(values, len(ids)) for name, values in columns.items()},
    )
    about = {
        'run': config.init_from,
        'model': model.trained.model.name,
        'trained_on': model.trained.data.name,
        'batch_statistics': config.batch_statistics,
        'image_size': size,
    }
    if 'geometry' in model.trained.data:
        about['geometry'] = model.trained.data.geometry
    classes = model.data.classes
    return DataSet('generated', classes, {}, {config.split: records}, info={generated.FACT: about})


def _pairs(records: Records, drawn: dict[str, Drawn], near: Near) -> bytes:
    """The images that are closest to a training image, and that image."""
    kept = [pair for one in drawn.values() for pair in one.kept]
    tiles, titles = [], []
    for k in np.argsort([mse for _, mse in kept], kind='stable')[:PAIRS].tolist():
        row, mse = kept[k]
        tiles += [records.read(k)['image'], near.images[row]]
        titles += [f'made, {mse:.4f}', str(near.train.ids[row])]
    return figures.image_grid(tiles, titles, 8)


def _refusals(drawn: dict[str, Drawn], near: Near) -> dict[str, Any]:
    """How many images were refused, and how close all were to the training images."""
    found = {
        'least_mse': near.least,
        'refused': {name: len(one.refused) for name, one in drawn.items()},
        'copies': {name: one.copies for name, one in drawn.items()},
    }
    if len(near.control):
        errors = [mse for one in drawn.values() for _, mse in (*one.kept, *one.refused)]
        found['memorisation'] = memorisation.against_control(np.array(errors), near.control)
    return found
