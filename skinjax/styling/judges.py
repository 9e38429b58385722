"""What judges styled images by other images, or by a network: measures of `styling/gate.py`."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import UInt8

from skinjax import config as configs
from skinjax import memorisation, rundir, tasks
from skinjax.data import images
from skinjax.data.records import DataSet, Records
from skinjax.embedding import images_of
from skinjax.engine.mesh import Mesh
from skinjax.tasks import classification

Image = UInt8[np.ndarray, '_ _ 3']
SIDE = 64  # pixels at which training images are compared, at most


class Judges:
    """Both, where the config asks for them.

    Attributes:
        remarks: what to bear in mind about what they say.

    Raises:
        ValueError, FileNotFoundError: `config.classifier` is no run that knows the classes. Later:
            a training image cannot be read.
    """

    def __init__(self, config: Any, data: DataSet):
        self._config, self._data, self._classifier = config, data, None
        self.remarks: list[str] = []
        if config.classifier:
            self._classifier = Classifier(config.classifier)
            self._classifier.check(data.classes)
            self.remarks = self._classifier.remarks(config)

    @functools.cached_property
    def _novelty(self) -> 'Novelty | None':
        """Reads the whole training set: only once there is an image to judge."""
        if not self._config.gate.least_novelty:
            return None
        splits = self._data.splits
        train = splits['train' if 'train' in splits else self._config.split]
        return Novelty(train, self._config.data.image_size)

    def __call__(
        self, before: Sequence[Image], after: Sequence[Image], names: Sequence[str]
    ) -> list[dict[str, Any]]:
        """What there is to say of images of these classes, before and after they were styled."""
        found: list[dict[str, Any]] = [{} for _ in names]
        if found and self._novelty:
            for one, (nearest, mse) in zip(found, self._novelty(after), strict=True):
                one |= {'nearest': nearest, 'novelty': mse}
        if found and self._classifier:
            batch = self._config.batch_size
            chances = [self._classifier(shown, names, batch) for shown in (before, after)]
            for one, *pair in zip(found, *chances, strict=True):
                (old, was), (new, now) = pair
                one |= {'probability_before': old, 'probability_after': new, 'change': new - old}
                one |= {'call_before': was, 'call_after': now}
        return found


class Novelty:
    """The images of a training set, to which styled ones are compared.

    Args:
        train: the rows.
        size: of the images; larger ones are compared at SIDE pixels.
    """

    def __init__(self, train: Records, size: int):
        self.ids, self.side = train.ids, min(size, SIDE)

        def read(row: int) -> dict[str, np.ndarray]:
            return {'image': images.fit(train.read(row)['image'], self.side)}

        small = Records(train.ids, train.labels, {}, train.ids, read)
        self.images = images_of(small, self.side)

    def __call__(self, made: Sequence[Image]) -> list[tuple[str, float]]:
        """Id of the nearest image of each, and the mean squared error to it."""
        small = np.stack([images.fit(image, self.side) for image in made])
        index, errors = memorisation.nearest(small, self.images)
        return list(zip(self.ids[index].tolist(), errors.tolist(), strict=True))


class Classifier:
    """A trained classifier that is asked what it thinks of images.

    Args:
        run: its directory.

    Raises:
        FileNotFoundError, ValueError: it is no finished run of classification.
    """

    def __init__(self, run: str):
        trained = rundir.load_trained(configs.make({'init_from': run}))
        task = configs.task_of('objectives', trained.objective.name)
        if task != configs.CLASSIFICATION:
            raise ValueError(f'config.classifier: {run} is a run of {task}: give a classifier')
        results = rundir.read_results(Path(run))
        known = results.get('data', {}).get('classes')
        if not known:
            raise ValueError(f'config.classifier: {run} is not finished: run its config to the end')
        self.threshold = (results.get('threshold') or {}).get('value', 0.5)
        self.classes, self.size, self._data = tuple(known), trained.data.image_size, trained.data
        self._purify = trained.data.purify or trained.evaluate.purify
        data = DataSet(trained.data.name, self.classes, {}, {})
        objective = classification.network(trained, data)
        mesh = Mesh('jit', tuple(jax.local_devices()[:1]))
        self._variables = tasks.restore(Path(run), trained, objective, mesh)[1]
        self._score = jax.jit(classification.scorer(objective, tta=trained.evaluate.tta))

    def check(self, classes: tuple[str, ...]) -> None:
        """ValueError if one of these classes is not known."""
        if absent := [name for name in classes if name not in self.classes]:
            raise ValueError(
                f'config.classifier knows {", ".join(self.classes)}, and there are images of '
                f'{absent[0]!r}: give one of the same classes'
            )

    def remarks(self, config: Any) -> list[str]:
        """How the images of kind 'generate' with a style differ from those that it has learned."""
        theirs, ours, found = self._data, config.data, []
        place = ('name', 'root') if ours.name == 'folder' else ('name',)
        learned = all(theirs.get(field) == ours.get(field) for field in place)
        if learned and config.split == 'train':
            found.append(
                "these are images of the split 'train', which it has learned from, so that it may "
                'be surer of the originals than of any others'
            )
        shapes = [data.get('geometry', '') for data in (theirs, ours)]
        if all(shapes) and shapes[0] != shapes[1]:
            found.append(f'it has learned from the geometry {shapes[0]!r}, these are {shapes[1]!r}')
        if self.size > ours.image_size:
            found.append(
                f'it sees images of {ours.image_size} pixels enlarged to its {self.size}: blurred'
            )
        if self._purify:
            found.append(f'its images pass the editors of {self._purify!r}, these do not')
        return [f'The classifier of config.classifier: {text}.' for text in found]

    def __call__(
        self, shown: Sequence[Image], names: Sequence[str], batch: int
    ) -> list[tuple[float, str]]:
        """The probability that each image gets for its class, and the class that it is called.

        Two classes are called by the threshold of the run, more by the greatest probability.
        `batch` images are seen at once.
        """
        found = []
        for start in range(0, len(shown), batch):
            part = [images.fit(image, self.size) for image in shown[start : start + batch]]
            padded = np.zeros((batch, self.size, self.size, 3), np.uint8)
            padded[: len(part)] = part
            found.append(np.asarray(self._score(self._variables, padded)['scores'])[: len(part)])
        scores = np.concatenate(found)
        if len(self.classes) == 2:
            called = (scores[:, 0] >= self.threshold).astype(int)
            scores = np.concatenate([1 - scores, scores], axis=1)
        else:
            called = scores.argmax(axis=1)
        columns = [self.classes.index(name) for name in names]
        chances = scores[np.arange(len(names)), columns].astype(np.float64)
        return [(p, self.classes[k]) for p, k in zip(chances.tolist(), called, strict=True)]
