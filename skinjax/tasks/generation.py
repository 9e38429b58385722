"""Generation: made images against the real ones of every split, and against the training images.

KID, FID and the manifold measures (`skinjax/fidelity.py`) stand beside those of the same network
before training and of real training images, which say what is bad and what is possible. Whether
training images were copied is told by `skinjax/memorisation.py`.
"""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int
from ml_collections import ConfigDict

from skinjax import (
    embedding,
    fidelity,
    generation_report,
    memorisation,
    per_image,
    report,
    rundir,
    samples,
)
from skinjax.data import balancing
from skinjax.data.records import DataSet, Records, choices
from skinjax.embedding import Pictures
from skinjax.engine.mesh import is_main, on_main
from skinjax.engine.objective import Objective, Variables
from skinjax.engine.writer import write_atomic, write_json
from skinjax.generation_measures import Maker, collapsed, compare, diversity, history
from skinjax.objectives import adversaries
from skinjax.sampling import Sampler, shares
from skinjax.tasks import Judge

EVALUATE: dict[str, Any] = {
    'batch_size': 64,
    'count': 1000,  # images that are generated to be judged
    'val_count': 256,  # and while the network learns; also the most real ones of that split
    'features': embedding.NONE,  # encoder by which images are compared; see embedding.py
    'features_size': 0,  # pixels a side that it sees; 0: those of the images, 299 for inception
    'batch_statistics': False,  # generate as the published code does; see sampling.py
    'splits': (),  # empty: all but train
    'nearest': 8,  # closest pairs of generated and training images shown
    'minmax': False,  # also distances of stretched images, as published; see memorisation.py
    'collapse': 0.2,  # diversity below which the alarm is raised
    'beside': '',  # folder of real images shown beside the data in the report
}
AGAIN: dict[str, Any] = {}  # features without a name are those of the run
LEARNING, JUDGING = 1, 2  # seeds of the images
FEW = 20  # training rows of a class below which a note is made

Labels = Int[np.ndarray, ' _']


def network(config: Any, data: DataSet | None = None) -> Objective:
    """The networks alone; `data` says how many classes there are.

    Raises:
        ValueError: a network that knows the classes, without `data`.
    """
    net = adversaries.create(config, len(data.classes) if data else 1)
    if data is None and net.balanced:
        raise ValueError(f'{config.model.name} knows classes: give the data to restore it')
    predict: Any = net.predict
    return Objective(net.init, {}, (), predict)


def section(wanted: Any, run: Any) -> Any:
    """The options of `wanted`, with the features of the run where it names none.

    A file of weights without the name of an encoder is for the encoder of the run.
    """
    features, weights = wanted.features.to_dict(), wanted.features.pretrained
    size = wanted.features_size
    if not features['name'] and not (Path(weights) / 'config.json').is_file():
        features = run.features.to_dict()
        features['pretrained'] = weights or features['pretrained']
        size = size or run.features_size
    return ConfigDict({**wanted.to_dict(), 'features': features, 'features_size': size})


class Task(Judge):
    """One generator; see `Judge`."""

    def __init__(self, *given: Any):
        super().__init__(*given)
        options, classes = self.config.evaluate, len(self.data.classes)
        net = adversaries.create(self.config, classes)
        self.by_class = net.balanced and classes > 1
        self.sampler = Sampler(net, classes, options.batch_size, options.batch_statistics)
        self.collapsed = False

    @functools.cached_property
    def features(self) -> embedding.Embedding:
        """The encoder by which images are compared."""
        options = self.config.evaluate
        return embedding.load(
            options.features, batch_size=options.batch_size, size=options.features_size
        )

    def check(self) -> None:
        """Raise ValueError for whatever would make `judge` fail; note classes with few rows."""
        options, data = self.config.evaluate, self.data
        least = {'batch_size': 1, 'count': 6, 'val_count': 3, 'nearest': 1, 'collapse': 0}
        least |= {'features_size': 0}
        for name, bound in least.items():
            if options[name] < bound:
                raise ValueError(
                    f'config.evaluate.{name} is {options[name]}, expected at least {bound}'
                )
        if unknown := sorted(set(options.splits) - set(data.splits)):
            raise ValueError(
                f'config.evaluate.splits: no {unknown[0]!r}; {choices("", data.splits)}'
            )
        for name in [*self._splits(), *(() if self.earlier else ('val',))]:
            if len(data.splits[name]) < 3:
                raise ValueError(
                    f'the split {name!r} has {len(data.splits[name])} rows: at least 3 are needed '
                    'to compare generated images with'
                )
        self._check_networks()
        for note in self._notes() if is_main() else ():
            print(f'note: {note}', flush=True)

    def _check_networks(self) -> None:
        """Make the encoder see an image: its weights exist, and so does this size of images."""
        options = self.config.evaluate
        groups = self.config.model.get('norm_groups', 1)
        if options.batch_statistics and options.batch_size % groups:
            raise ValueError(
                f'config.evaluate.batch_size is {options.batch_size}: with batch_statistics choose '
                f'a multiple of model.norm_groups, {groups}'
            )
        self.features.check(self.config.data.image_size)

    def _notes(self) -> list[str]:
        """What is known to be hard before training."""
        if 'train' not in self.data.splits:
            return []
        counts = self._counts(self._training().labels).tolist()
        return [
            f'class {name!r} has {count} training rows: a generator will repeat them (see '
            'memorisation in the results), and its figures are rough'
            for name, count in zip(self.data.classes, counts, strict=True)
            if 0 < count < FEW
        ]

    def _counts(self, labels: Labels) -> Labels:
        return np.bincount(labels, minlength=len(self.data.classes))

    def _splits(self) -> list[str]:
        named = self.config.evaluate.splits
        return list(named or [name for name in self.data.splits if name != 'train'])

    def _real(self, records: Records) -> Pictures:
        images = embedding.images_of(records, self.config.data.image_size)
        return Pictures(images, self.features(images), records.labels)

    @functools.cached_property
    def _val(self) -> Pictures:
        """Those that checkpoints are scored by, evenly spread over the split."""
        return self._real(self.data.splits['val']).spread(self.config.evaluate.val_count)

    def validate(self, variables: Variables) -> tuple[float, dict[str, float]]:
        """By KID, of which the least is best; shown with FID and diversity."""
        real = self._val
        labels = shares(self._counts(real.labels), self.config.evaluate.val_count)
        maker = self._maker(variables, LEARNING)
        found = compare(real, maker(labels))
        alarms = self._alarms(maker, labels, real)
        if alarms and not self.collapsed and is_main():
            print('\n' + '\n'.join(f'alarm: {alarm}' for alarm in alarms), flush=True)
        self.collapsed = bool(alarms)
        shown = {name: generation_report.plain(found[name]) for name in ('kid', 'fid', 'diversity')}
        return -shown['kid'], shown

    def _alarms(self, maker: Maker, labels: Labels, real: Pictures) -> list[str]:
        """Of a generator that has collapsed: as a whole, or in a class that it knows, of which as
        many images are made as of any other, however rare it is among the labels.
        """
        found = {'generated images': diversity(maker.images(labels), real.images)}
        for k, own in self._equal(len(labels)).items():
            what = f'generated images of class {self.data.classes[k]!r}'
            found[what] = diversity(maker.images(own), real.images[real.labels == k])
        return collapsed(found, self.config.evaluate.collapse)

    def judge(self, variables: Variables, workdir: Path, step: int) -> dict[str, Any]:
        """As `Judge.judge`: per_image/SPLIT.csv and generated.csv, and figures of samples, walks
        between latents, closest pairs and distances.
        """
        options, train = self.config.evaluate, self._train()
        real = {name: self._real(self.data.splits[name]) for name in self._splits()}
        ours, begin = self._maker(variables), self._maker(self.untrained())
        results: dict[str, Any] = {
            'splits': {name: self._block(ours, one) for name, one in real.items()},
            'untrained': {name: self._block(begin, one) for name, one in real.items()},
        }
        examined = None
        if train is not None:
            some = train.spread(options.count)
            results['training_images'] = {name: compare(one, some) for name, one in real.items()}
            held = self._real(self.data.splits.get('val', self.data.splits[self._splits()[0]]))
            shown = {*self.config.train.augment, *self.config.data.augment_host}
            made, symmetries = ours(self._mix(train)), memorisation.turns(shown)
            examined = memorisation.examine(
                made, train, held, symmetries, options.minmax, self._training().groups
            )
            results['memorisation'] = examined.results
        alarms = [
            alarm for one in real.values() for alarm in self._alarms(ours, self._mix(one), one)
        ]
        results |= {
            'alarms': list(dict.fromkeys(alarms)),
            'notes': self._notes(),
            'features': self.features.name,
            'validation': history(workdir),
            'data': self.data.describe(),
            'step': step,
            'seed': self.config.seed,
            'versions': rundir.versions(),
        }
        drawn = self._drawn(ours, real)
        tables = {name: self._reached(ours, one) for name, one in real.items()}

        def publish() -> None:
            for name, table in tables.items():
                path = workdir / 'per_image' / f'{name}.csv'
                per_image.write_csv(path, self.data, self.data.splits[name], table)
            for name, image in drawn.items():
                write_atomic(workdir / 'figures' / f'{name}.png', image)
            if train is not None and examined is not None:
                self._publish_copies(workdir, ours, train, examined)
            write_json(workdir / 'results.json', results)
            report.build_run_report(workdir, self.data, options.beside)
            write_atomic(workdir / 'DONE', f'step {step}\n')

        on_main(publish)
        return results

    def _maker(self, variables: Variables, seed: int = JUDGING) -> Maker:
        """Of the generator with these variables."""
        sampler = self.sampler
        known = adversaries.with_standing_statistics(
            self.config, sampler.net, variables, sampler.classes
        )
        return Maker(sampler, known, seed, self.features, self.by_class)

    def _equal(self, count: int) -> dict[int, Labels]:
        """Labels for about `count` images, as many of each class that the network knows."""
        classes = len(self.data.classes) if self.by_class else 0
        return {k: np.full(max(2, count // classes), k) for k in range(classes)}

    def _mix(self, real: Pictures) -> Labels:
        """Labels for `count` images, in the proportions of real ones."""
        return shares(self._counts(real.labels), self.config.evaluate.count)

    def _train(self) -> Pictures | None:
        """What the network has learned from; None where it is judged on other data."""
        if self.earlier is not None and self.earlier.config.data != self.config.data:
            return None
        return self._real(self._training())

    def _training(self) -> Records:
        """The training rows, each once, however often balancing repeats it."""
        records = self.data.splits['train']
        return records.select(~records.flagged(balancing.VIEW))

    def untrained(self) -> Variables:
        """What training began with, were it not for `model.pretrained`."""
        key = jax.random.fold_in(jax.random.key(self.config.seed), 0)
        size = self.config.data.image_size
        example = {'image': jnp.zeros((1, size, size, 3), jnp.uint8)}
        return jax.jit(self.objective.init)(key, example)

    def _block(self, maker: Maker, real: Pictures) -> dict[str, Any]:
        """The figures of a split, and of its classes where the network knows them."""
        block = compare(real, maker(self._mix(real)))
        if self.by_class:
            block['by_class'] = {
                self.data.classes[k]: compare(real.of_class(k), maker(labels))
                for k, labels in self._equal(self.config.evaluate.count).items()
            }
        return block

    def _reached(self, maker: Maker, real: Pictures) -> dict[str, Any]:
        """For each row, how far in features the nearest generated image is."""
        made = maker(self._mix(real))
        nearest, reached = fidelity.covered(real.features, made.features)
        return {'nearest_generated': nearest, 'covered': reached.astype(int)}

    def _drawn(self, maker: Maker, real: dict[str, Pictures]) -> dict[str, bytes]:
        """Figures by name."""
        split, one = next(iter(real.items()))
        classes = self.data.classes if self.by_class else ()
        return {
            'samples': samples.grid(
                maker.sampler, maker.variables, JUDGING, classes, one.images, split
            ),
            'walks': samples.walks(maker.sampler, maker.variables, JUDGING, classes),
        }

    def _publish_copies(
        self, workdir: Path, maker: Maker, train: Pictures, found: memorisation.Examined
    ) -> None:
        """per_image/generated.csv, and figures of distances and closest pairs."""
        made = maker(self._mix(train))
        labels = [self.data.classes[k] if self.by_class else '' for k in made.labels]
        ids = [str(name) for name in self._training().ids]
        write_atomic(workdir / 'per_image' / 'generated.csv', found.table(labels, ids))
        pairs = samples.closest(made.images, train.images, found, ids, self.config.evaluate.nearest)
        write_atomic(workdir / 'figures' / 'closest.png', pairs)
        for name, image in samples.distances(found).items():
            write_atomic(workdir / 'figures' / f'distances_{name}.png', image)

    def summary(self, results: dict[str, Any]) -> str:
        """The table that ends a run."""
        return generation_report.summary(results)
