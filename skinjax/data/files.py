"""The image files that a table names, and records of them."""

import contextlib
import functools
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

from skinjax.data.records import Records
from skinjax.data.table import Table

SHAPE = 0.02  # by which the proportions of a mask and its image may differ, for rounding


def check_ids(table: Table, ids: Shaped[np.ndarray, ' n']) -> None:
    """ValueError naming both rows if two rows have one id."""
    first: dict[str, int] = {}
    for row, name in enumerate(ids.tolist()):
        if (before := first.setdefault(name, row)) != row:
            rows = f'{table.number(before)} and {table.number(row)}'
            raise ValueError(f'{table.path}: rows {rows} have the same id {name!r}')


def resolve(
    table: Table, root: Path, column: str, *, required: bool = True, must_exist: bool = True
) -> list[str]:
    """The file that each cell of `column` names, '' where the cell is empty.

    Raises:
        ValueError: an empty cell where one is `required`, or a name that leads out of `root`:
            absolute, through `..` or a symbolic link.
        FileNotFoundError: there is no such file and `must_exist`; one whose name differs in the
            case of letters is told.
    """
    home = os.path.realpath(root)
    plain = functools.cache(_plain_files)

    def find(name: str) -> tuple[str, bool]:
        """Path of the file, and whether it is there."""
        folder, last = os.path.split(name)
        real, listed = plain(Path(home, folder))
        if last in listed:
            return f'{real}/{last}', True
        path = os.path.realpath(Path(home, name))  # missing, a link, or no name of a file at all
        return path, Path(path).is_file()

    paths = []
    for row, cell in enumerate(table.column(column)):
        name = cell.strip()
        if not name and required:
            raise ValueError(f'{table.cell(row, column)}: is empty')
        path, there = find(name) if name and '\0' not in name else ('', not name)
        if name and not Path(path).is_relative_to(home):
            where = table.cell(row, column)
            raise ValueError(f'{where}: {name!r} leads out of {home}; files must lie inside it')
        if must_exist and not there:
            other = other_case(root, name)
            raise FileNotFoundError(
                f'{table.cell(row, column)}: no file {path}' + (other and f'; there is {other!r}')
            )
        paths.append(path)
    return paths


def _plain_files(folder: Path) -> tuple[str, Collection[str]]:
    """Where a folder really is, and the names in it of files that are no links.

    To list a folder once is far faster than to ask for each of its files.
    """
    real = os.path.realpath(folder)
    try:
        with os.scandir(real) as entries:
            return real, {e.name for e in entries if e.is_file(follow_symlinks=False)}
    except OSError:  # no such folder, or one that may not be listed
        return real, ()


def names_in(folder: Path) -> dict[str, str]:
    """What is in a folder, by its name and, where that is no other's name, by its small letters."""
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError:
        return {}
    return {name.casefold(): name for name in names} | {name: name for name in names}


def other_case(
    root: Path, name: str, listed: Callable[[Path], Mapping[str, str]] = names_in
) -> str:
    """The file in `root` that has this name but for the case of letters; '' if there is none.

    Args:
        root: folder that `name` starts from.
        name: of a missing file, as a table has it.
        listed: `names_in`, cached by who asks for many.
    """
    found = Path(root)
    for part in PurePosixPath(name).parts:
        names = listed(found)
        there = names.get(part) or names.get(part.casefold())
        if there is None:
            return ''
        found /= there
    return found.relative_to(root).as_posix() if found.is_file() else ''


def records_from_table(
    table: Table,
    root: Path,
    config: Any,
    *,
    ids: Shaped[np.ndarray, ' n'],
    labels: Int[np.ndarray, ' n'],
    groups: Shaped[np.ndarray, ' n'] | None = None,
    bias: Mapping[str, Int[np.ndarray, ' n']] | None = None,
    columns: Mapping[str, np.ndarray] | None = None,
    image: str = 'image',
    mask: str = '',
    artefact: str = '',
    geometry: str = 'squash',
    sizes: bool = False,
) -> Records:
    """One record for each row of `table`, read from the files that its columns name.

    Args:
        table: of n rows.
        root: folder that file names in the table start from and may not leave.
        config: `image_size`, `with_mask` and `on_error` are used. With 'raise' the header of every
            image is read here, so that what is no image is found before a run begins; with 'skip'
            missing and unreadable files are found later.
        ids, labels, groups, bias, columns: as in `Records`; groups default to ids.
        image: column of image names; an empty cell is an error.
        mask: column of mask names ('' = no masks); an empty cell is a row without a mask. Masks are
            read if `config.with_mask` asks for them.
        artefact: column of further masks, of what an editor has removed; read as those are, and
            all zero in a row without one.
        geometry: of `images.decode`.
        sizes: add columns `width` and `height` of the image files, 0 where one is unreadable.

    Raises:
        ValueError, FileNotFoundError: as `check_ids`, `resolve` and `images.header`.
    """
    from skinjax.data import images  # opens OpenCV only where files are read

    check_ids(table, ids)
    must_exist = config.on_error == 'raise'
    files = resolve(table, root, image, must_exist=must_exist)
    size = config.image_size

    def further(column: str) -> list[str]:
        if not (column and config.with_mask):
            return [''] * len(files)
        return resolve(table, root, column, required=False, must_exist=must_exist)

    masks, artefacts = further(mask), further(artefact)
    extra = dict(columns or {})
    if must_exist or sizes:
        shapes = _shapes(table, list(zip(files, masks, artefacts, strict=True)), must_exist)
        if sizes:
            extra |= {'width': shapes[:, 0], 'height': shapes[:, 1]}
    both = any(artefacts)

    def read(row: int) -> dict[str, np.ndarray]:
        with _named(table, row):
            example = {'image': images.decode(files[row], size, geometry=geometry)}
            if masks[row]:
                example['mask'] = images.decode_mask(masks[row], size, geometry=geometry)
            if artefacts[row]:
                example['artefact'] = images.decode_mask(artefacts[row], size, geometry=geometry)
            elif both:
                example['artefact'] = np.zeros((size, size), np.uint8)
        return example

    return Records(
        ids,
        labels,
        dict(bias or {}),
        ids if groups is None else groups,
        read,
        extra,
        np.array(files),
    )


def _shapes(
    table: Table, files: Sequence[tuple[str, ...]], must_exist: bool
) -> Int[np.ndarray, 'n 2']:
    """Width and height of the first file of each row, by its header; the others are looked at."""
    from skinjax.data import images

    shapes = np.zeros((len(files), 2), np.int32)
    for row, (first, *others) in enumerate(files):
        try:
            with _named(table, row):
                shapes[row] = shape = images.header(first)[1:]
                for other in filter(None, others):
                    _same_shape(first, shape, other, images.header(other)[1:])
        except (OSError, ValueError):
            if must_exist:
                raise
    return shapes


def _same_shape(image: str, shape: tuple[int, int], mask: str, found: tuple[int, int]) -> None:
    """ValueError if a mask has other proportions than its image, upright or turned (EXIF)."""
    width, height = found
    across, down = shape
    near = min(abs(width * down - height * across), abs(width * across - height * down))
    if near > SHAPE * max(width * down, height * across):
        raise ValueError(
            f'{mask}: {width} x {height} pixels, but {image} has {across} x {down}: the mask of '
            'another image, or cropped'
        )


@contextlib.contextmanager
def _named(table: Table, row: int) -> Iterator[None]:
    """Errors about files are given the table and the row that name them."""
    try:
        yield
    except (OSError, ValueError) as error:
        kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
        raise kind(f'{table.path.name} row {table.number(row)}: {error}') from error
