"""Images per second of skinjax's train pipeline and of torch DataLoader with torchvision.

    python -m third_party.torch_baselines.loader --root FOLDER --size 224 --threads 2

Both sides read the same images on the same cores, and end with a batch of uint8 pixels of the same
size. skinjax: `pipeline.train_batches` without a cache. PyTorch: a shuffled DataLoader with default
collation, in the main process and with as many (persistent) workers as there are threads, over
torchvision transforms

    pil     Pillow decodes, transforms.v2 on Pillow images
    draft   the same, decoding JPEG at reduced size where that suffices, which torchvision does not
    tensor  Pillow decodes, transforms.v2 on uint8 tensors
    jpeg    torchvision.io decodes, transforms.v2 on uint8 tensors (where that operation loads)

Every contender is a program of its own. In each round they run one after the other, each for a few
seconds from a running start; medians over rounds are compared, so that other work on the machine
weighs on all of them alike.
"""

import argparse
import dataclasses
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHANGES = ('flip', 'affine', 'colour')
TORCH = ('pil', 'draft', 'tensor', 'jpeg')
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

    def files(self) -> list[Path]:
        """The image files below `root`, sorted."""
        found = sorted(path for path in self.root.rglob('*') if path.suffix.lower() in ENDINGS)
        if not found:
            raise SystemExit(f'{self.root}: no image files')
        return found

    def prepared(self) -> bool:
        """Whether `root` was written by kind 'prepare'."""
        return any(self.root.glob('*.array_record*'))


def skinjax_batches(job: Job) -> Iterator[Any]:
    """Batches of the train pipeline."""
    import ml_collections
    import numpy as np

    from skinjax.data import images, pipeline
    from skinjax.data.records import COMMON, Records

    config = ml_collections.ConfigDict(
        {
            **COMMON,
            'root': str(job.root),
            'image_size': job.size,
            'batch_size': job.batch,
            'threads': job.threads,
            'augment_host': CHANGES,
        }
    )
    files = job.files()
    ids = np.array([str(path) for path in files])

    def read(row: int) -> dict[str, np.ndarray]:
        return {'image': images.decode(files[row], job.size)}

    records = Records(ids, np.zeros(len(ids), np.int32), {}, ids, read)
    for batch in pipeline.train_batches(records, config, seed=0):
        yield batch['image']


def torch_batches(job: Job, decoder: str, workers: int) -> Iterator[Any]:
    """Batches of a DataLoader."""
    from torch.utils.data import DataLoader, RandomSampler

    data = Files(job.files(), decoder, job.size)
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


class Files:
    """A map-style data set of image files."""

    def __init__(self, files: list[Path], decoder: str, size: int):
        self.files, self.decoder, self.size = files, decoder, size
        self.io, v2 = (tv := _torchvision()).io, tv.transforms.v2
        changes = _transform(v2, size, tensors=decoder in ('tensor', 'jpeg'))
        self.change = v2.Compose([v2.PILToTensor(), *changes] if decoder == 'tensor' else changes)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> Any:
        if self.decoder == 'jpeg':
            from torchvision.io import ImageReadMode, decode_jpeg, read_file

            return self.change(decode_jpeg(read_file(str(self.files[row])), ImageReadMode.RGB))
        from PIL import Image

        with Image.open(self.files[row]) as image:
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
    """torchvision; a wheel for CUDA beside a CPU build of torch lacks the names of two operators."""
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


def work(job: Job) -> None:
    """One contender: for every line on standard input, its images per second, as JSON."""
    name, _, workers = job.contender.partition('-')
    began = time.perf_counter()
    try:
        batches = torch_batches(job, name, int(workers)) if workers else skinjax_batches(job)
        next(batches)
    except Exception as error:
        print(json.dumps({'error': f'{type(error).__name__}: {error}'}), flush=True)
        return
    print(json.dumps({'first': time.perf_counter() - began}), flush=True)
    for _ in sys.stdin:
        # What was read ahead while the others ran must not count.
        for _ in range(max(8, 2 * job.threads + 4)):
            next(batches)
        began, images, elapsed = time.perf_counter(), 0, 0.0
        while elapsed < job.seconds:
            images += len(next(batches))
            elapsed = time.perf_counter() - began
        print(json.dumps({'rate': images / elapsed}), flush=True)


def start(job: Job, contender: str) -> subprocess.Popen[str]:
    """The program of one contender, once its first batch is there."""
    flags = [f'--{name}={value}' for name, value in dataclasses.asdict(job).items() if value]
    return subprocess.Popen(
        [sys.executable, '-m', __spec__.name, *flags, f'--contender={contender}'],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def ask(program: subprocess.Popen[str], question: str = '') -> dict[str, Any]:
    """One line of answer from a contender."""
    assert program.stdin and program.stdout
    if question:
        program.stdin.write(question + '\n')
        program.stdin.flush()
    line = program.stdout.readline()
    return json.loads(line) if line else {'error': f'ended with {program.wait()}'}


def compare(job: Job) -> dict[str, Any]:
    """Rounds of every contender in turn.

    Returns:
        'rates' and 'first' (seconds to the first batch) of each contender, 'failed' with what
        those said that could not start, 'best' peer by median, and 'ratio' of skinjax to it: the
        median of the ratios within each round, with the smallest and the largest.
    """
    names = ['skinjax', *(f'{name}-{k}' for name in TORCH for k in sorted({0, job.threads}))]
    programs, first, failed = {}, {}, {}
    try:
        for name in names:
            programs[name] = start(job, name)
            answer = ask(programs[name])
            (failed if 'error' in answer else first)[name] = answer.get('error', answer.get('first'))
        rates = {name: [] for name in first}
        for _ in range(job.rounds):
            for name in rates:
                rates[name].append(ask(programs[name], 'go')['rate'])
    finally:
        for program in programs.values():
            program.kill()
            program.communicate()
    peers = {name: statistics.median(rates[name]) for name in rates if name != 'skinjax'}
    best = max(peers, key=peers.__getitem__)
    ratios = sorted(a / b for a, b in zip(rates['skinjax'], rates[best], strict=True))
    ratio = [statistics.median(ratios), ratios[0], ratios[-1]]
    return {'rates': rates, 'first': first, 'failed': failed, 'best': best, 'ratio': ratio}
