"""What trained networks are for: how they are scored while they learn, and judged in the end.

A task is a module of this folder with

    EVALUATE                   the options of config.evaluate
    AGAIN                      those that differ in kind 'evaluate', where they can be the run's
    network(config, data)      the Objective that restores and predicts, without phases
    section(wanted, run)       config.evaluate of kind 'evaluate', completed by that of the run
    Task                       a subclass of `Judge`

The modules of models and objectives name theirs, `TASK`; without the name it is classification.
"""

import abc
import dataclasses
import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp

from skinjax import config as configs
from skinjax import rundir
from skinjax.data.records import DataSet, choices
from skinjax.engine import checkpoint
from skinjax.engine.mesh import Mesh
from skinjax.engine.objective import Objective, Variables

NAMES = ('classification', 'segmentation', 'inpainting', 'generation')


@dataclasses.dataclass(frozen=True)
class Earlier:
    """The run that kind 'evaluate' judges again: its config and its results.json."""

    config: Any
    results: dict[str, Any]


class Judge(abc.ABC):
    """One network judged on the splits of one data set.

    Attributes:
        config: of the run, with the options and perhaps the data of now.
        earlier: the run itself, where it is judged again.
    """

    def __init__(
        self,
        config: Any,
        data: DataSet,
        objective: Objective,
        mesh: Mesh,
        earlier: Earlier | None = None,
    ):
        self.config, self.data, self.objective = config, data, objective
        self.mesh, self.earlier = mesh, earlier

    @abc.abstractmethod
    def check(self) -> None:
        """Raise ValueError for whatever would make `judge` fail after a long training."""

    @abc.abstractmethod
    def validate(self, variables: Variables) -> tuple[float, dict[str, float]]:
        """On the validation split: by what checkpoints are chosen (greater is better), and what
        the log shows.
        """

    @abc.abstractmethod
    def judge(self, variables: Variables, workdir: Path, step: int) -> dict[str, Any]:
        """Write tables, figures, results.json, report.html and DONE; what is in results.json."""

    @abc.abstractmethod
    def summary(self, results: dict[str, Any]) -> str:
        """The table that ends a run."""


def of(config: Any) -> ModuleType:
    """The task of a config of kind 'train'."""
    return named(configs.task_of('objectives', config.objective.name))


def named(name: str) -> ModuleType:
    """The module of a task."""
    return importlib.import_module(f'skinjax.tasks.{name}')


def chosen_tta(wanted: Any, run: Any) -> bool:
    """Whether to average over turned images: on, off, or as the run did.

    Raises:
        ValueError: `tta` is none of on, off and run.
    """
    choice = {'run': run.tta, 'on': True, 'off': False}
    if wanted.tta not in choice:
        raise ValueError(f'config.evaluate.tta is {wanted.tta!r}; {choices("", choice)}')
    return choice[wanted.tta]


def restore(source: Path, trained: Any, objective: Objective, mesh: Mesh) -> tuple[int, Variables]:
    """Step and variables (parameters, statistics) of the run in `source`, for its network.

    Args:
        trained: config of the run.

    Raises:
        FileNotFoundError: the run has no checkpoint.
        ValueError: the checkpoint does not fit.
    """
    size = trained.data.image_size
    example = {'image': jnp.zeros((1, size, size, 3), jnp.uint8)}
    abstract = jax.eval_shape(objective.init, jax.random.key(0), example)
    abstract = checkpoint.with_sharding(abstract, mesh.replicated)
    return checkpoint.restore_variables(source, abstract, trained)


def restored(config: Any, task: str, fields: dict[str, Any]) -> tuple[Any, Objective, Variables]:
    """The run in `config.init_from` with `fields` replaced, its network and variables: one device.

    Raises:
        FileNotFoundError, ValueError: it is no run of this task that has a checkpoint.
    """
    trained = rundir.load_trained(config)
    found = configs.task_of('objectives', trained.objective.name)
    if found != task:
        raise ValueError(f'{config.init_from} is a run of {found}; expected one of {task}')
    trained = configs.override(trained, fields)
    objective = named(task).network(trained, None)
    mesh = Mesh('jit', tuple(jax.local_devices()[:1]))
    return trained, objective, restore(Path(config.init_from), trained, objective, mesh)[1]
