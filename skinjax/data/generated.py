"""Folders of generated images, as kind 'generate' writes them, read to stand beside real ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skinjax.data import images
from skinjax.data.records import COMMON, UNKNOWN, DataSet, choices

FACT = 'generated'  # of dataset.json: what is known of the model and its images


def read(root: str | Path, **fields: Any) -> DataSet:
    """The folder, with these fields of the source 'folder'.

    Raises:
        ValueError, FileNotFoundError: as `folder.build`.
    """
    from skinjax import config as configs
    from skinjax.data import folder

    section = {**COMMON, **configs.plugin('data', 'folder'), **fields, 'root': str(root)}
    return folder.build(configs.make(section), 0)


def coded(
    where: str, what: str, theirs: Sequence[str], ours: Sequence[str], codes: np.ndarray
) -> np.ndarray:
    """Codes for the names `ours` in place of those for `theirs`; unknown stays unknown.

    Raises:
        ValueError: a name in use that is not among `ours`; it begins with `where`.
    """
    used: list[int] = np.unique(codes[codes != UNKNOWN]).tolist()
    if absent := [theirs[code] for code in used if theirs[code] not in ours]:
        raise ValueError(f'{where} has the {what} {absent[0]!r}; {choices(absent[0], ours)}')
    index = {code: ours.index(theirs[code]) for code in used} | {UNKNOWN: UNKNOWN}
    return np.array([index[code] for code in codes.tolist()], np.int32)


def side(root: str | Path) -> int:
    """The shorter side of the first image of a folder."""
    records = next(iter(read(root, image_size=1, cache=False).splits.values()))
    assert records.files is not None
    return min(images.header(records.files[0])[1:])


def differences(root: str | Path, config: Any) -> list[str]:
    """What tells the images of a folder from real ones, whatever they show: sentences.

    A network can learn from it which images are generated, and a detector find less in them.

    Args:
        root: of generated images.
        config: of the real data; `geometry` where their source has it.
    """
    from skinjax.data import writing

    found = []
    about = writing.read_facts(Path(root)).get('info', {}).get(FACT, {})
    theirs, ours = about.get('geometry'), config.get('geometry')
    if theirs and ours and theirs != ours:
        found.append(
            f'{root}: the model has learned from images in the geometry {theirs!r}, data.geometry '
            f'is {ours!r}: shapes tell generated images from real ones'
        )
    if (pixels := side(root)) < config.image_size:
        found.append(
            f'{root}: generated images have {pixels} pixels, image_size is {config.image_size}: '
            'they are blurred'
        )
    return found
