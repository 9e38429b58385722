"""Any model as a classifier that audits see: a plain function from images to probabilities."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

from skinjax import config as configs
from skinjax.auditing.answers import ROUNDING, answer, heat_map
from skinjax.auditing.classifiers import Classifier
from skinjax.data import folder
from skinjax.data.records import COMMON, DataSet, Records, choices, concatenate
from skinjax.data.table import FILE_NAME, read_table
from skinjax.predictions import Predictions

# uint8 images [b, h, w, 3] -> [b], [b, 1] or [b, c], or a dictionary; see skinjax.audit.audit.
Predict = Callable[[np.ndarray], Any]
Explain = Callable[[np.ndarray, np.ndarray], Any]


def data_of(
    records: Records, classes: Sequence[str], bias: Mapping[str, Sequence[str]] | Sequence[str]
) -> DataSet:
    """One split of records whose bias variables are named.

    Args:
        records: the images.
        classes: name of each label.
        bias: variable -> names of its values; those that are not named are 'no' and 'yes', or the
            numbers themselves. Or a list of variables: of others nothing is told; none: of all.

    Raises:
        ValueError: a label or a value without a name, a variable that the records do not have, or
            no records.
    """
    if not len(records):
        raise ValueError('there are no images to audit')
    if len(classes) < 2:
        raise ValueError("name the classes, the positive one of two last: classes=('nevus', ...)")
    if not 0 <= records.labels.min() <= records.labels.max() < len(classes):
        raise ValueError(
            f'labels run from {records.labels.min()} to {records.labels.max()}, and there are '
            f'{len(classes)} classes: {", ".join(classes)}'
        )
    if unknown := sorted(set(bias) - set(records.bias)):
        known = choices(unknown[0], records.bias)
        raise ValueError(f'the records have no bias variable {unknown[0]!r}; {known}')
    given = bias if isinstance(bias, Mapping) else {}
    names = {}
    chosen = records.bias if isinstance(bias, Mapping) or not bias else bias
    for name in chosen:
        values = records.bias[name]
        most = int(values.max(initial=-1))
        plain = ('no', 'yes') if most < 2 else tuple(str(k) for k in range(most + 1))
        names[name] = tuple(given.get(name, plain))
        if most >= len(names[name]):
            raise ValueError(f'bias variable {name!r} has the value {most}, which has no name')
    return DataSet('records', tuple(classes), names, {'test': records})


def folder_data(
    root: Path,
    image_size: int,
    csv: str,
    classes: Sequence[str],
    bias: Mapping[str, Sequence[str]] | Sequence[str],
) -> DataSet:
    """A folder of images with a table, see `skinjax.data.folder`.

    Without a column `split` all rows are judged: the split 'test'.

    Raises:
        ValueError, FileNotFoundError: as `folder.build`; or values of `bias` are named.
    """
    if isinstance(bias, Mapping):
        raise ValueError(
            'the values of flags have names in the table of the folder: give the columns, '
            f'bias={tuple(bias)}'
        )
    own = {'root': str(root), 'csv': csv, 'image_size': image_size, 'bias': tuple(bias)}
    given = {'classes': tuple(classes)} if classes else {}
    config = configs.make({**COMMON, **folder.DEFAULTS, 'name': 'folder', **own, **given})
    data = folder.build(config, seed=0)
    if config.split in read_table(root / csv).columns:
        return data
    rows = concatenate(list(data.splits.values()))
    return DataSet(data.name, data.classes, data.bias, {'test': rows}, info=data.info)


def of_function(
    predict: Predict,
    data: DataSet,
    records: Records,
    threshold: float,
    batch_size: int,
    name: str,
    explain: Explain | None = None,
) -> Classifier:
    """A function as a classifier.

    It always gets `batch_size` images: a last batch that is not full is filled up with its last
    image, so that models of one batch size work and compiled ones are compiled once.

    Args:
        predict, explain: see `skinjax.audit.audit`.
        data: classes, bias variables and splits.
        records: the images that it is judged on.
        threshold: of two classes.
        batch_size: images at once.
        name: of the model.

    Raises:
        ValueError: an option out of range, images of several sizes, or a function that says other
            things of the same images beside other ones, or no probabilities (`answer`).
    """
    if batch_size < 1:
        raise ValueError(f'batch_size is {batch_size}, expected at least 1')
    if not 0 < threshold < 1:
        raise ValueError(f'threshold is {threshold}, expected a probability between 0 and 1')
    if not FILE_NAME.fullmatch(name):
        raise ValueError(
            f'name is {name!r}, which files are named after: expected letters, digits, blanks, '
            '_ . and -'
        )
    model = _Model(predict, explain, len(data.classes), batch_size)
    images, _ = next(_batches(records, batch_size))
    _same_in_any_company(predict, images, len(data.classes))
    heat = model.heat if explain else None
    return Classifier(name, images.shape[1], data, records, threshold, model.say, heat)


@dataclasses.dataclass(frozen=True)
class _Model:
    """A function in batches; see `of_function`."""

    predict: Predict
    explain: Explain | None
    classes: int
    batch_size: int

    def say(self, rows: Records) -> tuple[Predictions, Float[np.ndarray, 'n d'] | None]:
        said = [
            answer(self.predict(images), self.classes, len(images), count)
            for images, count in _batches(rows, self.batch_size)
        ]
        none = np.empty((0, 1 if self.classes == 2 else self.classes))
        scores = np.concatenate([none, *(p for p, _ in said)])
        table = Predictions(rows.ids, rows.labels, scores, dict(rows.bias), dict(rows.columns))
        known = [features for _, features in said if features is not None]
        if len(known) not in (0, len(said)) or len({one.shape[1] for one in known}) > 1:
            raise ValueError('the model gives features of other lengths from batch to batch')
        return table, np.concatenate(known) if known else None

    def heat(self, rows: Records, targets: Integer[np.ndarray, ' n']) -> Float[np.ndarray, 'n h w']:
        assert self.explain is not None
        maps, at = [], 0
        for images, count in _batches(rows, self.batch_size):
            wanted = targets[at : at + count].astype(np.int32)
            wanted = np.pad(wanted, (0, len(images) - count), mode='edge')
            maps.append(heat_map(self.explain(images, wanted), len(images))[:count])
            at += count
        return np.concatenate(maps)


def _batches(records: Records, size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Full batches of images, and how many of each count.

    Raises:
        ValueError: images of other sizes than the first.
    """
    for start in range(0, len(records), size):
        rows = range(start, min(start + size, len(records)))
        images = [records.read(row)['image'] for row in rows]
        shape = images[0].shape
        for row, image in zip(rows, images, strict=True):
            if image.shape != shape or image.dtype != np.uint8 or shape[-1] != 3 or len(shape) != 3:
                raise ValueError(
                    f'image {str(records.ids[row])!r} is {image.dtype} {list(image.shape)}, '
                    f'expected uint8 [h, w, 3] of one size ({list(shape)} is that of the first)'
                )
        yield np.stack(images + images[-1:] * (size - len(images))), len(images)


def _same_in_any_company(predict: Predict, images: np.ndarray, classes: int) -> None:
    """ValueError for a model in training mode: with dropout, or with statistics of the batch."""
    n, half = len(images), (len(images) + 1) // 2
    others = images.copy()
    others[half:] = images[0]
    first, again = (answer(predict(some), classes, n, half)[0] for some in (images, others))
    if (worst := np.abs(first - again).max()) > ROUNDING:
        raise ValueError(
            'the model says other things of the same images beside other ones (probabilities '
            f'differ by up to {worst:.3g}): put it into evaluation mode, without dropout and with '
            'stored batch statistics'
        )
