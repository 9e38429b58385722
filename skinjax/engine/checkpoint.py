"""Checkpoints with orbax: the newest k and the best, restored exactly.

A checkpoint is written to a temporary directory and renamed, so that a run killed in the middle
of a save finds the one before. The step seeks the data, and every random key is folded from it:
nothing else is needed to continue bit for bit.

The formats below do not notice a changed byte, so that each checkpoint carries a CRC-32 of its
values. One that cannot be read or does not have it is passed over for the one before.
"""

import contextlib
import json
import math
import signal
import sys
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging
from orbax.checkpoint import checkpoint_managers

from skinjax.engine.integrity import DamagedError, check_fits, crc32, reading
from skinjax.engine.mesh import all_agree, is_main, on_main
from skinjax.engine.state import TrainState


class Checkpointer:
    """Saves and restores training states under `<workdir>/checkpoints`.

    Args:
        workdir: of the run.
        keep: how many of the newest checkpoints stay, besides the best.
        clean: remove what a killed save has left, and set unreadable scores aside; not for a run
            that may be going on.

    Raises:
        ValueError: the scores of a checkpoint cannot be read.
    """

    def __init__(self, workdir: Path, keep: int, *, clean: bool = True):
        logging.set_verbosity(logging.FATAL)  # what goes wrong is raised: no tracebacks of threads
        self._folder = (workdir / 'checkpoints').absolute()
        if clean:
            on_main(self._check_scores)
        else:
            self._check_scores(move=False)
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
        self._manager = ocp.CheckpointManager(self._folder, options=options)

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
            OSError: this or an earlier save failed (full disk, ...).
        """
        step = int(state.step)
        if step in self._manager.all_steps():
            return
        value = -math.inf if score is None or math.isnan(score) else float(score)
        with self._writing():
            self._manager.save(
                step,
                args=ocp.args.Composite(state=ocp.args.StandardSave(state)),
                metrics={'score': max(value, -1e30), 'crc32': crc32(state)},
            )

    def restore(self, step: int, abstract: TrainState) -> TrainState:
        """The state saved at `step`, in the shapes and shardings of `abstract`.

        Raises:
            ValueError: the checkpoint belongs to another model, or is damaged.
        """
        path = self._folder / str(step)
        with reading(path):
            check_fits(path, abstract, whole=True)
            restored = self._manager.restore(
                step, args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
            )
            known = (self._manager.metrics(step) or {}).get('crc32')  # older ones have none
            if known not in (None, crc32(restored['state'])):
                raise DamagedError('its values are not those that were saved')
        return restored['state']

    def restore_newest(self, abstract: TrainState) -> TrainState | None:
        """The newest state that can be read; None where there is no checkpoint.

        Newer ones that cannot be are set aside as `damaged-STEP`, with a warning.

        Raises:
            ValueError: a checkpoint belongs to another model, or none can be read.
        """
        damaged: dict[int, Exception] = {}
        for step in sorted(self._manager.all_steps(), reverse=True):
            found = None
            try:
                found = self.restore(step, abstract)
            except DamagedError as error:
                damaged[step] = error
            if all_agree(found is not None):
                on_main(lambda: [self._set_aside(k, error) for k, error in damaged.items()])
                if damaged:
                    self._manager.reload()
                return found
            damaged.setdefault(
                step, DamagedError(f'checkpoint {step} is damaged for other processes')
            )
        if damaged:
            raise DamagedError(
                f'{damaged[max(damaged)]}; no other one can be read: delete {self._folder} to '
                'start anew'
            )
        return None

    def wait(self) -> None:
        """Wait for pending saves.

        Raises:
            OSError: one of them failed.
        """
        with self._writing():
            self._manager.wait_until_finished()

    @contextlib.contextmanager
    def _writing(self):
        """Orbax and its storage raise many things; a user needs the place and the reason."""
        try:
            yield
        except Exception as error:
            text = ' '.join(str(error).split())
            text = text if len(text) < 200 else f'... {text[-150:]}'
            raise OSError(
                f'a checkpoint could not be written to {self._folder} ({text}): the same command '
                'continues from the one before'
            ) from error

    def _check_scores(self, *, move: bool = True) -> None:
        """Orbax reads the scores of all checkpoints at once, and a damaged file would stop it."""
        bad, good = {}, 0
        for path in self._folder.glob('*/metrics/metrics'):
            if path.parts[-3].isdigit():
                try:
                    good += isinstance(json.loads(path.read_bytes())['score'], float)
                except (OSError, ValueError, KeyError, TypeError) as error:
                    bad[int(path.parts[-3])] = DamagedError(f'{path} is damaged ({error})')
        if bad and not (move and good):
            raise bad[max(bad)]
        for step, error in bad.items():
            self._set_aside(step, error)

    def _set_aside(self, step: int, error: Exception) -> None:
        place = self._folder / f'damaged-{step}'
        for number in range(2, 100):
            if not place.exists():
                break
            place = place.with_name(f'damaged-{step}-{number}')
        (self._folder / str(step)).rename(place)
        if is_main():
            print(f'warning: {error}: set aside as {place.name}', file=sys.stderr, flush=True)

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
        ValueError: the checkpoint belongs to another model, or is damaged.
    """
    step = choose_step(run, config.train.select)
    name = 'ema' if config.train.ema else 'params'
    model = {key: value for key, value in abstract.items() if key != 'params'}
    # orbax takes an empty dict for a leaf: an empty collection is not asked for.
    filled = {key: value for key, value in model.items() if jax.tree.leaves(value)}
    wanted = {name: abstract['params'], **({'model': filled} if filled else {})}
    path = (run / 'checkpoints' / str(step)).absolute()
    arguments = ocp.args.PyTreeRestore(
        wanted,
        restore_args=ocp.checkpoint_utils.construct_restore_args(wanted),
        partial_restore=True,
    )
    with reading(path), ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        check_fits(path, wanted, whole=False)
        found = reader.restore(path / 'state', args=arguments)
    return step, {'params': found[name], **model, **found.get('model', {})}


def with_sharding(abstract: Any, sharding: jax.sharding.Sharding) -> Any:
    """Shapes that orbax restores onto `sharding`."""
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), abstract
    )
