"""The only training loop: steps, what they measured, validation, checkpoints, ends."""

import contextlib
from pathlib import Path
from typing import Any, NoReturn

import jax
import numpy as np

from skinjax.engine import state
from skinjax.engine.mesh import is_main, on_main, say
from skinjax.engine.startup import Interrupts
from skinjax.engine.writer import MetricWriter, Progress, write_json

SHOWN = 8  # rows of a bad batch that stand in the error itself
NO_GOOD = 'there is no checkpoint before it'


class Loop:
    """Batches, metrics, validation and checkpoints of one run, in order."""

    def __init__(self, trainer: Any, workdir: Path, start: int):
        config = trainer.config.train
        self.trainer, self.start, self.workdir = trainer, start, workdir
        self.log_every = config.log_every
        self.evaluate_every = self._steps(config.evaluate_every)
        self.checkpoint_every = self._steps(config.checkpoint_every)
        self.shown = ''
        self.pending: list[tuple[int, dict[str, jax.Array]]] = []

    def _steps(self, epochs: float) -> int:
        return max(1, round(epochs * self.trainer.per_epoch)) if epochs else self.trainer.steps

    def run(self, now: state.TrainState, interrupts: Interrupts) -> state.TrainState:
        """All remaining steps, or fewer with `train.patience`."""
        trainer, steps = self.trainer, self.trainer.steps
        if self._exhausted(self.start):
            return now
        batches = trainer.batches(self.start)
        enabled = is_main()
        with (
            contextlib.closing(batches),
            MetricWriter(
                self.workdir, self.start, trainer.config.train.tensorboard, enabled
            ) as out,
            Progress(
                steps,
                self.start,
                examples_per_step=trainer.config.data.batch_size,
                enabled=enabled,
            ) as progress,
        ):
            for done, batch in zip(range(self.start + 1, steps + 1), batches, strict=False):
                now, metrics = trainer.step(now, trainer.mesh.put_batch(batch))
                self.pending.append((done, metrics))
                # Read once: a signal that arrives further below is met after the next step.
                stop = interrupts.signal or trainer.saver.preempted(done)
                last = done == steps or stop is not None
                score = None
                evaluates = done == steps or done % self.evaluate_every == 0
                saves = last or evaluates or done % self.checkpoint_every == 0
                if saves or done % self.log_every == 0:
                    self._log(done, out, progress)
                if evaluates:
                    score, found = trainer.validate(now)
                    out.write(done, 'val', found)
                    self.shown = ''.join(f', val {name} {v:.3f}' for name, v in found.items())
                if saves:
                    trainer.saver.save(trainer.mesh.collect(now), score)
                if stop is not None:
                    self._stop(done, stop)
                if evaluates and self._exhausted(done):
                    break
        if interrupts.signal:
            self._stop(steps, interrupts.signal)
        return now

    def _exhausted(self, done: int) -> bool:
        """Whether the last `train.patience` validations were no better than one before them."""
        patience, best = self.trainer.config.train.patience, self.trainer.saver.best()
        if not patience or best is None or done - best < patience * self.evaluate_every:
            return False
        say(f'step {done}: no validation has been better than that of step {best}; training ends')
        return True

    def _log(self, done: int, out: MetricWriter, progress: Progress) -> None:
        """Fetch what the last steps measured, check it, and write its mean."""
        fetched = jax.device_get([metrics for _, metrics in self.pending])
        for (step, _), metrics in zip(self.pending, fetched, strict=True):
            bad = [name for name, value in metrics.items() if not np.isfinite(value)]
            if bad:
                self._give_up(step, bad[0], float(metrics[bad[0]]))
        self.pending.clear()
        if fetched:
            means = {k: float(np.mean([m[k] for m in fetched])) for k in fetched[0]}
            out.write(done, 'train', means)
            shown = {k: v for k, v in means.items() if not k.startswith('learning_rate')}
            text = ', '.join(f'{name} {value:.3g}' for name, value in shown.items())
            progress.update(done, text + self.shown)

    def _give_up(self, step: int, name: str, value: float) -> NoReturn:
        """End where a metric is not finite, and name what was trained on."""
        ids, path = self.trainer.ids(step), self.workdir / 'not_finite.json'
        found = {'step': step, 'metric': name, 'value': str(value), 'ids': ids}
        on_main(lambda: write_json(path, found))
        self.trainer.saver.wait()
        good = self.trainer.saver.latest()
        more = f', ... ({len(ids)} in {path})' if len(ids) > SHOWN else ''
        raise FloatingPointError(
            f'{name} is {value} at step {step}, batch {", ".join(ids[:SHOWN])}{more}; '
            + (f'the last good checkpoint in {self.workdir} is step {good}' if good else NO_GOOD)
            + ': lower the learning rate or the strengths, or set config.optimizer.clip'
        )

    def _stop(self, done: int, number: int) -> NoReturn:
        """End after a signal. Of several processes, all of which have saved, this is no failure."""
        self.trainer.saver.wait()
        say(f'signal {number}: saved at step {done}; the same command continues from there')
        raise SystemExit(128 + number if jax.process_count() == 1 else 0)
