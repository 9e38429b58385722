"""One row as one serialised example, the features that tfds knows it by, and back.

A record has `id`, `image`, `label`, `group`, one integer for each bias variable (-1 is unknown),
and `mask` and `has_mask` where the data set has masks.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from tensorflow_datasets.proto import tf_example_pb2

from skinjax.data.pipeline import read_row
from skinjax.data.records import DataSet, Records

NAMES = ('id', 'image', 'label', 'group', 'mask', 'has_mask')  # of features beside bias variables


@dataclasses.dataclass(frozen=True)
class Form:
    """How pixels are stored.

    Attributes:
        size: of every image, square.
        encoding: 'jpeg' (4:4:4: colour is not halved) or 'png'.
        quality: of JPEG.
        masks: whether records have masks: PNG of one channel, and zeros with `has_mask` 0 where a
            row has none.
    """

    size: int
    encoding: str = 'jpeg'
    quality: int = 95
    masks: bool = True

    def encode(self, example: Mapping[str, np.ndarray]) -> dict[str, bytes | int]:
        """'image', and with `masks` 'mask' and 'has_mask'."""
        import cv2

        pixels = cv2.cvtColor(example['image'], cv2.COLOR_RGB2BGR)
        options = []
        if self.encoding == 'jpeg':
            options = [cv2.IMWRITE_JPEG_QUALITY, self.quality]
            options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
        found: dict[str, bytes | int] = {}
        found['image'] = cv2.imencode(f'.{self.encoding}', pixels, options)[1].tobytes()
        if not self.masks:
            return found
        mask = example.get('mask', np.zeros((self.size, self.size), np.uint8))
        mask = cv2.imencode('.png', mask)[1].tobytes()
        return {**found, 'mask': mask, 'has_mask': int('mask' in example)}


def serialised(records: Records, row: int, form: Form) -> tuple[bytes, bool]:
    """A row as tfds would serialise it (but the same in every process), and if it has a mask.

    Raises:
        OSError, ValueError: it cannot be read; named as `pipeline.read_row` does.
    """
    found = read_row(records, row, form.size)
    values: dict[str, str | bytes | int] = {
        'id': str(records.ids[row]),
        'group': str(records.groups[row]),
        'label': int(records.labels[row]),
        **{name: int(codes[row]) for name, codes in records.bias.items()},
        **form.encode(found),
    }
    example = _example()
    for name, value in values.items():
        feature = example.features.feature[name]
        if isinstance(value, int):
            feature.int64_list.value.append(value)
        else:
            feature.bytes_list.value.append(value.encode() if isinstance(value, str) else value)
    return example.SerializeToString(deterministic=True), 'mask' in found


def _example() -> Any:
    """An empty tf.train.Example, without TensorFlow."""
    return tf_example_pb2.Example()  # pyright: ignore[reportAttributeAccessIssue]


def parsed(record: bytes) -> dict[str, bytes | int]:
    """The values of a serialised example by name.

    Raises:
        ValueError: it is none.
    """
    try:
        example = _example()
        example.ParseFromString(record)
        features = example.features.feature
        values = {name: (*f.bytes_list.value, *f.int64_list.value) for name, f in features.items()}
        return {name: value for name, (value,) in values.items()}
    except (DecodeError, ValueError):
        raise ValueError('it is no example of this data set') from None


def describe(dataset: DataSet, facts: Mapping[str, Any], folder: Path, form: Form) -> None:
    """Lets tfds write its description beside the files: dataset_info.json and features.json.

    The feature `mask` is left out where no record has a mask.

    Args:
        dataset: that was written.
        facts: from `shards.write`.
        folder: of the files.
        form: of the pixels.
    """
    import tensorflow_datasets as tfds

    features: dict[str, Any] = {
        'id': tfds.features.Text(),
        'image': tfds.features.Image(shape=(form.size,) * 2 + (3,), encoding_format=form.encoding),
        'label': tfds.features.ClassLabel(names=list(dataset.classes)),
        'group': tfds.features.Text(),
        **{name: tfds.features.Scalar(np.int32) for name in dataset.bias},
    }
    if any(fact['masks'] for fact in facts.values()):
        shape = (form.size, form.size, 1)
        features['mask'] = tfds.features.Image(shape=shape, encoding_format='png')
        features['has_mask'] = tfds.features.Scalar(np.bool_)
    splits = []
    for split in dict.fromkeys(fact['split'] for fact in facts.values()):
        own = [fact for fact in facts.values() if fact['split'] == split]
        lengths, size = [fact['records'] for fact in own], sum(fact['bytes'] for fact in own)
        splits.append(tfds.core.SplitInfo(name=split, shard_lengths=lengths, num_bytes=size))
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features=features,
        split_infos=splits,
        description=f'{dataset.name}, prepared by skinjax',
        check_data=False,  # that would need TensorFlow
    )
