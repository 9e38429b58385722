"""Checkpoints with orbax: the newest k and the best, restored exactly.

A checkpoint is written to a temporary directory and renamed, so that a run killed in the middle
of a save finds the one before. The step seeks the data, and every random key is folded from it:
nothing else is needed to continue bit for bit.
"""

import contextlib
import math
import signal
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging
from orbax.checkpoint import checkpoint_managers

from skinjax.engine.state import TrainState


class Checkpointer:
    """Saves and restores training states under `<workdir>/checkpoints`.

    Args:
        workdir: of the run.
        keep: how many of the newest checkpoints stay, besides the best.
        clean: remove what a killed save has left; not for a run that may be going on.
    """

    def __init__(self, workdir: Path, keep: int, *, clean: bool = True):
        logging.set_verbosity(logging.ERROR)
        policy = checkpoint_managers.AnyPreservationPolicy(
            [
                checkpoint_managers.LatestN(keep),
                checkpoint_managers.BestN(
                    get_metric_fn=_score, n=1, keep_checkpoints_without_metrics=False
                ),
            ]
        )
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policy, best_fn=_score, cleanup_tmp_directories=clean
        )
        self._manager = ocp.CheckpointManager((workdir / 'checkpoints').absolute(), options=options)

    def latest(self) -> int | None:
        """Step of the newest complete checkpoint."""
        return self._manager.latest_step()

    def best(self) -> int | None:
        """Step of the checkpoint with the highest score."""
        return self._manager.best_step()

    def preempted(self, step: int) -> int | None:
        """SIGTERM once the processes have agreed to stop after `step`; with one process, None."""
        if jax.process_count() == 1 or not self._manager.reached_preemption(step):
            return None
        return int(signal.SIGTERM)

    def save(self, state: TrainState, score: float | None) -> None:
        """Save in the background; `score` (higher is better) ranks the checkpoint.

        Raises:
            OSError: an earlier save failed (full disk, ...).
        """
        step = int(state.step)
        if step in self._manager.all_steps():
            return
        value = -math.inf if score is None or math.isnan(score) else float(score)
        self._manager.save(
            step,
            args=ocp.args.Composite(state=ocp.args.StandardSave(state)),
            metrics={'score': max(value, -1e30)},
        )

    def restore(self, step: int, abstract: TrainState) -> TrainState:
        """The state saved at `step`, in the shapes and shardings of `abstract`.

        Raises:
            ValueError: the checkpoint belongs to another model.
        """
        _check_fits(Path(self._manager.directory) / str(step), abstract, whole=True)
        restored = self._manager.restore(
            step, args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
        )
        return restored['state']

    def wait(self) -> None:
        """Wait for pending saves and raise what went wrong in them."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Release the manager; pending saves are finished."""
        self._manager.close()


def _score(metrics: dict[str, float]) -> float:
    return metrics['score']


def choose_step(run: Path, select: str) -> int:
    """The step of a run's checkpoint to use: the best one where `select` is 'best', else the last.

    Raises:
        FileNotFoundError: the run has no complete checkpoint.
    """
    if not (run / 'checkpoints').is_dir():
        raise FileNotFoundError(f'{run} has no checkpoints: train it first')
    with contextlib.closing(Checkpointer(run, keep=10**6, clean=False)) as steps:
        step = steps.best() if select == 'best' else steps.latest()
    if step is None:
        raise FileNotFoundError(f'{run} has no complete checkpoint: train it first')
    return step


def restore_variables(run: Path, abstract: Any, config: Any) -> tuple[int, Any]:
    """(step, variables) for evaluation, without the optimizers and heads of the training state.

    Args:
        run: directory of a run.
        abstract: shapes and shardings of `params` and the other collections that are wanted.
        config: of the run; tells whether averaged parameters exist, and which step to take.

    Raises:
        FileNotFoundError: the run has no checkpoint.
        ValueError: the checkpoint belongs to another model.
    """
    step = choose_step(run, config.train.select)
    name = 'ema' if config.train.ema else 'params'
    model = {key: value for key, value in abstract.items() if key != 'params'}
    # orbax takes an empty dict for a leaf: a collection of which nothing is wanted is not asked for.
    filled = {key: value for key, value in model.items() if jax.tree.leaves(value)}
    wanted = {name: abstract['params'], **({'model': filled} if filled else {})}
    path = (run / 'checkpoints' / str(step)).absolute()
    _check_fits(path, wanted, whole=False)
    arguments = ocp.args.PyTreeRestore(
        wanted,
        restore_args=ocp.checkpoint_utils.construct_restore_args(wanted),
        partial_restore=True,
    )
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        found = reader.restore(path / 'state', args=arguments)
    return step, {'params': found[name], **model, **found.get('model', {})}


def _check_fits(path: Path, abstract: Any, *, whole: bool) -> None:
    """Compare names and shapes before anything is read.

    Raises:
        ValueError: an array is missing or has another shape, or (with `whole`) is left over; the
            first ones are named.
    """
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        metadata: Any = reader.metadata(path / 'state')
    saved, wanted = _shapes(metadata.item_metadata.tree), _shapes(abstract)
    wrong = [f'{name} is missing' for name in wanted if name not in saved]
    wrong += [
        f'{name} is {saved[name]}, expected {shape}'
        for name, shape in wanted.items()
        if name in saved and saved[name] != shape
    ]
    wrong += [f'{name} is left over' for name in saved if whole and name not in wanted]
    if wrong:
        more = f' and {len(wrong) - 3} more' if len(wrong) > 3 else ''
        raise ValueError(
            f'checkpoint {path} does not fit this model: {"; ".join(wrong[:3])}{more}; '
            'choose another --workdir or the config that it was trained with'
        )


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator='.'): tuple(leaf.shape)
        for path, leaf in leaves
        if hasattr(leaf, 'shape')
    }


def with_sharding(abstract: Any, sharding: jax.sharding.Sharding) -> Any:
    """Shapes that orbax restores onto `sharding`."""
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), abstract
    )
