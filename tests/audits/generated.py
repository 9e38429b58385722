"""Generated images without a generative model: a folder as kind 'generate' would write it."""

import dataclasses
from pathlib import Path

import numpy as np

from skinjax.data import mixing, writing
from skinjax.data.records import DataSet
from tests.helpers import tiny_records


def write_generated(
    root: Path, classes: tuple[str, ...], each: int = 4, size: int = 32, synthetic: int = 1
) -> Path:
    """`each` images of every class, with the column that says where they come from."""
    n = each * len(classes)
    labels = np.arange(n, dtype=np.int32) % len(classes)
    columns = {mixing.SYNTHETIC: np.full(n, synthetic, np.int32)}
    rows = dataclasses.replace(
        tiny_records(n, size=size, name='made'), labels=labels, bias={}, columns=columns
    )
    writing.write(DataSet('generated', classes, {}, {'train': rows}), root)
    return root
