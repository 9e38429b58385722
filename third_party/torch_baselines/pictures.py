"""Batches of changed images: skinjax's train pipeline, and torch DataLoader with torchvision.

Both read the same bytes and end with uint8 pixels of the same size. `loader.py` times them.
"""

import dataclasses
import functools
import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHANGES = ('flip', 'affine', 'colour')
ENDINGS = ('.jpg', '.jpeg', '.png')
ROTATION, SHIFT, SCALE = 30.0, 0.1, 0.1
BRIGHTNESS, CONTRAST, SATURATION = 0.1, 0.2, 0.2


@dataclasses.dataclass(frozen=True)
class Job:
    """What every contender does: the command line."""

    root: Path
    size: int
    threads: int
    batch: int
    rounds: int
    seconds: float
    contender: str = ''

    def encoded(self) -> 'Files | Prepared':
        """The images as they are stored."""
        return Prepared(self.root) if (self.root / 'shards.json').exists() else Files(self.root)


class Files:
    """Bytes of the image files below a folder, in the order of their names."""

    def __init__(self, root: Path):
        self.paths = sorted(path for path in root.rglob('*') if path.suffix.lower() in ENDINGS)
        if not self.paths:
            raise SystemExit(f'{root}: no image files')

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> bytes:
        return self.paths[row].read_bytes()


class Prepared:
    """Bytes of the images in the training split of a prepared data set."""

    def __init__(self, root: Path):
        facts = json.loads((root / 'shards.json').read_text())
        names = [name for name, fact in facts.items() if fact['split'] == 'train']
        self.paths = [str(root / 'shards' / name) for name in names]
        self.source = functools.cache(self._open)  # in every process by itself
        self.count = sum(facts[name]['records'] for name in names)

    def _open(self, process: int) -> Any:
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        return ArrayRecordDataSource(self.paths)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, row: int) -> bytes:
        from skinjax.data.examples import parsed

        data = parsed(self.source(os.getpid())[row])['image']
        assert isinstance(data, bytes)
        return data


def skinjax_batches(job: Job) -> Iterator[Any]:
    """Batches of the train pipeline."""
    import ml_collections
    import numpy as np

    from skinjax.data import images, pipeline, prepared
    from skinjax.data.records import COMMON, Records

    config = ml_collections.ConfigDict(
        {
            **COMMON,
            **prepared.DEFAULTS,
            'root': str(job.root),
            'image_size': job.size,
            'batch_size': job.batch,
            'threads': job.threads,
            'augment_host': CHANGES,
        }
    )
    encoded = job.encoded()
    if isinstance(encoded, Prepared):
        records = prepared.build(config, 0).splits['train']
    else:
        ids = np.array([str(path) for path in encoded.paths])

        def read(row: int) -> dict[str, np.ndarray]:
            return {'image': images.decode(encoded.paths[row], job.size)}

        records = Records(ids, np.zeros(len(ids), np.int32), {}, ids, read)
    for batch in pipeline.train_batches(records, config, seed=0):
        yield batch['image']


def torch_batches(job: Job, decoder: str, workers: int) -> Iterator[Any]:
    """Batches of a DataLoader."""
    import torch
    from torch.utils.data import DataLoader, RandomSampler

    # In the main process, too, as in workers: threads that wait for each other over images so small
    # cost more than they save.
    torch.set_num_threads(1)
    data = Pictures(job.encoded(), decoder, job.size)
    loader = DataLoader(
        data,  # pyright: ignore[reportArgumentType]
        batch_size=job.batch,
        # One endless epoch: no contender waits for workers between two of them.
        sampler=RandomSampler(data, num_samples=10**6),
        num_workers=workers,
        persistent_workers=workers > 0,
        drop_last=True,
    )
    yield from loader


class Pictures:
    """A map-style data set of decoded, changed images."""

    def __init__(self, encoded: Files | Prepared, decoder: str, size: int):
        self.encoded, self.decoder, self.size = encoded, decoder, size
        torchvision = _torchvision()
        self.io, v2 = torchvision.io, torchvision.transforms.v2
        changes = _transform(v2, size, tensors=decoder in ('tensor', 'jpeg'))
        self.change = v2.Compose([v2.PILToTensor(), *changes] if decoder == 'tensor' else changes)

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, row: int) -> Any:
        data = self.encoded[row]
        if self.decoder == 'jpeg':
            import torch

            values = torch.frombuffer(bytearray(data), dtype=torch.uint8)
            return self.change(self.io.decode_jpeg(values, self.io.ImageReadMode.RGB))
        from PIL import Image

        with Image.open(io.BytesIO(data)) as image:
            if self.decoder == 'draft':
                image.draft('RGB', (2 * self.size, 2 * self.size))
            return self.change(image.convert('RGB'))


def _transform(v2: Any, size: int, *, tensors: bool) -> list[Any]:
    """The transforms that skinjax calls 'flip', 'affine' and 'colour', and the size."""
    changes = [
        v2.Resize((size, size), antialias=True),
        v2.RandomHorizontalFlip(),
        v2.RandomVerticalFlip(),
        v2.RandomAffine(
            ROTATION,
            translate=(SHIFT, SHIFT),
            scale=(1 - SCALE, 1 + SCALE),
            interpolation=v2.InterpolationMode.BILINEAR,
        ),
        v2.ColorJitter(BRIGHTNESS, CONTRAST, SATURATION),
    ]
    return changes if tensors else [*changes, v2.PILToTensor()]


def _torchvision() -> Any:
    """torchvision; a wheel for CUDA beside a CPU build of torch lacks two operators' names."""
    import torch

    try:
        import torchvision
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition('.')[0] == 'torchvision']:
            del sys.modules[name]
        _LIBRARY.append(torch.library.Library('torchvision', 'FRAGMENT'))
        for name in ('nms', 'qnms'):
            _LIBRARY[0].define(f'{name}(Tensor dets, Tensor scores, float threshold) -> Tensor')
        import torchvision
    import torchvision.io
    import torchvision.transforms.v2

    return torchvision


_LIBRARY: list[Any] = []  # kept: the names last as long as the object
