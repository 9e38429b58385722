"""What a run of kind 'explain' leaves, read again: maps and what is known of their images."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from skinjax import config as configs
from skinjax import rundir
from skinjax.data import groups
from skinjax.data.records import DataSet, Records, choices
from skinjax.predictions import Predictions

MAPS, TABLE = 'maps.npy', 'explained.csv'
FIRST = ('test', 'plain')  # splits that are explained where none is named


@dataclasses.dataclass(frozen=True, eq=False)
class Explained:
    """Relevance maps and their images, in one order.

    Attributes:
        config: of the run of kind 'explain'.
        maps: sum over channels, divided by the largest absolute value of the map; mapped into
            memory. A map of zeros stays as it is.
        table: ids, labels, probabilities, bias variables and columns of the data; and columns
            `target` and `predicted` (classes), `score` (the logit that is explained), `total`
            (the sum of the map) and `scale` (what it was divided by).
        results: contents of results.json.
    """

    config: Any
    maps: Float[np.ndarray, 'n h w']
    table: Predictions
    results: dict[str, Any]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(self.results['data']['classes'])

    @property
    def bias(self) -> dict[str, tuple[str, ...]]:
        """Bias variable -> names of its values."""
        return {name: tuple(values) for name, values in self.results['data']['bias'].items()}

    def records(self) -> Records:
        """The rows of the explained images, in the order of the maps.

        Raises:
            ValueError: the data are no longer what they were.
            FileNotFoundError: the run or its data are gone.
        """
        records = split_of(load_data(trained(self.config)), self.config.split)
        at = {name: row for row, name in enumerate(records.ids.tolist())}
        if lost := [name for name in self.table.ids.tolist() if name not in at]:
            raise ValueError(
                f'the data of {self.config.init_from} have no image {lost[0]!r} any more: explain '
                'the run again'
            )
        return records.select(np.array([at[name] for name in self.table.ids.tolist()], int))


def read(workdir: str | Path) -> Explained:
    """The maps of a finished run of kind 'explain'.

    Raises:
        FileNotFoundError: no such run.
        ValueError: it is of another kind, is not finished, or is damaged.
    """
    workdir = Path(workdir)
    config = rundir.read_run(workdir)
    if config.get('kind') != 'explain':
        raise ValueError(
            f"{workdir} is a run of kind {config.get('kind')!r}: give one of kind 'explain'"
        )
    if not (workdir / 'DONE').exists():
        raise ValueError(f'{workdir} is not finished: run its config to the end')
    maps = np.load(workdir / MAPS, mmap_mode='r')
    table = Predictions.read_csv(workdir / TABLE)
    if len(maps) != len(table):
        raise ValueError(
            f'{workdir}: {MAPS} has {len(maps)} maps and {TABLE} {len(table)} rows: delete the '
            'directory and run its config again'
        )
    return Explained(config, maps, table, rundir.read_results(workdir))


def trained(config: Any) -> Any:
    """The config of the run in `config.init_from`, as it is explained: in float32, without
    recomputation, with its data in `config.root`.

    Raises:
        FileNotFoundError, ValueError: it is no run of a classifier.
    """
    found = rundir.load_trained(config)
    configs.only_classifiers('explain', Path(config.init_from), found)
    values: dict[str, Any] = {'model.dtype': 'float32', 'model.remat': False}
    values = {name: value for name, value in values.items() if name[6:] in found.model}
    if config.root:
        values['data.root'] = config.root
    return configs.override(found, values)


def load_data(found: Any) -> DataSet:
    """The data of a run."""
    source = configs.find('data', found.data.name)
    return groups.load(source.build, found.data, found.seed, training=False)


def split_of(data: DataSet, name: str) -> Records:
    """A split; '' is 'test', 'plain', or else the last.

    Raises:
        ValueError: there is none of that name.
    """
    name = name or next((first for first in FIRST if first in data.splits), [*data.splits][-1])
    if name not in data.splits:
        raise ValueError(f'config.split is {name!r}; {choices(name, data.splits)}')
    return data.splits[name]
