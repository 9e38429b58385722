"""What styled images are made of, beside their originals: photographs, weights and runs.

A path says where a file lies, not what is in it: so its digest is kept, and work that was begun
with another file is not continued.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from skinjax import kinds, rundir
from skinjax.data import mixing, writing
from skinjax.data.records import Records
from skinjax.engine.writer import read_json, write_json
from skinjax.styling.photos import Photo

SOURCES = 'sources.json'
_OF_A_RUN = ('config.json', 'results.json')  # which differ where anything of a run does


def sources(config: Any, photos: Sequence[Photo]) -> dict[str, Any]:
    """Photographs by id, with their licence and digests; digests of weights and runs by option.

    Args:
        config: of kind 'generate' with a style.
        photos: those of `config.style`.

    Raises:
        FileNotFoundError: what an option names does not exist.
    """
    options = {'config.classifier': config.classifier}
    if config.style.method != 'colour':
        options['config.style.transfer.weights'] = config.style.transfer.weights
    for name in dict.fromkeys(config.chain):
        key = kinds.editor_key(name)
        if key in config.editors:
            options[f'config.editors.{key}.init_from'] = config.editors[key].get('init_from', '')
    return {
        'photographs': {photo.id: {'licence': photo.licence, **photo.digests} for photo in photos},
        'files': {name: digest(name, path) for name, path in options.items() if path},
    }


def digest(name: str, path: str) -> str:
    """SHA-256 of a file, or of what a run's directory says of itself.

    Raises:
        FileNotFoundError: there is none; `name` is the option that gave it.
    """
    place = Path(path)
    if not place.exists():
        raise FileNotFoundError(f'{name}: {path} does not exist')
    parts = [place / part for part in _OF_A_RUN] if place.is_dir() else [place]
    found = b''.join(part.read_bytes() for part in parts if part.is_file())
    return hashlib.sha256(found).hexdigest()


def claim(workdir: Path, found: Mapping[str, Any]) -> None:
    """Writes `sources.json`, where it does not say the same already.

    Raises:
        ValueError: the work there was begun with other files.
    """
    path = workdir / SOURCES
    if path.exists() and (lines := rundir.differences(read_json(path), dict(found))):
        raise ValueError(
            f'{workdir} was begun with other files behind the same paths ({"; ".join(lines)}): '
            'choose another --workdir, or delete it'
        )
    write_json(path, found)


def write_trained_on(workdir: Path, contents: Records, photos: Sequence[Photo]) -> None:
    """trained_on.csv: the originals, and the photographs that are images of a data set."""
    rows = [
        {'id': name, 'group': group}
        for name, group in zip(contents.ids.tolist(), contents.groups.tolist(), strict=True)
    ]
    rows += [
        {'id': photo.source_id or photo.group, 'group': photo.group or photo.source_id}
        for photo in photos
        if photo.source_id or photo.group
    ]
    writing.write_csv(workdir / mixing.TRAINED_ON, rows)
