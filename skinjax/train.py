"""Kind 'train': one run, from its config to its results; `loop.py` takes the steps."""

import contextlib
import dataclasses
import functools
import importlib.util
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from skinjax import config as configs
from skinjax import evaluate, loop, rundir, tasks
from skinjax.data import groups, pipeline
from skinjax.data.augment_device import augment
from skinjax.data.balancing import VIEW
from skinjax.data.records import UNKNOWN, DataSet
from skinjax.engine import checkpoint, state
from skinjax.engine.mesh import Mesh, on_main, say
from skinjax.engine.objective import Objective
from skinjax.engine.startup import ANYHOW, Interrupts, hold
from skinjax.engine.step import make_step
from skinjax.models import linear_head, pretrained
from skinjax.tasks import classification

SHORTCUT = 0.25  # Cramér's V with the class that is worth a note: ISIC's cameras have .29


def run(config: Any, workdir: Path) -> dict[str, Any]:
    """Train, evaluate and report into `workdir`; continue where an earlier run stopped.

    Returns:
        The contents of results.json.

    Raises:
        ValueError: the work directory belongs to another config, or the config does not fit the
            data.
        FloatingPointError: a loss became NaN or infinite.
        SystemExit: after SIGTERM or Ctrl-C, once the state is saved.
    """
    if on_main(lambda: rundir.done(config, workdir, ANYHOW)):
        say(f'{workdir} is done: {workdir}/report.html (delete it to run again)')
        return rundir.read_results(workdir)
    data = load_data(config)
    mesh = Mesh.create(config.parallel, config.devices)
    mesh.check(config.data.batch_size)
    trainer = Trainer(config, data, mesh)
    steps = (workdir / 'checkpoints').glob('*')
    trainer.check(resumed=any(path.name.isdigit() for path in steps))
    with hold(config, workdir):
        evaluate.note_skipped(data, workdir)
        say(trainer.summary())
        final, step = trainer.fit(workdir)
        results = trainer.task.judge(final.variables(), workdir, step)
    say(trainer.task.summary(results))
    say(f'report: {workdir}/report.html')
    return results


def load_data(config: Any) -> DataSet:
    """The data set of `config.data`, checked, divided into splits without leaks."""
    source = configs.find('data', config.data.name)
    task = configs.task_of('objectives', config.objective.name)
    classify = task == configs.CLASSIFICATION
    return groups.load(source.build, config.data, config.seed, classify=classify)


def build_objective(config: Any, data: DataSet) -> tuple[Objective, int]:
    """The objective of `config` and its number of steps."""
    per_epoch = len(data.splits['train']) // config.data.batch_size
    steps = config.train.steps or round(config.train.epochs * per_epoch)
    return configs.find('objectives', config.objective.name).build(config, data, steps), steps


class Trainer:
    """One run's compiled step, data and checkpoints."""

    def __init__(self, config: Any, data: DataSet, mesh: Mesh):
        self.config, self.data, self.mesh = config, data, mesh
        self.per_epoch = len(data.splits['train']) // config.data.batch_size
        self.objective, self.steps = build_objective(config, data)
        names = tuple(config.train.augment)
        make = functools.partial(
            make_step,
            self.objective,
            augment=functools.partial(augment, names=names),
            accumulate=config.train.accumulate,
            ema=config.train.ema,
        )
        self._unmapped = jax.jit(make(), inline=True)  # traced once, by `check` and for training
        step = make(axis=mesh.axis) if mesh.axis else self._unmapped
        self.task = tasks.of(config).Task(config, data, self.objective, mesh)
        self._key = jax.random.key(config.seed)
        self.step = mesh.compile_step(step, jax.random.fold_in(self._key, 1))
        with contextlib.closing(self.batches(0)) as batches:
            self._example = next(batches)
        self.saver: checkpoint.Checkpointer

    def batches(self, start: int):
        return pipeline.train_batches(
            self.data.splits['train'],
            self.config.data,
            seed=self.config.seed,
            bias=self.data.bias,
            start_step=start,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )

    def ids(self, step: int) -> list[str]:
        """The rows of the global batch of step 1, 2, ...: a function of seed and step."""
        records = self.data.splits['train']
        found = pipeline.train_batches(
            records, self.config.data, seed=self.config.seed, start_step=step - 1
        )
        with contextlib.closing(found) as batches:
            return [str(name) for name in records.ids[next(batches)['index']]]

    def check(self, *, resumed: bool = False) -> None:
        """Trace one step and look at every option, so that mistakes show before a run begins.

        Args:
            resumed: there is a checkpoint, so that pretrained weights are not needed any more.

        Raises:
            ValueError, ImportError: what would fail later.
        """
        config = self.config.train
        if config.keep < 1 or not 0 <= config.ema < 1:
            raise ValueError(
                'config.train.keep must be at least 1 and ema at least 0 and below 1, found '
                f'{config.keep} and {config.ema}'
            )
        if not (self.steps or config.head_first or self.config.model.get('pretrained')):
            raise ValueError('config.train.epochs and steps are 0: there is nothing to train')
        if config.log_every < 1 or config.select not in ('last', 'best'):
            raise ValueError(
                "config.train.log_every must be at least 1 and select 'last' or 'best', found "
                f'{config.log_every} and {config.select!r}'
            )
        if config.patience < 0 or (config.patience and not config.evaluate_every):
            raise ValueError(
                'config.train.patience counts evaluations and must be at least 0, with '
                f'evaluate_every above 0; found {config.patience} and {config.evaluate_every}'
            )
        if config.tensorboard and importlib.util.find_spec('tensorboardX') is None:
            raise ImportError("config.train.tensorboard needs: pip install 'skinjax[tensorboard]'")
        if self.mesh.axis:
            share = len(self.mesh.devices)
            batch = {k: jnp.asarray(v[: len(v) // share]) for k, v in self._example.items()}
            now = self.abstract()
        else:  # laid out as in training, which does not trace it again
            batch = self.mesh.put_batch(self._example)
            now = checkpoint.with_sharding(self.abstract(), self.mesh.replicated)
        jax.eval_shape(self._unmapped, now, batch, self._key)
        if not resumed and (loaded := self.pretrained):
            for note in loaded.notes:
                say(f'note: {note}')
        if config.head_first:
            if not isinstance(self.task, classification.Task):
                raise ValueError('config.train.head_first is for classifiers alone: set it to 0')
            if set(self.abstract().params['head']) != {'kernel', 'bias'}:
                raise ValueError(
                    'config.train.head_first fits one dense layer, and '
                    f'{self.config.objective.name} has another head: set it to 0'
                )
            train = self.data.splits['train']
            linear_head.check(train.labels, train.groups, len(self.data.classes))
        self.task.check()

    def summary(self) -> str:
        """What is about to run."""
        sizes = jax.tree.map(lambda x: math.prod(x.shape), self.abstract().params)
        counts = {name: sum(jax.tree.leaves(part)) for name, part in sizes.items()}
        parts = ', '.join(f'{name} {count:,}' for name, count in counts.items())
        lines = [
            f'{self.config.objective.name}: {self.steps} steps of {self.config.data.batch_size}, '
            f'{len(self.data.splits["train"])} training rows, parameters: {parts}'
        ]
        lines += [f'note: {note}' for note in self.data.info.get('notes', ())]
        for name in self.config.data.bias:
            if blank := int((self.data.splits['train'].bias[name] == UNKNOWN).sum()):
                lines.append(
                    f'note: {blank} training rows have no value of {name!r}: no bias head learns '
                    'from them, and group_dro and sampling by group leave them out'
                )
        for name, strength in self.data.info.get('association', {}).items():
            if name in self.config.data.bias and strength >= SHORTCUT:
                lines.append(
                    f"note: {name!r} and the class go together in training (Cramér's V "
                    f'{strength:.2f}): a model can use it as a shortcut, and unlearning it works '
                    'against the task where it is informative'
                )
        return '\n'.join(lines)

    def _create(self, key: jax.Array, weights: Any = None) -> state.TrainState:
        zeros = {name: jnp.zeros(v.shape, v.dtype) for name, v in self._example.items()}
        objective = self.objective
        if weights:

            def init(key, batch):
                return pretrained.replace(self.objective.init(key, batch), weights)

            objective = dataclasses.replace(objective, init=init)
        return state.create(objective, key, zeros, ema=self.config.train.ema > 0)

    def abstract(self) -> state.TrainState:
        """Shapes of the training state, without computing one."""
        return jax.eval_shape(self._create, self._key)

    @functools.cached_property
    def pretrained(self) -> pretrained.Loaded | None:
        """The weights that `config.model.pretrained` names, if it does.

        Raises:
            FileNotFoundError, ImportError, ValueError: the weights cannot be read, or do not fit.
        """
        path = self.config.model.get('pretrained', '')
        if not path:
            return None
        now = self.abstract()
        shapes = {'params': now.params, 'batch_stats': now.model.get('batch_stats', {})}
        return pretrained.load(path, shapes, self.config.model, self.config.data)

    def fresh(self) -> state.TrainState:
        """The initial state: at random, from `model.pretrained`, with `train.head_first`."""
        loaded = self.pretrained
        weights = loaded.variables if loaded else {}
        create, key = jax.jit(self._create), jax.random.fold_in(self._key, 0)
        now = create(key, weights)
        if not self.config.train.head_first:
            return now
        return create(key, pretrained.replace(weights, self._fitted_head(now)))

    def _fitted_head(self, now: state.TrainState) -> dict[str, Any]:
        """The main head that is best for the features of the training images as they are."""
        config, train = self.config, self.data.splits['train']
        train = train.select(~train.flagged(VIEW))  # one image as it is, whatever its views
        say(f'fitting the head to the features of {len(train)} images')
        plain = configs.override(config, {'evaluate.tta': False})
        _, features = classification.Predictor(plain, self.objective, self.mesh)(
            now.variables(), train
        )
        head = linear_head.fit(features, train.labels, train.groups, len(self.data.classes))
        return {'params': {'head': head}}

    def fit(self, workdir: Path) -> tuple[state.TrainState, int]:
        """Train to the end; returns the state to evaluate and its step."""
        config = self.config
        abstract = checkpoint.with_sharding(self.abstract(), self.mesh.replicated)
        self.saver = saver = checkpoint.Checkpointer(workdir, config.train.keep)
        with contextlib.closing(saver):
            found = saver.restore_newest(abstract)
            if found is None:
                start, now = 0, self.mesh.distribute(self.fresh())
            else:
                start, now = int(found.step), self.mesh.distribute(found)
                say(f'continuing from step {start}')
            with Interrupts() as interrupts:
                now = loop.Loop(self, workdir, start).run(now, interrupts)
            if not self.steps:
                saver.save(self.mesh.collect(now), self.validate(now)[0])
            saver.wait()
            return self._choose(now, abstract)

    def _choose(self, now: state.TrainState, abstract: Any) -> tuple[state.TrainState, int]:
        """The state to evaluate: the last, or the best on the validation split."""
        best = self.saver.best()
        if self.config.train.select == 'best' and best is not None:
            return self.saver.restore(best, abstract), best
        now = self.mesh.collect(now)
        return now, int(now.step)

    def validate(self, now: state.TrainState) -> tuple[float, dict[str, float]]:
        """The score of the validation split that checkpoints are chosen by, and what is logged."""
        return self.task.validate(self.mesh.collect(now).variables())
