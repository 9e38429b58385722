"""Folders that options of audits name, and errors that name the option."""

import contextlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path


def named(parts: Iterable[str], field: str, marks: str = '') -> dict[str, str]:
    """Name -> what it names, of 'real=runs/a', 'runs/b'; without a name it is that of the folder.

    Args:
        parts: what is named.
        field: of the config, for errors.
        marks: that may stand in names, beside letters, digits, _ . and -.

    Raises:
        ValueError: two have one name, or a name that is no file name.
    """
    found: dict[str, str] = {}
    for part in parts:
        before, sign, after = part.partition('=')
        folder = (after if sign else before).strip()
        name = before.strip() if sign else Path(folder).resolve().name
        if not re.fullmatch(rf'(?!\.)[\w.{re.escape(marks)}-]+', name) or name in found:
            raise ValueError(
                f'{field}: {name!r} cannot be the name of {folder}: expected another '
                'one for each, of letters, digits, _ . and -: NAME=FOLDER'
            )
        found[name] = folder
    return found


def named_folders(text: str, field: str) -> dict[str, Path]:
    """Name -> folder of 'real=runs/a,runs/b', as `named`.

    Raises:
        ValueError: as `named`.
        FileNotFoundError: one does not exist.
    """
    parts = filter(None, (piece.strip() for piece in text.split(',')))
    found = {name: Path(place) for name, place in named(parts, f'config.audit.{field}').items()}
    if missing := [path for path in found.values() if not path.is_dir()]:
        raise FileNotFoundError(f'config.audit.{field}: {missing[0]}: no such folder')
    return found


@contextlib.contextmanager
def naming(field: str) -> Iterator[None]:
    """Errors of values and files say which field of the config they come from."""
    try:
        yield
    except (FileNotFoundError, ValueError) as error:
        kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
        raise kind(f'{field}: {error}') from error
