"""Small data sets and configs for tests, and the program as users start it."""

import contextlib
import csv
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from skinjax import config as configs
from skinjax import kinds, recipes, rundir, train
from skinjax.data.records import DataSet, Records
from skinjax.engine import checkpoint
from skinjax.engine.mesh import Mesh

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / 'shared'
ISIC2017 = SHARED / 'data' / 'isic2017'


def tiny_records(n: int, seed: int = 0, size: int = 8, name: str = 'row') -> Records:
    """Random images; `ruler` and `camera` are independent of the class, which is brightness."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n).astype(np.int32)
    images = rng.integers(0, 128, (n, size, size, 3)).astype(np.uint8)
    images += (90 * labels)[:, None, None, None].astype(np.uint8)
    bias = {
        'ruler': rng.integers(0, 2, n).astype(np.int32),
        'camera': rng.integers(0, 3, n).astype(np.int32),
    }
    ids = np.array([f'{name}-{i}' for i in range(n)])
    return Records(ids, labels, bias, ids, lambda row: {'image': images[row]})


def tiny_data(n: int = 64, size: int = 8) -> DataSet:
    """Train, val and test splits of random images."""
    return DataSet(
        'tiny',
        ('nevus', 'melanoma'),
        {'ruler': ('no', 'yes'), 'camera': ('a', 'b', 'c')},
        {name: tiny_records(n, k, size, name) for k, name in enumerate(('train', 'val', 'test'))},
    )


def write_folder(root: Path, n: int = 24, size: int = 16) -> Path:
    """`tiny_records` as image files and a `records.csv`, for the source 'folder'."""
    (root / 'images').mkdir(parents=True)
    with (root / 'records.csv').open('w', encoding='utf-8', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['id', 'image', 'split', 'label', 'ruler'])
        for k, split in enumerate(('train', 'val', 'test')):
            records = tiny_records(n, k, size, split)
            for row, name in enumerate(records.ids):
                cv2.imwrite(
                    str(root / 'images' / f'{name}.png'), records.read(row)['image'][..., ::-1]
                )
                label = ('nevus', 'melanoma')[records.labels[row]]
                writer.writerow(
                    [name, f'images/{name}.png', split, label, records.bias['ruler'][row]]
                )
    return root


def sample_isic2017(root: Path, n: int = 40) -> Path:
    """The images and rows of about `n` training and half as many other images, of each split.

    All combinations of the three classes with and without a ruler are there.
    """
    with (ISIC2017 / 'labels.csv').open(encoding='utf-8', newline='') as file:
        rows = [row for row in csv.DictReader(file) if not row['near_dup_group']]
    cells: dict[tuple[str, str, str], list[dict[str, str]]] = {}
    for row in rows:
        cells.setdefault((row['split'], row['dx'], row['ruler']), []).append(row)
    share = {'train': n // 6, 'val': n // 12, 'test': n // 12}
    kept = [
        row for (split, _, ruler), cell in cells.items() if ruler for row in cell[: share[split]]
    ]
    for folder in ('images', 'masks'):
        (root / folder).mkdir(parents=True)
    with (root / 'labels.csv').open('w', encoding='utf-8', newline='') as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(kept)
    for row in kept:
        for column in ('image', 'mask'):
            if row[column]:
                shutil.copyfile(ISIC2017 / row[column], root / row[column])
    return root


SMALL = {
    'data.n_train': 96,
    'data.n_val': 48,
    'data.n_test': 64,
    'data.image_size': 32,
    'data.batch_size': 16,
    'train.epochs': 1,
    'train.log_every': 2,
    'evaluate.bootstrap': 20,
    'evaluate.probes': ('linear',),
    'evaluate.probe_folds': 2,
}
TINY = {
    **SMALL,
    'devices': 1,
    'data.n_train': 32,
    'data.n_val': 24,
    'data.n_test': 24,
    'data.min_instrument': 2,
    'train.steps': 2,
    'train.log_every': 1,
    'evaluate.bootstrap': 5,
    'evaluate.batch_size': 32,
}
LINEAR = configs.plugin('models', 'tests.objectives.linear_encoder')
STAND_INS = {  # networks that compile at once, by task
    'classification': LINEAR,
    'segmentation': configs.plugin('models', 'tests.objectives.one_conv'),
    'inpainting': configs.plugin('models', 'partial_unet', levels=2, width=0.02),
    'generation': configs.plugin('models', 'dcgan', width=0.02),
}


def small(config: configs.Config, **fields: Any) -> configs.Config:
    """A synthetic train config that runs in seconds."""
    return configs.override(config, {**SMALL, **fields})


def small_run(method: Any = 'baseline', **fields: Any) -> configs.Config:
    """The small form of one method of the unlearning study."""
    return small(recipes.unlearning(method), **fields)


def shrink(config: configs.Config, *, linear: bool = False, **fields: Any) -> configs.Config:
    """A config of any kind and data source with all its sizes brought down to seconds.

    Args:
        config: of kind 'train', 'evaluate' or 'compare' (which keeps its runs and one seed).
        linear: replace the network by a single layer, which compiles at once.
        fields: dotted fields, taken where the config has them.
    """
    if config.kind == 'compare':
        runs = {name: shrink(run, linear=linear, **fields) for name, run in config.runs.items()}
        kept = {name: config[name] for name in config if name not in ('kind', 'runs')}
        # The runs have no MLP probe, and a column that no run has is an error.
        columns = tuple(pair for pair in config.columns if '.mlp.' not in pair[1])
        kept |= {'columns': columns, 'seeds': tuple(config.seeds)[:1], 'jobs': 1}
        return kinds.compare(runs, **kept)
    wanted = {name: value for name, value in {**TINY, **fields}.items() if has(config, name)}
    config = configs.override(config, wanted)
    if linear and 'model' in config:
        with config.unlocked():
            section = STAND_INS[configs.task_of('models', config.model.name)]
            config.model = configs.train(config.objective.to_dict(), model=section).model
    return config


def has(config: Any, name: str) -> bool:
    """Whether a config has the dotted field `name`."""
    for part in name.split('.'):
        if part not in config:
            return False
        config = config[part]
    return True


def command(*arguments: str) -> list[str]:
    """`python -m skinjax.main` with arguments."""
    return [sys.executable, '-m', 'skinjax.main', *arguments]


def flags(fields: dict[str, Any]) -> list[str]:
    """Dotted fields as a command line gives them."""
    return [f'--config.{name}={value}' for name, value in fields.items()]


def environment(**more: str) -> dict[str, str]:
    """That of this process (and with it the shared compilation cache), on the CPU."""
    return {**os.environ, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT), **more}


def call(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the program to its end; `more` are environment variables."""
    return subprocess.run(
        command(*arguments),
        cwd=ROOT,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=300,
    )


def final_state(work: Path) -> tuple[int, Any]:
    """(step, state) of the newest checkpoint of a run."""
    config = rundir.load_run(work)
    trainer = train.Trainer(config, train.load_data(config), Mesh.create('jit', 1))
    abstract = checkpoint.with_sharding(trainer.abstract(), trainer.mesh.replicated)
    return restore_state(work, abstract)


def restore_state(work: Path, abstract: Any, select: str = 'last') -> tuple[int, Any]:
    """(step, state) of the newest or, with `select` = 'best', best checkpoint of a run."""
    step = checkpoint.choose_step(work, select)
    with contextlib.closing(checkpoint.Checkpointer(work, keep=10**6, clean=False)) as reader:
        return step, reader.restore(step, abstract)


def wait_for(ready: Callable[[], Any], seconds: float = 120) -> None:
    """Wait until `ready()` is true."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, 'timed out'
        time.sleep(0.02)
